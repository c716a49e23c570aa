"""Fetches and replaces the emulator's whole Cognito state: pools, clients, users with their subs and passwords.

No Cognito API can set a user's sub. This project's emulator has a private endpoint for that (engines/emulator_server),
open to whoever can read its token.
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

PATH = "/_localenv/cognito"
TOKEN_HEADER = "X-Localenv-Token"

TIMEOUT_S = 60.0
"""Twice that of other calls: the state has every user."""


@dataclass(frozen=True)
class Door:
    """The private endpoint: the emulator's address, the file with the token, and the permit to change its state."""

    endpoint: Endpoint
    token: Path
    permit: Permit | None = None

    def fetch(self) -> bytes:
        """Return the state, as JSON. Raises ServiceFailed if nothing answers, LocalEnvError if the token is refused."""
        return self._exchange("GET", b"")

    def replace(self, state: bytes) -> None:
        """Replace the state as a whole. Raises LocalEnvError, with nothing changed, if it is refused."""
        require_permit(self.permit, "local", "ReplaceState", {})
        self._exchange("PUT", state)

    def _exchange(self, method: str, body: bytes) -> bytes:
        connection = HTTPConnection(self.endpoint.host, self.endpoint.port, timeout=at_most(TIMEOUT_S))
        what, cut = f"the AWS emulator at {self.endpoint}", lambda: hang_up(connection.sock)
        try:
            with waiting(what, TIMEOUT_S, port=self.endpoint.port, cut=cut) as wait:
                connection.request(method, PATH, body, {TOKEN_HEADER: self.token.read_text()})
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
            raise LocalEnvError(f"the AWS emulator refused the pool: {text.decode(errors='replace')}")
        return text
