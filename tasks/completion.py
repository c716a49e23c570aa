"""completion: what makes a shell complete tasks, options and values; and the list that it looks them up in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

from . import _complete
from ._graph import READS, StepContext
from ._lists import completions
from ._words import word_step
from .localenv.errors import UsageError
from .localenv.hints import inv
from .localenv.machine import private
from .localenv.machine.folders import APP, TOOL
from .localenv.settings.variables import checked, choice

SCRIPTS = Path(__file__).parent / "shells"
SHELLS = ("bash", "zsh", "fish")
LIST = "list"
"""Stands for a shell where the list alone is written, by a Tab that has found it older than the tasks."""


class Script(TypedDict):
    """The data of the answer."""

    shell: str
    script: str


def _shell(c: StepContext) -> str:
    given = c.step.arguments["shell"]
    if not given:
        raise UsageError("completion wants the name of a shell", hint=f"{inv('completion', 'bash')}, zsh or fish")
    return str(checked("--shell", given, choice(*SHELLS, LIST)))


@word_step(
    effect=READS,
    local_only=True,
    inputs=_shell,
    word="shell",
    needed=True,
    example='eval "$(./inv completion bash)"',
    values={"shell": "shells"},
    help={"shell": "bash, zsh or fish"},
)
def completion(c: StepContext, shell: str = "") -> None:
    """Print the script with which a shell completes inv, wherever it is called."""
    _write_list()
    if shell != LIST:
        text = (SCRIPTS / f"inv.{shell}").read_text().rstrip()
        c.step.emit({"shell": shell, "script": text}, text.split("\n"))


def _write_list() -> None:
    listed: dict[str, Any] = {"stamp": _complete.stamp(str(APP), str(TOOL)), **completions()}
    place = Path(_complete.cache_file(str(APP)))
    private.make_folder(place.parent)
    private.write(place, json.dumps(listed, ensure_ascii=False))
