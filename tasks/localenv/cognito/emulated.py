"""The emulator's whole state of Cognito, fetched and replaced: pools, clients, users with their subs and passwords.

No API of Cognito can give a user a chosen sub. The emulator that this project runs has a door of its own for that
(engines/emulator_server), which opens to who can read its token.
"""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from ..aws.wire import require_permit
from ..checkout import saved
from ..errors import LocalEnvError, ServiceFailed
from ..hints import RESTART, START
from ..machine.waiting import at_most, hang_up, waiting

if TYPE_CHECKING:
    from ..settings.addresses import Endpoint
    from ..settings.guard import Permit

DOOR = "/_localenv/cognito"
TOKEN_HEADER = "X-Localenv-Token"

TIMEOUT_S = 60.0
"""Twice what another call may take: this one carries every user."""


@dataclass(frozen=True)
class Door:
    """Where the emulator answers, the file with the word that opens its door, and the permit to change its state."""

    endpoint: Endpoint
    token: Path
    permit: Permit | None = None

    def fetch(self) -> bytes:
        """Fetch the state, as JSON. Raises ServiceFailed where nobody answers, LocalEnvError where it is refused."""
        return self._exchange("GET", b"")

    def replace(self, state: bytes) -> None:
        """Replace the state: all of it, or nothing and LocalEnvError says why."""
        require_permit(self.permit, "local", "ReplaceState", {})
        self._exchange("PUT", state)

    def _exchange(self, method: str, body: bytes) -> bytes:
        connection = HTTPConnection(self.endpoint.host, self.endpoint.port, timeout=at_most(TIMEOUT_S))
        what, cut = f"the AWS emulator at {self.endpoint}", lambda: hang_up(connection.sock)
        try:
            with waiting(what, TIMEOUT_S, port=self.endpoint.port, cut=cut) as wait:
                connection.request(method, DOOR, body, {TOKEN_HEADER: self.token.read_text()})
                with connection.getresponse() as answer:
                    text = answer.read()
            saved.note(self.endpoint, answer)
        except FileNotFoundError as error:
            raise ServiceFailed("the AWS emulator is of an earlier version of this tool", hint=RESTART) from error
        except (OSError, HTTPException, ValueError) as error:
            if wait.is_over or isinstance(error, TimeoutError):
                raise wait.error(RESTART) from error
            reason = error or type(error).__name__
            raise ServiceFailed(f"the AWS emulator at {self.endpoint}: {reason}", hint=START) from error
        finally:
            connection.close()
        if answer.status == 404:
            raise ServiceFailed(f"the AWS emulator at {self.endpoint} is not the one of this checkout", hint=RESTART)
        if answer.status >= 400:
            raise LocalEnvError(f"the AWS emulator does not take the pool: {text.decode(errors='replace')}")
        return text
