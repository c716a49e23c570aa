"""What the components share that are a daemon with its folders: removal, log and what they own.

A base class, although the project has no others: PostgreSQL, the emulator and DynamoDB Local had these four methods
word for word.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..checkout import ownership
from .daemon import Daemon, owned
from .following import file_source
from .service import Say, ServiceName, Source


class DaemonComponent(ABC):
    """A component that is one daemon. `folder` holds its data."""

    services: tuple[ServiceName, ...]
    daemon: Daemon
    folder: Path

    @abstractmethod
    def stop(self, say: Say) -> None:
        """Stop it and keep its data."""

    def owned_folders(self) -> Mapping[Path, ownership.Made]:
        """Return the existing folders that hold its data, each with its kind."""
        return {self.folder: ownership.FOLDERS[self.folder.name]} if ownership.is_ours(self.folder) else {}

    def owned_resources(self) -> list[str]:
        return owned(self.daemon, self.owned_folders())

    def destroy(self, say: Say) -> None:
        self.stop(say)
        for place, kind in self.owned_folders().items():
            ownership.remove(place, say, kind)

    def logs(self, service: str, lines: int = 20) -> str:
        return self.daemon.tail(lines)

    def sources(self, services: Sequence[str], lines: int) -> list[Source]:
        return file_source(self.daemon, [service for service in self.services if service in services], lines)
