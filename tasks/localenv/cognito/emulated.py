"""The emulator's whole state of Cognito, fetched and replaced: pools, clients, users with their subs and passwords.

No API of Cognito can give a user a chosen sub. The emulator that this project runs has a door of its own for that
(engines/emulator_server), which opens to who can read its token.
"""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from .. import saved
from ..errors import LocalEnvError, ServiceFailed
from ..wire import TIMEOUT_S

if TYPE_CHECKING:
    from ..addresses import Endpoint

DOOR = "/_localenv/cognito"
TOKEN_HEADER = "X-Localenv-Token"
RESTART = "run `inv env.restart`, then the same command again"


@dataclass(frozen=True)
class Door:
    """Where the emulator answers, and the file with the word that opens its door."""

    endpoint: Endpoint
    token: Path

    def fetch(self) -> bytes:
        """Fetch the state, as JSON. Raises ServiceFailed where nobody answers, LocalEnvError where it is refused."""
        return self._exchange("GET", b"")

    def replace(self, state: bytes) -> None:
        """Replace the state: all of it, or nothing and LocalEnvError says why."""
        self._exchange("PUT", state)

    def _exchange(self, method: str, body: bytes) -> bytes:
        connection = HTTPConnection(self.endpoint.host, self.endpoint.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, DOOR, body, {TOKEN_HEADER: self.token.read_text()})
            answer = connection.getresponse()
            text = answer.read()
            if answer.getheader(saved.HEADER):
                saved.note(self.endpoint)
        except FileNotFoundError as error:
            raise ServiceFailed("the AWS emulator is of an earlier version of this tool", hint=RESTART) from error
        except (OSError, HTTPException) as error:
            reason = error or type(error).__name__
            raise ServiceFailed(f"the AWS emulator at {self.endpoint}: {reason}", hint="run `inv env.up`") from error
        finally:
            connection.close()
        if answer.status == 404:
            raise ServiceFailed(f"the AWS emulator at {self.endpoint} is not the one of this checkout", hint=RESTART)
        if answer.status >= 400:
            raise LocalEnvError(f"the AWS emulator does not take the pool: {text.decode(errors='replace')}")
        return text
