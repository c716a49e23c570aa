"""The emulator's ASGI application, the same for every port: the gate, then ministack or an endpoint of our own."""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import secrets
import sys
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from . import TOKEN, inside
from .gate import Gate, Headers, Scope, is_from_browser
from .saving import Store, close_to_others, save_table
from .trigger import Trigger

COGNITO = "/_localenv/cognito"
"""The endpoint to fetch (GET) and replace (PUT) all of Cognito's state: no Cognito API sets a user's sub."""
FUNCTION = "/_localenv/function"
"""The endpoint of the variables of the app's function: their hash (GET), or others from now on (PUT)."""
TABLES = "/_localenv/tables"
"""The endpoint that says that tables go through it (GET), and that writes one to a file or replaces it by one (PUT)."""
SAVE = "/_localenv/save"
"""The endpoint that reports whether all is on disk (GET), or tries to save first (POST)."""
TOKEN_HEADER = b"x-localenv-token"
UNSAVED_HEADER = b"x-localenv-unsaved"
"""In an answer: the number of unsaved changes, if any."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def main() -> None:
    """Serve until SIGTERM. Exits with 1 and a line on stderr when an address is taken."""
    given = _arguments()
    os.umask(0o077)  # the state contains passwords and keys
    close_to_others(given.state)
    os.environ.update(inside.settings(given.state, given.apis, given.bind[-1].rpartition(":")[2]))
    # Python 3.12 warns of a fork with threads; the child only writes files, and takes no lock that a thread may hold.
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)

    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    app = inside.application()
    if "dynamodb" in given.apis.split(","):
        inside.parse_once()
    known = {name: os.environ[name] for name in ("CONNECTION_URL",) if name in os.environ}
    trigger = Trigger(given.confirmed, known)
    if "cognito-idp" in given.apis.split(","):
        inside.as_aws(trigger)
    config = Config()
    config.bind = given.bind
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    gate = Gate(given.hosts.split(","), given.origins.split(","))
    try:
        asyncio.run(serve(Server(app, given.state, gate, trigger), config))  # type: ignore[arg-type]
    except OSError as error:
        sys.exit(f"cannot serve {' and '.join(given.bind)}: {error}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--apis", required=True, help="as ministack names them, with commas")
    parser.add_argument("--hosts", required=True, help="names of this machine besides loopback ones, with commas")
    parser.add_argument("--origins", required=True, help="origins whose pages may ask, with commas; loopback: all here")
    parser.add_argument("--confirmed", type=Path, required=True, help="the file of the post confirmation function")
    parser.add_argument("--bind", action="append", required=True, help="host:port")
    return parser.parse_args()


class Server:
    """An ASGI application around ministack's that applies the gate, restores the state, and notes and saves changes."""

    def __init__(self, app: App, state_dir: Path, gate: Gate, trigger: Trigger) -> None:
        self.app = app
        self.trigger = trigger
        self.gate = gate
        self.store = Store(state_dir)
        self.token = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._live(receive, send)
        refusal = self.gate.refuse(scope)
        if refusal and scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # not accepted: the answer is 403
        elif refusal:
            await refuse(send, refusal.status, refusal.text)
        elif scope["path"].lstrip("/").startswith(inside.OWN_PATHS.lstrip("/")):
            await self._serve_own_endpoint(scope, receive, send)
        elif (headers := self.gate.preflight(scope)) is not None:
            await answer(send, 204, headers=headers)
        else:
            await self._serve(scope, receive, send)
        return None

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request to ministack. Its change is noted before the answer goes out, for the next caller to see."""
        changed = inside.changed_state(scope)

        async def marked(message: Any) -> None:
            nonlocal changed
            if message["type"] == "http.response.start":
                if changed:
                    self.store.note(changed)
                changed = ""
                headers = self.gate.mark(scope, message.get("headers", ()))
                message = {**message, "headers": [*headers, *self._unsaved()]}
            await send(message)

        try:
            await self.app(scope, receive, marked)
        finally:
            if changed:
                self.store.note(changed)

    def _unsaved(self) -> Headers:
        count = self.store.changes.total()
        return [(UNSAVED_HEADER, str(count).encode())] if count else []

    async def _serve_own_endpoint(self, scope: Scope, receive: Receive, send: Send) -> None:
        if is_from_browser(scope) or not is_from_here(scope):
            await answer(send, 404)
        elif scope["path"] == SAVE and scope["method"] in ("GET", "POST"):
            await self._report_saved(scope["method"], send)
        elif scope["path"] == COGNITO and is_permitted(scope, self.token):
            await self._exchange_cognito(scope["method"], receive, send)
        elif scope["path"] == TABLES and is_permitted(scope, self.token):
            await self._exchange_table(scope["method"], receive, send)
        elif scope["path"] == FUNCTION and is_permitted(scope, self.token):
            await self._exchange_variables(scope["method"], receive, send)
        else:  # ministack's own endpoints among them
            await answer(send, 404)

    async def _report_saved(self, method: str, send: Send) -> None:
        failure = await self.store.save() if method == "POST" else self.store.failure
        if failure is None:
            return await answer(send, 204)
        told = {**vars(failure), "changes": dict(self.store.changes), "folder": str(self.store.folder)}
        return await answer(send, 507, json.dumps(told).encode())

    async def _exchange_cognito(self, method: str, receive: Receive, send: Send) -> None:
        if method == "GET":
            return await answer(send, 200, inside.dump("cognito"))
        try:
            inside.replace_cognito(await read_body(receive))
        except ValueError as error:
            return await answer(send, 400, str(error).encode())
        self.store.note("cognito")
        return await answer(send, 204, headers=self._unsaved())

    async def _exchange_table(self, method: str, receive: Receive, send: Send) -> None:
        """Answer with the number of items of a table that was written or replaced."""
        if method == "GET":
            return await answer(send, 204)
        try:
            asked = json.loads(await read_body(receive))
            region, name, path = str(asked["region"]), str(asked["table"]), Path(asked["file"])
            if asked["way"] == "out":
                items, reason = inside.require_table(region, name), await save_table(region, name, path)
            else:
                items, reason = inside.replace_table(region, name, path.read_bytes()), ""
                self.store.note("dynamodb")
        except (ValueError, TypeError, KeyError, OSError) as error:
            return await answer(send, 400, f"{type(error).__name__}: {error}".encode())
        if reason:
            return await answer(send, 400, reason.encode())
        return await answer(send, 200, json.dumps({"items": items}).encode(), headers=self._unsaved())

    async def _exchange_variables(self, method: str, receive: Receive, send: Send) -> None:
        if method == "GET":
            return await answer(send, 200, self.trigger.digest.encode())
        try:
            self.trigger.variables = dict(json.loads(await read_body(receive)))
        except (ValueError, TypeError) as error:
            return await answer(send, 400, str(error).encode())
        return await answer(send, 204)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.store.restore()
        self.token = write_token(self.store.folder / TOKEN)
        saving = asyncio.create_task(self.store.run())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        saving.cancel()
        self.store.close()
        await send({"type": "lifespan.shutdown.complete"})


def write_token(file: Path) -> str:
    """Write a new token that only the state's owner can read."""
    token = secrets.token_urlsafe(32)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(token)
    return token


def is_from_here(scope: Scope) -> bool:
    """Return whether a request comes from this machine."""
    return (scope.get("client") or ("",))[0] in ("127.0.0.1", "::1")


def is_permitted(scope: Scope, token: str) -> bool:
    """Return whether a request fetches or replaces, and has the token."""
    given = [value for name, value in scope["headers"] if name.lower() == TOKEN_HEADER]
    known = bool(token) and len(given) == 1 and hmac.compare_digest(given[0], token.encode())
    return known and scope["method"] in ("GET", "PUT")


async def read_body(receive: Receive) -> bytes:
    body, message = b"", {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


async def refuse(send: Send, status: int, text: str) -> None:
    """Answer in the form of AWS's errors, which every SDK shows; no page can read it."""
    body = json.dumps({"__type": "AccessDeniedException", "message": text}).encode()
    await answer(send, status, body, headers=[(b"connection", b"close"), (b"vary", b"Origin")])


async def answer(send: Send, status: int, body: bytes = b"", *, headers: Headers | None = None) -> None:
    own = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    own = own if body else own[1:] if status != 204 else []
    own += [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": [*own, *(headers or [])]})
    await send({"type": "http.response.body", "body": body})
