"""What is in a saved state of Cognito: its pools and their users. Knows the form of the file alone."""

from __future__ import annotations

import json
from typing import Any

PAYLOAD = "payload"
"""Where ministack's wrapper of a saved state has the contents."""


def names_of(state: bytes) -> dict[tuple[str, str], str]:
    """Return a name to show of every user in Cognito's state, by pool id and username: the e-mail address if any."""
    found = {}
    for pool in _pools(json.loads(state)):
        for username, user in pool["_users"].items():
            given = {each.get("Name"): each.get("Value", "") for each in user.get("Attributes", ())}
            found[str(pool["Id"]), str(username)] = str(given.get("email") or username)
    return found


def users_of(state: bytes) -> list[tuple[str, str, str]]:
    """List pool id, username and sub of every user in Cognito's state, sorted. Raises ValueError if it is invalid."""
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
    """Return a state with its pools called `former`, the project that saved it, renamed to `name`."""
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
