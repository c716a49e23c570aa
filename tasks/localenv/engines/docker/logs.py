"""The log of a service's container as streamed by the engine, across restarts and new containers."""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPResponse

from ...errors import LocalEnvError
from ..service import LogLine
from .api import Container, DockerApi, epoch_s
from .composemessages import clean

ATTACH_EVERY_S = 0.5
CHUNK = 1 << 16


@dataclass
class ContainerSource:
    """The log of the newest container of a Compose service. A thread reads the stream; `read` supervises it."""

    name: str
    api: DockerApi
    project: str
    compose_service: str
    lines: int
    _new: queue.SimpleQueue[LogLine] = field(default_factory=queue.SimpleQueue)
    _reader: threading.Thread | None = None
    _attached: str = ""
    _seen: str = ""
    _alive: bool | None = None
    _started: float = 0
    _due: float = 0

    def read(self) -> list[LogLine]:
        found = self._drained()
        reads = self._reader is not None and self._reader.is_alive()
        if not reads and time.monotonic() >= self._due:
            found += [*self._drained(), *self._attach()]
            self._due = time.monotonic() + ATTACH_EVERY_S
        return found

    def _drained(self) -> list[LogLine]:
        found = []
        while not self._new.empty():
            found.append(self._new.get())
        return found

    def _attach(self) -> list[LogLine]:
        """Follow a running container, or show the last lines of a stopped one once; return changes of its state."""
        container = self._container()
        alive = container is not None and container.is_alive
        is_first = self._alive is None
        found = self._events(container, alive=alive)
        if container and (alive or is_first):
            self._follow(container, follow=alive)
        return found if alive else [*self._drained(), *found]

    def _events(self, container: Container | None, *, alive: bool) -> list[LogLine]:
        before, self._alive = self._alive, alive
        started, self._started = self._started, self._started_at(container) if container and alive else 0
        restarted = alive and before and 0 < started < self._started
        if (alive == before and not restarted) or (alive and before is None):
            return []
        code = container.exit_code if container and before else None
        word = "ended, and runs again" if restarted else "runs" if alive else "ended" if before else "does not run"
        return [LogLine(self.name, word + ("" if code is None else f" with exit code {code}"), is_event=True)]

    def _container(self) -> Container | None:
        try:
            ours = [c for c in self.api.containers(self.project) if c.service == self.compose_service]
        except LocalEnvError:
            return None
        return ours[-1] if ours else None

    def _started_at(self, container: Container) -> float:
        try:
            return self.api.started_at(container)
        except LocalEnvError:
            return 0

    def _follow(self, container: Container, *, follow: bool) -> None:
        query = {"stdout": "1", "stderr": "1", "timestamps": "1", "follow": str(int(follow))}
        if not self._attached:
            query["tail"] = str(self.lines)
        elif container.id == self._attached and self._seen:
            query["since"] = f"{epoch_s(self._seen):.0f}.{self._seen[20:29]}"
        else:
            self._seen = ""  # a newer container is shown from its beginning
        self._attached = container.id
        pump = partial(self._pump, container.id, query)
        if not follow:
            pump()
            return
        self._reader = threading.Thread(target=pump, daemon=True)
        self._reader.start()

    def _pump(self, container_id: str, query: dict[str, str]) -> None:
        before = self._seen
        try:
            with self.api.stream(
                f"/containers/{container_id}/logs", is_endless=query["follow"] == "1", **query
            ) as answer:
                for line in _lines(answer):
                    when, _, text = line.partition(" ")
                    if when > before:  # `since` includes the last line already shown
                        self._seen = max(self._seen, when)
                        self._new.put(LogLine(self.name, clean(text)))
        except LocalEnvError:
            pass  # the next read reports the container's state


def _lines(answer: HTTPResponse) -> Iterator[str]:
    """Yield the lines of a log stream: stdout and stderr in frames, or raw with a terminal (tty: true).

    A frame is one byte for the stream, three zeros, the length in four, the content. Source: Docker Engine API,
    "Attach to a container". A raw line begins with its timestamp's year, which distinguishes the two.
    """
    buffer = b""
    rest = {0: b"", 1: b"", 2: b""}
    while chunk := answer.read1(CHUNK):
        buffer += chunk
        while buffer:
            if buffer[0] > 2:
                kind, content, buffer = 0, buffer, b""
            elif len(buffer) < 8 or len(buffer) < 8 + struct.unpack_from(">I", buffer, 4)[0]:
                break
            else:
                size = struct.unpack_from(">I", buffer, 4)[0]
                kind, content, buffer = buffer[0], buffer[8 : 8 + size], buffer[8 + size :]
            *whole, rest[kind] = (rest[kind] + content).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
    yield from (line.decode(errors="replace") for line in rest.values() if line)
