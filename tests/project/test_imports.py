"""What a command pays before it does anything: loading the tasks loads no heavy library."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "boto3",
    "botocore",
    "psycopg",
    "docker",
    "requests",
    "rich",
    "moto",
    "ministack",
    "dotenv",
    "hypercorn",
}
"""Libraries that take 30 ms and more to import, each of them (figures in pyproject.toml).

Not yaml: Invoke's own copy of it loads the C part of an installed one."""


def loaded_after(code: str) -> set[str]:
    """Run a line of Python at the root in a process of its own; name the top packages that it has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join({{m.partition('.')[0] for m in sys.modules}}))"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines()[-1].split())


def test_loading_the_tasks_loads_nothing_heavy() -> None:
    loaded = loaded_after("import tasks")
    assert "tasks" in loaded
    assert loaded & HEAVY == set()


def test_listing_the_commands_loads_nothing_heavy() -> None:
    loaded = loaded_after("from invoke.main import program; program.run('inv --list', exit=False)")
    assert "tasks" in loaded
    assert loaded & HEAVY == set()


def test_reading_the_settings_loads_no_sdk() -> None:
    loaded = loaded_after("from tasks.localenv.settings import read_settings; read_settings(environ={})")
    assert loaded & (HEAVY - {"dotenv"}) == set()
