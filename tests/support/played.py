"""AWS as moto plays it in this process, and commands run against it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from invoke import Config, Exit

from tasks import ns
from tasks._executor import GraphExecutor
from tasks.localenv.aws import boto as aws
from tests.support.boto import forget_clients

SECRET = "hush-hush"


@dataclass(frozen=True)
class Ran:
    """What a command did: exit code, stdout, and the lines of its report with even spaces."""

    code: int
    stdout: str
    report: list[str]

    @property
    def data(self) -> Any:
        return json.loads(self.stdout)["data"]


Command = Callable[..., Ran]


def set_up(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Set keys that must not be shown, and nothing else of this machine."""
    for name, value in {
        "LOCALENV_DOTENV": "/dev/null",
        "LOCALENV_STATE_DIR": str(folder / "state"),
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": f"{SECRET}-token",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GITPOD_IP", raising=False)


def commands(capfd: pytest.CaptureFixture[str]) -> Command:
    """Give the function that runs a command by its name and arguments. None may show a secret."""

    def command(name: str, **arguments: Any) -> Ran:
        try:
            GraphExecutor(ns, Config()).execute((name, arguments))
            code = 0
        except Exit as ended:
            code = ended.code
        out, err = capfd.readouterr()
        assert SECRET not in out + err
        told = [line for line in err.splitlines() if " | waiting for " not in line]  # as a busy machine has it
        lines = [re.sub(r" +", " ", re.sub(r"\d+\.\d\ds", "0s", line)).strip() for line in told]
        return Ran(code, out, lines)

    return command


def own_clients() -> Iterator[None]:
    """Keep clients among the tests of a file: reading EC2's model takes longer than a test."""
    forget_clients()
    yield
    forget_clients()


def client(settings: Any, service: str) -> Any:
    """Give the client that a command with these settings uses."""
    make: Any = aws.client
    return make(settings, service)
