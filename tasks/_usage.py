"""Mistakes on the command line that Invoke's parser finds, told as all others are: with a hint, and exit code 2.

Invoke prints its ParseError as it is, and leaves no place to add to it. So Misuse stands in where Invoke raises that.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from invoke import Exit, program, terminals
from invoke.completion import complete
from invoke.parser import parser

from . import _output
from ._envelope import show_failure
from ._start import wants_json
from .localenv.errors import UsageError
from .localenv.hints import inv

NARROWEST = 72
UNKNOWN = re.compile(r"No idea what (.*) is!", re.DOTALL)
NO_VALUE = re.compile(r"Flag <\w+: ([\w-]+).*> needed value")
MISSING = re.compile(r"'(.*)' did not receive required positional arguments: (.*)")


class Misuse(Exit):
    """A command line that cannot be understood. Invoke prints it, and takes its exit code."""

    def __init__(self, message: str, context: Any = None) -> None:
        super().__init__(code=UsageError.code)
        self.args = (message,)
        self.context = context

    def __str__(self) -> str:
        text, hint = self._explained
        who = self._task or "inv"
        lines = [f"FAIL  {who}  {text}", *([f"      {'hint':<{len(who)}}  {hint}"] if hint else [])]
        return "\n".join(_output.harmless_line(_output.as_typed(line)) for line in lines)

    @property
    def _task(self) -> str:
        return getattr(self.context, "name", None) or ""

    @property
    def _explained(self) -> tuple[str, str]:
        return _explained(str(self.args[0]), self._task, self.context)

    def show_answer(self) -> None:
        """Print the envelope."""
        message, hint = self._explained
        show_failure(self._task or "inv", UsageError(message, hint=hint))


def install() -> None:
    """Have Invoke raise Misuse for what it does not understand, and catch it where it completes a word for a shell.

    And have it print the envelope for that, and take a terminal for wide enough for its lists: it gives the texts what
    the names leave, and fails over less than nothing.
    """
    for module in (parser, program, complete):
        vars(module)["ParseError"] = Misuse
    vars(program)["print"] = _print
    vars(program)["pty_size"] = lambda: (max(NARROWEST, terminals.pty_size()[0]), terminals.pty_size()[1])


def refuse_flags_of_invoke(words: Sequence[str]) -> None:
    """Raise Misuse for a short flag behind a task that the task has not got.

    Invoke takes -f, -c, -e and their like there too, as its own: `db.seed -f more.sql` would read its configuration.
    """
    from . import ns

    task = ""
    for word in words:
        if word == "--":
            return
        if word in ns.task_names:
            task = word
        elif task and re.fullmatch("-[a-zA-Z]", word) and word != "-h":
            arguments = ns[task].get_arguments()
            flags = [
                f"{'-' if len(name) == 1 else '--'}{name.replace('_', '-')}" for a in arguments for name in a.names
            ]
            if word not in flags:
                raise Misuse(f"No idea what {word!r} is!", SimpleNamespace(name=task, flags=flags))


def _print(*values: Any, **how: Any) -> None:
    """Print what Invoke prints, and of a mistake the envelope too, where it is asked for."""
    print(*values, **how)
    if isinstance(values[0] if values else None, Misuse) and wants_json(sys.argv):
        values[0].show_answer()


def _explained(message: str, task: str, context: Any) -> tuple[str, str]:
    """Return what is wrong, and give a hint."""
    of_task = f"{inv('--help', task)} lists what it takes" if task else f"{inv('--list')} shows every task"
    if found := UNKNOWN.fullmatch(message):
        word = _unquoted(found[1])
        return _unknown_option(word, task, context) if word.startswith("-") else _unknown_word(word, task, of_task)
    if found := NO_VALUE.match(message):
        return f"--{found[1]} wants a value", of_task
    if found := MISSING.fullmatch(message):
        return f"{found[2]} is missing", f"{inv('--help', found[1])} lists what it takes"
    return message[:1].lower() + message[1:].rstrip("!"), of_task if task else ""


def _unquoted(shown: str) -> str:
    try:
        return str(ast.literal_eval(shown))
    except (ValueError, SyntaxError):
        return shown.strip("'")


def _unknown_option(word: str, task: str, context: Any) -> tuple[str, str]:
    flags = list(getattr(context, "flags", ()))
    near = difflib.get_close_matches(word, flags, n=1)
    if not near and len(word) == 2:  # -f of --file
        near = [flag for flag in flags if flag.startswith(f"-{word}")]
    what = f"{inv('--help', task)} lists the options" if task else "options of a task stand behind its name"
    return f"there is no option {word}", f"did you mean {' or '.join(near)}?" if near else what


def _unknown_word(word: str, task: str, of_task: str) -> tuple[str, str]:
    from . import ns

    names = list(ns.task_names)
    inside = [name for name in names if name.startswith(f"{word}.")]
    if inside and not task:
        meant = [f"{word}.{name}" for name in sys.argv if f"{word}.{name}" in names]
        hint = f"did you mean {inv(meant[0])}?" if meant else f"it has {', '.join(inside)}"
        return f"{word} is a namespace, not a task", hint
    if near := _near(word, names):
        return f"there is no task {word!r}", f"did you mean {' or '.join(map(inv, near))}?"
    if task:
        return f"{word!r} is no task, and {task} takes no such word", f"a value stands behind its option: {of_task}"
    return f"there is no task {word!r}", of_task


def _near(word: str, names: list[str]) -> list[str]:
    """Return the tasks that a word may mean: of its name, of one that reads alike, or of its namespace."""
    namespace, _, name = word.rpartition(".")
    alike = [each for each in names if each.rpartition(".")[2] == word or each.replace(".", "") == word]
    alike = alike or difflib.get_close_matches(word, names, n=2, cutoff=0.75)
    inside = {each.rpartition(".")[2]: each for each in names if namespace and each.rpartition(".")[0] == namespace}
    return alike or [inside[each] for each in difflib.get_close_matches(name, inside, n=2, cutoff=0.4)]
