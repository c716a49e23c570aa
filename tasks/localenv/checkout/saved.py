"""Whether writes to the emulator are on disk: it answers from memory, and saves a second later.

A step that writes to it, or verifies its contents, calls `require_saved` at the end. Engines `ask` before they stop
it. Amazon's DynamoDB Local and Postgres write before they answer, and are not asked.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING

from ..errors import PreflightFailed, ServiceFailed
from ..hints import LOGS, RESTART, START, Command, either
from ..machine.waiting import LOOK_S, at_most, hang_up, waiting

if TYPE_CHECKING:
    from ..settings.addresses import Endpoint

HEADER = "X-Localenv-Unsaved"
"""In an answer of the emulator: the number of unsaved changes, if any."""
PATH = "/_localenv/save"
ANSWER_S, SAVE_S = 10.0, 60.0
_noted: Counter[Endpoint] = Counter()
_on_disk: Counter[Endpoint] = Counter()


@dataclass(frozen=True)
class Unsaved:
    """The emulator's unsaved changes: why, since when, how many of each API, and for which folder."""

    reason: str
    since: float
    changes: Mapping[str, int]
    folder: str

    @property
    def remedy(self) -> str:
        is_full = self.reason in (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
        return f"free some space on the disk of {self.folder}" if is_full else f"make {self.folder} writable"

    def __str__(self) -> str:
        counted = " and ".join(f"{n:,} change{'s'[: n != 1]} of {name}" for name, n in sorted(self.changes.items()))
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{counted or 'what was saved before'} since {clock}: {self.folder}: {self.reason}"


def note(endpoint: Endpoint, answer: HTTPResponse) -> None:
    """Remember the endpoint of an answer that reports unsaved changes."""
    if answer.getheader(HEADER):
        _noted[endpoint] += 1


def require_saved() -> None:
    """Make the emulators that this run called save their changes. Does nothing where all were on disk.

    Raises PreflightFailed where one cannot save, ServiceFailed where it ended before it could.
    """
    for endpoint, count in list(_noted.items()):
        if _on_disk[endpoint] >= count:
            continue
        found = ask(endpoint)
        if found:
            raise PreflightFailed(
                f"the AWS emulator cannot save what it holds: {found}",
                hint=Command("check", first=f"{found.remedy}: it saves by itself", when="to see that it did"),
            )
        _on_disk[endpoint] = max(_on_disk[endpoint], count)


def forget() -> None:
    """Discard what was noted: the emulator was stopped, and its changes are on disk or lost."""
    _noted.clear()
    _on_disk.clear()


def ask(endpoint: Endpoint, *, retry: bool = True) -> Unsaved | None:
    """Return the unsaved changes, None where all is on disk; without `retry` as of the last attempt to save.

    Raises ServiceFailed where nothing answers, or something other than our emulator.
    """
    if retry:
        _exchange(endpoint, "GET", ANSWER_S)  # first, because a hanging emulator gets less time than a saving one
        return _exchange(endpoint, "POST", SAVE_S)
    return _exchange(endpoint, "GET", LOOK_S)


def _exchange(endpoint: Endpoint, method: str, seconds: float) -> Unsaved | None:
    connection = HTTPConnection(endpoint.host, endpoint.port, timeout=at_most(seconds))
    what, cut = f"the AWS emulator at {endpoint} to save", lambda: hang_up(connection.sock)
    try:
        with waiting(what, seconds, port=endpoint.port, cut=cut) as wait:
            connection.request(method, PATH)
            with connection.getresponse() as answer:
                status, text = answer.status, answer.read()
        if status == 204:
            return None
        told = json.loads(text)
        return Unsaved(str(told["reason"]), float(told["since"]), dict(told["changes"]), str(told["folder"]))
    except (OSError, HTTPException) as error:
        if wait.is_over or isinstance(error, TimeoutError):
            raise wait.error(RESTART) from error
        raise ServiceFailed(
            f"the AWS emulator at {endpoint} did not say that all is saved: {error or type(error).__name__}",
            hint=either(START, LOGS),
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceFailed(
            f"what answers at {endpoint} is not the AWS emulator of this checkout", hint=RESTART
        ) from error
    finally:
        connection.close()
