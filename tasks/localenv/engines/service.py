"""Types shared by the engines: a service, its observed state, and the programs that provide it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from ..errors import TimedOut
from ..hints import LOGS, either
from ..machine.jsonvalues import iso_time

ServiceName = Literal["postgres", "dynamodb", "cognito"]
Status = Literal["running", "starting", "stopped", "failed", "ended"]
"""ended: a container of the compose file that had something to do once, and did it."""
Say = Callable[[str], None]
"""Takes one line of progress, without a newline."""


@dataclass(frozen=True)
class ServiceState:
    """The observed state of a service.

    `service` is a ServiceName, or what the compose file calls another one. `address` is host:port.
    `version` names the program ("PostgreSQL 18.4"). `detail` is a sentence for a human:
    why it failed, or that it was stopped uncleanly. `holder` is its process ("pid 4711") or container.
    `since` is the time of its start in seconds since the epoch, 0 when it does not run or that is unknown.
    """

    service: str
    status: Status
    address: str
    version: str = ""
    detail: str = ""
    holder: str = ""
    since: float = 0

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "since": iso_time(self.since)}

    @property
    def is_down(self) -> bool:
        """Return whether it should run, and does not."""
        return self.status not in ("running", "ended")


@dataclass
class Deadline:
    """A point in time by which waits must end."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        return self.started + self.seconds - time.monotonic()

    def check(self, waiting_for: str, why: str = "") -> None:
        """Raise TimedOut after the deadline; `why` is added if known."""
        if self.left_s <= 0:
            raise TimedOut(
                f"{waiting_for} did not become ready within {self.seconds:.0f} s{f': {why}' if why else ''}",
                hint=either(LOGS, "run the same command again"),
            )


@dataclass(frozen=True)
class LogLine:
    """A line that services wrote; with `is_event`, a line about their state. `source` names the services."""

    source: str
    text: str
    is_event: bool = False


class Source(Protocol):
    """A growing log: of one service, or of several that one program provides."""

    @property
    def name(self) -> str:
        """Return the names of its services."""
        ...

    def read(self) -> list[LogLine]:
        """Return the lines written since the last call, without waiting."""
        ...


class ItemStore(Protocol):
    """The file that DynamoDB Local keeps all items in (dynamodb/rows.py), wherever it is."""

    def copied(self) -> AbstractContextManager[Path]:
        """Give the file, or a copy, to read as it is at one instant."""
        ...

    def changed(self) -> AbstractContextManager[Path]:
        """Give the file, or a copy, to write to. The server has what is written afterwards, all of it or nothing."""
        ...


class Component(Protocol):
    """A program, or a group of containers, that provides one or more services.

    An engine is a set of components; they are started and stopped side by side.
    """

    @property
    def services(self) -> tuple[ServiceName, ...]:
        """Return the services that it provides."""
        ...

    def look(self) -> list[ServiceState]:
        """Return the state of each service, by a protocol probe and the owner of the process. Short; changes nothing.

        "running" means: the probe is answered and the process is this project's.
        """
        ...

    def start(self, deadline: Deadline, say: Say) -> list[ServiceState]:
        """Start what does not run and return once all of it is ready.

        Raises ServiceFailed within a second of a death (exit code, last 20 log lines as evidence, hint),
        PreflightFailed when a port is taken (its holder named), TimedOut at the deadline.
        """
        ...

    def stop(self, say: Say) -> None:
        """Stop it and keep its data. Does nothing when it does not run."""
        ...

    def owned_resources(self) -> list[str]:
        """List what `destroy` would remove: folders, volumes, containers. Empty when there is nothing."""
        ...

    def destroy(self, say: Say) -> None:
        """Stop it and remove its data and everything else that it created."""
        ...

    def logs(self, service: str, lines: int = 20) -> str:
        """Return the last lines that the service wrote, oldest first."""
        ...

    def sources(self, services: Sequence[str], lines: int) -> list[Source]:
        """Return the logs of the wanted services that it provides, to follow from `lines` before their end."""
        ...
