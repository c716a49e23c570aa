"""Around every run, however it was started: the door before the streams, Ctrl-C, and errors that nobody caught."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from invoke import Exit, UnexpectedExit
from invoke.main import program

from . import _door, _help, _usage
from ._envelope import show_failure
from ._lazy import lazy
from ._output import Reporter
from ._start import INTERRUPTED, end_with, flush_at_exit, leave, on_interrupt, open_streams, require_memory, wants_json
from .localenv.errors import LocalEnvError

if TYPE_CHECKING:
    from .localenv.machine import uncaught
else:
    uncaught = lazy("localenv.machine.uncaught")


def guard() -> None:
    """Guard this process from here on, and have Invoke run its tasks as a graph.

    Called where the tasks are imported by Invoke, so it holds for `inv` and `python -m invoke` too.
    """
    # As the setting of this name, which is imported where tasks are executed: a listing needs none.
    if hasattr(program, "config"):  # else Invoke does not run
        program.config.tasks.executor_class = f"{__package__}._executor.GraphExecutor"
    open_streams()
    _door.install()
    _usage.install()
    _help.install()
    on_interrupt(leave)
    sys.excepthook = lambda kind, error, trace: end_with(error)
    sys.unraisablehook = lambda unraisable: None  # nobody misses what fails while it is thrown away
    threading.excepthook = lambda args: None  # threads hand their errors over, or only load a library ahead
    flush_at_exit()
    require_memory()
    _usage.refuse_flags_of_invoke(sys.argv[1:])


@contextmanager
def running() -> Iterator[None]:
    """While tasks run: Ctrl-C interrupts them, not the process, and an error that nobody caught becomes Invoke's Exit.

    Afterwards what was begun is put in order, and a second Ctrl-C does not stop that.
    """
    ours = signal.getsignal(signal.SIGINT) is leave
    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
        if ours:
            raise Exit(code=0)  # so that a run ends by sys.exit, however it went
    except KeyboardInterrupt:
        raise Exit(code=INTERRUPTED) from None
    except (Exit, UnexpectedExit):
        raise
    except Exception as error:
        raise Exit(code=tell(error)) from error
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def tell(error: BaseException) -> int:
    """Write what happened to stderr, and the envelope where it is asked for; return the exit code."""
    known = uncaught.understood(error)
    Reporter(len("inv")).failed("inv", known)
    if wants_json(sys.argv):
        with suppress(LocalEnvError):  # of stdout, which may be what failed
            show_failure("inv", known)
    return known.code
