"""The house is kept tidy: nothing unused, nothing too long, one name a thing, no phrase that has to be read twice.

Each rule has its reason beside it. A ratchet names what is over a bound today: an entry may shrink, and goes once it is
within the bound; a new one is a defect.
"""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from tasks import ns
from tests.project.test_layers import MODULES, ROOT, imports, tree

FUNCTION_LINES = 50
"""What does not fit on a screen does more than one thing."""

MODULE_LINES = 350
"""A file that has to be scrolled through holds more than one subject."""

LONG_MODULES: dict[str, int] = {
    "tasks.localenv.checkout.ownership": 408,
    "tasks.localenv.engines.daemon": 354,
}

LINES = 41241
"""Of tasks/, all files together: what does the same in fewer is better. Only down, and 24,000 would do."""

PACKAGES = 47
"""Of the runtime lock, for all platforms together: each one is downloaded, checked and trusted by every newcomer."""

NAMED_ELSEWHERE = {
    "GraphExecutor": "tasks/_running.py names it, as text",
    "write_our_output": "Invoke's Executor and Program call it by this name",
    "__getattr__": "Python calls it",
    "render": "rich's columns have this method",
    "show_cursor": "rich's console has this method",
}
"""Functions and classes that no other line of the program names, and who does."""

PROGRAMS = {
    "tasks.localenv.engines.emulator_server.run_handler": "started by trigger.py",
    "tasks": "tasks.py hands over to it",
    "tasks._start": "./inv runs it",
    "tasks._schemas": "inv lint runs it, and whoever writes docs/schema",
    "tasks._executor": "tasks/_running.py names it, as text",
    "tasks.localenv.engines.emulator_server.__main__": "the emulator's process is this",
    "tasks.localenv.engines.emulator_server.server": "that program imports it by its folder's name",
    "ddb.streams": "DynamoDB Streams calls the function in it, as template.yaml says",
}

BANNED = {
    r"not built yet|not implemented": "what is not there is not mentioned",
    r"\bplease\b": "a hint is an imperative",
    r"\bsimply\b|\bjust (run|type|set)\b": "it is not simple for whoever reads an error",
    r"\boops\b|\bsorry\b": "a message says what happened",
    r"an error occurred|something went wrong": "the error says which",
    r"once more, and nothing is done": "say: run it again, nothing changes",
}
"""Phrases that no message and no docstring has, in lower case, and why."""


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def definitions(name: str) -> Iterator[str]:
    """Name the functions, methods, classes and constants of a module, but for tasks and what Python itself calls."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            is_task = any(re.search(r"\b(step|task)\b|_step", ast.unparse(one)) for one in node.decorator_list)
            if not is_task and not re.fullmatch(r"__\w+__|do_[A-Z]+|log_message", node.name):
                yield node.name
        elif isinstance(node, ast.Assign):
            yield from (one.id for one in node.targets if isinstance(one, ast.Name) and one.id.isupper())


def test_nothing_is_defined_that_nothing_names() -> None:
    """Code that only tests reach is not the program; it belongs into tests/support or nowhere."""
    words = Counter(word for path in MODULES.values() for word in re.findall(r"[A-Za-z_]\w*", path.read_text()))
    unused = {f"{name}.{one}" for name in MODULES for one in definitions(name) if words[one] == 1}
    assert {one for one in unused if one.rpartition(".")[2] not in NAMED_ELSEWHERE} == set()


def test_every_module_is_imported_or_is_a_program() -> None:
    """A file that nothing reaches is read by whoever looks for how things work."""
    imported = {other for name in MODULES for other in imports(name)}
    parents = {name.rpartition(".")[0] for name in imported}
    assert {name for name in MODULES if name not in imported | parents | PROGRAMS.keys()} == set()


@pytest.mark.parametrize("name", MODULES)
def test_a_function_fits_on_a_screen(name: str) -> None:
    lengths = {one.name: (one.end_lineno or 0) - one.lineno + 1 for one in functions(name)}
    assert {of: lines for of, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_modules_are_short_and_the_long_ones_only_shrink() -> None:
    lengths = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    long = {name: lines for name, lines in lengths.items() if lines > MODULE_LINES}
    assert {name: lines for name, lines in long.items() if lines > LONG_MODULES.get(name, 0)} == {}
    assert LONG_MODULES.keys() - long.keys() == set(), "short by now: take them out of the ratchet"


def test_the_house_only_shrinks() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in (ROOT / "tasks").rglob("*.py"))
    assert LINES - 500 < lines <= LINES, "more: delete something; less: lower the ratchet"


def test_the_lock_only_shrinks() -> None:
    packages = re.findall(r"^[\w.-]+==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(packages) <= PACKAGES


@pytest.mark.parametrize("name", MODULES)
def test_no_text_has_to_be_read_twice(name: str) -> None:
    nodes = ast.walk(tree(name))
    texts = [node.value.lower() for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    found = {phrase: why for phrase, why in BANNED.items() if any(re.search(phrase, text) for text in texts)}
    assert found == {}


def test_a_name_stands_for_one_module() -> None:
    """Whoever searches for a file by its name finds one."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in MODULES.items():
        if path.name != "__init__.py":
            found[path.stem].append(name)
    assert {stem: names for stem, names in found.items() if len(names) > 1} == {}


def test_the_notes_of_these_rules_are_of_what_is_there() -> None:
    assert PROGRAMS.keys() - MODULES.keys() == set()
    assert all((ROOT / MODULES[name]).is_file() for name in LONG_MODULES)


def test_each_command_that_a_text_names_is_there() -> None:
    """In a hint, a message, or what a command is for."""
    named = re.compile(r"""\b(?:inv|Command)\(["']([a-z][\w.-]*)["']""")
    found = {word for path in MODULES.values() for word in named.findall((ROOT / path).read_text())}
    assert found - set(ns.task_names) == set()
