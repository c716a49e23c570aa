"""The embedded engine: no Docker, no Java, no root needed."""

from __future__ import annotations

from ..settings import Settings
from .dynamodb_jar import DynamoDBLocal
from .embedded_postgres import EmbeddedPostgres
from .emulator import Emulator
from .service import Component, ServiceName


def components(settings: Settings) -> list[Component]:
    """List the programs of this engine: PostgreSQL, and the emulator or Amazon's DynamoDB Local and the emulator."""
    found: list[Component] = [EmbeddedPostgres(settings)]
    emulated: list[ServiceName] = []
    if settings.dynamodb_local_jar:
        found.append(DynamoDBLocal(settings))
    else:
        emulated.append("dynamodb")
    if settings.cognito_is_emulated:
        emulated.append("cognito")
    return [*found, Emulator(settings, tuple(emulated))] if emulated else found
