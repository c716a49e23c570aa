"""A checkout of its own for a test: a folder with docker-compose.yml, free ports, and thus its own Compose project."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tasks.localenv.engines.docker.containers import ComposeServices
from tasks.localenv.engines.service import Deadline, ServiceState
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import PATIENCE_S, permitted
from tests.support.ports import find_free

FILE = (TOOL / "docker-compose.yml").read_text()
DYNAMODB = "    user: root\n"
"""The line of docker-compose.yml that stands in for the whole service when a test needs it to fail."""

MakeShop = Callable[..., "Shop"]


@dataclass
class Shop:
    """The containers of one checkout, and what was said while they started."""

    settings: Settings
    said: list[str] = field(default_factory=list)

    @property
    def services(self) -> ComposeServices:
        return ComposeServices(self.settings, ("postgres", "dynamodb"))

    def up(self, timeout_s: float = 90) -> list[ServiceState]:
        return self.services.start(Deadline(timeout_s), self.said.append)

    def statuses(self) -> dict[str, str]:
        return {state.service: state.status for state in self.services.look()}

    def container(self, service: str = "db") -> str:
        return f"{self.settings.project_id}-{service}-1"

    def ids(self) -> list[str]:
        """Name the project's containers by id and time of start, which change with every change."""
        shown = docker("ps", "--all", "--quiet", "--no-trunc", "--filter", self.label).split()
        return (
            sorted(docker("inspect", "--format", "{{.Id}} {{.State.StartedAt}}", *shown).splitlines()) if shown else []
        )

    def left(self) -> list[str]:
        """List everything in the engine that bears the project's label."""
        return [
            line
            for kind in (("ps", "--all", "--quiet"), ("volume", "ls", "--quiet"), ("network", "ls", "--quiet"))
            for line in docker(*kind, "--filter", self.label).split()
        ]

    @property
    def label(self) -> str:
        return f"label=com.docker.compose.project={self.settings.project_id}"


def make_shop(folder: Path, change: Callable[[str], str] = lambda text: text) -> Shop:
    """Make a checkout in a new folder; `change` edits its docker-compose.yml."""
    folder.mkdir()
    (folder / "docker-compose.yml").write_text(change(FILE))
    environ = {
        "LOCALENV_ENGINE": "docker",
        "LOCALENV_SERVICES": "postgres,dynamodb,cognito",  # the folder has none of the app's files
        "CONNECTION_URL": f"postgresql://postgres:password@localhost:{find_free()}/cruddur",
        "AWS_ENDPOINT_URL_DYNAMODB": f"http://localhost:{find_free()}",
    }
    return Shop(permitted(read_settings(root=folder, environ=environ)))


def dynamodb_that(*lines: str) -> Callable[[str], str]:
    """Give the DynamoDB service further lines in docker-compose.yml."""
    return lambda text: text.replace(DYNAMODB, DYNAMODB + "".join(f"    {line}\n" for line in lines))


def docker(*words: str) -> str:
    """Run the docker program and return its stdout."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stdout.strip()
