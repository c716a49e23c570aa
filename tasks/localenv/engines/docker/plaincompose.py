"""An environment that plain `docker compose up` started in this folder: seen and named, never changed here.

Compose names its project after the folder, so that its containers and volumes are others than ours.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import LocalEnvError
from ...hints import Command, either, inv
from ...machine.ports import PortsTaken
from ...settings import Settings
from ...settings.kept import PROJECT
from ..portclaims import FREE
from ..state import read_choice
from . import composefile
from .api import LABEL, Container, DockerApi
from .endpoint import find_endpoint
from .takeovernote import read_takeover


@dataclass(frozen=True)
class PlainProject:
    """A Compose project of this folder that is not ours. Without containers, its volumes are all that is left.

    `is_beside_ours`: our containers exist too. `is_adopted`: this environment has a copy of its data.
    """

    name: str
    containers: tuple[Container, ...] = ()
    volumes: tuple[str, ...] = ()
    is_beside_ours: bool = False
    is_adopted: bool = False

    @property
    def runs(self) -> bool:
        return any(container.is_alive for container in self.containers)

    @property
    def ports(self) -> list[int]:
        return sorted({port for container in self.containers if container.is_alive for port in container.ports})

    def __str__(self) -> str:
        at = f" at port{'s' if self.ports[1:] else ''} {_listed(map(str, self.ports))}" if self.ports else ""
        state = f"runs{at}" if self.runs else "is stopped" if self.containers else f"left {_listed(self.volumes)}"
        return f"plain `docker compose` has an environment of its own here: project {self.name} {state}"

    def hint(self, settings: Settings) -> str:
        """Return what to do about it."""
        stop = f"stop it with `docker compose -p {self.name} down`, which keeps its volumes"
        if self.is_adopted:
            return stop
        if self.is_beside_ours:
            first = f"run {inv('env.destroy')}, which removes this environment's data"
            return either(stop, Command("env.up", "--adopt", first=first))
        return adopt_hint(settings)


def find_plain(settings: Settings) -> PlainProject | None:
    """Return the project that plain Compose has for this folder; None without one, or where no Docker answers.

    One listing of the engine; a second one, of volumes, only where this folder has no container at all.
    """
    if not settings.is_local or not (shutil.which("docker") or shutil.which("docker-compose")):
        return None
    try:
        return fetch_plain(settings, DockerApi(find_endpoint()))
    except LocalEnvError:
        return None


def fetch_plain(settings: Settings, api: DockerApi) -> PlainProject | None:
    """Return the same from an engine that answers. Raises as DockerApi.get does."""
    listed = api.list_containers({"label": [f"{LABEL}project", f"{LABEL}oneoff=False"]})
    ours = any(one.label("project") == settings.project_id for one in listed)
    here = [one for one in listed if _is_of_this_folder(one, settings)]
    adopted = read_takeover(settings)
    if here:
        # The running one, where two were started under different names.
        name = max(here, key=lambda one: (one.is_alive, one.created)).label("project")
        containers = tuple(sorted((one for one in here if one.label("project") == name), key=lambda one: one.name))
        is_adopted = bool(adopted and adopted.project == name)
        return PlainProject(name, containers, is_beside_ours=ours, is_adopted=is_adopted)
    if ours:
        return None
    name = plain_name(settings.root)
    if (adopted and adopted.project == name) or any(one.label("project") == name for one in listed):
        return None
    volumes = api.names("volumes", name)
    return PlainProject(name, volumes=tuple(volumes)) if volumes else None


def _is_of_this_folder(container: Container, settings: Settings) -> bool:
    """Return whether plain Compose made it from this folder or its files; environments of this tool do not count."""
    project = container.label("project")
    if project == settings.project_id or (PROJECT.fullmatch(project) and project != plain_name(settings.root)):
        return False
    files = {str(path) for path in composefile.paths(settings.root)}
    named = container.label("project.config_files").split(",")
    return _is_here(container.label("project.working_dir"), settings) or not files.isdisjoint(named)


def _is_here(folder: str, settings: Settings) -> bool:
    return bool(folder) and os.path.realpath(folder) == os.path.realpath(settings.root)


def plain_name(root: Path) -> str:
    """Return the name that Compose gives this folder's project.

    Source: Compose's manual, "Specify a project name": the variable, `name:` of the file, the folder.
    """
    given = os.environ.get("COMPOSE_PROJECT_NAME") or _of_dotenv(root) or composefile.read_project(root)
    return given or re.sub(r"[^a-z0-9_-]", "", root.name.lower()).lstrip("_-")


def _of_dotenv(root: Path) -> str:
    try:
        text = (root / ".env").read_text(errors="replace")
    except OSError:
        return ""
    found = re.search(r"^\s*(?:export\s+)?COMPOSE_PROJECT_NAME\s*=\s*[\"']?([\w-]+)", text, re.MULTILINE)
    return found[1] if found else ""


def adopt_hint(settings: Settings) -> Command:
    """Return the command that takes its data over, which only the docker engine can."""
    kept = read_choice(settings.state_dir)
    embedded = (kept.engine if kept else settings.engine) == "embedded"
    return Command("env.up", "--adopt", *(("--engine", "docker") if embedded else ()), when="to take its data over")


def explained(error: PortsTaken, settings: Settings) -> PortsTaken:
    """Add to taken ports what else helps: to take over what plain Compose started here, to let go of fixed ports."""
    if any(settings.ports.get(service) == one.port for one in error.taken for service in settings.fixed):
        error.hint = either(error.hint, FREE)
    plain = find_plain(settings) if any(one.holder.container for one in error.taken) else None
    if plain and any(one.holder.project == plain.name for one in error.taken):
        error.hint = either(plain.hint(settings), error.hint)
    return error


def _listed(names: Iterable[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last
