"""The layers, read from the imports: each folder of tasks/localenv/ is a room on a floor, and knows those below it."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "tasks.localenv"
FLOORS = (
    ("errors", "hints"),
    ("machine",),
    ("settings",),
    ("checkout",),
    ("aws", "postgres"),
    ("dynamodb", "cognito", "engines", "production"),
    ("snapshot",),
    ("environment",),
)
"""The rooms of the library from the ground up. A room knows those below it, and not the others on its floor."""

PICTURE = ROOT / "docs" / "architecture.md"
STORES = tuple(f"{LIBRARY}.{name}" for name in ("dynamodb", "cognito", "engines"))
CONNECTION = f"{LIBRARY}.postgres.connection"
"""The one module of a store that others use: it connects, and knows nothing of what is in there."""

EMULATOR = f"{LIBRARY}.engines.emulator_server"
"""Not part of a command: the program that the emulator's process runs. Its stderr is its log."""

COMPLETION = "tasks._complete"
"""What a Tab runs, without the rest of the program."""

HEAVY = (
    "boto3",
    "botocore",
    "psycopg",
    "docker",
    "requests",
    "urllib3",
    "rich",
    "moto",
    "ministack",
    "hypercorn",
    "yaml",
)


def modules() -> dict[str, Path]:
    """Every module of the project that commands or the app import, by its dotted name."""
    found = {}
    for top in ("tasks", "ddb"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


@cache
def imports(name: str, *, at_start: bool = False) -> frozenset[str]:
    """Name what a module imports, in dotted names of modules; `at_start`: only what is imported when it is.

    `lazy("…")` imports too, but later.
    """
    nodes = list(_statements(tree(name), at_start=at_start))
    late = {lazily_named(node) for node in nodes if not at_start} - {""}
    return frozenset(late.union(*(imported(name, node) for node in nodes)))


def imported(name: str, node: ast.AST) -> set[str]:
    """Name the modules that a statement in module `name` imports."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        deeper = set(bound(name, node).values()) & MODULES.keys()
        return deeper or {_source(name, node)}
    return set()


def bound(name: str, node: ast.ImportFrom) -> dict[str, str]:
    """Name what `from … import …` binds, and the dotted name of each."""
    return {alias.asname or alias.name: f"{_source(name, node)}.{alias.name}" for alias in node.names}


def _source(name: str, node: ast.ImportFrom) -> str:
    parts = name.split(".") if MODULES[name].name == "__init__.py" else name.split(".")[:-1]
    above = parts[: len(parts) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def lazily_named(node: ast.AST) -> str:
    """Return the module that `lazy("…")` or `lazy_of_app("…")` stands for; empty for anything else."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("lazy", "lazy_of_app"):
        within = "tasks." if ast.unparse(node.func) == "lazy" else ""
        return within + str(ast.literal_eval(node.args[0]))
    return ""


def _statements(node: ast.AST, *, at_start: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if at_start and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if at_start and isinstance(child, ast.If) and _is_for_types(child):
            child = ast.Module(child.orelse, [])
        yield child
        yield from _statements(child, at_start=at_start)


def _is_for_types(node: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.unparse(node.test)


def calls(name: str) -> list[tuple[int, str]]:
    """List the line and the function, as written, of every call in a module."""
    nodes = [node for node in ast.walk(tree(name)) if isinstance(node, ast.Call)]
    return [(node.lineno, ast.unparse(node.func)) for node in nodes]


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def strays(name: str, *forbidden: str, but: tuple[str, ...] = ()) -> list[str]:
    return sorted(found for found in imports(name) if is_in(found, *forbidden) and not is_in(found, *but))


@pytest.mark.parametrize("name", [name for name in MODULES if is_in(name, LIBRARY)])
def test_the_library_knows_nothing_of_invoke_the_tasks_or_the_app(name: str) -> None:
    assert strays(name, "invoke", "tasks", "ddb", but=(LIBRARY,)) == []


def room(name: str) -> str:
    return name.split(".")[2]


ROOMS = {room: number for number, floor in enumerate(FLOORS) for room in floor}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith(f"{LIBRARY}.")])
def test_imports_run_downward(name: str) -> None:
    found = [other for other in imports(name) if other.startswith(f"{LIBRARY}.") and room(other) != room(name)]
    assert [other for other in found if ROOMS[room(other)] >= ROOMS[room(name)]] == []


@pytest.mark.parametrize("name", [name for name in MODULES if is_in(name, *STORES)])
def test_of_the_rows_other_stores_and_engines_know_only_the_connection(name: str) -> None:
    assert strays(name, f"{LIBRARY}.postgres", but=(CONNECTION,)) == []


def test_the_picture_of_the_layers_is_what_the_imports_say() -> None:
    drawn = set(re.findall(r"^ +(\w+) --> (\w+)$", PICTURE.read_text(), re.MULTILINE))
    assert drawn == arrows()


def arrows() -> set[tuple[str, str]]:
    """Name which room knows which, without what goes by way of another room."""
    known: dict[str, set[str]] = {of: set() for of in ROOMS}
    for name in (name for name in MODULES if name.startswith(f"{LIBRARY}.")):
        known[room(name)] |= {room(other) for other in imports(name) if other.startswith(f"{LIBRARY}.")} - {room(name)}
    for of in ROOMS:  # from the ground up, so that what is below is complete
        known[of] |= {below for other in known[of] for below in known[other]}
    return {(of, other) for of in known for other in known[of] if not any(other in known[via] for via in known[of])}


@pytest.mark.parametrize("name", [name for name in MODULES if is_in(name, "ddb")] or ["ddb"])
def test_the_apps_own_modules_know_nothing_of_this_tool(name: str) -> None:
    assert name not in MODULES or strays(name, "invoke", "tasks") == []


WHOLLY_LATE = {"tasks._bars": "loaded when something takes long on a terminal"}
"""Modules that are about such a library, and when they are loaded."""


@pytest.mark.parametrize("name", MODULES)
def test_nothing_heavy_is_imported_at_the_top_of_a_module(name: str) -> None:
    heavy = [found for found in imports(name, at_start=True) if is_in(found, *HEAVY)]
    assert name in WHOLLY_LATE or sorted(heavy) == []


TASKS = [name for name in MODULES if is_in(name, "tasks") and not is_in(name, LIBRARY)]
INSIDE = {("tasks._app", "ddb.chat"): "the app's folder is on the path only then, and most apps have no such part"}
"""What a function of the tasks imports by itself, and why."""


@pytest.mark.parametrize("name", TASKS)
def test_tasks_say_at_the_top_what_they_use(name: str) -> None:
    functions = [node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef | ast.Lambda)]
    nodes = [node for function in functions for node in ast.walk(function)]
    inside = {found for node in nodes for found in {*imported(name, node), lazily_named(node)} & MODULES.keys()}
    inside -= {"tasks"}  # `from . import ns`: the index, which imports all of them
    assert inside == {module for of, module in INSIDE if of == name}


@pytest.mark.parametrize("name", TASKS)
def test_what_is_loaded_late_is_what_the_types_are_of(name: str) -> None:
    """mypy sees the import alone, and Python `lazy("…")` alone."""
    late = {
        ast.unparse(node.targets[0]): module
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Assign) and (module := lazily_named(node.value))
    }
    for_types = [node for node in tree(name).body if isinstance(node, ast.If) and _is_for_types(node)]
    froms = [node for part in for_types for node in part.body if isinstance(node, ast.ImportFrom)]
    typed = {as_: module for node in froms for as_, module in bound(name, node).items() if module in MODULES}
    assert late == typed
    assert len(late) == sum(called in ("lazy", "lazy_of_app") for _, called in calls(name)), "elsewhere than in `else:`"


@pytest.mark.parametrize("name", [name for name in MODULES if is_in(name, LIBRARY)])
def test_the_library_never_prints(name: str) -> None:
    found = [line for line, function in calls(name) if function in ("print", "sys.stdout.write")]
    assert found == [] or is_in(name, EMULATOR)


@pytest.mark.parametrize("name", MODULES)
def test_other_programs_are_run_through_one_door(name: str) -> None:
    doors = ("subprocess.", "os.system", "os.popen", "os.exec", "os.spawn", "os.fork")
    found = [line for line, function in calls(name) if function.startswith(doors)]
    assert found == [] or name in (f"{LIBRARY}.machine.shell", COMPLETION) or is_in(name, EMULATOR)


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imports(name, at_start=True) & MODULES.keys() for name in MODULES}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert set(order) >= set(MODULES)
