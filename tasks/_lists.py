"""What there is: tasks, options, and where values come from, for completion and help, from what the tasks declare."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from invoke import Task

from ._graph import Step
from ._lazy import lazy
from .localenv.errors import LocalEnvError
from .localenv.settings import read_settings
from .localenv.settings.variables import ENGINES, SERVICES, TARGETS

if TYPE_CHECKING:
    from .localenv.dynamodb import tablefiles as table_files
else:
    table_files = lazy("localenv.dynamodb.tablefiles")

CORE = {
    "--list": "every task",
    "--help": "what a task does and takes, with its name behind it",
    "--help-all": "all options of the program that runs the tasks",
    "--version": "the release",
}


def tasks() -> dict[str, Task[Any]]:
    """Return every task by the name that is typed, in the order of a list: those of no namespace first."""
    from . import ns

    return {name: ns[name] for name in sorted(ns.task_names, key=lambda name: ("." in name, name))}


def about(task: Task[Any]) -> str:
    """Return the first paragraph of what a task says of itself, on one line."""
    return " ".join((inspect.getdoc(task) or "").partition("\n\n")[0].split())


def options(task: Task[Any]) -> list[Any]:
    """Return the options of a task that it can use, as Invoke's parser has them."""
    return [each for each in task.get_arguments() if not getattr(each, "is_hidden", False)]


def flag(option: Any) -> str:
    return f"--{option.name.strip('_').replace('_', '-')}"


def completions() -> dict[str, Any]:
    """Return the list in which a Tab looks (_complete.py)."""
    found, formats = {}, {}
    for name, task in tasks().items():
        known = {}
        for option in options(task):
            source = values_of(name, task, option.name)
            known[flag(option)] = {"about": option.help or "", "takes": option.takes_value, "values": source}
            if source == f"formats of {name}":
                formats[source] = [(each, "") for each in getattr(task, "formats", ())]
        word = getattr(task, "word", "")
        found[name] = {
            "about": about(task),
            "options": known,
            "word": {"values": values_of(name, task, word)} if word else None,
        }
    core = {name: {"about": text, "takes": name == "--help"} for name, text in CORE.items()}
    return {"core": core, "tasks": found, "sources": {**_sources(), **formats}}


def values_of(name: str, task: Task[Any], argument: str) -> str:
    """Return the name of what an argument's values come from; empty where anything goes."""
    if not isinstance(task, Step):
        return ""
    return f"formats of {name}" if argument == "format" else task.values.get(argument, "")


def _sources() -> dict[str, list[tuple[str, str]]]:
    """Return the values that do not change while the tasks stay as they are."""
    named: dict[str, Iterable[str]] = {
        "engines": ENGINES,
        "targets": TARGETS,
        "services": SERVICES,
        "shells": ("bash", "zsh", "fish"),
        "ports": ("standard", "free"),
        "tables": _tables(),
    }
    return {source: [(value, "") for value in values] for source, values in named.items()}


def _tables() -> list[str]:
    try:
        return [table.name for table in table_files.read_tables(read_settings())]
    except (LocalEnvError, OSError):
        return []


def grouped() -> list[str]:
    """List all tasks by their namespaces, a line each."""
    lines: list[str] = []
    group = None
    rows = {name: about(task) for name, task in tasks().items()}
    width = max(map(len, rows))
    for name, text in rows.items():
        namespace = name.rpartition(".")[0]
        if namespace != group:
            lines += [*([""] if lines else []), namespace or "the whole environment"]
            group = namespace
        lines.append(f"  {name:<{width}}  {text}")
    return lines
