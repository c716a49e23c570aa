"""The program that runs as the emulator: ministack's AWS APIs on ports of the loopback address, saved as they change.

Run by its path, in a process of its own; it imports nothing of this project. ministack's own start is not used: it
looks for Docker containers to remove, runs scripts it finds under /etc, and saves at a clean stop alone.
Here the state is saved about a second after a write, by a forked child, which has a frozen copy of the memory: the
server does not pause, and a killed server loses the writes of about a second.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import hmac
import json
import os
import secrets
import sys
import time
import warnings
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

SAVE_AFTER_S = 1.0
PAUSE_PER_SAVING = 3
"""A save that took n seconds is followed by a pause of 3 n at least: at most a quarter of one core goes into saving."""
LOG_BYTES = 5_000_000
UNSAVED = "unsaved"
"""A file that exists while the last attempt to save failed."""
RUNNING = "running"
"""A file that exists while the server runs; one that is there before says that the last stop was not clean."""

STATES = {
    "DynamoDB": "dynamodb",
    "DynamoDBStreams": "dynamodb",
    "AWSCognitoIdentityProviderService": "cognito",
}
"""The service in X-Amz-Target, without version, and the state file it changes. What has no target is S3."""
READING = ("Get", "List", "Describe", "Query", "Scan", "BatchGet", "TransactGet")

DOOR = "/_localenv/cognito"
"""Where Cognito's state is fetched (GET) and replaced (PUT) whole: no API of its own can give a user a chosen sub."""
TOKEN = "token"
"""A file with the word that opens the door, new at each start. A web page can neither read it nor send the header."""
TOKEN_HEADER = b"x-localenv-token"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def main() -> None:
    """Serve until SIGTERM. Exits with 1 and a line on stderr when the saved state cannot be read."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--apis", required=True, help="as ministack names them, with commas")
    parser.add_argument("--bind", action="append", required=True, help="host:port")
    given = parser.parse_args()
    os.environ.update(ministack_settings(given.state, given.apis, given.bind))
    # Python 3.12 warns of a fork beside threads; the child only writes files, and takes no lock that a thread may hold.
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    own_folder = str(Path(__file__).resolve().parent)
    sys.path[:] = [folder for folder in sys.path if folder != own_folder]  # its neighbours are not top-level modules

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    if "dynamodb" in given.apis.split(","):
        parse_once()
    config = Config()
    config.bind = given.bind
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    try:
        asyncio.run(serve(Server(app, given.state), config))  # type: ignore[arg-type]
    except OSError as error:
        sys.exit(f"cannot serve {' and '.join(given.bind)}: {error}")


def parse_once() -> None:
    """Have ministack parse an expression once, not once an item: a query of 100,000 takes 0.4 s instead of 2.5."""
    from ministack.services import dynamodb

    for name in ("_tokenize", "_condition_syntax_error"):  # text in, tokens out; nobody changes the tokens
        setattr(dynamodb, name, functools.lru_cache(maxsize=1024)(getattr(dynamodb, name)))


def ministack_settings(state: Path, apis: str, binds: list[str]) -> dict[str, str]:
    """Give the variables that ministack reads when it is imported."""
    return {
        "SERVICES": apis,
        "GATEWAY_PORT": binds[-1].rpartition(":")[2],  # a part of the issuer in Cognito's tokens
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "LOG_LEVEL": "WARNING",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent/the-emulator-uses-no-docker",
    }


class Server:
    """An ASGI application around ministack's, which restores the state, notes writes and saves them."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], state_dir: Path) -> None:
        self.app = app
        self.store = Store(state_dir)
        self.token = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and not scope["path"].startswith("/_"):
            await self.app(scope, receive, send)
            changed = changed_state(scope)
            if changed:
                self.store.note(changed)
        elif scope["type"] == "http" and scope["path"] == DOOR and is_permitted(scope, self.token):
            await self._open_door(scope["method"], receive, send)
        elif scope["type"] == "http":  # ministack's own door, through which any local program could wipe everything
            await answer(send, 404)

    async def _open_door(self, method: str, receive: Receive, send: Send) -> None:
        if method == "GET":
            return await answer(send, 200, dump_cognito())
        refusal = load_cognito(await read_body(receive))
        self.store.note("cognito")
        return await answer(send, 400 if refusal else 204, refusal.encode())

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.store.restore()
        self.token = write_token(self.store.folder / TOKEN)
        saving = asyncio.create_task(self.store.save_changes())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        saving.cancel()
        self.store.close()
        await send({"type": "lifespan.shutdown.complete"})


class Store:
    """The state files: one JSON document a service, replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.changed: set[str] = set()
        self._woken = asyncio.Event()

    def note(self, name: str) -> None:
        self.changed.add(name)
        self._woken.set()

    def restore(self) -> None:
        """Load what was saved. A file that cannot be read is put aside and named, never overwritten."""
        from ministack.app import _get_module
        from ministack.core.persistence import load_state

        for path in sorted(self.folder.glob("*.json")):
            data = load_state(path.stem)
            if data is None:
                aside = path.with_name(f"{path.name}.unreadable-{time.time():.0f}")
                path.replace(aside)
                print(f"the saved state {path.name} cannot be read; it was put aside as {aside.name}", file=sys.stderr)
            else:
                _get_module(path.stem).load_persisted_state(data)
        for name in {*STATES.values()}:
            _get_module(name)
        (self.folder / RUNNING).write_text(str(os.getpid()))

    async def save_changes(self) -> None:
        """Save a second after a write, for as long as the server lives. Ends it when its folder is gone."""
        while True:
            try:
                await asyncio.wait_for(self._woken.wait(), timeout=SAVE_AFTER_S)
            except asyncio.TimeoutError:
                if not (self.folder / RUNNING).exists():
                    os._exit(3)
                cut_log()
                continue
            await asyncio.sleep(SAVE_AFTER_S)
            self._woken.clear()
            names, self.changed = self.changed, set()
            started = time.monotonic()
            if await self._save_in_child(names):
                (self.folder / UNSAVED).unlink(missing_ok=True)
            else:
                self._note_failure(names)
            await asyncio.sleep(PAUSE_PER_SAVING * (time.monotonic() - started))

    def _note_failure(self, names: set[str]) -> None:
        for name in names:
            self.note(name)
        with contextlib.suppress(OSError):  # the disk is full, most likely
            (self.folder / UNSAVED).touch()

    async def _save_in_child(self, names: set[str]) -> bool:
        child = self._fork_to_save(names)
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return status == 0
            await asyncio.sleep(0.02)

    def _fork_to_save(self, names: set[str]) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            hasten_saving()
            code = 0 if self._save(names) else 1
        finally:
            os._exit(code)

    def _save(self, names: set[str]) -> bool:
        """Write the state of these services; tell whether all of it is on disk (ministack only logs a failure)."""
        from ministack.app import _get_module
        from ministack.core.persistence import save_state

        good = True
        for name in sorted(names):
            path = self.folder / f"{name}.json"
            before = _identity(path)
            save_state(name, _get_module(name).get_state())
            good = good and _identity(path) != before
        return good

    def close(self) -> None:
        """Save what is not saved yet and mark the stop as clean."""
        saved = not self.changed or os.waitpid(self._fork_to_save(self.changed), 0)[1] == 0
        if saved:
            (self.folder / UNSAVED).unlink(missing_ok=True)
            (self.folder / RUNNING).unlink(missing_ok=True)


def write_token(file: Path) -> str:
    """Write a new token for the owner of the state to read."""
    token = secrets.token_urlsafe(32)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(token)
    return token


def is_permitted(scope: Scope, token: str) -> bool:
    """Tell whether a request comes from this machine, fetches or replaces, and knows the token."""
    given = next((value for name, value in scope["headers"] if name.lower() == TOKEN_HEADER), b"")
    local = (scope.get("client") or ("",))[0] in ("127.0.0.1", "::1") and scope["method"] in ("GET", "PUT")
    return local and bool(token) and hmac.compare_digest(given, token.encode())


async def read_body(receive: Receive) -> bytes:
    body, message = b"", {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def answer(send: Send, status: int, body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def dump_cognito() -> bytes:
    """Write the state of Cognito as ministack writes it to its file."""
    from ministack.core import persistence
    from ministack.services import cognito

    state = {"__ministack_format__": persistence._state_format_version("cognito"), "payload": cognito.get_state()}
    return json.dumps(state, default=persistence._json_default).encode()


def load_cognito(body: bytes) -> str:
    """Replace the state of Cognito, all of it or nothing; say why where it cannot be."""
    from ministack.core import persistence
    from ministack.services import cognito

    try:
        wrapped = json.loads(body, object_hook=persistence._json_object_hook)
        version, wanted = wrapped["__ministack_format__"], wrapped["payload"]
    except (ValueError, KeyError, TypeError):
        return "not a state of Cognito"
    before = cognito.get_state()
    if version != persistence._state_format_version("cognito"):
        return f"written in format {version}, which this emulator does not know"
    if not isinstance(wanted, dict) or wanted.keys() != before.keys():
        return "it has other parts than this emulator's state of Cognito"
    try:
        _replace_cognito(wanted)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the state of before comes back
        _replace_cognito(before)
        return f"{type(error).__name__}: {error}"
    return ""


def _replace_cognito(state: dict[str, Any]) -> None:
    from ministack.services import cognito

    for name in state:
        held = getattr(cognito, f"_{name}")
        getattr(held, "_data", held).clear()  # the scoped ones would clear a single account and region
    cognito.load_persisted_state(state)


def cut_log() -> None:
    """Empty the log, which is our stderr, when it has grown too long; it is open for appending."""
    if os.fstat(2).st_size > LOG_BYTES:
        os.ftruncate(2, 0)


def hasten_saving() -> None:
    """Drop what a saving child does not need: copies of data that nobody else changes, and JSON piece by piece."""
    import copy

    def dump(value: Any, file: Any, *, default: Callable[[Any], Any]) -> None:
        file.write(json.dumps(value, default=default))  # the C encoder; json.dump has none

    copying: Any = copy
    copying.deepcopy = lambda value, *_: value
    writing: Any = json
    writing.dump = dump


def changed_state(scope: Scope) -> str:
    """Name the state that a request may have changed; empty for a request that reads."""
    target = next((value for name, value in scope["headers"] if name.lower() == b"x-amz-target"), b"").decode("latin-1")
    service, _, operation = target.partition(".")
    if operation:
        return "" if operation.startswith(READING) else STATES.get(service.split("_")[0], "")
    return "" if scope["method"] in ("GET", "HEAD", "OPTIONS") else "s3"


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


if __name__ == "__main__":
    main()
