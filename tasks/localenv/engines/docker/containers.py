"""The docker engine: Postgres and DynamoDB as containers of docker-compose.yml, Cognito as a process beside them.

Reads go through the engine's API, changes through Compose, and success is the state read afterwards. Everything is
selected by our project's Compose labels; other projects' containers are at most named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...checkout.ownership import remove_note
from ...errors import LocalEnvError, PreflightFailed, ServiceFailed, UsageError
from ...hints import Command, inv
from ...machine import private
from ...settings import Settings
from ...settings.variables import SERVICES
from ..service import Component, Deadline, Say, ServiceName, ServiceState, Source, Status
from . import sdk, takeover
from .api import WORK_S, Container, DockerApi, EngineAway
from .compose import Compose, wanted_hashes
from .composefile import OURS, read_names
from .databaseserver import DatabaseServer
from .endpoint import find_endpoint
from .logs import ContainerSource
from .ours import answers_now, current, port_of, wanted_services
from .preflight import find_docker, require_docker
from .start import Start
from .takeovernote import NOTE, read_takeover

STOPPED = (0, 130, 143)
"""Exit codes of programs that were told to stop."""


def _look_at_other(api: DockerApi, name: str, container: Container | None) -> ServiceState:
    if container is None:
        return ServiceState(name, "stopped", "")
    status: Status = "stopped"
    if container.is_running:
        status = "starting" if container.is_starting else "failed" if container.is_unhealthy else "running"
    elif container.state in ("paused", "restarting"):
        status = "failed"
    elif container.exit_code == 0:
        status = "ended"
    elif container.exit_code not in (None, *STOPPED):
        status = "failed"
    return ServiceState(
        name,
        status,
        " ".join(f"127.0.0.1:{port}" for port in sorted(container.ports)),
        version=container.version,
        detail="" if status == "running" else container.status,
        holder=f"container {container.name}",
        since=api.started_at(container) if container.is_running else 0,
    )


def components(settings: Settings) -> list[Component]:
    """List the components the app needs: the containers, and the emulator if Cognito is emulated."""
    from ..emulator import Emulator

    containers = ComposeServices(settings, tuple(wanted_services(settings)))
    return [containers, Emulator(settings, ("cognito",))] if settings.cognito_is_emulated else [containers]


@dataclass
class ComposeServices:
    """The containers of docker-compose.yml."""

    settings: Settings
    services: tuple[ServiceName, ...]

    def look(self) -> list[ServiceState]:
        if not self.services:
            return []
        try:
            api = DockerApi(find_endpoint())
            now = self._current(api)
            outdated = self._outdated(now)
            return [self._look_at(api, service, now.get(service), outdated.get(service)) for service in self.services]
        except EngineAway as error:
            return [self._state(service, "stopped", detail=error.message) for service in self.services]
        except LocalEnvError as error:
            return [self._state(service, "failed", detail=error.message) for service in self.services]

    def look_at_others(self) -> list[ServiceState]:
        """Return the state of the file's other services, as the engine has it: nobody here speaks their protocols."""
        try:
            api = DockerApi(find_endpoint())
            there = {container.service: container for container in self._ours(api)}
            names = [name for name in wanted_hashes(self.settings) if name not in OURS.values()]
            names = [name for name in names if name not in read_names(self.settings.root).values()]
            return [_look_at_other(api, name, there.get(name)) for name in names]
        except LocalEnvError:
            return []  # said of ours

    @property
    def run(self) -> bool:
        """Return whether any container of the project runs."""
        try:
            return any(container.is_alive for container in self._ours(DockerApi(find_endpoint())))
        except LocalEnvError:
            return False  # said of ours

    def start(self, deadline: Deadline, say: Say) -> list[ServiceState]:
        seen = self.look()
        if all(state.status == "running" for state in [*seen, *self.look_at_others()]):
            return seen
        tools = require_docker(self.settings)
        api = DockerApi(tools.endpoint, WORK_S)
        private.make_folder(self.settings.state_dir)
        takeover.finish(self.settings, say)
        server = DatabaseServer(self.settings, api, say)
        if "postgres" in self.services:
            server.before_start(self._current(api).get("postgres"))
        start = Start(self.settings, api, Compose(tools, self.settings), deadline, say, server.require_login)
        try:
            start.go()
        except ServiceFailed:
            if not server.remove_incomplete(self._current(api).get("postgres")):
                raise
            start.go()
        for other in self.look_at_others():
            if other.status in ("stopped", "failed"):
                why = f": {other.detail}" if other.detail else ""
                say(f"{other.service} does not run{why}; {inv('env.logs', other.service)} shows what it wrote")
        return self.look()

    def stop(self, say: Say) -> None:
        try:
            api = DockerApi(find_docker().endpoint, WORK_S)
        except EngineAway:
            return  # without an engine no container runs
        if not any(container.is_alive for container in self._ours(api)):
            return
        Compose(find_docker(), self.settings).stop()
        left = [container.name for container in self._ours(api) if container.is_alive]
        if left:
            raise ServiceFailed(f"still running: {', '.join(left)}", hint=f"run `docker stop {' '.join(left)}`")
        say(f"{' and '.join(self.services)} stopped; their containers and volumes are kept")

    def owned_resources(self) -> list[str]:
        try:
            api = DockerApi(find_endpoint())
            return self._everything(api)
        except PreflightFailed:
            return []  # without access to the engine nothing can be removed either

    def destroy(self, say: Say) -> None:
        tools = find_docker()
        api = DockerApi(tools.endpoint, WORK_S)
        things = self._everything(api)
        if things:
            Compose(tools, self.settings).down()
            left = self._everything(api)
            if left:
                raise self._in_use(api, left)
            for thing in things:
                say(f"removed {thing}")
        for name in ("compose.json", "postgres.new", NOTE):
            remove_note(self.settings.state_dir, name)

    def logs(self, service: str, lines: int = 20) -> str:
        api = DockerApi(find_endpoint())
        named = {container.service: container for container in self._ours(api)}
        named |= {str(ours): container for ours, container in self._current(api).items()}
        container = named.get(service)
        return sdk.read_log(api.endpoint, container.id, lines) if container else ""

    def sources(self, services: Sequence[str], lines: int) -> list[Source]:
        api = DockerApi(find_endpoint())
        names = {str(service): name for service, name in (*OURS.items(), *read_names(self.settings.root).items())}
        wanted = [service for service in services if service in self.services or service not in SERVICES]
        return [ContainerSource(s, api, self.settings.project_id, names.get(s, s), lines) for s in wanted]

    def _current(self, api: DockerApi) -> dict[ServiceName, Container]:
        return current(self._ours(api), self.settings.root)

    def _ours(self, api: DockerApi) -> list[Container]:
        """List our project's containers. Raises PreflightFailed when another checkout created some of them."""
        containers = api.containers(self.settings.project_id)
        for container in containers:
            where = container.label("project.working_dir")
            if where and where != str(self.settings.root):
                raise PreflightFailed(
                    f"container {container.name} has this project's name but belongs to the checkout in {where}",
                    hint=f"run `docker compose -p {self.settings.project_id} down`, which keeps its data",
                )
        return containers

    def _everything(self, api: DockerApi) -> list[str]:
        project = self.settings.project_id
        return [
            *(f"container {container.name}" for container in self._ours(api)),
            *(f"volume {name}{self._origin(api, name)}" for name in api.names("volumes", project)),
            *(f"network {name}" for name in api.names("networks", project)),
        ]

    def _origin(self, api: DockerApi, volume: str) -> str:
        """Return from where a volume was adopted, and whether the data are still there; empty for any other."""
        adopted = read_takeover(self.settings)
        source = next((theirs for theirs, ours in adopted.volumes.items() if ours == volume), "") if adopted else ""
        if not adopted or not source:
            return ""
        is_there = source in api.names("volumes", adopted.project)
        return f" (adopted from {source}, which {'stays' if is_there else 'is gone: these are the only data'})"

    def _look_at(
        self, api: DockerApi, service: ServiceName, container: Container | None, outdated: str | None
    ) -> ServiceState:
        """Return the state of one container: the probe alone does not show whose server answers."""
        if container is None:
            return self._state(service, "stopped")
        if not container.is_running:
            stuck = container.state in ("paused", "restarting")
            detail = "" if container.exit_code in STOPPED or container.state == "created" else container.status
            return self._state(service, "failed" if stuck else "stopped", container, detail=detail)
        since = api.started_at(container)
        if outdated:
            return self._state(service, "starting", container, detail=outdated, since=since)
        answers = answers_now(self.settings, service)
        return self._state(service, "running" if answers else "starting", container, since=since)

    def _outdated(self, now: Mapping[ServiceName, Container]) -> dict[ServiceName, str]:
        """Return which running containers no longer match docker-compose.yml and the settings, and why."""
        running = {service: container for service, container in now.items() if container.is_running}
        if not running:
            return {}
        try:
            wanted = wanted_hashes(self.settings)
        except UsageError as error:
            return dict.fromkeys(running, error.message)
        return {
            service: "it runs with former settings; the next start replaces the container and keeps the data"
            for service, container in running.items()
            if container.label("config-hash") != wanted.get(container.service)
        }

    def _state(
        self,
        service: ServiceName,
        status: Status,
        container: Container | None = None,
        *,
        detail: str = "",
        since: float = 0,
    ) -> ServiceState:
        return ServiceState(
            service,
            status,
            f"127.0.0.1:{port_of(self.settings, service)}",
            version=container.version if container else "",
            detail=detail,
            holder=f"container {container.name}" if container else "",
            since=since,
        )

    def _in_use(self, api: DockerApi, left: list[str]) -> ServiceFailed:
        """Return the error that names the users of a volume that Docker kept; Compose's exit code is 0 then."""
        users = [
            container.name
            for name in api.names("volumes", self.settings.project_id)
            for container in api.list_containers({"volume": [name]})
        ]
        return ServiceFailed(
            f"not removed: {', '.join(left)}{', in use by ' + ', '.join(users) if users else ''}",
            hint=Command("env.destroy", first=f"run `docker rm -f {' '.join(users)}`" if users else "wait a moment"),
        )
