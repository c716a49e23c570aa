"""The engines: what runs the local services. Chosen once, kept until `env.down`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkout import ownership
from ..errors import ConfirmationNeeded, LocalEnvError, PreflightFailed
from ..hints import Command, either
from ..machine.disk import disk_errors
from ..machine.parallel import side_by_side
from ..machine.ports import PortsTaken
from ..settings import Settings
from ..settings.variables import SERVICES
from . import emulator, following, portclaims
from .embedded.home import find_home
from .embedded.programs import stop_outdated
from .portclaims import Move
from .service import Component, Deadline, ItemStore, LogLine, Say, ServiceState
from .state import Choice, EngineName, forget_choice, keep_choice, read_choice

if TYPE_CHECKING:
    from .docker.containers import ComposeServices
    from .docker.preflight import Preflight

ENGINES: tuple[EngineName, ...] = ("docker", "embedded")
LOST = Command("initial-setup", when=": it repairs what the seeds made")


def choose(settings: Settings) -> Choice:
    """Return the engine of the services: kept from the last env.up, else the wanted one, else one that can run.

    Raises ConfirmationNeeded when another engine than the wanted one runs, PreflightFailed when the wanted one cannot
    run here.
    """
    kept = read_choice(settings.state_dir)
    if kept and settings.engine in ("auto", kept.engine):
        return kept
    if kept and any(state.status != "stopped" for state in _look(kept.engine, settings)):
        raise ConfirmationNeeded(
            f"the services run under the engine {kept.engine}, not {settings.engine}",
            hint=either(
                Command("env.down", "--engine", kept.engine, when="first"),
                f"drop {settings.engine} from --engine and LOCALENV_ENGINE",
            ),
        )
    if settings.engine == "embedded":
        return Choice("embedded", "as --engine or LOCALENV_ENGINE says")
    preflight = _docker_preflight(settings)
    if settings.engine == "docker" and not preflight.ok:
        raise PreflightFailed(preflight.reason, hint=preflight.hint)
    if settings.engine == "docker":
        return Choice("docker", "as --engine or LOCALENV_ENGINE says")
    return Choice("docker" if preflight.ok else "embedded", preflight.reason)


def up(settings: Settings, say: Say, *, timeout_s: float = 120) -> list[ServiceState]:
    """Start every service that does not run, side by side, and return once all are ready.

    Raises ServiceFailed, PreflightFailed or TimedOut; services that did start keep running.
    """
    with disk_errors(settings.state_dir):
        choice = choose(settings)
        ownership.prepare(settings)
        say(f"engine {choice.engine}: {choice.reason}")
        keep_choice(settings.state_dir, choice)
        deadline = Deadline(timeout_s)
        parts = _components(choice.engine, settings)
        stop_outdated(settings, parts, say)
        started = side_by_side([partial(_start, part, deadline, say) for part in parts])
        taken = [one for found in started if isinstance(found, PortsTaken) for one in found.taken]
        if taken:
            from .docker import plaincompose

            raise plaincompose.explained(PortsTaken(*taken), settings)
        return _flat([found for found in started if not isinstance(found, PortsTaken)])


def moves(settings: Settings) -> list[Move]:
    """Return which services `claim` would move to other ports. Changes nothing."""
    return portclaims.plan(settings, _stopped(settings))


def claim(settings: Settings) -> list[Move]:
    """Assign ports that no other checkout has, before a start. Running services keep theirs.

    Settings read afterwards have the new ports.
    """
    with disk_errors(settings.state_dir):
        ownership.require_usable(settings.state_dir)
        return portclaims.claim(settings, _stopped(settings))


def plan_standard_ports(settings: Settings, *, adopt: bool) -> list[str]:
    """Return what `claim_standard_ports` would change, a line each. Raises as it does. `adopt`: after `take_over`."""
    from .docker import plaincompose

    plain = plaincompose.find_plain(settings) if adopt else None
    return portclaims.plan_standard(settings, _stopped(settings), freed=plain.ports if plain else ())


def claim_standard_ports(settings: Settings) -> list[str]:
    """Keep the standard ports for this checkout; the next start moves what runs at others. Returns a line each.

    Raises UsageError for another port that is set, PortsTaken for a port that another program holds.
    """
    with disk_errors(settings.state_dir):
        ownership.require_usable(settings.state_dir)
        return portclaims.claim_standard(settings, _stopped(settings))


def look(settings: Settings) -> list[ServiceState]:
    """Return the state of each service under the kept engine, or the one that would be chosen. Changes nothing."""
    kept = read_choice(settings.state_dir)
    return _look(kept.engine if kept else choose(settings).engine, settings)


def look_if_up(settings: Settings) -> list[ServiceState]:
    """Return the states if every service runs under the wanted engine; else an empty list."""
    kept = read_choice(settings.state_dir)
    if kept is None or settings.engine not in ("auto", kept.engine):
        return []
    states = _look(kept.engine, settings)
    return states if all(state.status == "running" for state in states) else []


def look_at_others(settings: Settings) -> list[ServiceState]:
    """Return the state of the other services of the compose file, if the kept engine is docker. Changes nothing."""
    kept = read_choice(settings.state_dir)
    return _containers(settings).look_at_others() if kept and kept.engine == "docker" else []


def left_out(settings: Settings) -> list[str]:
    """Name the services of the compose file that the kept or chosen engine, embedded, does not have."""
    from .docker import composefile

    return composefile.read_others(settings.root) if choose(settings).engine == "embedded" else []


def is_down(settings: Settings) -> bool:
    """Return whether nothing runs, under any engine that could have started it."""
    engines = _engines_in_question(settings)
    ours = [state for engine in engines for state in _look(engine, settings)]
    return all(state.status == "stopped" for state in ours) and not ("docker" in engines and _containers(settings).run)


def unsaved(settings: Settings) -> list[str]:
    """List what stopping the services now would lose, because it cannot be saved."""
    found = emulator.find_unsaved(settings)
    return [f"lose {found}"] if found else []


def down(settings: Settings, say: Say, *, lose: bool = False) -> None:
    """Stop every service and keep its data; forget the choice of the engine.

    Raises ConfirmationNeeded before anything is stopped if unsaved changes would be lost, unless `lose`.
    """
    if not lose:
        emulator.require_saved(settings)
    was_unclean = emulator.unclean_end(settings) and not emulator.make_daemon(settings).is_alive
    with disk_errors(settings.state_dir):
        _stop(settings, say, lose=lose)
        forget_choice(settings.state_dir)
    lost = emulator.unclean_end(settings)
    if lost and not lose and not was_unclean and emulator.could_unmark(settings):
        raise LocalEnvError(f"the AWS emulator: {lost}", hint=LOST)


def restart(settings: Settings, say: Say, *, lose: bool = False) -> list[ServiceState]:
    """Stop every service and start it again under the same engine.

    `lose` as for `down`.
    """
    if not lose:
        emulator.require_saved(settings)
    with disk_errors(settings.state_dir):
        _stop(settings, say, lose=lose)
    return up(settings, say)


def owned_resources(settings: Settings) -> list[str]:
    """List what `destroy` would remove, under both engines."""
    settings = _all_services(settings)
    with disk_errors(settings.state_dir):
        found = [
            thing
            for engine in _engines_in_question(settings, all_known=True)
            for part in _components(engine, settings)
            for thing in part.owned_resources()
        ]
        left = [path for place in _leftover_folders(settings) for path in ownership.removable(place)]
    return list(dict.fromkeys([*found, *map(str, left)]))


def destroy(settings: Settings, say: Say) -> None:
    """Stop every service and remove its data, under both engines."""
    settings = _all_services(settings)
    with disk_errors(settings.state_dir):
        for engine in _engines_in_question(settings, all_known=True):
            for part in _components(engine, settings):
                part.destroy(say)
        stop_outdated(settings, [], say, lose=True)
        for place in _leftover_folders(settings):
            ownership.remove(place, say)
        for place in ownership.foreign(settings.state_dir):
            say(f"kept {place}: this tool did not make it")
        forget_choice(settings.state_dir)
        portclaims.release(settings)


def with_room(settings: Settings, drop: Callable[[], None]) -> None:
    """Drop databases; on a full disk, first free the space that an embedded server needs for that."""
    home = find_home(settings) if choose(settings).engine == "embedded" else None
    was_freed = bool(home and home.free_reserve())
    try:
        drop()
    except LocalEnvError:
        if not was_freed:
            raise
        drop()  # the first attempt met a checkpoint that had begun, and failed, before there was space
    if home:
        home.reserve_space()


def logs(settings: Settings, service: str, lines: int = 20) -> str:
    """Return the last lines that a service wrote, oldest first."""
    if service not in SERVICES:
        return _containers(settings).logs(service, lines)
    kept = read_choice(settings.state_dir)
    parts = _components(kept.engine if kept else "embedded", settings)
    return next((part.logs(service, lines) for part in parts if service in part.services), "")


def follow(settings: Settings, services: Sequence[str], lines: int = 20) -> Iterator[LogLine]:
    """Yield the services' log lines as they are written, after the last `lines` of each. Never ends."""
    parts = _components(choose(settings).engine, settings)
    return following.follow([source for part in parts for source in part.sources(services, lines)])


def find_item_store(settings: Settings) -> ItemStore | None:
    """Find the file in which our DynamoDB Local has its items; None where DynamoDB is another server."""
    if "dynamodb" not in settings.services:
        return None
    if choose(settings).engine == "docker":
        from .docker import dynamodbfile

        return dynamodbfile.find(settings)
    if not settings.dynamodb_local_jar:
        return None
    from .embedded import dynamodb_jar

    return dynamodb_jar.item_store(settings)


def _stop(settings: Settings, say: Say, *, lose: bool) -> None:
    for engine in _engines_in_question(settings):
        side_by_side([partial(part.stop, say) for part in _components(engine, settings)])
    stop_outdated(settings, [], say, lose=lose)


def _containers(settings: Settings) -> ComposeServices:
    """Return the containers of the compose file, to ask for those that are not ours."""
    from .docker.containers import ComposeServices

    return ComposeServices(settings, ())


def _start(part: Component, deadline: Deadline, say: Say) -> list[ServiceState] | PortsTaken:
    """Start a component, and return its port conflict as a value: those of all components are reported together."""
    try:
        return part.start(deadline, say)
    except PortsTaken as error:
        return error


def _stopped(settings: Settings) -> list[str]:
    states = _look(choose(settings).engine, settings)
    return [state.service for state in states if state.status == "stopped"]


def _components(engine: EngineName, settings: Settings) -> list[Component]:
    if engine == "docker":
        from .docker.containers import components
    else:
        from .embedded.programs import components
    return list(components(settings))


def _all_services(settings: Settings) -> Settings:
    """Return settings that leave no service out: it may have run before."""
    return replace(settings, left_out=())


def _docker_preflight(settings: Settings) -> Preflight:
    from .docker.preflight import preflight

    return preflight(settings)


def _look(engine: EngineName, settings: Settings) -> list[ServiceState]:
    with disk_errors(settings.state_dir):
        return _flat([part.look() for part in _components(engine, settings)])


def _engines_in_question(settings: Settings, *, all_known: bool = False) -> list[EngineName]:
    """Return the kept engine; without one, or for all, those that can be asked."""
    kept = read_choice(settings.state_dir)
    if kept and not all_known:
        return [kept.engine]
    known: list[EngineName] = ["embedded", "docker"] if _docker_preflight(settings).ok else ["embedded"]
    return sorted(known, key=lambda engine: not kept or engine != kept.engine)


def _leftover_folders(settings: Settings) -> list[Path]:
    """List our folders that no component removes: logs, leases, and the data of a program no longer wanted."""
    return [place for place in ownership.owned_folders(settings.state_dir) if place.name != "postgres"]


def _flat(states: list[list[ServiceState]]) -> list[ServiceState]:
    return sorted((state for group in states for state in group), key=lambda state: SERVICES.index(state.service))


__all__ = [
    "Choice",
    "Move",
    "choose",
    "claim",
    "claim_standard_ports",
    "destroy",
    "down",
    "find_item_store",
    "follow",
    "is_down",
    "left_out",
    "logs",
    "look",
    "look_at_others",
    "look_if_up",
    "moves",
    "owned_resources",
    "plan_standard_ports",
    "restart",
    "unsaved",
    "up",
    "with_room",
]
