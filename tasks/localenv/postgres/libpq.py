"""What libpq is told: every part of an address by name, to this process and to its clients, nothing by the environment.

libpq fills what a caller leaves out from the variables PG*, and PGSERVICE beats even what the caller says (tried). So
these variables are taken out of this process before it connects.
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
"""Variables that say how a connection is protected begin so: on production none of them may fall away."""

_taken: dict[str, str] = {}
_taking = threading.Lock()


def seclude() -> Mapping[str, str]:
    """Take libpq's variables out of this process, and return those that the user had set."""
    with _taking:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            _taken[name] = os.environ.pop(name)
        return dict(_taken)


def parameters(address: PostgresAddress, addresses: tuple[str, ...], database: str | None = None) -> dict[str, Any]:
    """Return psycopg's connection parameters for this database, or another one on the same server.

    `addresses` are those behind the host: libpq tries them in turn, and keeps the host for TLS.
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
    """Return the variables by which psql, pgcli and pg_dump get connection parameters.

    Nothing of them stands in the arguments, which `ps` shows, and where `psql` takes a name with = for a whole URL.
    """
    names = variables()
    return {names[keyword]: str(value) for keyword, value in parameters.items() if keyword in names}


def variables() -> dict[str, str]:
    """Return the variable for each connection parameter of libpq's that has one."""
    from psycopg import pq

    found = {option.keyword.decode(): (option.envvar or b"").decode() for option in pq.Conninfo.get_defaults()}
    return {keyword: name for keyword, name in found.items() if name}


def security_parameters(given: Mapping[str, str]) -> dict[str, str]:
    """Return what the user's variables say of how a connection is protected, as connection parameters.

    Raises UsageError for one that this libpq does not know: it would protect nothing.
    """
    keywords = {name: keyword for keyword, name in variables().items()}
    found: dict[str, str] = {}
    for name, value in given.items():
        if name == "PGREQUIRESSL":  # before 8.0; libpq docs, "Environment Variables"
            found.setdefault("sslmode", "require" if value.startswith("1") else "prefer")
        elif name.startswith(SECURITY) and value:
            if keywords.get(name) not in OPTIONS | {"requirepeer"}:
                raise UsageError(f"{name} is set, and this libpq does not know it", hint=f"unset {name}")
            found[keywords[name]] = value
    return found
