"""What is shown of work that takes long: bars on a terminal, lines elsewhere, nothing beside an answer in JSON."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tasks.localenv.machine.folders import TOOL
from tasks.localenv.machine.parallel import side_by_side
from tasks.localenv.machine.progress import BYTES, Progress, displaying, part_of_progress, progress
from tasks.localenv.settings import Settings
from tests.support.environments import KEPT
from tests.support.terminal import Shown, on_terminal

KEPT_VARIABLES = {name: os.environ[name] for name in KEPT if name in os.environ} | {"PYTHONPATH": str(TOOL)}

SCRIPT = """
import sys, threading, time
from functools import partial
from tasks import _door, _output, _progress
from tasks.localenv.machine import progress

progress.SHOW_AFTER_S, _progress.LINE_EVERY_S = 0.2, 0.3
_door.install()
reporter = _output.Reporter(11)

def work(name, what, total, unit, step):
    with progress.displaying(partial(reporter.show_progress, name)), progress.progress(what, total, unit) as done:
        for number in range(40):
            done.add(step)
            time.sleep(0.05)
            if number == 15:
                reporter.progress(name, f"a line of {name}")
            if number == 20 and name == "db.seed":
                _output.show("a result")

steps = (
    ("db.seed", "seeds/20-messages.sql", 480_000_000, progress.BYTES, 3_000_000),
    ("ddb.import", "into cruddur-messages", 60_000, "items", 200),
    ("snapshot.save", "copying \\x1b[2J\\npostgres://u:hunter22@h/d", None, "", 1),
)
threads = [threading.Thread(target=work, args=step) for step in steps]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
reporter.done("db.seed", 2.2, "done")
"""


WHAT_STAYS = (
    "db.seed|alineofdb.seedddb.import|alineofddb.importsnapshot.save|alineofsnapshot.savearesultokdb.seed2.20sdone"
)


@pytest.fixture
def script(tmp_path: Path) -> list[str]:
    (tmp_path / "script.py").write_text(SCRIPT)
    return [sys.executable, str(tmp_path / "script.py")]


def bars(shown: Shown) -> list[str]:
    """Return the lines that were on the terminal at some time and are not any more."""
    return [line for lines in shown.before for line in lines if line not in shown.lines]


def test_bars_are_drawn_below_the_lines_and_are_gone_at_the_end(script: list[str]) -> None:
    shown = on_terminal(script, KEPT_VARIABLES, columns=120)
    assert shown.code == 0
    assert sorted(shown.lines[:-1]) == [
        "      db.seed     | a line of db.seed",
        "      ddb.import  | a line of ddb.import",
        "      snapshot.save | a line of snapshot.save",
        "a result",
    ]
    assert shown.lines[-1] == "ok    db.seed        2.20s  done"
    assert not shown.cursor_hidden
    drawn = "\n".join(bars(shown))
    assert re.search(r"db\.seed +\| +seeds/20-messages\.sql +━.* \d+ of 480 MB +[\d.]+ MB/s +\d+ s left", drawn)
    assert re.search(r"ddb\.import +\| +into cruddur-messages +━.* [\d,]+ of 60,000 items +[\d,]+/s +\d+ s left", drawn)
    assert re.search(r"snapshot\.save \| copying \\u001b\[2J\\npostgres://u:\*+@h/d +━.* \d s so far", drawn)
    assert "hunter22" not in shown.raw


@pytest.mark.parametrize("columns", [100, 80, 60, 40, 20, 5, 1])
def test_any_width_is_enough(script: list[str], columns: int) -> None:
    shown = on_terminal(script, {**KEPT_VARIABLES, "NO_COLOR": "1"}, columns=columns)
    assert shown.code == 0
    text = "".join(shown.lines).replace(" ", "")
    assert text.endswith("okdb.seed2.20sdone")
    if columns >= 20:  # in less the first ones have left the screen
        assert all(text.count(f"alineof{name}") == 1 for name in ("db.seed", "ddb.import", "snapshot.save"))
        assert (text.count("aresult"), len(text)) == (1, len(WHAT_STAYS))
    assert "\x1b[3" not in shown.raw and "\x1b[9" not in shown.raw
    if columns >= 80:
        assert any("━" in line for line in bars(shown))


def test_elsewhere_a_line_says_it_from_time_to_time(script: list[str]) -> None:
    done = subprocess.run(script, env=KEPT_VARIABLES, capture_output=True, text=True, check=True)
    assert done.stdout == "a result\n"
    told = [line for line in done.stderr.splitlines() if "20-messages" in line]
    assert 3 <= len(told) <= 8
    assert all(re.fullmatch(r" +db\.seed +\| seeds/\S+: \d+ of 480 MB, [\d.]+ MB/s, \d+ s left", line) for line in told)
    assert "\x1b" not in done.stderr and "hunter22" not in done.stderr


def test_on_a_dumb_terminal_as_well(script: list[str]) -> None:
    shown = on_terminal(script, {**KEPT_VARIABLES, "TERM": "dumb"})
    assert "\x1b" not in shown.raw
    assert "480 MB" in shown.raw


@pytest.fixture
def seeding(live_environment: dict[str, str], database: Settings, tmp_path: Path) -> Callable[..., Shown]:
    """Apply a seed that takes three seconds after its first statement, on a terminal."""
    (tmp_path / "slow.sql").write_text("create table slow (id int);\nselect pg_sleep(3);\n")
    url = live_environment["CONNECTION_URL"].rpartition("/")[0] + f"/{database.postgres.database}"
    command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "db.seed", "--file"]
    environ = {**KEPT_VARIABLES, **live_environment, "CONNECTION_URL": url}

    def run(*words: str) -> Shown:
        return on_terminal([*command, str(tmp_path / "slow.sql"), *words], environ)

    return run


def test_a_file_of_sql_has_a_bar(seeding: Callable[..., Shown]) -> None:
    shown = seeding()
    assert shown.code == 0
    assert any(re.search(r"db\.seed +\| +/.* ━+ +\d+ of \d+ bytes", line) for line in bars(shown))
    assert not any("━" in line for line in shown.lines)


def test_an_answer_in_json_has_none(seeding: Callable[..., Shown]) -> None:
    shown = seeding("--format", "json")
    assert shown.code == 0
    assert "━" not in shown.raw
    assert [line for line in shown.raw.splitlines() if line.startswith("{")]


def told(work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return which pieces of work are shown."""
    monkeypatch.setattr("tasks.localenv.machine.progress.SHOW_AFTER_S", 0)
    found: list[str] = []
    with displaying(lambda one: found.append(str(one)) if one.is_over else None):
        work()
    return [line.partition(":")[0] for line in found]


def waits(shown: Progress) -> None:
    while not shown.is_shown:
        time.sleep(0.01)


def test_of_work_within_work_nothing_is_shown_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        with progress("copying", 10, "items") as copying, part_of_progress("reading") as reading:
            waits(copying)
            waits(reading)

    assert told(work, monkeypatch) == ["copying"]


def test_a_generator_leaves_its_reader_the_display(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbers() -> Iterator[int]:
        with part_of_progress("reading") as reading:
            waits(reading)
            yield 1

    def work() -> None:
        for _ in numbers():
            with progress("writing") as writing:
                waits(writing)

    assert told(work, monkeypatch) == ["writing", "reading"]


def test_threads_of_a_step_speak_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def part(name: str) -> None:
        with progress(name) as one:
            waits(one)

    assert sorted(told(lambda: side_by_side([partial(part, "a"), partial(part, "b")]), monkeypatch)) == ["a", "b"]


def test_short_work_is_not_shown() -> None:
    found: list[Progress] = []
    with displaying(found.append), progress("short"):
        time.sleep(0.3)
    assert found == []


@pytest.mark.parametrize(
    ("total", "unit", "done", "seconds", "sentence"),
    [
        (60_000, "items", 12_000, 10, "x: 12,000 of 60,000 items, 1,200/s, 40 s left"),
        (60_000, "items", 0, 10, "x: 0 of 60,000 items, 10 s so far"),
        (None, "items", 12_000, 10, "x: 12,000 items, 1,200/s, 10 s so far"),
        (10, "items", 12, 3, "x: 12 items, 4/s, 3 s so far"),
        (480_000_000, BYTES, 120_000_000, 10, "x: 120 of 480 MB, 12.0 MB/s, 30 s left"),
        (9_000, BYTES, 4_000, 10, "x: 4 of 9 kB, 0.0 MB/s, 12 s left"),
        (1_000_000, "items", 1_000, 10, "x: 1,000 of 1,000,000 items, 100/s, 2:46:30 h left"),
        (1_000, "items", 100, 10, "x: 100 of 1,000 items, 10/s, 1:30 min left"),
        (0, "", 0, 12, "x: 12 s so far"),
    ],
)
def test_how_far_it_is_in_words(
    total: int | None, unit: str, done: int, seconds: float, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Progress("x", total, unit, lambda shown: None, done=done, started=1000.0)
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0 + seconds)
    assert str(one) == sentence
