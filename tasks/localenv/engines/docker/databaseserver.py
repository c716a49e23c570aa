"""What the Postgres image does not handle: a changed user or password, and an incomplete server.

The image creates the server in the volume once, from its environment; later changes of that do not reach the volume.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import LocalEnvError, ServiceFailed
from ...hints import Command, either
from ...machine import private
from ...postgres.connection import DatabaseMissing, connect
from ...settings import Settings
from ..service import Say
from . import sdk
from .api import Container, DockerApi

FIRST_USER = "postgres"
VOLUME = "db"
ADOPT = 'printf "%s" "$STATEMENTS" | psql --quiet --no-psqlrc -v ON_ERROR_STOP=1 -d postgres -U "$AS_USER"'
FORMER_LOGIN = either(
    "put the former ones into CONNECTION_URL", Command("env.destroy", when="to start with empty data")
)


@dataclass
class DatabaseServer:
    """The server in the volume, through one start of its container."""

    settings: Settings
    api: DockerApi
    say: Say
    former_user: str = FIRST_USER
    may_be_incomplete: bool = False
    has_refused: bool = False

    def __post_init__(self) -> None:
        self._unproven = self.settings.state_dir / "postgres.new"
        """Exists from before the volume is created until the first login, and so beside an incomplete server."""

    def before_start(self, container: Container | None) -> None:
        """Note what the start will change: whether the volume exists, and the present superuser."""
        if f"{self.settings.project_id}_{VOLUME}" in self.api.names("volumes", self.settings.project_id):
            self.may_be_incomplete = self._unproven.exists()
        else:
            private.write(self._unproven, "")
        if container:
            self.former_user = self.api.environment(container).get("POSTGRES_USER", FIRST_USER)

    def require_login(self, container: Container) -> None:
        """Log in as CONNECTION_URL's user; if the server has another user or password, set these.

        Raises ServiceFailed when the server has none of the known superusers.
        """
        self.has_refused = True
        try:
            self._log_in()
        except LocalEnvError as refusal:
            if "authentication failed" not in refusal.message and "role" not in refusal.message:
                raise ServiceFailed(refusal.message, hint=refusal.hint) from refusal
            self._adopt_login(container, refusal)
            self._log_in()
        self.has_refused = False
        self._unproven.unlink(missing_ok=True)

    def remove_incomplete(self, container: Container | None) -> bool:
        """Remove a server from an earlier start that no start has ever logged in to, and that has just failed.

        Returns whether it did, so that another start makes sense.
        """
        if not (self.may_be_incomplete and container and (self.has_refused or container.exit_code)):
            return False
        self.may_be_incomplete = False
        self.say("an earlier start was interrupted while creating the database server; creating it again")
        sdk.remove_with_volumes(self.api.endpoint, container.id)
        return True

    def _log_in(self) -> None:
        try:
            connect(self.settings.postgres, database="postgres").close()
        except DatabaseMissing:  # dropped, which is no reason not to start; but an incomplete server lacks it too
            if self.may_be_incomplete:
                raise

    def _adopt_login(self, container: Container, refusal: LocalEnvError) -> None:
        """Set user and password through the container's own socket, which the image's pg_hba.conf trusts."""
        user, password = self.settings.postgres.user, self.settings.postgres.password
        for known in dict.fromkeys((self.former_user, user, FIRST_USER)):
            environment = {"STATEMENTS": adoption(user, password), "AS_USER": known}
            code, _ = sdk.run_inside(self.api.endpoint, container.id, ["sh", "-c", ADOPT], environment)
            if code == 0:
                self.say(f"the database server was created with another user or password; {user} can log in now")
                return
        raise ServiceFailed(
            f"{refusal.message}: the data was created with another user or password",
            hint=FORMER_LOGIN,
        ) from refusal


def adoption(user: str, password: str) -> str:
    """Return the psql statements that make `user` a superuser with this password."""
    role = '"' + user.replace('"', '""') + '"'
    name, create, secret = ("'" + text.replace("'", "''") + "'" for text in (user, f"CREATE ROLE {role}", password))
    missing = f"NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name})"
    return f"SELECT {create} WHERE {missing} \\gexec\nALTER ROLE {role} SUPERUSER LOGIN PASSWORD {secret};\n"
