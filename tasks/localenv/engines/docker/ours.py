"""Our services among the containers: which is which, at which port, and whether its server answers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...settings import Settings
from .. import probes
from ..service import ServiceName
from .api import Container
from .composefile import OURS, read_names

PROBE_S = 3.0
"""Long, because the first request to a JVM on a busy machine is slow; a port without a listener refuses at once."""


def current(containers: Iterable[Container], root: Path) -> dict[ServiceName, Container]:
    """Return the newest container of each of our services; `containers` come oldest first.

    The compose file is asked what they are called where the containers do not show it.
    """
    by_name = {container.service: container for container in containers}
    ours = set(OURS.values())
    names = OURS if ours <= by_name.keys() or by_name.keys() <= ours else {**OURS, **read_names(root)}
    return {service: by_name[name] for service, name in names.items() if name in by_name}


def wanted_services(settings: Settings) -> list[ServiceName]:
    """Return the services that the app needs in containers."""
    return [service for service in OURS if service in settings.services]


def port_of(settings: Settings, service: ServiceName) -> int:
    """Return the service's port on this machine."""
    assert settings.dynamodb
    return settings.postgres.port if service == "postgres" else settings.dynamodb.port


def answers_now(settings: Settings, service: ServiceName) -> bool:
    """Return whether a server speaks the service's protocol on its port."""
    if service == "postgres":
        return probes.postgres_accepts(settings.postgres, timeout_s=PROBE_S)
    assert settings.dynamodb
    return probes.dynamodb_answers(settings.dynamodb, settings.region, timeout_s=PROBE_S)
