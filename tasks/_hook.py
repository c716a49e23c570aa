"""initial-setup --hook on the terminal: what goes to stderr, the verdict on stdout, and the exit code."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from . import _output
from ._graph import Found, StepContext
from .localenv.environment import hook
from .localenv.errors import LocalEnvError


def run(c: StepContext) -> None:
    """Run the hook. Raises Exit with its code when it failed."""
    options = c.step.options
    with _ended_gently():
        try:
            verdict = hook.run(options.engine, ["--force"] if options.force else [], _output.say, _output.relay)
        except LocalEnvError as error:
            verdict = hook.failure(error.code, f"{error.message}; {error.hint}" if error.hint else error.message)
    c.step.emit({"verdict": verdict.line}, verdict.line)
    if verdict.code:
        failed = LocalEnvError(verdict.line)
        failed.code = verdict.code
        raise Found(failed)


@contextmanager
def _ended_gently() -> Iterator[None]:
    """Let whoever ends this command, such as a workspace that stops, end what it runs too, as Ctrl-C does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, former in zip(numbers, before, strict=True):
            signal.signal(number, former)
