"""What every start and look says of the ports and of plain Compose, a line each. Only reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..engines import portclaims
from ..settings.variables import STANDARD_PORTS

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(frozen=True)
class Notice:
    """Something that is in order, and yet not as one expects: `about` what, and what to do for it to be otherwise."""

    about: str
    text: str
    hint: str


def notices(settings: Settings) -> list[Notice]:
    """Return what there is to say, the ports first."""
    from ..engines.docker import plaincompose

    picked, found = portclaims.picked(settings), []
    if picked:
        ports = ", ".join(f"{service} {port}" for service, port in picked.items())
        usual = ", ".join(str(STANDARD_PORTS[service]) for service in picked)
        found.append(Notice("ports", f"{ports}, picked in place of the standard {usual}", portclaims.STANDARD))
    plain = plaincompose.find_plain(settings)
    if plain:
        found.append(Notice("compose", str(plain), plain.hint(settings)))
    return found
