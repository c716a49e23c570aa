"""What --help and --list show of this tool: tasks by namespace, and of a task what it takes, needs and does."""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

from invoke import Call, Task
from invoke.main import program

from . import _output
from ._graph import Step
from ._lists import CORE, about, flag, grouped, options, tasks

CODES = {0: "done, or nothing to do", 1: "it failed", 2: "mistyped", 3: "it wants a yes or a name"}
MORE_CODES = "the others: docs/how-it-works.md"
WIDEST, NARROWEST = 100, 24


def install() -> None:
    """Have Invoke show these in place of its own."""
    list_as_invoke = program.list_tasks

    def list_tasks() -> None:
        if program.list_root or program.list_depth or program.list_format != "flat":
            list_as_invoke()
        else:
            _show(_columns(grouped()))

    vars(program).update(
        print_help=lambda: _show(_core()), list_tasks=list_tasks, print_task_help=lambda name: _show(_of(name))
    )


def _show(lines: Iterator[str] | list[str]) -> None:
    _output.show([_output.as_typed(line) for line in lines])


def _core() -> list[str]:
    inv = _output.typed_command()
    rows = [f"  {name:<12}  {text}" for name, text in CORE.items()]
    return [
        f"{inv} TASK [options] …   a task brings what it needs; several run one after the other",
        "",
        *_columns(rows),
        "",
        *_columns(grouped()),
    ]


def _of(name: str) -> Iterator[str]:
    """Yield what there is to say of a task."""
    task: Any = tasks().get(name) or program.collection[name]
    yield from _wrapped(f"{_output.typed_command()} {name}{_word(task)} [options]", "")
    yield ""
    yield from _wrapped(about(task), "  ")
    if rows := [(f"{flag(each)}{_value(each)}", each.help or "") for each in options(task)]:
        yield ""
        yield from _columns(_aligned(rows))
    if isinstance(task, Step):
        yield ""
        yield from _columns(_aligned(list(_facts(task))))


def _facts(task: Step) -> Iterator[tuple[str, str]]:
    names: dict[Any, str] = {each: name for name, each in tasks().items()}
    needs = [names.get(each.task if isinstance(each, Call) else each, "") for each in task.pre]
    yield "needs", ", ".join(needs) or "nothing"
    effects = (inspect.getdoc(task) or "").rpartition("\n\n")[2]
    yield "data", effects
    codes = {**CODES, **task.codes}
    yield "exit codes", "; ".join([*(f"{code} {text}" for code, text in sorted(codes.items())), MORE_CODES])
    yield "example", task.example


def _word(task: Task[Any]) -> str:
    word = getattr(task, "word", "")
    return f" [{word.upper().rstrip('_')}]" if word else ""


def _value(option: Any) -> str:
    return f" {option.name.strip('_').upper()}" if option.takes_value else ""


def _aligned(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"  {name:<{width}}  {text}" for name, text in rows]


def _columns(rows: list[str]) -> list[str]:
    """Wrap the second column of rows to the terminal."""
    found: list[str] = []
    for row in rows:
        start = len(row) - len(row.lstrip())
        name, gap, text = row[start:].partition("  ")
        column = start + len(name) + len(gap) + len(text) - len(text.lstrip())
        found += _wrapped(text.lstrip(), row[:column]) if text else [row]
    return found


def _wrapped(text: str, head: str) -> list[str]:
    """Wrap a text behind a head to the terminal; where that leaves too little, below the head."""
    room = min(shutil.get_terminal_size().columns, WIDEST)
    if room - len(head) < NARROWEST:
        indent = " " * 4
        below = textwrap.wrap(text, max(room, NARROWEST), initial_indent=indent, subsequent_indent=indent)
        return [*([head.rstrip()] if head.strip() else []), *below]
    return textwrap.wrap(text, room, initial_indent=head, subsequent_indent=" " * len(head), break_on_hyphens=False)
