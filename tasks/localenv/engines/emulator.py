"""The AWS emulator as a process of this project: those wanted of DynamoDB, its streams, S3 and Cognito."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..checkout import ownership, saved
from ..errors import ConfirmationNeeded, LocalEnvError
from ..hints import START, Command, either
from ..machine import private
from ..machine.ports import PortsTaken, Taken, command_of, find_taken
from ..settings import Settings
from ..settings.addresses import COMPOSE_HOSTS, Endpoint, parse_endpoint
from ..settings.parts import CONFIRMED
from ..settings.variables import PORT_VARIABLES
from . import probes
from .daemon import LOST, OUTDATED, Daemon, Wait, end_lost
from .daemon_component import DaemonComponent
from .emulator_server import RUNNING, UNSAVED
from .service import Deadline, Say, ServiceName, ServiceState, Status

PROGRAM = Path(__file__).with_name("emulator_server")
HOSTS = (*COMPOSE_HOSTS, "host.docker.internal")
"""Host names that clients on this machine or in its containers may use, besides loopback names and addresses."""
HINT = either(START, Command("env.destroy", when="to make room for new data"))

APIS: dict[ServiceName, str] = {"dynamodb": "dynamodb,dynamodbstreams,s3", "cognito": "cognito-idp"}


@dataclass
class Emulator(DaemonComponent):
    """One process that serves the AWS APIs of `services`, each on its own port."""

    settings: Settings
    services: tuple[ServiceName, ...] = ("dynamodb", "cognito")

    def __post_init__(self) -> None:
        self.folder = data_folder(self.settings)
        self.daemon = make_daemon(self.settings)

    def look(self) -> list[ServiceState]:
        alive = self.daemon.is_alive
        seen = self._status(alive)
        return [self._look_at(service, *seen, since=self.daemon.since if alive else 0) for service in self.services]

    def _look_at(self, service: ServiceName, status: Status, detail: str, *, since: float) -> ServiceState:
        if status == "running" and not self._answers(service):
            status, detail = "starting", detail or probes.NO_ANSWER
        return ServiceState(
            service,
            status,
            str(self._endpoint(service)),
            version=self.daemon.version,
            detail=detail,
            holder=self.daemon.holder,
            since=since,
        )

    def stop_outdated(self, say: Say) -> None:
        """Stop an emulator that serves other ports or APIs than the settings say."""
        if self.daemon.is_alive and not self.daemon.runs(self._command()):
            require_saved(self.settings)
            if self.daemon.pid:
                say("the AWS emulator restarts with the settings that .env has now")
            self._end()

    def start(self, deadline: Deadline, say: Say) -> list[ServiceState]:
        self.stop_outdated(say)
        self.daemon.resume(say)
        process = None if self.daemon.is_alive else self._launch(say)
        self.daemon.wait_ready(process, lambda: all(map(self._answers, self.services)), Wait(deadline, HINT))
        if not self.daemon.version:
            self.daemon.mark_ready(f"ministack {_version()}")
        return self.look()

    def stop(self, say: Say) -> None:
        if self.daemon.is_alive:
            self._end()
            say(f"{' and '.join(self.services)} stopped")
        self._end_lost(say)
        saved.forget()

    def _end(self) -> None:
        self.daemon.stop(signal.SIGTERM, within_s=60)  # it saves first

    def _end_lost(self, say: Say) -> None:
        """Stop a lost emulator; without its folder it cannot save, and must not create another."""
        end_lost(self.daemon, say, signal.SIGTERM if (self.folder / RUNNING).exists() else signal.SIGKILL)

    def _status(self, alive: bool) -> tuple[Status, str]:
        if self.daemon.lost:
            return "failed", LOST
        if not alive:
            return "stopped", unclean_end(self.settings)
        if not self.daemon.pid:
            return "failed", "it was ended uncleanly, and still saves"
        if not self.daemon.runs(self._command()):
            return "failed", OUTDATED
        paused = self.daemon.paused
        if paused:
            return "failed", paused
        return "running", next((f"not saved: {text}" for text in self._failed_save()), "")

    def _failed_save(self) -> list[str]:
        """Return what could not be saved at the last attempt."""
        try:
            found = saved.ask(address(self.settings, self.daemon), retry=False)
        except LocalEnvError:
            return []  # the probe reports whether it answers at all
        return [str(found)] if found else []

    def _answers(self, service: ServiceName) -> bool:
        probe = probes.dynamodb_answers if service == "dynamodb" else probes.cognito_answers
        return probe(self._endpoint(service), self.settings.region)

    def _endpoint(self, service: ServiceName) -> Endpoint:
        endpoint = self.settings.dynamodb if service == "dynamodb" else self.settings.cognito
        assert endpoint, f"{service} is not local"
        return endpoint

    def _launch(self, say: Say) -> subprocess.Popen[bytes]:
        taken: list[Taken] = []
        self._end_lost(say)
        for service in self.services:
            endpoint = self._endpoint(service)
            taken += find_taken(endpoint.host, endpoint.port, service=service, variable=PORT_VARIABLES[service])
        if taken:
            raise PortsTaken(*taken)
        if unclean_end(self.settings):
            say(f"the AWS emulator: {unclean_end(self.settings)}; the steps repeat theirs")
        private.make_folder(ownership.folder(self.settings, self.folder.name) / "tmp")
        return self.daemon.start(self._command(), env=self._environment(), cwd=self.folder)

    def _command(self) -> list[str | Path]:
        apis = ",".join(["sts", *(APIS[service] for service in self.services)])
        addresses = dict.fromkeys(str(self._endpoint(service)) for service in self.services)
        binds = [part for address in addresses for part in ("--bind", address)]
        names = ["--hosts", ",".join(HOSTS), "--origins", ",".join(self.settings.cors_origins)]
        function = str(self.settings.root / CONFIRMED)
        options: list[str | Path] = ["--state", self.folder, "--apis", apis, *names, "--confirmed", function]
        return [sys.executable, PROGRAM, *options, *binds]

    def _environment(self) -> dict[str, str]:
        """Return the variables that Python needs; no other may change how the emulator behaves."""
        names = ("PATH", "HOME", "PYTHONPATH", "PYTHONUSERBASE", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        has_database = "postgres" in self.settings.services
        return {
            **kept,
            # For the app's function, which runs once a user is confirmed; cognito.seed tells it of a later change.
            **({"CONNECTION_URL": self.settings.postgres.url(masked=False)} if has_database else {}),
            "MINISTACK_REGION": self.settings.region,
            "TMPDIR": str(self.folder / "tmp"),
            "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # macOS: the saving child calls no Apple library
        }


def data_folder(settings: Settings) -> Path:
    return settings.state_dir / "emulator"


def make_daemon(settings: Settings) -> Daemon:
    """Return the daemon, whether or not the settings want it."""
    return Daemon(
        name="the AWS emulator",
        lease=settings.state_dir / "run" / "emulator",
        log=settings.state_dir / "logs" / "emulator.log",
        marker=f" --state {data_folder(settings)} --apis ",  # not the program's name, which an earlier version changed
        leftover_s=30,  # a child of it may still be saving
    )


def unclean_end(settings: Settings) -> str:
    """Return what a stopped emulator may have lost; empty if it had saved everything."""
    folder = data_folder(settings)
    if not (folder / RUNNING).exists():
        return ""
    try:
        since = (folder / UNSAVED).stat().st_mtime
    except OSError:
        return "it was ended uncleanly; writes of its last second may be lost"
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
    return f"it was ended before it could save; what was written since {clock} is lost"


def could_unmark(settings: Settings) -> bool:
    """Return whether a clean stop could remove its mark: on a read-only disk it stays."""
    return os.access(data_folder(settings), os.W_OK)


def find_unsaved(settings: Settings) -> saved.Unsaved | None:
    """Return the changes that stopping the emulator would lose, because they cannot be saved now.

    For one that does not answer this is unknown; afterwards `unclean_end` reports it.
    """
    daemon = make_daemon(settings)
    if not daemon.is_alive or not daemon.pid:
        return None
    daemon.resume(lambda _: None)
    try:
        return saved.ask(address(settings, daemon))
    except LocalEnvError:
        return None


def require_saved(settings: Settings) -> None:
    """Raise ConfirmationNeeded if stopping the emulator would lose changes."""
    found = find_unsaved(settings)
    if found:
        raise ConfirmationNeeded(
            f"ending the AWS emulator would lose {found}",
            hint=either(found.remedy, Command("env.down", "--yes", when="to lose that")),
        )


def address(settings: Settings, daemon: Daemon) -> Endpoint:
    """Return the running emulator's address, which may differ from the current settings."""
    found = re.search(r" --bind (\S+)", command_of(daemon.pid))
    return parse_endpoint(f"http://{found[1]}") if found else settings.cognito or settings.dynamodb or Endpoint("", 0)


def _version() -> str:
    from importlib.metadata import version

    return version("ministack")
