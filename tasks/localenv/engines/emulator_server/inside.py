"""All that this project takes from inside ministack, and nothing else: a new release of it is tried here.

ministack has no interface for a program that serves, saves and restores it; what is used here are its names, which may
change with any release. tests/engines/test_ministack_inside.py has a test for each piece, and says what breaks without.

To move to a newer release:

1. Set the version in pyproject.toml and make the locks (`./inv lint` says where one is stale).
2. Run `./inv test -- tests/engines/test_ministack_inside.py`. Each failing test names a piece: mend it in this file.
3. Run `./inv test -- tests/engines`, which uses it as commands do, and start it once on a copy of an old state folder:
   what was saved must be there.
"""

from __future__ import annotations

import copy
import functools
import importlib
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, cast

Scope = MutableMapping[str, Any]

PACKAGE = "ministack"
FORMAT, PAYLOAD = "__ministack_format__", "payload"
"""How a saved state is wrapped: the version of its format, and what it holds."""

STATES = {
    "DynamoDB": "dynamodb",
    "DynamoDBStreams": "dynamodb",
    "AWSCognitoIdentityProviderService": "cognito",
}
"""The service in X-Amz-Target, without version, and the module whose state it changes. What has no target is S3."""
READING = ("Get", "List", "Describe", "Query", "Scan", "BatchGet", "TransactGet")
SIGN_IN = ("/oauth2/", "/login", "/logout", "/signup", "/confirm", "/forgot", "/reset")
"""Paths of Cognito's pages for signing in, which have no target."""
OWN_PATHS = "/_"
"""How the paths of its administration begin, through which any local program could wipe everything."""


def settings(state: Path, apis: str, port: str) -> dict[str, str]:
    """Return the variables that it reads when it is imported. Its own saving stays off: see saving.py."""
    return {
        "SERVICES": apis,
        "GATEWAY_PORT": port,  # a part of the issuer in Cognito's tokens
        "PERSIST_STATE": "0",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "LOG_LEVEL": "WARNING",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent/the-emulator-uses-no-docker",
    }


def application() -> Any:
    """Return its ASGI application. Its lifespan is not used: it looks for Docker and runs scripts under /etc."""
    return importlib.import_module(f"{PACKAGE}.app").app


def changed_state(scope: Scope) -> str:
    """Name the state that a request may have changed; empty for a request that reads."""
    target = next((value for name, value in scope["headers"] if name.lower() == b"x-amz-target"), b"").decode("latin-1")
    service, _, operation = target.partition(".")
    if operation:
        return "" if operation.startswith(READING) else STATES.get(service.split("_")[0], "")
    if scope["path"].startswith(SIGN_IN):
        return "cognito"
    return "" if scope["method"] in ("GET", "HEAD", "OPTIONS") else "s3"


def parse_once() -> None:
    """Have it parse an expression once, not once an item: a query of 100,000 takes 0.4 s instead of 2.5."""
    dynamodb = _module("dynamodb")
    for name in ("_tokenize", "_condition_syntax_error"):  # text in, tokens out; nobody changes the tokens
        setattr(dynamodb, name, functools.lru_cache(maxsize=1024)(getattr(dynamodb, name)))


def dump(name: str) -> bytes:
    """Write the state of a module as it writes it to a file itself."""
    persistence = _persistence()
    state = {FORMAT: persistence._state_format_version(name), PAYLOAD: _module(name).get_state()}
    # json.dumps, which has an encoder in C; it uses json.dump itself, which has none.
    return json.dumps(state, default=persistence._json_default).encode()


def parse(name: str, text: bytes) -> Any:
    """Read what `dump` wrote, of this release or an earlier one. Raises ValueError for all else."""
    persistence = _persistence()
    try:
        wrapped = json.loads(text, object_hook=persistence._json_object_hook)
        version, state = wrapped[FORMAT], wrapped[PAYLOAD]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a state of {name}") from error
    if not isinstance(version, int) or version > persistence._state_format_version(name):
        raise ValueError(f"written in format {version}, which this emulator does not know")
    if not isinstance(state, dict):
        raise ValueError(f"not a state of {name}")
    return state


def restore(name: str, text: bytes) -> None:
    """Load a saved state into a module that has none yet. Raises ValueError for what it does not take."""
    state = parse(name, text)
    try:
        _module(name).load_persisted_state(state)
    except Exception as error:  # whatever is wrong with it, it is put aside
        raise ValueError(f"{type(error).__name__}: {error}") from error


def load() -> None:
    """Import what is imported at the first request otherwise."""
    for name in sorted({*STATES.values()}):
        _module(name)


def replace_cognito(text: bytes) -> None:
    """Replace the state of Cognito, all of it or nothing. Raises ValueError with the reason."""
    wanted, before = parse("cognito", text), _module("cognito").get_state()
    if wanted.keys() != before.keys():
        raise ValueError("it has other parts than this emulator's state of Cognito")
    try:
        _put_cognito(wanted)
    except Exception as error:  # whatever is wrong with it, the state of before comes back
        _put_cognito(before)
        raise ValueError(f"{type(error).__name__}: {error}") from error


def copy_nothing() -> None:
    """Let a process that only saves and ends dump without the copies that a server needs: half of the time."""
    module: Any = copy
    module.deepcopy = lambda value, *_: value


def write_objects() -> bool:
    """Write the objects of S3 that could not be written when they came; return whether all of them are on disk.

    It writes each as it comes, and of one that it cannot write it logs a line and keeps the body.
    """
    s3 = _module("s3")
    responses = importlib.import_module(f"{PACKAGE}.core.responses")
    good = True
    for (account, bucket), held in list(s3._buckets._data.items()):
        for key, found in list(held.get("objects", {}).items()):
            if isinstance(found, dict) and found.get("body") is not None:
                responses.set_request_account_id(account)
                s3._persist_object(bucket, key, found)
                good = good and found.get("body") is None
    return good


def users_of(state: bytes) -> list[tuple[str, str, str]]:
    """List pool id, username and sub of every user in a state of Cognito, sorted. Raises ValueError for no state."""
    found = []
    try:
        for pool in _pools(json.loads(state)):
            for username, user in pool["_users"].items():
                subs = [each.get("Value", "") for each in user.get("Attributes", ()) if each.get("Name") == "sub"]
                found.append((str(pool["Id"]), str(username), "".join(subs)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no state of Cognito") from error
    return sorted(found)


def renamed(state: bytes, former: str, name: str) -> bytes:
    """Return a state in which the pools called `former`, after the project that saved it, have the name of this one."""
    data = json.loads(state)
    for pool in _pools(data):
        if pool.get("Name") == former:
            pool["Name"] = name
    return json.dumps(data).encode()


def _pools(data: Any) -> list[dict[str, Any]]:
    try:
        found = list(data[PAYLOAD]["user_pools"]["data"].values())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("no state of Cognito") from error
    if not all(isinstance(pool, dict) for pool in found):
        raise ValueError("no state of Cognito")
    return found


def _put_cognito(state: dict[str, Any]) -> None:
    cognito = _module("cognito")
    for name in state:
        held = getattr(cognito, f"_{name}")
        getattr(held, "_data", held).clear()  # the scoped ones would clear a single account and region
    cognito.load_persisted_state(state)


def _module(name: str) -> Any:
    """Import one of its services, the very module that its application uses."""
    return importlib.import_module(f"{PACKAGE}.services.{name}")


def _persistence() -> Any:
    return cast("Any", importlib.import_module(f"{PACKAGE}.core.persistence"))
