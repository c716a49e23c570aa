"""Uncaught exceptions as errors of ours: refusals of the system, errors of libraries, our own bugs."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from ..errors import LocalEnvError, PreflightFailed, ServiceFailed
from ..hints import DOCTOR, Command, either, inv
from .disk import disk_errors, lost_output
from .folders import APP, IS_IMPORTED, PACKAGE

LIBRARIES = ("psycopg", "botocore", "boto3", "docker", "requests", "urllib3", "ssl", "http", "socket")
OURS = ("tasks", "ddb")
AGAIN = "then run the same command again"
LIMITS = {
    errno.EMFILE: ("too many open files", f"raise the limit with `ulimit -n 1024`, {AGAIN}"),
    errno.ENFILE: ("too many open files on this machine", f"end some programs, {AGAIN}"),
    errno.ENOMEM: ("not enough memory", f"raise the limit of `ulimit -v` or end some programs, {AGAIN}"),
    errno.EAGAIN: ("no further process or thread can be started", f"raise the limit of `ulimit -u`, {AGAIN}"),
    errno.EFBIG: ("a file would become too large", f"raise the limit of `ulimit -f`, {AGAIN}"),
    errno.EBUSY: ("in use, or a mount point", f"unmount it or end what uses it, {AGAIN}"),
    errno.EIO: ("the device or terminal is gone", "run the same command again where it is there"),
}


class ProgramFault(LocalEnvError):
    """A bug in this program. Its traceback is the evidence."""

    name = "fault"


def understood(error: BaseException) -> LocalEnvError:
    """Return an exception as an error of ours, with a hint; a bug keeps its traceback."""
    if isinstance(error, LocalEnvError):
        return error
    if isinstance(error, OSError) and error.filename == "<stdout>":
        return lost_output(error)
    known = _of_app(error) or _of_library(error) or _of_limits(error) or _of_system(error) or _of_import(error)
    if known is None:
        return _fault(error)
    if "INVOKE_DEBUG" in os.environ or {"-d", "--debug"} & set(sys.argv):
        known.evidence = _traceback(error)
    return known


def _of_app(error: BaseException) -> LocalEnvError | None:
    """Return the error of an app's own tasks, beside which this tool is: raised in its code, or by what that called."""
    if not IS_IMPORTED:
        return None
    place = ""
    trace = error.__traceback__
    while trace:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            place = ""
        elif file.is_relative_to(APP) and not {"site-packages", ".venv", "venv"} & set(file.parts):
            place = f"{file.relative_to(APP)}:{trace.tb_lineno}"
        trace = trace.tb_next
    if not place:
        return None
    found = LocalEnvError(f"{place}: {type(error).__name__}: {_line(error)}", hint="this is in the app's own tasks")
    found.evidence = _traceback(error)
    return found


def _of_library(error: BaseException) -> LocalEnvError | None:
    is_network = isinstance(error, ConnectionError | TimeoutError)
    if type(error).__module__.partition(".")[0] not in LIBRARIES and not is_network:
        return None
    return ServiceFailed(
        f"a service did not answer as it should: {_line(error)}",
        hint=either("run the same command again", Command("status", when="to see what runs")),
    )


def _of_limits(error: BaseException) -> LocalEnvError | None:
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or "failed to map segment" in str(error):
        number = errno.ENOMEM
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        number = errno.EAGAIN
    if isinstance(error, RecursionError):
        return LocalEnvError("an input is nested too deeply", hint="give one with fewer levels")
    if number not in LIMITS:
        return None
    text, hint = LIMITS[number]
    return PreflightFailed(f"{_file(error)}{text}", hint=hint)


def _of_system(error: BaseException) -> LocalEnvError | None:
    if not isinstance(error, OSError):
        return None
    if not _has_folder():
        return PreflightFailed("the current folder was removed", hint="change into another folder, " + AGAIN)
    try:
        with disk_errors(Path(_file(error).removesuffix(": ") or ".")):
            raise error
    except LocalEnvError as known:
        return known
    except OSError:
        return LocalEnvError(f"{_file(error)}{(error.strerror or _line(error)).lower()}", hint=DOCTOR)


def _of_import(error: BaseException) -> LocalEnvError | None:
    missing = (getattr(error, "name", None) or "").partition(".")[0]
    if not isinstance(error, ImportError) or missing in OURS:
        return None
    return PreflightFailed(
        f"a library cannot be loaded: {_line(error)}",
        hint="remove the folder .venv, then run the same command with ./inv, which creates it again",
    )


def _fault(error: BaseException) -> ProgramFault:
    return ProgramFault(
        f"this is a fault of inv itself: {type(error).__name__}: {_line(error)}",
        hint=f"report it with the lines above; {inv('doctor')} and {inv('check')} say whether anything was harmed",
        evidence=_traceback(error),
    )


def _traceback(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _file(error: BaseException) -> str:
    name = getattr(error, "filename", None)
    return f"{os.fsdecode(name)}: " if isinstance(name, str | bytes) else ""


def _has_folder() -> bool:
    try:
        Path.cwd()
    except OSError:
        return False
    return True
