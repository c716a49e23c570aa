"""Which ports this checkout gets beside other checkouts: decided at env.up, kept until env.destroy.

A port that the user has set stays. A default port that another checkout has, running or not, is left to it, and the
next free one is chosen. A default port held by any other program is not replaced: the app would talk to that program.
A port that was chosen here is known to nothing else, so whatever holds it, another is chosen. The standard ports, once
the user asked for them, are as good as set.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..checkout import checkouts
from ..checkout.ownership import remove_note
from ..errors import UsageError
from ..hints import Command
from ..machine.ports import Holder, PortsTaken, command_of, find_taken, find_taker, is_free
from ..settings import Settings
from ..settings.kept import PROJECT, keep_ports, kept_ports
from ..settings.variables import PORT_VARIABLES, STANDARD_PORTS

FREE = Command("env.up", "--ports", "free", when="to let it pick others")
STANDARD = Command("env.up", "--ports", "standard", when="to take the standard ones")
OURS = (
    re.compile(r"\bcluster_name=(\S+)"),
    re.compile(r"/emulator_server(?:\.py)? --state (.+?) --apis "),
    re.compile(r"DynamoDBLocal\.jar .*-dbPath (.+?) -disableTelemetry"),
)
"""Command lines of the embedded engine's programs, of any checkout; the group identifies it."""


@dataclass(frozen=True)
class Move:
    """A service that gets another port, because another program or checkout has its own."""

    service: str
    old: int
    new: int
    owner: str

    def __str__(self) -> str:
        return f"{self.service} gets port {self.new}: {self.old} belongs to {self.owner}"


def plan(settings: Settings, stopped: Collection[str]) -> list[Move]:
    """Decide which of the `stopped` services get another port. Changes nothing."""
    claimed = _claimed(settings)
    kept = kept_ports(settings.state_dir, settings.project_id)
    moves: list[Move] = []
    for service in (service for service in settings.movable if service in stopped and service not in settings.fixed):
        port = settings.ports[service]
        owner = claimed.get(port) or _owner(settings, service, picked_here=service in kept)
        if owner:
            new = _next_free(port, {*claimed, *settings.ports.values(), *(move.new for move in moves)})
            moves.append(Move(service, port, new, owner))
    return moves


def claim(settings: Settings, stopped: Collection[str]) -> list[Move]:
    """Assign ports to the `stopped` services, save those that were chosen, and enter the checkout in the index."""
    with checkouts.claiming():
        moves = plan(settings, stopped)
        picked = {move.service: move.new for move in moves}
        if moves:
            kept = kept_ports(settings.state_dir, settings.project_id)
            keep_ports(settings.state_dir, settings.project_id, {**kept, **picked})
        checkouts.note(settings.with_ports(picked))
    return moves


def picked(settings: Settings) -> dict[str, int]:
    """Return the ports that an earlier start has picked, where they are not the standard ones."""
    found = settings.ports.items()
    return {name: port for name, port in found if name in settings.movable and port != STANDARD_PORTS[name]}


def has_standard(settings: Settings) -> bool:
    """Return whether every service keeps its standard port, whoever else wants it."""
    return settings.fixed == settings.movable and settings.ports == _standard(settings)


def plan_standard(settings: Settings, stopped: Collection[str], freed: Collection[int] = ()) -> list[str]:
    """Return which services get their standard ports, a line each. Changes nothing. `freed` will be free by then.

    Raises UsageError for another port that is set, PortsTaken for a port that another program holds.
    """
    taken, lines, claimed = [], [], _claimed(settings)
    for service, port in settings.ports.items():
        new, variable = STANDARD_PORTS[service], PORT_VARIABLES[service]
        if port != new and service not in settings.movable:
            raise UsageError(
                f"--ports standard: {variable} gives {service} port {port}, not {new}",
                hint=f"leave {variable} out, or give it port {new}",
            )
        if new not in freed and (port != new or service in stopped):
            taken += find_taken("127.0.0.1", new, service=service, variable=variable)
        if port != new:
            owner = f"; {claimed[new]} gets another one at its next start" if new in claimed else ""
            lines.append(f"{service} gets its standard port {new} in place of {port}{owner}")
    if taken:
        raise PortsTaken(*taken)
    return lines


def claim_standard(settings: Settings, stopped: Collection[str]) -> list[str]:
    """Keep the standard ports for this checkout. Returns and raises as `plan_standard` does."""
    with checkouts.claiming():
        lines = plan_standard(settings, stopped)
        keep_ports(settings.state_dir, settings.project_id, STANDARD_PORTS, fixed=True)
        checkouts.note(settings.with_ports(_standard(settings)))
    return lines


def release_standard(settings: Settings) -> None:
    """Let later starts pick other ports again, where somebody else has the standard ones."""
    remove_note(settings.state_dir, "ports")


def _standard(settings: Settings) -> dict[str, int]:
    return {service: STANDARD_PORTS[service] for service in settings.ports}


def _claimed(settings: Settings) -> dict[int, str]:
    return {
        port: f"the checkout in {other.root}"
        for other in checkouts.read_all()
        if other.project_id != settings.project_id and other.is_there
        for port in other.ports.values()
    }


def release(settings: Settings) -> None:
    """Release the ports, and remove the checkout from the index."""
    remove_note(settings.state_dir, "ports")
    checkouts.forget(settings.project_id)


def neighbour(settings: Settings, holder: Holder) -> str:
    """Describe the environment of another checkout that holds a port; empty if the holder is none."""
    if holder.container:
        theirs = PROJECT.fullmatch(holder.project) and holder.project != settings.project_id
        return str(holder) if theirs else ""
    command = command_of(holder.pid) if holder.pid else ""
    found = next(filter(None, (pattern.search(command) for pattern in OURS)), None)
    mark = found[1] if found else ""
    if not mark or mark == settings.project_id or mark.startswith(f"{settings.state_dir}/"):
        return ""
    return f"the environment {mark} (pid {holder.pid})"


def _owner(settings: Settings, service: str, *, picked_here: bool) -> str:
    holder = find_taker("127.0.0.1", settings.ports[service])  # movable services are on the default host
    if holder is None or holder.project == settings.project_id:
        return ""
    return neighbour(settings, holder) or (str(holder) if picked_here else "")


def _next_free(port: int, but: Collection[int]) -> int:
    return next(new for new in range(port + 1, 65536) if new not in but and is_free("127.0.0.1", new))
