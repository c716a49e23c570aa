"""What a command pays before it does anything: loading the tasks loads no heavy library."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tasks.localenv import engines
from tasks.localenv.settings import read_settings
from tests.project.test_layers import MODULES, lazily_named, tree
from tests.support.environments import environment, inv, reachable

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


LIST = "from invoke.main import program; program.run('inv --list', exit=False)"
COMMANDS: dict[str, tuple[int, set[str]]] = {
    "--list": (57, set()),
    "--help status": (57, set()),
    "initial-setup": (187, {"psycopg"}),
    "status": (160, {"psycopg"}),
    "check": (157, {"psycopg"}),
    "ddb.list-tables": (128, set()),
    "db.query --sql 'select 1'": (118, {"psycopg"}),
}
"""How many of our own modules each loads where everything runs and nothing is to do, and which heavy libraries."""

LATE = {module for name in MODULES for node in ast.walk(tree(name)) if (module := lazily_named(node))}
"""The modules that the tasks load when they use them."""


def loaded_after(code: str, at: Path = ROOT) -> set[str]:
    """Run a line of Python in a process of its own, and name the top packages that it has loaded."""
    return {name.partition(".")[0] for name in modules_after(code, at)}


def modules_after(code: str, at: Path = ROOT, environ: Mapping[str, str] = MappingProxyType({})) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=at,
        env={"PATH": os.environ["PATH"], **environ},
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
    loaded = loaded_after(LIST)
    assert "tasks" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("code", ["import tasks", LIST])
def test_nothing_is_loaded_early_that_is_to_be_loaded_late(code: str) -> None:
    assert modules_after(code) & LATE == set()


def test_invoke_is_loaded_without_what_only_tests_of_tasks_need() -> None:
    version = importlib.metadata.version("invoke")
    load = "import sys; sys.path.insert(0, 'tasks'); from _start import load_invoke; program = load_invoke()"
    loaded = modules_after(f"{load}; assert program.version == {version!r}")
    assert (
        loaded & {"asyncio", "unittest", "unittest.mock", "importlib.metadata", "email", "invoke.vendor.yaml.nodes"}
        == set()
    )
    assert "yaml.nodes" in modules_after(
        f"{load}; from invoke import util; assert util.yaml.safe_load('a: 1') == dict(a=1)"
    )
    assert modules_after(f"{load}; from unittest.mock import Mock; assert Mock().x.y") >= {"unittest.mock", "asyncio"}


@pytest.mark.parametrize("package", ["localenv.tasks", "localenv"])
def test_a_late_module_is_of_the_package_that_named_it_whatever_its_name(package: str, tmp_path: Path) -> None:
    """As in an app's tasks.py, or installed."""
    place = tmp_path.joinpath(*package.split("."))
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(ROOT / "tasks")
    loaded = modules_after(f"import {package} as tasks; assert tasks.env.ages.ago(0)", tmp_path)
    assert f"{package}.localenv.machine.ages" in loaded
    assert "tasks" not in loaded


def test_what_looks_at_a_late_module_does_not_load_it() -> None:
    looks = "import inspect; isinstance(x, inspect.Signature); callable(x); inspect.unwrap(x); repr(x); hash(x)"
    loaded = modules_after(f"from tasks import env; x = env.ages; {looks}; assert not hasattr(x, '__file__')")
    assert "tasks.localenv.machine.ages" not in loaded


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of an environment in which everything runs and is filled."""
    environ = environment(reachable(tmp_path_factory.mktemp("ready")) / "state")
    assert inv("initial-setup", environ=environ).code == 0
    yield environ
    engines.destroy(read_settings(environ=environ), print)


@pytest.mark.parametrize("words", COMMANDS)
def test_a_command_loads_no_more_than_it_did(words: str, ready: dict[str, str]) -> None:
    """The ratchet only goes down: what a command does not use, nobody should wait for."""
    most, libraries = COMMANDS[words]
    code = f"import shlex; from invoke.main import program; program.run(shlex.split({f'inv {words}'!r}), exit=False)"
    modules = modules_after(code, environ=ready)
    assert {name.partition(".")[0] for name in modules} & HEAVY == libraries
    own = sum(name.partition(".")[0] in ("tasks", "ddb", "sql") for name in modules)
    assert most - 10 <= own <= most


def test_reading_the_settings_loads_no_sdk() -> None:
    loaded = loaded_after("from tasks.localenv.settings import read_settings; read_settings(environ={})")
    assert loaded & (HEAVY - {"dotenv"}) == set()
