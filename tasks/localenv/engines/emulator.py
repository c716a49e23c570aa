"""The AWS emulator as a process of this project: DynamoDB, its streams, S3 and Cognito, as far as they are wanted."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from ..addresses import Endpoint
from ..ports import require_free
from ..settings import Settings
from . import probes
from .daemon import Daemon
from .service import Deadline, Say, ServiceName, ServiceState

PROGRAM = Path(__file__).with_name("emulator_server.py")
HINT = "run `inv env.up` again; `inv env.logs` shows more"

APIS: dict[ServiceName, str] = {"dynamodb": "dynamodb,dynamodbstreams,s3", "cognito": "cognito-idp"}
VARIABLES: dict[ServiceName, str] = {
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
    "cognito": "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
}


@dataclass
class Emulator:
    """One process that serves the AWS APIs of `services`, each on its own port."""

    settings: Settings
    services: tuple[ServiceName, ...] = ("dynamodb", "cognito")

    def __post_init__(self) -> None:
        self.folder = self.settings.state_dir / "emulator"
        self.daemon = Daemon(
            name="the AWS emulator",
            lease=self.settings.state_dir / "run" / "emulator",
            log=self.settings.state_dir / "logs" / "emulator.log",
            marker=str(self.folder),
        )

    def look(self) -> list[ServiceState]:
        alive = self.daemon.is_alive
        holder = f"pid {self.daemon.pid}" if alive else ""
        detail = "" if alive or not self._was_killed else "it was ended uncleanly; writes of its last second are gone"
        return [
            ServiceState(
                service,
                "running" if alive and self._answers(service) else "starting" if alive else "stopped",
                str(self._endpoint(service)),
                version=self.daemon.version,
                detail=detail,
                holder=holder,
                since=self.daemon.since if alive else 0,
            )
            for service in self.services
        ]

    def start(self, deadline: Deadline, say: Say) -> list[ServiceState]:
        if self.daemon.is_alive and self.daemon.pid and not self._serves_all():
            self.daemon.stop(signal.SIGTERM)  # it serves other ports or APIs than are wanted now
        if not (self.daemon.is_alive and self.daemon.pid):
            self._start(deadline, say)
        return self.look()

    def stop(self, say: Say) -> None:
        if self.daemon.is_alive:
            self.daemon.stop(signal.SIGTERM, within_s=60)  # it saves first
            say(f"{' and '.join(self.services)} stopped")

    def belongings(self) -> list[str]:
        return [str(self.folder)] if self.folder.exists() else []

    def destroy(self, say: Say) -> None:
        self.stop(say)
        if self.folder.exists():
            shutil.rmtree(self.folder)
            say(f"removed {self.folder}")

    def logs(self, service: ServiceName, lines: int = 20) -> str:
        return self.daemon.tail(lines)

    @property
    def _was_killed(self) -> bool:
        return (self.folder / "running").exists()

    def _serves_all(self) -> bool:
        return all(self._answers(service) for service in self.services)

    def _answers(self, service: ServiceName) -> bool:
        probe = probes.dynamodb_answers if service == "dynamodb" else probes.cognito_answers
        return probe(self._endpoint(service), self.settings.region)

    def _endpoint(self, service: ServiceName) -> Endpoint:
        endpoint = self.settings.dynamodb if service == "dynamodb" else self.settings.cognito
        assert endpoint, f"{service} is not local"
        return endpoint

    def _start(self, deadline: Deadline, say: Say) -> None:
        for service in self.services:
            endpoint = self._endpoint(service)
            require_free(endpoint.host, endpoint.port, service=service, variable=VARIABLES[service])
        if self._was_killed:
            say("the emulator was ended uncleanly; writes of its last second are gone, and the steps repeat them")
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        binds = [part for service in self.services for part in ("--bind", str(self._endpoint(service)))]
        process = self.daemon.start(
            [sys.executable, PROGRAM, "--state", self.folder, *binds],
            deadline=deadline,
            env=self._environment(),
            cwd=self.folder,
        )
        self.daemon.wait_ready(process, self._serves_all, deadline, HINT)
        self.daemon.mark_ready(f"ministack {_version()}")

    def _environment(self) -> dict[str, str]:
        """Keep what Python needs of the environment; of AWS's variables only ours count."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHONDONTWRITE"))}
        return {
            **kept,
            "SERVICES": ",".join(["sts", *(APIS[service] for service in self.services)]),
            "MINISTACK_REGION": self.settings.region,
            "GATEWAY_PORT": str(self._endpoint(self.services[-1]).port),
            "BIND_HOST": "127.0.0.1",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "TMPDIR": str(self.folder / "tmp"),
            "LOG_LEVEL": "WARNING",
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "DOCKER_HOST": "unix:///nonexistent/no-docker-for-the-emulator",
        }


def _version() -> str:
    from importlib.metadata import version

    return version("ministack")
