"""What --ports and --adopt of env.up ask for, and what each start says of ports and of plain Compose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._graph import StepContext
from ._lazy import lazy
from .localenv.errors import UsageError
from .localenv.hints import Command, inv
from .localenv.settings.variables import STANDARD_PORTS, checked, choice

if TYPE_CHECKING:
    from .localenv import engines
    from .localenv.engines import portclaims
    from .localenv.engines.docker import takeover, takeovernote
    from .localenv.environment import notices
else:
    engines = lazy("localenv.engines")
    portclaims = lazy("localenv.engines.portclaims")
    takeover = lazy("localenv.engines.docker.takeover")
    takeovernote = lazy("localenv.engines.docker.takeovernote")
    notices = lazy("localenv.environment.notices")

STANDARD, FREE = "standard", "free"


def ports(c: StepContext) -> str:
    """Return the value of --ports, checked; empty where it is absent, as for other steps than env.up."""
    given = c.step.arguments.get("ports") or ""
    return str(checked("--ports", given, choice(STANDARD, FREE))) if given else ""


def are_open(c: StepContext) -> bool:
    """Return whether something that was asked for is not so yet, or a takeover is not finished."""
    settings, word = c.step.settings, ports(c)
    if (word == STANDARD and not portclaims.has_standard(settings)) or (word == FREE and settings.fixed):
        return True
    begun = takeovernote.read_takeover(settings)
    if begun is None:
        return bool(c.step.arguments.get("adopt"))
    return begun.stage != "adopted" and engines.choose(settings).engine == "docker"


def plan(c: StepContext) -> list[str]:
    """Return what `settle` would do, a line each. Raises as it does."""
    settings, adopt = c.step.settings, bool(c.step.arguments["adopt"])
    lines: list[str] = []
    begun = takeovernote.read_takeover(settings)
    if adopt or (begun and begun.stage == "copying" and engines.choose(settings).engine == "docker"):
        _require_docker(c)
        lines = takeover.plan_takeover(settings)
    if ports(c) == STANDARD:
        return lines + engines.plan_standard_ports(settings, adopt=adopt)
    return [*lines, *map(str, engines.moves(settings))]


def _require_docker(c: StepContext) -> None:
    chosen = engines.choose(c.step.settings)
    if chosen.engine != "docker":
        raise UsageError(
            f"--adopt takes over volumes of Docker, and the engine is {chosen.engine}: {chosen.reason}",
            hint=Command("env.up", "--adopt", "--engine", "docker"),
        )


def planned_ports(c: StepContext) -> dict[str, int]:
    """Return the ports that `settle` would give, by service."""
    if ports(c) == STANDARD:
        return dict(STANDARD_PORTS)
    return {move.service: move.new for move in engines.moves(c.step.settings)}


def settle(c: StepContext) -> None:
    """Settle volumes and ports before a start, and let the rest of the run know them."""
    if c.step.arguments.get("adopt"):
        _require_docker(c)
        takeover.take_over(c.step.settings, c.step.say)
    if ports(c) == STANDARD:
        for line in engines.claim_standard_ports(c.step.settings):
            c.step.say(line)
    elif ports(c) == FREE and c.step.settings.fixed:
        portclaims.release_standard(c.step.settings)
    c.step.reread_settings()
    for move in engines.claim(c.step.settings):
        c.step.say(f"{move}; kept until {inv('env.destroy')}")
    c.step.reread_settings()


def tell_notices(c: StepContext) -> None:
    """Say in a line each which ports are not the standard ones, and what plain Compose has here."""
    for one in notices.notices(c.step.settings):
        hint = c.step.fitting(one.hint)
        c.step.reporter.warn(c.step.name, f"{one.about}: {one.text}{f': {hint}' if hint else ''}")
