"""Connections whose waits are told, end inside a look, and that say so where they are lost over a commit."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import ServiceFailed
from ..hints import RESTART
from ..machine.waiting import hang_up, waiting

if TYPE_CHECKING:
    import psycopg

LOOKS_FIRST = "run the same command again: it looks first and does what is missing"


def port_here(conn: psycopg.Connection[Any]) -> int:
    """Return the port of a connection to a server on this machine, 0 for any other."""
    import psycopg

    try:
        return conn.info.port if conn.info.hostaddr.startswith("127.") or conn.info.hostaddr == "::1" else 0
    except psycopg.OperationalError:  # it is closed
        return 0


@cache
def connection_class() -> type[psycopg.Connection[tuple[Any, ...]]]:
    """Make the class of this project's connections, when psycopg is needed."""
    import psycopg

    class WatchedConnection(psycopg.Connection[tuple[Any, ...]]):
        """A connection that says what it waits for. Raises TimedOut inside a look."""

        def wait(self, gen: Any, *arguments: Any, **keywords: Any) -> Any:
            with waiting(self._server, port=port_here(self), cut=self._hang_up) as wait:
                try:
                    return super().wait(gen, *arguments, **keywords)
                except psycopg.OperationalError as error:
                    if wait.is_over:
                        raise wait.error(RESTART) from error
                    raise

        def commit(self) -> None:
            """Commit. Raises ServiceFailed where the connection is lost over it, as nobody knows what became of it."""
            try:
                super().commit()
            except psycopg.OperationalError as error:
                if not self.broken:
                    raise
                raise ServiceFailed(
                    f"{self._server}: the connection was lost over a commit; whether it was done is not known",
                    hint=LOOKS_FIRST,
                ) from error

        @property
        def _server(self) -> str:
            with suppress(psycopg.OperationalError):  # what is closed knows no address any more
                return f"postgres {self.info.host}:{self.info.port}/{self.info.dbname}"
            return "postgres"

        def _hang_up(self) -> None:
            with suppress(psycopg.OperationalError, OSError), socket.socket(fileno=os.dup(self.fileno())) as same:
                hang_up(same)

    return WatchedConnection
