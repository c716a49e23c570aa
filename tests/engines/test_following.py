"""Following logs: growth, rotation and truncation of files; the words of a command line that mean a parameter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke.parser import Argument
from psycopg import Error

from tasks._words import bare_words
from tasks.localenv.engines.daemon import Daemon
from tasks.localenv.engines.following import FileSource
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tests.conftest import Cli
from tests.support.answers import answer
from tests.support.environments import KEPT, PATIENCE_S


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "it.log"


def source(log: Path, lines: int = 2) -> Callable[[], list[str]]:
    """Follow a file of a program that does not run; give what each read finds."""
    followed = FileSource("it", Daemon("it", log.with_name("lease"), log, "marker"), lines)
    return lambda: [f"({line.text})" if line.is_event else line.text for line in followed.read()]


def test_the_last_lines_come_first_and_then_what_grows(log: Path) -> None:
    log.write_text("one\ntwo\nthree\n")
    read = source(log)
    assert read() == ["two", "three", "(does not run)"]
    with log.open("a") as file:
        file.write("four\nfi")
        file.flush()
        assert read() == ["four"]
        file.write("ve\n")
    assert (read(), read()) == (["five"], [])


def test_a_new_file_in_its_place_is_followed_after_the_rest_of_the_old_one(log: Path) -> None:
    log.write_text("one\n")
    read = source(log, lines=0)
    assert read() == ["(does not run)"]
    with log.open("a") as old:
        log.rename(log.with_suffix(".log.1"))
        old.write("last words")
    log.write_text("begun anew\n")
    assert read() == ["last words", "begun anew"]


def test_an_emptied_file_is_read_from_its_start(log: Path) -> None:
    log.write_text("a long first line\n")
    read = source(log)
    read()
    log.write_bytes(b"caf\xe9\r\n")
    assert read() == ["caf\ufffd"]


def test_a_file_that_comes_later_is_read_whole(log: Path) -> None:
    read = source(log, lines=1)
    assert read() == ["(does not run)"]
    log.write_text("one\ntwo\n")
    assert read() == ["one", "two"]


@pytest.mark.parametrize(
    ("line", "has"),
    [
        ("env.logs", False),
        ("env.logs postgres", True),
        ("env.logs -f postgres", True),
        ("env.logs -n 5", False),
        ("env.logs -n 5 postgres", True),
        ("env.logs -fn 5", False),
        ("env.logs -n5 postgres", True),
        ("env.logs --service postgres", False),
        ("env.logs --service=postgres -f", False),
        ("env.logs env.status", False),
        ("env.logs -", True),
        ("env.logs -f -", True),
        ("env.logs -n -", False),
        ("--echo env.logs -f env.status", False),
        ("env.status", False),
        ("docker.logs env.logs postgres", True),
        ("env.logs env.status env.logs", False),
    ],
)
def test_a_bare_word_is_told_from_values_and_tasks(line: str, has: bool) -> None:
    arguments = [
        Argument(names=("service",)),
        Argument(names=("lines", "n"), kind=int),
        Argument(names=("follow", "f"), kind=bool),
    ]
    words = bare_words(line.split(), "logs", arguments)
    assert any(word not in ("env.logs", "env.status") for word in words) is has


def test_a_word_and_letters_do_for_the_flags_of_logs(cli: Cli) -> None:
    by_flag = cli("env.logs", "--service", "postgres", "--lines", "3")
    assert (by_flag.code, by_flag.stdout.splitlines()[0]) == (0, "--- postgres")
    assert cli("env.logs", "postgres", "-n", "3") == cli("env.logs", "-n3", "postgres") == by_flag
    near = cli("env.logs", "postgre")
    assert (near.code, "did you mean 'postgres'?" in near.stderr) == (2, True)
    assert cli("env.logs", "--lines", "-1").code == 2
    two = cli("env.logs", "postgres", "-n", "1", "env.status")
    assert (two.code, "SERVICE" in two.stdout) == (0, True)


def test_all_services_are_followed_until_ctrl_c(
    live: Settings, live_environment: dict[str, str], tmp_path: Path
) -> None:
    environ = {**{name: os.environ[name] for name in KEPT if name in os.environ}, **live_environment}
    command = [sys.executable, "-m", "invoke", "--search-root", str(TOOL), "env.logs", "-f", "-n", "0"]
    out = tmp_path / "out"
    with out.open("w") as stdout:
        following = subprocess.Popen(
            [*command, "--format", "json"], env=environ, stdout=stdout, stderr=subprocess.PIPE, text=True
        )
    end = time.monotonic() + PATIENCE_S
    try:
        while "no such thing" not in out.read_text() and time.monotonic() < end:
            with connect(live.postgres, database="postgres") as session, pytest.raises(Error):
                session.execute('SELECT "no such thing"')
            time.sleep(0.1)
        following.send_signal(signal.SIGINT)
        assert following.communicate(timeout=PATIENCE_S)[1] == ""
    finally:
        following.kill()
    *lines, end_of_stream = out.read_text().splitlines()
    found = [json.loads(line)["line"] for line in lines if "ERROR" in line]
    assert (following.returncode, answer(end_of_stream)["error"]["code"]) == (130, 130)
    assert found[0]["service"] == "postgres" and found[0]["text"].split("ERROR")[1].startswith(':  column "no such')
