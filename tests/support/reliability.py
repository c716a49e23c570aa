"""What the tests prove of faults, kills and crowds, counted while they run: the page docs/reliability.md.

A test that tries something of a kind says so: `@pytest.mark.reliability("kills")`. It is one trial; a test that makes
more asks for the fixture `trials` and says how many: `trials(20)`. `pytest --reliability FILE` adds what was tried to
FILE, and `python -m tests.support.reliability FILE` writes the page from it.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

Count = Callable[[int], None]
"""The fixture `trials`: takes the number of trials that a test makes."""

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
MARKER = "reliability"
KINDS = {
    "guard": "nothing but the address that was checked is connected to, and nothing is written without a permit",
    "secrets": "no password reaches a terminal, a log, a process list or a file of others",
    "emulator door": "no foreign page or host gets at the local data",
    "destroy": "what this project did not make is not removed, and what is lost is not called kept",
    "hostile input": "no archive, file or stored value runs code, fills memory or writes to the terminal",
    "faults": "a server that is silent, slow, broken or gone is named in time, without a traceback",
    "kills": "killed at any moment, the same command again puts it right, and nothing is lost",
    "crowds": "commands that start at once end as if they had come one after the other",
    "orders": "any order of commands leaves what a small model says, and nothing else",
    "plan": "what --plan says is what the run then does or refuses",
    "hints": "a command that a hint names works as it is typed, and the finding is gone",
}
"""Every kind, and what is held against it."""


@dataclass(frozen=True)
class Trial:
    """One test of a kind as it ran: how often it tried, and how that ended."""

    kind: str
    test: str
    trials: int
    outcome: str


def sentence(node_id: str) -> str:
    """Return a test's name as the sentence that it is, without its parameters."""
    name = re.sub(r"\[.*", "", node_id, flags=re.DOTALL).rpartition("::")[2]
    return name.removeprefix("test_").replace("_", " ")


def trials_of(report: pytest.TestReport) -> list[Trial]:
    """Return what a finished phase of a test tells of reliability: its call, or why it did not come to that."""
    if report.when != "call" and report.passed:
        return []
    given = dict(report.user_properties)
    kind, count = given.get(MARKER), given.get("trials", 1)
    return [Trial(str(kind), report.nodeid, int(str(count)), report.outcome)] if kind else []


class Collector:
    """Hears every report of a session, those of its workers too, and adds the trials to a file at the end."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.trials: list[Trial] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.trials += trials_of(report)

    def pytest_sessionfinish(self) -> None:
        before = json.loads(self.file.read_text()) if self.file.exists() else []
        self.file.write_text(json.dumps([*before, *map(asdict, self.trials)], indent=1))


def mark(items: Iterable[pytest.Item]) -> None:
    """Let the reports of marked tests carry their kind. Raises UsageError for a kind that is not in KINDS."""
    for item in items:
        marker = item.get_closest_marker(MARKER)
        if marker is None:
            continue
        if marker.args[0] not in KINDS:
            raise pytest.UsageError(
                f"{item.nodeid}: {marker.args[0]!r} is no kind; tests/support/reliability.py lists them"
            )
        item.user_properties.append((MARKER, marker.args[0]))


def marked_kinds(folder: Path = ROOT / "tests") -> set[str]:
    """Return the kinds that tests in a folder are marked with, from their source."""
    trees = (ast.parse(path.read_text()) for path in folder.rglob("test_*.py"))
    return {kind for tree in trees for node in ast.walk(tree) for kind in _kind_of(node)}


def _kind_of(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == MARKER:
        yield from (one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str))


def page_kinds(page: str) -> set[str]:
    """Return the kinds that the page has a heading for."""
    return set(re.findall(r"^## (.+)$", page, re.MULTILINE))


def render(trials: Iterable[Trial]) -> str:
    """Return the page: each kind, what is held, and a line a test with its trials and outcome."""
    by_kind: dict[str, dict[str, list[Trial]]] = defaultdict(lambda: defaultdict(list))
    for trial in trials:
        by_kind[trial.kind][sentence(trial.test)].append(trial)
    parts = [
        "# Reliability",
        "Written by `python -m tests.support.reliability` from a run of the tests; do not edit. A trial is one fault,"
        " kill, attack or order of commands against the real program and real servers.",
        _table(("kind", "trials", "outcome"), [_row(f"[{kind}](#{kind.replace(' ', '-')})", _all(by_kind[kind]))
                                               for kind in KINDS if kind in by_kind]),
    ]  # fmt: skip
    for kind in (kind for kind in KINDS if kind in by_kind):
        rows = [_row(test, tried) for test, tried in sorted(by_kind[kind].items())]
        held = f"Held: {KINDS[kind]}."
        parts += [f"## {kind}", held, _table(("what was tried", "trials", "outcome"), rows)]
    return "\n\n".join(parts) + "\n"


def _all(tests: dict[str, list[Trial]]) -> list[Trial]:
    return [trial for tried in tests.values() for trial in tried]


def _row(what: str, tried: list[Trial]) -> tuple[str, str, str]:
    counts = {word: sum(t.trials for t in tried if t.outcome == word) for word in ("passed", "failed", "skipped")}
    outcome = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count and word != "passed")
    return what, f"{counts['passed'] + counts['failed']:,}", outcome or "all passed"


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(file: str) -> None:
    """Write the page from the results in `file`."""
    results: list[dict[str, Any]] = json.loads(Path(file).read_text())
    PAGE.write_text(render(Trial(**result) for result in results))
    print(PAGE.relative_to(ROOT))


if __name__ == "__main__":
    main(*sys.argv[1:])
