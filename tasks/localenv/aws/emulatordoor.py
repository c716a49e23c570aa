"""The emulator's private endpoints (engines/emulator_server), open to whoever can read its token.

They fetch and replace Cognito's whole state, pools, clients, users with their subs and passwords: no API of Cognito can
set a sub. They write a table to a file and bring it back, at the speed of the file. And they tell the app's post
confirmation function where the database is: the emulator outlives a change of .env, and keeps the address in memory
alone, since it holds a password.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkout import saved
from ..errors import LocalEnvError, ServiceFailed
from ..hints import RESTART, START
from ..machine.waiting import at_most, hang_up, waiting
from .wire import require_permit

if TYPE_CHECKING:
    from ..settings import Settings
    from ..settings.addresses import Endpoint
    from ..settings.guard import Permit

PATH = "/_localenv/cognito"
FUNCTION = "/_localenv/function"
TABLES = "/_localenv/tables"
TOKEN_HEADER = "X-Localenv-Token"

TIMEOUT_S = 60.0
"""Twice that of other calls: the state has every user."""


@dataclass(frozen=True)
class Door:
    """The private endpoints: the emulator's address, the file with the token, and the permit to change its state."""

    endpoint: Endpoint
    token: Path
    permit: Permit | None = None

    def fetch(self) -> bytes:
        """Return the state, as JSON. Raises ServiceFailed if nothing answers, LocalEnvError if the token is refused."""
        return self._exchange("GET", PATH, b"")

    def replace(self, state: bytes) -> None:
        """Replace the state as a whole. Raises LocalEnvError, with nothing changed, if it is refused."""
        require_permit(self.permit, "local", "ReplaceState", {})
        self._exchange("PUT", PATH, state)

    def has_tables(self) -> bool:
        """Return whether tables go through this door: DynamoDB may be another server, or an emulator not ours."""
        if not self.token.exists():
            return False
        try:
            self._exchange("GET", TABLES, b"")
        except LocalEnvError:
            return False
        return True

    def exchange_table(self, way: str, region: str, name: str, path: Path) -> int:
        """Write a table to a file (`out`) or replace it by one (`in`), and return the number of its items."""
        asked = {"way": way, "region": region, "table": name, "file": str(path.absolute())}
        return int(json.loads(self._exchange("PUT", TABLES, json.dumps(asked).encode()))["items"])

    def knows(self, variables: Mapping[str, str]) -> bool:
        """Return whether the function gets these variables; so for an emulator that is not ours to tell."""
        if not self.token.exists():
            return True
        return self._exchange("GET", FUNCTION, b"").decode() == hashlib.sha256(_text(variables)).hexdigest()

    def tell(self, variables: Mapping[str, str]) -> None:
        """Give the function these variables from now on. They are kept in memory alone."""
        require_permit(self.permit, "local", "TellFunction", {})
        self._exchange("PUT", FUNCTION, _text(variables))

    def _exchange(self, method: str, path: str, body: bytes) -> bytes:
        connection = HTTPConnection(self.endpoint.host, self.endpoint.port, timeout=at_most(TIMEOUT_S))
        what, cut = f"the AWS emulator at {self.endpoint}", lambda: hang_up(connection.sock)
        try:
            with waiting(what, TIMEOUT_S, port=self.endpoint.port, cut=cut) as wait:
                connection.request(method, path, body, {TOKEN_HEADER: self.token.read_text()})
                with connection.getresponse() as answer:
                    text = answer.read()
            saved.note(self.endpoint, answer)
        except FileNotFoundError as error:
            raise ServiceFailed(
                "the AWS emulator was started by an earlier version of this tool", hint=RESTART
            ) from error
        except (OSError, HTTPException, ValueError) as error:
            if wait.is_over or isinstance(error, TimeoutError):
                raise wait.error(RESTART) from error
            reason = error or type(error).__name__
            raise ServiceFailed(f"the AWS emulator at {self.endpoint}: {reason}", hint=START) from error
        finally:
            connection.close()
        if answer.status == 404:
            raise ServiceFailed(f"the AWS emulator at {self.endpoint} is not this checkout's", hint=RESTART)
        if answer.status >= 400:
            raise LocalEnvError(f"the AWS emulator refused it: {text.decode(errors='replace')}")
        return text


@dataclass(frozen=True)
class TableDoor:
    """The door for the tables of a region."""

    door: Door
    region: str

    def save(self, name: str, path: Path) -> int:
        """Write all that the emulator has of a table to a file, and return the number of its items."""
        return self.door.exchange_table("out", self.region, name, path)

    def replace(self, name: str, path: Path) -> int:
        """Make a table what such a file says, whatever it is now, and return the number of its items."""
        require_permit(self.door.permit, "local", "ReplaceTable", {})
        return self.door.exchange_table("in", self.region, name, path)


def function_variables(settings: Settings) -> dict[str, str]:
    """Return what the function gets: where the database is, if the app has one."""
    has_database = "postgres" in settings.services
    return {"CONNECTION_URL": settings.postgres.url(masked=False)} if has_database else {}


def door_to(settings: Settings) -> Door:
    """Return the private endpoints of this checkout's emulator."""
    assert settings.cognito, "the pool is the emulated one"
    return Door(settings.cognito, settings.state_dir / "emulator" / "token", settings.permit)


def door_to_tables(settings: Settings) -> TableDoor | None:
    """Return the door that tables go through; None where DynamoDB is no emulator of this checkout's."""
    if settings.dynamodb is None:
        return None
    door = Door(settings.dynamodb, settings.state_dir / "emulator" / "token", settings.permit)
    return TableDoor(door, settings.region) if door.has_tables() else None


def _text(variables: Mapping[str, str]) -> bytes:
    return json.dumps(variables, sort_keys=True).encode()
