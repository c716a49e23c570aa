"""Connections to Postgres, and psycopg's errors as ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, ServiceFailed

if TYPE_CHECKING:
    import psycopg

    from ..addresses import PostgresAddress

APPLICATION = "localenv"
"""application_name of our own sessions, so that db.sessions can tell them apart."""


def connect(
    address: PostgresAddress, *, database: str | None = None, autocommit: bool = False
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection to the address's database, or to another one on the same server.

    Raises ServiceFailed when nobody answers within 5 s, LocalEnvError when the server refuses.
    """
    import psycopg

    keywords: dict[str, Any] = {"connect_timeout": 5, "application_name": APPLICATION, **address.keywords(database)}
    try:
        return psycopg.connect(autocommit=autocommit, **keywords)
    except psycopg.OperationalError as error:
        where = f"{address.host}:{address.port}/{keywords['dbname']}"
        text = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        if "does not exist" in text:
            raise LocalEnvError(f"postgres {where}: {text}", hint="run `inv db.setup`") from error
        raise ServiceFailed(f"postgres {where}: {text}", hint="run `inv env.up`, or `inv doctor`") from error
