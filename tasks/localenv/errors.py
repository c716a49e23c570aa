"""The errors a user can cause, each with a message, a hint and an exit code. Nothing here prints."""

from __future__ import annotations

from collections.abc import Sequence


class LocalEnvError(Exception):
    """A failure with its cause in the message and the next thing to type in the hint.

    `message` is lower case, subject first, the value in it, the place as path:line:column.
    `hint` is one imperative sentence. `evidence` holds lines to show under the message
    (the source line with its caret, the last lines of a log), without a trailing newline; in a sequence each element
    is one line, whatever it contains.
    """

    code = 1
    name = "failure"
    retryable = False

    def __init__(self, message: str, *, hint: str = "", evidence: str | Sequence[str] = "") -> None:
        super().__init__()
        self.message = message
        self.hint = hint
        lines = [evidence] if isinstance(evidence, str) else [line.replace("\n", "\\n") for line in evidence]
        self.evidence = "\n".join(lines)

    def __str__(self) -> str:
        return self.message


class UsageError(LocalEnvError):
    """An option, a setting or an input file has an invalid value."""

    code = 2
    name = "usage"


class ConfirmationNeeded(LocalEnvError):
    """The command would replace or remove something, and nobody has confirmed that."""

    code = 3
    name = "confirmation-needed"


class ServiceFailed(LocalEnvError):
    """A service did not start, or died."""

    code = 4
    name = "service-failed"
    retryable = True


class TimedOut(LocalEnvError):
    """A deadline passed."""

    code = 5
    name = "timed-out"
    retryable = True


class PreflightFailed(LocalEnvError):
    """The machine lacks something the command needs: an engine, a free port, disk space."""

    code = 6
    name = "preflight"


class LockHeld(LocalEnvError):
    """Another run of this project holds the lock."""

    code = 7
    name = "locked"
    retryable = True


class NotLocal(LocalEnvError):
    """The local target points at something that is not local."""

    code = 8
    name = "not-local"


INTERRUPTED = 130


class Interrupted(LocalEnvError):
    """Ctrl-C, or what else ends a program in order."""

    code = INTERRUPTED
    name = "interrupted"
