"""A process that has all modules loaded, and forks for each command: most of what a command costs is their loading.

The child runs tasks.py as `python -m invoke` does. Variables that are read at the start of Python, or while a module is
loaded, come too late here: `needs_own_python` names them. What a command loads, tests/project/test_imports.py holds.

    command = warm.start(words, environ, cwd, stdin, stdout, stderr); code = command.wait(seconds)
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TOO_LATE = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC", "LOCALENV_APP")
LIBRARIES = ("botocore.session", "dotenv", "psycopg", "yaml")
LENGTH = 8
TOOL = Path(__file__).parents[2]


def needs_own_python(environ: Mapping[str, str]) -> bool:
    """Return whether a variable acts on the start of Python or of a module, whose time is over here."""
    return any(name.startswith(TOO_LATE) for name in environ)


@dataclass
class Command:
    """A command that runs. `wait` returns its exit code as subprocess does: minus the signal that ended it."""

    answers: socket.socket

    def wait(self, seconds: float) -> int:
        """Wait for the end. Raises TimeoutError, and kills it, when that takes longer."""
        self.answers.settimeout(seconds)
        with self.answers:
            pid = int(self.answers.recv(LENGTH))
            try:
                return int(self.answers.recv(LENGTH))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise


def start(words: Sequence[str], environ: Mapping[str, str], cwd: str, streams: Sequence[IO[bytes]]) -> Command:
    """Start `inv WORDS` in a fork; `streams` become its stdin, stdout and stderr."""
    answers = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    answers.connect(_server())
    request = json.dumps({"words": [*words], "environ": {**environ}, "cwd": cwd}).encode()
    socket.send_fds(answers, [request], [stream.fileno() for stream in streams])
    return Command(answers)


_servers: dict[int, subprocess.Popen[bytes]] = {}
"""The server of this process, by pid: one that was forked has to start its own."""


def _server() -> str:
    pid = os.getpid()
    address = f"\0localenv-warm-{pid}"
    if pid not in _servers:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(address)
            listener.listen(64)
            environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
            command = [sys.executable, __file__, str(listener.fileno()), str(pid)]
            _servers[pid] = subprocess.Popen(
                command, env=environ, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL
            )
        atexit.register(_servers[pid].kill)
    return address


class Server:
    """Accepts requests, forks for each, and answers with the pid and then with the exit code."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.running: dict[int, socket.socket] = {}
        self.woken, self.wake = os.pipe()
        os.set_blocking(self.wake, False)

    def serve(self, parent: int) -> Request | None:
        """Serve until the parent is gone; in a child, return what it is to run."""
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.wake)
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            selector.register(self.woken, selectors.EVENT_READ)
            while os.getppid() == parent:
                for key, _ in selector.select(timeout=1):
                    if key.fileobj is not self.listener:
                        os.read(self.woken, 4096)
                        self.answer_ended()
                    elif request := self.accept():
                        return request
        return None

    def accept(self) -> Request | None:
        answers, _ = self.listener.accept()
        data, streams, _, _ = socket.recv_fds(answers, 1 << 20, 3)
        pid = os.fork()
        if pid == 0:
            self.forget(answers)
            return Request(**json.loads(data), streams=streams)
        for stream in streams:
            os.close(stream)
        self.running[pid] = answers
        answers.send(str(pid).encode())
        return None

    def answer_ended(self) -> None:
        while self.running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            with self.running.pop(pid) as answers, contextlib.suppress(OSError):
                answers.send(str(os.waitstatus_to_exitcode(status)).encode())

    def forget(self, answers: socket.socket) -> None:
        """Close in the child what is the server's."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for held in (self.listener, answers, *self.running.values()):
            held.close()
        os.close(self.woken)
        os.close(self.wake)


@dataclass
class Request:
    """What a child is to run."""

    words: list[str]
    environ: dict[str, str]
    cwd: str
    streams: list[int]

    def run(self) -> None:
        """Become `python -m invoke WORDS`."""
        for number, stream in enumerate(self.streams):
            os.dup2(stream, number)
            os.close(stream)
        coerced = {name: os.environ[name] for name in ("LC_CTYPE",) if name in os.environ}  # by Python, PEP 538
        os.environ.clear()
        os.environ.update(coerced | self.environ)
        os.chdir(self.cwd)
        time.tzset()
        sys.stdin = open(0, encoding=sys.stdin.encoding, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
        sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]
        sys.argv[1:] = self.words
        sys.path[0] = self.cwd
        runpy.run_module("invoke", run_name="__main__", alter_sys=True)


def load() -> None:
    """Load what commands load."""
    import invoke.main  # noqa: F401

    sys.path[0] = str(TOOL)
    package = importlib.import_module("tasks")
    for found in pkgutil.walk_packages(package.__path__, "tasks."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    for name in LIBRARIES:
        importlib.import_module(name)


def main() -> None:
    load()
    descriptor, parent = map(int, sys.argv[1:])
    gc.freeze()
    request = Server(socket.socket(fileno=descriptor)).serve(parent)
    if request:
        request.run()


if __name__ == "__main__":
    main()
