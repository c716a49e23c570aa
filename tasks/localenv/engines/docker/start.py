"""One start of the containers: Compose creates them, probes show when they are ready, a death ends the wait at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from ...errors import LocalEnvError, PreflightFailed, ServiceFailed, TimedOut, UsageError
from ...hints import Command
from ...machine.ports import PortsTaken, Taken, find_holder, find_taken, is_free
from ...machine.waiting import waiting
from ...settings import Settings
from ...settings.variables import PORT_VARIABLES
from ..service import Deadline, Say, ServiceName
from . import sdk
from .api import Container, DockerApi
from .compose import Compose
from .composefile import OURS, paths, read_names, read_others
from .composemessages import (
    LINES,
    NAME_IN_USE,
    Conflict,
    MissingImage,
    NetworkGone,
    PortTaken,
    again,
    ended,
    explain,
    explain_state_error,
    is_pull,
    progress,
)
from .ours import answers_now, current, port_of, wanted_services

TRIES = 3
LOOK_EVERY_S = 0.2
SETTLE_S = 5.0
PROBE_EVERY_S = 0.02
PULL_S = 1800.0


@dataclass
class Start:
    """The state of one start: its containers, its deadline, and what it has observed."""

    settings: Settings
    api: DockerApi
    compose: Compose
    deadline: Deadline
    say: Say
    on_postgres: Callable[[Container], None]
    before: list[Container] = field(default_factory=list)
    seen_running: set[str] = field(default_factory=set)
    said: list[str] = field(default_factory=list)
    pulling_since: float = 0
    names: Mapping[ServiceName, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    @property
    def wanted(self) -> dict[ServiceName, str]:
        """Return what the compose file calls the services that the app needs."""
        return {service: self.names.get(service, OURS[service]) for service in wanted_services(self.settings)}

    def _require_services(self) -> None:
        """Raise UsageError where the compose file lacks a service that the app needs, or is wrong."""
        for service in wanted_services(self.settings):
            if service not in self.names:
                self.compose.hashes()
                file = paths(self.settings.root)[0].name
                raise UsageError(
                    f"{file} has no {service}: no service is called {OURS[service]} or has its image",
                    hint="add one, as this tool's own docker-compose.yml has it, or use --engine embedded",
                )

    def go(self) -> None:
        """Create, start and await the containers. Raises as Component.start does."""
        self.names, self.others = read_names(self.settings.root), read_others(self.settings.root)
        self._require_services()
        self.before = self._containers()
        paused = [container.service for container in self.before if container.state == "paused"]
        if paused:
            self.say(f"paused: {', '.join(paused)}; resuming")
            self.compose.unpause(paused)
        self._require_ports()
        for attempt in range(TRIES):
            error = self._up()
            if error is None:
                break
            if attempt < TRIES - 1 and self._repair(error):
                continue
            if isinstance(error, UsageError) or not self._ours_run():
                raise self._why_compose_failed(error)
            self.say(f"compose: {error.message}")  # another service in the file does not run
            break
        with waiting("the containers to become ready", self.deadline.left_s):
            self._await()
        if self.others:
            self._start_others()

    def _start_others(self) -> None:
        """Create and start the file's other services, which nobody waits for: an image may have to be built first.

        Together, as their order may matter; where that fails, one by one, so that each that can runs.
        """
        if self.compose.up(self._hear, lambda: None, self.others) == 0:
            return
        for name in self.others:
            self.said.clear()
            if self.compose.up(self._hear, lambda: None, [name]):
                self.say(f"{name} is not started: {explain(self.said).message}")

    def _up(self, recreate: Collection[str] = ()) -> LocalEnvError | None:
        """Run `compose up` once and return its error, if any."""
        self.said.clear()
        are_all_ours = not self.others and self.names.keys() == self.wanted.keys()
        names = [] if recreate or are_all_ours else self.wanted.values()
        code = self.compose.up(self._hear, self._look_for_deaths, names, recreate=recreate)
        self._end_of_pull()
        if code == 0:
            return None
        return explain(self.said)

    def _repair(self, error: LocalEnvError) -> bool:
        """Repair what would make another attempt fail too; return whether one makes sense."""
        if isinstance(error, Conflict):
            sdk.remove_surplus_networks(self.api.endpoint, self.settings.project_id)
            return True
        if not isinstance(error, NetworkGone):
            return False
        there = self.api.networks()
        lost = [one for one in self._containers() if not one.is_alive and self.api.networks_of(one) - there]
        if lost:
            names = ", ".join(container.name for container in lost)
            self.say(f"the network of {names} was removed; recreating the containers, their volumes stay")
            self._up(recreate=sorted({container.service for container in lost}))
        return bool(lost)

    def _ours_run(self) -> bool:
        """Return whether our own services run as the file says now, whatever the state of others in it."""
        now, wanted = self._current(), self.compose.hashes()
        return all(
            service in now and now[service].is_running and now[service].label("config-hash") == wanted.get(name)
            for service, name in self.wanted.items()
        )

    def _await(self) -> None:
        """Wait for the probes, and check for deaths meanwhile."""
        pending = wanted_services(self.settings)
        now: Mapping[ServiceName, Container] = {}
        due = 0.0
        while pending:
            if time.monotonic() >= due:
                now = self._current()
                self._require_alive(now)
                due = time.monotonic() + LOOK_EVERY_S
            for service in [service for service in pending if answers_now(self.settings, service)]:
                pending.remove(service)
                if service == "postgres":
                    self.on_postgres(now[service])
            if pending and self.deadline.left_s <= 0:
                raise self._late(pending[0], now[pending[0]])
            if pending:
                time.sleep(PROBE_EVERY_S)
        self._require_alive(self._current())

    def _containers(self) -> list[Container]:
        return self.api.containers(self.settings.project_id)

    def _current(self) -> dict[ServiceName, Container]:
        return current(self._containers(), self.settings.root)

    def _require_ports(self) -> None:
        """Raise PortsTaken for ports that we need, before Compose has created only some of the containers."""
        end = time.monotonic() + SETTLE_S
        taken: list[Taken] = []
        for service in wanted_services(self.settings):
            port = port_of(self.settings, service)
            while not is_free("127.0.0.1", port) and not self._is_ours(port):
                if time.monotonic() > end or not self._is_changing_hands(port):
                    taken += self._look_at_port(service)
                    break
                time.sleep(LOOK_EVERY_S)
        if taken:
            raise PortsTaken(*taken)

    def _is_ours(self, port: int) -> bool:
        self.before = self._containers()
        return any(port in container.ports for container in self.before if container.is_alive)

    def _is_changing_hands(self, port: int) -> bool:
        """Return whether the engine holds the port only because it is just starting or stopping a container on it.

        This happens after a run of ours was killed while the engine worked for it.
        """
        holder = find_holder(port)
        return holder.project == self.settings.project_id or (not holder.container and "docker" in holder.command)

    def _look_at_port(self, service: ServiceName) -> list[Taken]:
        name = "Postgres" if service == "postgres" else "DynamoDB"
        port = port_of(self.settings, service)
        return find_taken("127.0.0.1", port, service=name, variable=PORT_VARIABLES[service])

    def _hear(self, line: str) -> None:
        self.said.append(line)
        if is_pull(line) and not self.pulling_since:
            self.pulling_since = time.monotonic()
        text = progress(line)
        if text:
            self.say(text)

    def _end_of_pull(self) -> None:
        """Extend the deadline by the time that pulling the images took."""
        if self.pulling_since:
            self.deadline.seconds += time.monotonic() - self.pulling_since
            self.pulling_since = 0

    def _look_for_deaths(self) -> None:
        """Raise the error that ends Compose when a container that it has just started dies.

        Containers that ran before may end, since Compose replaces outdated ones.
        """
        self._check_time()
        alive_before = {container.id for container in self.before if container.is_alive}
        for container in self._current().values():
            if container.is_running:
                self.seen_running.add(container.id)
            elif container.id in self.seen_running - alive_before and container.state in ("exited", "dead"):
                raise self._death(container)

    def _check_time(self) -> None:
        if self.pulling_since and time.monotonic() - self.pulling_since > PULL_S:
            raise TimedOut(
                f"the images were not pulled within {PULL_S:.0f} s", hint="run `docker compose pull` by itself"
            )
        if not self.pulling_since:
            self.deadline.check("Compose")

    def _require_alive(self, now: Mapping[ServiceName, Container]) -> None:
        """Raise where a container does not run, or is not to be reached at the port of the settings."""
        for service, name in self.wanted.items():
            if service not in now:
                raise ServiceFailed(
                    f"the container of {name} was removed while it started", hint="run the same command again"
                )
            if not now[service].is_running:
                raise self._death(now[service])
            port, published = port_of(self.settings, service), now[service].ports
            if published and port not in published:
                there = " and ".join(map(str, sorted(published)))
                raise UsageError(
                    f"the compose file publishes port {there} for {name}, and {PORT_VARIABLES[service]} has {port}",
                    hint="give both the same port",
                )

    def _death(self, container: Container) -> LocalEnvError:
        if container.state == "paused":
            return ServiceFailed(f"container {container.name} was paused while it started", hint=again(container.name))
        last = self.said[-1].strip() if self.said else "Compose did not say why"
        return self._why_not_running(container) or ServiceFailed(
            f"container {container.name} was not started: {last}", hint=again(container.name)
        )

    def _why_not_running(self, container: Container) -> LocalEnvError | None:
        """Return the cause from the engine's record, else from the container's log."""
        ending = sdk.read_ending(self.api.endpoint, container.id, LINES)
        if ending.error:
            error = explain_state_error(container.name, ending.error)
            return self._port_holder(error) if isinstance(error, PortTaken) else error
        if container.state == "created":
            return None
        if container.exit_code is not None:  # State.ExitCode is 0 again during a restart
            ending = replace(ending, exit_code=container.exit_code)
        return ended(container.name, ending)

    def _why_compose_failed(self, error: LocalEnvError) -> LocalEnvError:
        """Return the cause behind Compose's error, if there is a better one."""
        if isinstance(error, PortTaken):
            return self._port_holder(error)
        if isinstance(error, MissingImage):
            missing = [name for name in dict.fromkeys(self.compose.images()) if not self.api.has_image(name)]
            return MissingImage(missing, error.said)
        if isinstance(error, Conflict):
            return self._name_holder(error) or error
        if type(error) is not ServiceFailed:
            return error
        old = {container.id for container in self.before if not container.is_alive}
        new = [c for c in self._current().values() if not c.is_alive and (c.id not in old or c.state == "created")]
        return next(filter(None, map(self._why_not_running, new)), error)

    def _port_holder(self, error: PortTaken) -> LocalEnvError:
        """Return the error with the port's holder, if the port is one of ours and still held."""
        for service in wanted_services(self.settings):
            taken = self._look_at_port(service) if port_of(self.settings, service) == error.port else []
            if taken:
                named = PortsTaken(*taken)
                named.evidence = error.message
                return named
        return error

    def _name_holder(self, error: Conflict) -> LocalEnvError | None:
        """Return the error for a name taken by a foreign container: that is no concurrent run of Compose."""
        found = NAME_IN_USE.search(error.message)
        holders = self.api.list_containers({"id": [found[2]]}) if found else []
        theirs = [one for one in holders if one.label("project") != self.settings.project_id]
        if not found or not theirs:
            return None
        project = theirs[0].label("project")
        return PreflightFailed(
            f"the container name {found[1]} is taken by a container of "
            + (f"Compose project {project}" if project else "no Compose project"),
            hint=Command("env.up", first=f"run `docker rename {found[1]} another-name`"),
        )

    def _late(self, service: ServiceName, container: Container) -> LocalEnvError:
        port, seconds = port_of(self.settings, service), self.deadline.seconds
        if container.is_healthy:
            return TimedOut(
                f"container {container.name} is healthy, but nothing answers on port {port} of this machine",
                hint="use --engine embedded: this Docker engine seems to run outside this machine or container",
            )
        return TimedOut(
            f"container {container.name} did not become ready within {seconds:.0f} s ({container.status})",
            hint=again(container.name),
            evidence=sdk.read_log(self.api.endpoint, container.id, LINES),
        )
