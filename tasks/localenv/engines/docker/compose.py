"""Compose's program: the only way to change containers, networks and volumes.

Only `up` and `config` read docker-compose.yml; the others select by labels, and work with a broken file or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...machine import private, shell
from ...machine.answers import Each, Shape, read_json, require
from ...machine.reading import read_note
from ...machine.waiting import waiting
from ...settings import Settings
from ..embedded.dynamodb_jar import origins
from ..service import Deadline
from . import composefile
from .composemessages import clean, explain
from .preflight import DockerTools, find_docker

NOT_OURS = ("COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_PROJECT_NAME", "DOCKER_CONTEXT")
"""Variables that would make Compose use other files, another project or another engine than ours."""
MODEL: Shape = {
    "services?": Each({"image?": str, "volumes?": [{"type": str, "source?": str}]}),
    "volumes?": Each({"name": str}),
}
NO_FILE_THERE = Path("/")
CHANGE_S = 120.0
"""How long stopping or removing may take: each container has 10 s to end before it is killed."""


@dataclass(frozen=True)
class Compose:
    """Compose for this project: its command, and the variables that docker-compose.yml uses."""

    tools: DockerTools
    settings: Settings

    def up(
        self,
        on_line: Callable[[str], None],
        on_tick: Callable[[], None],
        names: Iterable[str] = (),
        *,
        recreate: Collection[str] = (),
    ) -> int:
        """Create and start missing or outdated containers without waiting. Return the exit code, which proves little.

        Without `names` those of every service in the file. Only missing images are pulled. With `recreate` only these
        services' containers are created, again; their volumes are kept, anonymous ones too.
        """
        chosen = ("--force-recreate", "--no-deps", *recreate) if recreate else tuple(names)
        up = ("up", "--detach", "--pull", "missing", *chosen)
        return shell.follow(
            self._command(*self._files, "--progress", "plain", *up),
            on_line=lambda line: on_line(clean(line)),
            on_tick=on_tick,
            env=self._environment,
            cwd=self.settings.root,
        )

    def stop(self) -> None:
        """Stop the project's containers, paused ones too, and keep them."""
        self._change("stop")

    def unpause(self, services: Iterable[str]) -> None:
        """Resume paused services; Compose refuses when one of them is not paused."""
        self._change("unpause", *services)

    def down(self) -> None:
        """Remove the project's containers, networks and volumes, whatever file created them."""
        self._change("down", "--volumes", "--remove-orphans", "--timeout", "3")

    def remove_containers(self) -> None:
        """Remove the project's containers and networks, and keep its volumes."""
        self._change("down", "--remove-orphans", "--timeout", "30")

    def model(self) -> dict[str, Any]:
        """Return the file as Compose understands it. Raises as `hashes` does."""
        text = "\n".join(self._config("--format", "json")).encode()
        hint = "check the compose file with `docker compose config`"
        found: dict[str, Any] = require(
            read_json(text, "docker compose config", hint=hint), MODEL, "docker compose config", hint=hint
        )
        return found

    def hashes(self) -> dict[str, str]:
        """Return each service's configuration hash, which is also a label of its container if that is up to date.

        Raises UsageError where the file is wrong.
        """
        return dict(line.split()[:2] for line in self._config("--hash", "*"))

    def images(self) -> list[str]:
        """List the images of all services. Raises as `hashes` does."""
        return self._config("--images")

    def _config(self, *words: str) -> list[str]:
        command = self._command(*self._files, "config", *words)
        with waiting("docker compose config", 30):
            done = shell.run(command, env=self._environment, cwd=self.settings.root, timeout_s=30)
        if done.code:
            raise explain(done.stderr.splitlines(), doing="docker compose config")
        return done.stdout.splitlines()

    def _change(self, *words: str) -> None:
        lines: list[str] = []
        command, deadline = self._command("--progress", "plain", *words), Deadline(CHANGE_S)

        def check_time() -> None:
            deadline.check(f"docker compose {words[0]}", "the Docker engine does not finish it")

        with waiting(f"docker compose {words[0]}", CHANGE_S):
            code = shell.follow(
                command, on_line=lines.append, on_tick=check_time, env=self._environment, cwd=NO_FILE_THERE
            )
        if code:
            raise explain([clean(line) for line in lines], doing=f"docker compose {words[0]}")

    def _command(self, *words: str) -> list[str]:
        return [*self.tools.compose, "--project-name", self.settings.project_id, "--ansi", "never", *words]

    @property
    def _files(self) -> list[str]:
        files = composefile.paths(self.settings.root)
        return ["--project-directory", str(self.settings.root), *(p for file in files for p in ("--file", str(file)))]

    @property
    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
        return {**kept, "DOCKER_HOST": self.tools.endpoint.url, **variables(self.settings)}


def variables(settings: Settings) -> dict[str, str]:
    """Return the variables that docker-compose.yml uses, from the settings."""
    assert settings.dynamodb
    return {
        "POSTGRES_USER": settings.postgres.user,
        "POSTGRES_PASSWORD": settings.postgres.password,
        "POSTGRES_PORT": str(settings.postgres.port),
        "DYNAMODB_PORT": str(settings.dynamodb.port),
        "DYNAMODB_CORS": origins(settings),
    }


def wanted_hashes(settings: Settings) -> dict[str, str]:
    """Return `Compose.hashes`, cached in a note while their inputs are unchanged.

    Calling Compose costs 0.1 s, and every look needs them. Raises as `Compose.hashes` and `find_docker` do.
    """
    note = settings.state_dir / "compose.json"
    fingerprint = _fingerprint(settings)
    try:
        noted = read_note(note)
        if noted["fingerprint"] == fingerprint:
            return dict(noted["hashes"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    hashes = Compose(find_docker(), settings).hashes()
    if settings.state_dir.is_dir():
        with contextlib.suppress(OSError):  # on a full or read-only disk Compose is called every time
            private.write(note, json.dumps({"fingerprint": fingerprint, "hashes": hashes}))
    return hashes


def _fingerprint(settings: Settings) -> str:
    """Return a digest of the inputs of the hashes: the files, the variables, and .env, which Compose reads too."""
    digest = hashlib.sha256(json.dumps(variables(settings)).encode())
    for path in (*composefile.paths(settings.root), settings.root / ".env"):
        digest.update(str(path).encode())
        digest.update(path.read_bytes() if path.is_file() else b"\0")
    return digest.hexdigest()
