"""Connection parameters for libpq, all passed by name, in this process and to its clients; none left to its defaults.

libpq takes what a caller omits from the variables PG*, and PGSERVICE overrides even what the caller passes (tried). So
these variables are removed from this process before it connects.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..settings.addresses import OPTIONS

if TYPE_CHECKING:
    from ..settings.addresses import PostgresAddress

PREFIX = "PG"
SECURITY = ("PGSSL", "PGREQUIRE", "PGCHANNEL", "PGGSS", "PGKRB")
"""Prefixes of the variables that protect a connection: on production none of these may be ignored."""

_removed: dict[str, str] = {}
_removing = threading.Lock()


def remove_variables() -> Mapping[str, str]:
    """Remove libpq's variables from this process, and return those that the user had set."""
    with _removing:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            _removed[name] = os.environ.pop(name)
        return dict(_removed)


def parameters(address: PostgresAddress, addresses: tuple[str, ...], database: str | None = None) -> dict[str, Any]:
    """Return psycopg's connection parameters for this database, or another one on the same server.

    `addresses` are the host's: libpq tries them in turn, and uses the host for TLS.
    """
    return {
        "host": ",".join([address.host] * len(addresses)),
        "hostaddr": ",".join(addresses),
        "port": address.port,
        "user": address.user,
        **({"password": address.password} if address.password else {}),
        "dbname": address.database if database is None else database,
        **dict(address.options),
    }


def environment(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables that pass connection parameters to psql, pgcli and pg_dump.

    `ps` would show arguments, and psql reads a database name that contains = as connection parameters.
    """
    names = variables()
    return {names[keyword]: str(value) for keyword, value in parameters.items() if keyword in names}


def variables() -> dict[str, str]:
    """Return the variable of each libpq connection parameter that has one."""
    from psycopg import pq

    found = {option.keyword.decode(): (option.envvar or b"").decode() for option in pq.Conninfo.get_defaults()}
    return {keyword: name for keyword, name in found.items() if name}


def security_parameters(given: Mapping[str, str]) -> dict[str, str]:
    """Return the user's variables that protect a connection, as connection parameters.

    Raises UsageError for one that this libpq does not support: it would protect nothing.
    """
    keywords = {name: keyword for keyword, name in variables().items()}
    found: dict[str, str] = {}
    for name, value in given.items():
        if name == "PGREQUIRESSL":  # before 8.0; libpq docs, "Environment Variables"
            found.setdefault("sslmode", "require" if value.startswith("1") else "prefer")
        elif name.startswith(SECURITY) and value:
            if keywords.get(name) not in OPTIONS | {"requirepeer"}:
                raise UsageError(f"{name} is set, but this libpq does not support it", hint=f"unset {name}")
            found[keywords[name]] = value
    return found
