"""Amazon's own DynamoDB Local, if DYNAMODB_LOCAL_JAR names its jar and Java 17 or later is installed.

The jar is the user's: its licence forbids redistribution, so this project neither includes nor downloads it.
It has no option for the listening address: it accepts connections on all addresses of the machine.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...checkout import ownership
from ...errors import PreflightFailed
from ...hints import START, either
from ...machine import shell
from ...machine.ports import require_free
from ...settings import Settings
from ...settings.addresses import Endpoint
from ...settings.variables import LOOPBACK
from .. import probes
from ..daemon import LOST, OUTDATED, Daemon, Wait, end_lost
from ..daemon_component import DaemonComponent
from ..service import Deadline, Say, ServiceName, ServiceState, Status

OLDEST_JAVA = 17
"""DynamoDB Local 2.x and later; AWS docs, "Deploying DynamoDB locally on your computer"."""
REACT = "http://localhost:3000"
"""The origin of a React development server: it stands for all loopback origins, which cannot be listed."""
HINT = either(START, "unset DYNAMODB_LOCAL_JAR to use the emulator")


@dataclass
class DynamoDBLocal(DaemonComponent):
    """DynamoDB Local as a process of this project, with one store on disk for all keys and regions."""

    settings: Settings
    services: tuple[ServiceName, ...] = ("dynamodb",)

    def __post_init__(self) -> None:
        assert self.settings.dynamodb and self.settings.dynamodb_local_jar
        self.endpoint: Endpoint = self.settings.dynamodb
        self.jar = self.settings.dynamodb_local_jar.resolve()
        self.folder = data_folder(self.settings)
        self.daemon = make_daemon(self.settings)

    def look(self) -> list[ServiceState]:
        alive = self.daemon.is_alive
        status, detail = self._status(alive)
        return [
            ServiceState(
                "dynamodb",
                status,
                str(self.endpoint),
                version=self.daemon.version,
                detail=detail,
                holder=self.daemon.holder,
                since=self.daemon.since if alive else 0,
            )
        ]

    def _status(self, alive: bool) -> tuple[Status, str]:
        if self.daemon.lost:
            return "failed", LOST
        if not alive:
            return "stopped", ""
        if not self.daemon.runs(self._arguments()):
            return "failed", OUTDATED
        paused = self.daemon.paused
        if paused:
            return "failed", paused
        return ("running", "") if self._answers() else ("starting", probes.NO_ANSWER)

    def stop_outdated(self, say: Say) -> None:
        """Stop a server that runs with other settings than the current ones."""
        if self.daemon.is_alive and not self.daemon.runs(self._arguments()):
            say("DynamoDB Local restarts with the settings that .env has now")
            self.daemon.stop(signal.SIGTERM)

    def start(self, deadline: Deadline, say: Say) -> list[ServiceState]:
        self.stop_outdated(say)
        self.daemon.resume(say)
        process = None if self.daemon.is_alive else self._launch(say)
        self.daemon.wait_ready(process, self._answers, Wait(deadline, HINT))
        if not self.daemon.version:
            self.daemon.mark_ready(f"DynamoDB Local {_version(self.jar)}".strip())
        return self.look()

    def stop(self, say: Say) -> None:
        if self.daemon.is_alive:
            self.daemon.stop(signal.SIGTERM)
            say("DynamoDB Local stopped")
        end_lost(self.daemon, say)

    def _answers(self) -> bool:
        return probes.dynamodb_answers(self.endpoint, self.settings.region)

    def _launch(self, say: Say) -> subprocess.Popen[bytes]:
        java = require_java()
        end_lost(self.daemon, say)
        require_free(self.endpoint.host, self.endpoint.port, service="dynamodb", variable="AWS_ENDPOINT_URL_DYNAMODB")
        ownership.folder(self.settings, self.folder.name)
        say(f"DynamoDB Local will listen on port {self.endpoint.port} of all addresses; it has no option for less")
        return self.daemon.start([java, *self._arguments()[1:]], cwd=self.folder)

    def _arguments(self) -> list[str | Path]:
        return [
            *("java", f"-Djava.library.path={self.jar.parent / 'DynamoDBLocal_lib'}", "-jar", self.jar),
            *("-port", str(self.endpoint.port), "-cors", origins(self.settings)),
            *("-sharedDb", "-dbPath", self.folder, "-disableTelemetry"),
        ]


def origins(settings: Settings) -> str:
    """Return the origins whose pages may call DynamoDB Local, which accepts a list without wildcards.

    Pages of other origins cannot: their preflight is answered without an allowed origin. But it does not check Host: a
    page under a name that points here (DNS rebinding) reaches it, under either engine.
    Source: tried with 3.3.1; its documentation says wrongly that every origin is allowed without -cors.
    """
    return ",".join(dict.fromkeys(REACT if one == LOOPBACK else one for one in settings.cors_origins))


def data_folder(settings: Settings) -> Path:
    return settings.state_dir / "dynamodb"


@dataclass(frozen=True)
class LocalStore:
    """The file, which other programs may use beside the server: SQLite's locks keep them apart."""

    path: Path

    @contextmanager
    def copied(self) -> Iterator[Path]:
        """Give the file itself."""
        yield self.path

    @contextmanager
    def changed(self) -> Iterator[Path]:
        """Give the file itself."""
        yield self.path


def item_store(settings: Settings) -> LocalStore:
    return LocalStore(data_folder(settings) / "shared-local-instance.db")


def make_daemon(settings: Settings) -> Daemon:
    """Return the daemon, whether or not the settings want it."""
    return Daemon(
        name="DynamoDB Local",
        lease=settings.state_dir / "run" / "dynamodb",
        log=settings.state_dir / "logs" / "dynamodb.log",
        marker=f" -sharedDb -dbPath {data_folder(settings)} -disableTelemetry",
    )


def _version(jar: Path) -> str:
    try:
        with zipfile.ZipFile(jar) as archive:
            properties = archive.read("META-INF/maven/software/amazon/dynamodb/DynamoDBLocal/pom.properties").decode()
    except (OSError, KeyError, zipfile.BadZipFile):
        return ""
    found = re.search(r"^version=(\S+)", properties, re.MULTILINE)
    return found[1] if found else ""


def require_java() -> str:
    """Return the path of a Java that runs DynamoDB Local. Raises PreflightFailed if it is missing or too old."""
    java = shutil.which("java")
    wanted = f"install Java {OLDEST_JAVA} or later, or unset DYNAMODB_LOCAL_JAR to use the emulator"
    if not java:
        raise PreflightFailed("DYNAMODB_LOCAL_JAR is set, but there is no java on the PATH", hint=wanted)
    said = shell.run([java, "-version"]).stderr
    found = re.search(r'version "(\d+)', said)
    release = int(found[1]) if found else 0
    if release < OLDEST_JAVA:
        raise PreflightFailed(
            f"DynamoDB Local wants Java {OLDEST_JAVA} or later, found {release or 'an unknown version'}", hint=wanted
        )
    return java
