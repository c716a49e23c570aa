"""Lists every environment of this tool on this machine, with what deleted checkouts left behind.

Only reads. What belongs to another checkout is listed with the command that removes it, never touched.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..checkout.checkouts import Checkout, read_all
from ..checkout.ownership import owned_folders, read_mark, removable
from ..engines import emulator
from ..engines.daemon import may_signal
from ..engines.docker.api import LABEL, Container, DockerApi
from ..engines.docker.endpoint import find_endpoint
from ..engines.docker.ours import current
from ..engines.embedded import dynamodb_jar
from ..engines.embedded import postgres as embedded_postgres
from ..engines.embedded.home import OUTSIDE, find_server_folders, kind_of
from ..engines.state import read_choice
from ..errors import LocalEnvError
from ..machine.answers import Each
from ..machine.jsonvalues import iso_time
from ..machine.ports import commands
from ..settings import Settings, project_id
from ..settings.kept import PROJECT

VOLUMES = ("db", "dynamodb")
"""The volumes in docker-compose.yml."""
SERVER = re.compile(
    r"/postgres -D (?P<data>/.+) -c cluster_name=(?P<project>\S+) -c listen_addresses=\S+ -c port=(?P<port>\d+) "
)
"""The command line with which the embedded engine starts the database server."""
NO_FOLDER = Path("/nonexistent")
"""The folder of a checkout that left only volumes (Debian policy 9.2.3: a path that never exists)."""
VOLUMES_IN_USE = {"Volumes?": [{"Name": str, "Labels?": Each(str), "UsageData?": {"Size?": int}}]}
SIZE_S = 20.0
"""Docker measures its volumes on request."""


@dataclass(frozen=True)
class Neighbour:
    """The environment of a checkout. Times are seconds since the epoch, 0 if unknown.

    `state` is running, partly running, paused (any of its servers is) or stopped. `engine` runs it, or has its data.
    `remove` is the command that removes what a deleted checkout left, or stops what outlived its state folder.
    """

    project_id: str
    path: str
    exists: bool
    engine: str
    state: str
    ports: dict[str, int]
    size_bytes: int
    created: float
    used: float
    remove: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "created": iso_time(self.created), "used": iso_time(self.used)}


@dataclass
class _DockerProject:
    """A Compose project in the Docker engine; volumes with their sizes in bytes."""

    containers: list[Container] = field(default_factory=list)
    volumes: dict[str, int] = field(default_factory=dict)

    @property
    def root(self) -> Path | None:
        folder = next((container.label("project.working_dir") for container in self.containers), "")
        return Path(folder) if folder else None

    def is_ours(self, project: str) -> bool:
        """Return whether this tool made the project, by its folder or by its name and volumes."""
        if self.root:
            return project == project_id(self.root, self.root / ".local")
        return bool(PROJECT.fullmatch(project)) and {f"{project}_{name}" for name in VOLUMES} <= self.volumes.keys()


def list_neighbours(settings: Settings) -> list[Neighbour]:
    """Return every environment, sorted by folder; deleted checkouts only if they left something."""
    docker = _fetch_docker_projects()
    listed = {checkout.project_id: checkout for checkout in [*_unlisted(settings, docker), *read_all()]}
    found = []
    for one in listed.values():
        with suppress(OSError):  # the index in HOME may be another user's; a folder may be a file now
            found.append(_neighbour(settings, one, docker.get(one.project_id, _DockerProject())))
    return sorted((one for one in found if one.exists or one.remove), key=lambda one: (one.path, one.project_id))


def _unlisted(settings: Settings, docker: dict[str, _DockerProject]) -> Iterable[Checkout]:
    """Yield checkouts that the index may lack: this one if it has data, Docker's projects, and running servers'."""
    for project, found in docker.items():
        if found.is_ours(project):
            root = found.root or NO_FOLDER
            yield Checkout(project, root, root / ".local", {})
    yield from _unlisted_servers()
    own = Checkout(settings.project_id, settings.root, settings.state_dir, settings.ports)
    if owned_folders(settings.state_dir) or settings.project_id in docker or _lost_processes(settings, exists=True):
        yield own


def _unlisted_servers() -> Iterable[Checkout]:
    """Yield the checkouts of the running database servers, wherever their folders are."""
    for pid, command in commands().items():
        found = SERVER.search(command)
        if found and PROJECT.fullmatch(found["project"]) and may_signal(pid):
            data = Path(found["data"])
            outside = data.parents[1] if data.parents[2] == OUTSIDE else None
            mark = read_mark(outside) if outside else None
            state_dir = Path(str(mark["state_dir"])) if mark and "state_dir" in mark else data.parents[1]
            is_usual = project_id(state_dir.parent, state_dir) == found["project"]
            root = state_dir.parent if is_usual else state_dir  # a moved state folder does not name its checkout
            yield Checkout(found["project"], root, state_dir, {"postgres": int(found["port"])})


def _neighbour(settings: Settings, checkout: Checkout, docker: _DockerProject) -> Neighbour:
    theirs = replace(settings, root=checkout.root, state_dir=checkout.state_dir, project_id=checkout.project_id)
    homes = find_server_folders(theirs)
    folders = [path for home in homes for path in removable(home, kind_of(home))]
    folders += [path for place in _emulator_folders(checkout.state_dir) for path in removable(place)]
    kept = read_choice(checkout.state_dir)
    has = ["docker"] * bool(docker.containers or docker.volumes) + ["embedded"] * bool(homes)
    exists = checkout.is_there
    lost = _lost_processes(theirs, exists=exists)
    return Neighbour(
        checkout.project_id,
        path="" if checkout.root == NO_FOLDER else str(checkout.root),
        exists=exists,
        engine=kept.engine if kept else " and ".join(has),
        state="running" if lost else _state(theirs, docker),
        ports=checkout.ports,
        size_bytes=sum(map(_size, folders)) + sum(docker.volumes.values()),
        created=checkout.created,
        used=checkout.used,
        remove=_remove_command(checkout.project_id, lost, docker, folders, exists=exists),
    )


def _emulator_folders(state_dir: Path) -> list[Path]:
    return [place for place in owned_folders(state_dir) if place.name in ("emulator", "dynamodb")]


def _state(settings: Settings, docker: _DockerProject) -> str:
    daemons = [module.make_daemon(settings) for module in (embedded_postgres, emulator, dynamodb_jar)]
    if any(daemon.paused for daemon in daemons) or any(one.state == "paused" for one in docker.containers):
        return "paused"
    postgres, emulated, jar = (daemon.is_alive for daemon in daemons)
    dynamodb = jar or (emulated and postgres)
    running = {
        service for service, container in current(docker.containers, settings.root).items() if container.is_running
    }
    stores = [postgres or "postgres" in running, dynamodb or "dynamodb" in running]
    return "running" if all(stores) else "partly running" if any([*stores, emulated]) else "stopped"


def _lost_processes(settings: Settings, *, exists: bool) -> list[int]:
    """Return the pids that outlived a checkout's state folder; if the checkout is gone, all of its pids."""
    daemons = [module.make_daemon(settings) for module in (embedded_postgres, emulator, dynamodb_jar)]
    lost = [pid for daemon in daemons for pid in daemon.lost]
    return sorted(lost if exists else [*lost, *(daemon.pid for daemon in daemons if daemon.is_alive and daemon.pid)])


def _remove_command(project: str, lost: list[int], docker: _DockerProject, folders: list[Path], *, exists: bool) -> str:
    """Return the command that removes what a deleted checkout left, or stops its lost processes."""
    commands = [f"kill {' '.join(map(str, lost))}"] if lost else []
    if exists:
        return commands[0] if commands else ""
    if docker.containers or docker.volumes:
        commands.append(f"docker compose -p {project} down --volumes")
    return " && ".join([*commands, *(shlex.join(["rm", "-r", str(folder)]) for folder in folders)])


def _fetch_docker_projects() -> dict[str, _DockerProject]:
    """Return every Compose project of the Docker engine; none if no engine answers."""
    found: dict[str, _DockerProject] = {}
    try:
        endpoint = find_endpoint()
        DockerApi(endpoint).ping()
        api = DockerApi(endpoint, SIZE_S)
        containers = api.list_containers({"label": [f"{LABEL}project"]})
        volumes = api.get("/system/df", VOLUMES_IN_USE, type="volume").get("Volumes") or []
    except LocalEnvError:
        return found
    for container in containers:
        found.setdefault(container.label("project"), _DockerProject()).containers.append(container)
    for volume in volumes:
        project = (volume.get("Labels") or {}).get(f"{LABEL}project")
        if project:
            size = (volume.get("UsageData") or {}).get("Size") or 0
            found.setdefault(project, _DockerProject()).volumes[volume["Name"]] = max(0, size)
    return found


def _size(folder: Path) -> int:
    """Return the size of a file, or of a folder's files, ignoring those that vanish or are unreadable."""
    total = 0
    inside: Iterable[str] = (os.path.join(above, name) for above, _, names in os.walk(folder) for name in names)  # noqa: PTH118
    for path in (str(folder), *inside):
        with suppress(OSError):
            total += os.lstat(path).st_size
    return total
