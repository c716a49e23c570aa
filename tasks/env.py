"""env: the services themselves. Start, stop, look at and remove them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import _app, _logs, _output, _wishes
from ._graph import DESTROYS, READS, WRITES, Found, StepContext, step
from ._lazy import lazy
from ._words import word_step
from .localenv.errors import ServiceFailed, UsageError
from .localenv.hints import START, Command, inv
from .localenv.settings.kept import kept_project
from .localenv.settings.variables import checked, choice

if TYPE_CHECKING:
    from .localenv import engines
    from .localenv.engines.service import ServiceName, ServiceState
    from .localenv.environment import adoption, exports, neighbours
    from .localenv.environment.neighbours import Neighbour
    from .localenv.machine import ages
    from .localenv.snapshot import shelf as shelves
else:
    engines = lazy("localenv.engines")
    adoption = lazy("localenv.environment.adoption")
    exports = lazy("localenv.environment.exports")
    neighbours = lazy("localenv.environment.neighbours")
    ages = lazy("localenv.machine.ages")
    shelves = lazy("localenv.snapshot.shelf")

NOTHING_LOCAL = "target prod: nothing to start here"
SERVICES: tuple[ServiceName, ...] = ("postgres", "dynamodb", "cognito")


def _is_up(c: StepContext) -> str | None:
    if not c.step.settings.is_local:
        return NOTHING_LOCAL
    states = [] if _wishes.are_open(c) else engines.look_if_up(c.step.settings)
    if not states or _has_foreign_data(c):
        return None
    if c.step.typed:  # another step needs ours alone
        others = engines.look_at_others(c.step.settings)
        if any(state.status != "running" for state in others):
            return None
        states += others
    if c.step.requested:
        _wishes.tell_notices(c)
    return f"{_listed(states)}, already running ({engines.choose(c.step.settings).engine})"


def _has_foreign_data(c: StepContext) -> bool:
    """Return whether a moved or copied folder brought data of another project, which are not taken over yet."""
    project = c.step.settings.project_id
    return (
        kept_project(c.step.settings.state_dir) not in ("", project)
        and engines.choose(c.step.settings).engine == "embedded"
    )


def _is_down(c: StepContext) -> str | None:
    return _is_elsewhere(c) or ("not running" if engines.is_down(c.step.settings) else None)


def _is_elsewhere(c: StepContext) -> str | None:
    return None if c.step.settings.is_local else NOTHING_LOCAL


def _plan_up(c: StepContext) -> list[str]:
    _wishes.tell_notices(c)
    choice, wishes = engines.choose(c.step.settings), _wishes.plan(c)
    settings = c.step.settings.with_ports(_wishes.planned_ports(c))
    looked = [*engines.look(settings), *engines.look_at_others(settings)]
    stopped = [state for state in looked if state.status != "running"]
    return [
        f"engine {choice.engine}: {choice.reason}",
        *wishes,
        *(f"start {s.service} at {s.address}" if s.address else f"start {s.service}" for s in stopped),
    ]


def _adopt(c: StepContext) -> None:
    """Take over the data that came here with a moved or copied folder, or with volumes of plain Compose."""
    settings = c.step.writable("what came here with the folder")
    for told in (adoption.adopt(settings), adoption.adopt_taken_over(settings)):
        if told:
            c.step.say(told)


@step(
    example="inv env.up --ports standard",
    values={"ports": "ports"},
    effect=WRITES,
    check=_is_up,
    plan=_plan_up,
    inputs=_wishes.ports,
    help={
        "ports": "standard: 5432, 8000 and 9229, or the name of who has them; free: others again where those are taken",
        "adopt": "take over the data that plain `docker compose up` has for this folder",
    },
)
def up(c: StepContext, ports: str = "", adopt: bool = False) -> str:
    """Start Postgres, DynamoDB and Cognito, and wait until they are ready."""
    if not c.step.settings.is_local:
        return NOTHING_LOCAL
    _wishes.settle(c)
    _wishes.tell_notices(c)
    states = engines.up(c.step.settings, c.step.say)
    _adopt(c)
    for line in _left_out(c):
        c.step.say(line)
    states += [state for state in engines.look_at_others(c.step.settings) if state.status == "running"]
    c.step.note(services=[state.as_dict() for state in states])
    return ", ".join(
        f"{s.service} {s.address} ({s.version})" if s.version else f"{s.service} {s.address}" for s in states
    )


def _left_out(c: StepContext) -> list[str]:
    """Return in one line which services of the compose file the engine does not have."""
    names = engines.left_out(c.step.settings)
    them = "it" if len(names) == 1 else "them"
    return [f"left out: {', '.join(names)} (docker has {them}: --engine docker)"] if names else []


LOSE = "stop also where that loses what could not be saved, as on a full disk"


def _require_yes_to_lose(c: StepContext, yes: bool) -> bool:
    """Ask before what cannot be saved is lost. Returns whether there is any."""
    lost = engines.unsaved(c.step.settings)
    if lost:
        c.step.require_yes(lost, yes=yes)
    return bool(lost)


@step(example="inv env.down", effect=WRITES, check=_is_down, help={"yes": LOSE})
def down(c: StepContext, yes: bool = False) -> str:
    """Stop the services and keep their data."""
    if not c.step.settings.is_local:
        return NOTHING_LOCAL
    lose = _require_yes_to_lose(c, yes)
    engines.down(c.step.settings, c.step.say, lose=lose)
    return "stopped; what could not be saved is lost" if lose else "stopped; the data is kept"


@step(example="inv env.restart", effect=WRITES, check=_is_elsewhere, help={"yes": LOSE})
def restart(c: StepContext, yes: bool = False) -> str:
    """Stop the services and start them again, with their data."""
    if not c.step.settings.is_local:
        return NOTHING_LOCAL
    lose = _require_yes_to_lose(c, yes)
    _wishes.settle(c)
    _wishes.tell_notices(c)
    states = engines.restart(c.step.settings, c.step.say, lose=lose)
    _adopt(c)
    return _listed(states)


@step(example="inv env.status --format json", codes={4: "a service is down"}, effect=READS)
def status(c: StepContext) -> None:
    """Show each service, its address and its version; exit 4 when one is down."""
    if not c.step.settings.is_local:
        c.step.emit([], NOTHING_LOCAL)
        return
    states = [*engines.look(c.step.settings), *engines.look_at_others(c.step.settings)]
    c.step.emit(
        [one.as_dict() for one in states],
        lambda: [*_output.table(map(_row, states), HEADINGS), *_app.left_out(c), *_left_out(c)],
    )
    _wishes.tell_notices(c)
    if down := [state.service for state in states if state.is_down]:
        raise Found(ServiceFailed(f"{', '.join(down)} not running", hint=START))


@word_step(
    example="inv env.logs postgres -f",
    effect=READS,
    word="service",
    short={"follow": "f", "lines": "n"},
    help={
        "service": "postgres, dynamodb, cognito, or another of docker-compose.yml (default: each of them)",
        "follow": "go on with what they write, until Ctrl-C",
        "lines": "this many of each",
    },
    inputs=lambda c: _named(c),
)
def logs(c: StepContext, service: str = "", follow: bool = False, lines: int = 20) -> None:
    """Show the last lines that the services wrote: env.logs postgres -f."""
    if not c.step.settings.is_local:
        c.step.emit({}, NOTHING_LOCAL)
        return
    names = _named(c)
    if follow:
        _logs.follow(c, names, lines)
        return
    found = {name: engines.logs(c.step.settings, name, lines) for name in names}
    data = {name: text.split("\n") if text else [] for name, text in found.items()}
    c.step.emit(data, lambda: _logs.listed(found))


def _named(c: StepContext) -> Sequence[str]:
    """Return the services that were typed. Raises UsageError for another word, and for less than no lines."""
    service, lines = c.step.arguments["service"], c.step.arguments["lines"]
    if lines < 0:
        raise UsageError(f"--lines {lines} is less than 0")
    others = [state.service for state in engines.look_at_others(c.step.settings)]
    return [checked("--service", service, choice(*SERVICES, *others))] if service else [*_app.services(c), *others]


@step(
    example='eval "$(inv env.export)"',
    effect=READS,
    local_only=True,
    formats=("shell", "dotenv", "json", "github", "docker"),
    format_help="shell (for eval), dotenv, json, github (appends to $GITHUB_ENV) or docker (for --env-file)",
    help={"legacy": "also AWS_ENDPOINT_URL, for an SDK older than July 2023"},
)
def export(c: StepContext, legacy: bool = False) -> None:
    """Print the variables that the app needs, passwords included."""
    settings, form = c.step.settings, c.step.format
    if not engines.look_if_up(settings):
        c.step.reporter.warn(
            c.step.name, f"not all services run: {Command('env.up', when='first, it may pick other ports')}"
        )
    if form == "docker":
        settings, command = exports.for_container(settings)
        c.step.say(f"for `{command} --env-file FILE`")
    values = exports.variables(settings, legacy=legacy)
    if form == "github":
        exports.append_to(os.environ.get("GITHUB_ENV", ""), exports.as_github(values))
        c.step.say(f"{len(values)} variables for the steps that follow")
    else:
        ways = {"shell": exports.as_shell, "dotenv": exports.as_dotenv, "docker": exports.as_env_file}
        c.step.emit_exactly(values, ways[form](values).removesuffix("\n") if form in ways else "")


@step(name="list", example="inv env.list", effect=READS)
def list_checkouts(c: StepContext) -> None:
    """List every checkout's environment on this machine, and what is left."""
    found = neighbours.list_neighbours(c.step.settings)
    c.step.emit([one.as_dict() for one in found], lambda: _listing(found) or "no environment on this machine")


def _listing(found: Sequence[Neighbour]) -> list[str]:
    gone = [f"what {one.path or one.project_id} has left goes with: {one.remove}" for one in found if one.remove]
    return [*_output.table(map(_checkout_row, found), CHECKOUT_HEADINGS), *gone]


CHECKOUT_HEADINGS = ("CHECKOUT", "ENGINE", "STATE", "PORTS", "DATA", "CREATED", "LAST USED")


def _checkout_row(one: Neighbour) -> tuple[str, ...]:
    created, used = (ages.ago(time.time() - when) if when else "" for when in (one.created, one.used))
    ports, size = " ".join(map(str, one.ports.values())), f"{one.size_bytes / 1024**2:.0f} MB"
    path = one.path if one.exists else f"{one.path or one.project_id} (gone)"
    return path, one.engine, one.state, ports, size, created, used


def _plan_destroy(c: StepContext) -> list[str]:
    settings = c.step.settings
    saved = ", ".join(shelves.Shelf(settings).names())
    return [
        *(f"remove {thing}" for thing in engines.owned_resources(settings)),
        *([f"lose with them the snapshots {saved}"] if saved else []),
    ]


CONFIRM = "name of the database, or of the folder of an app without one, since nothing brings the data back"


@step(
    example="inv env.destroy --confirm cruddur",
    effect=DESTROYS,
    local_only=True,
    plan=_plan_destroy,
    inputs=lambda c: c.step.check_confirm(c.step.settings.name_of_all),
    help={"confirm": CONFIRM},
)
def destroy(c: StepContext, confirm: str = "") -> str:
    """Stop the services and remove all their data, after a question."""
    settings = c.step.settings
    things = engines.owned_resources(settings)
    if things:
        c.step.say(f"to keep the data, before: {inv('snapshot.save', 'kept', '--file', 'kept.tar.gz')}")
        c.step.require_name(_plan_destroy(c), settings.name_of_all, confirm=confirm)
    engines.destroy(settings, c.step.say)
    c.step.reread_settings()
    if not things:
        return "nothing to remove"
    return f"removed {len(things)} things; {inv('initial-setup')} makes them anew"


HEADINGS = ("SERVICE", "STATUS", "ADDRESS", "VERSION", "BEHIND IT", "SINCE", "")


def _row(state: ServiceState) -> tuple[str, ...]:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state.since)) if state.since else ""
    return (
        state.service,
        state.status,
        state.address,
        state.version,
        state.holder,
        since,
        _output.as_typed(state.detail),
    )


def _listed(states: list[ServiceState]) -> str:
    return ", ".join(f"{state.service} {state.address}" for state in states)
