"""The embedded engine: no Docker, no Java, no root needed."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from ...settings import Settings
from .. import emulator
from ..daemon import end_lost
from ..emulator import Emulator
from ..service import Component, Say, ServiceName
from . import dynamodb_jar
from . import postgres as embedded_postgres
from .dynamodb_jar import DynamoDBLocal
from .postgres import EmbeddedPostgres


def components(settings: Settings) -> list[Component]:
    """List the programs the app needs: PostgreSQL, Amazon's DynamoDB Local if it is configured, and the emulator."""
    found: list[Component] = [EmbeddedPostgres(settings)] if "postgres" in settings.services else []
    emulated: list[ServiceName] = []
    if "dynamodb" in settings.services and settings.dynamodb_local_jar:
        found.append(DynamoDBLocal(settings))
    elif "dynamodb" in settings.services:
        emulated.append("dynamodb")
    if settings.cognito_is_emulated:
        emulated.append("cognito")
    return [*found, Emulator(settings, tuple(emulated))] if emulated else found


def stop_outdated(settings: Settings, parts: Sequence[Component], say: Say, *, lose: bool = False) -> None:
    """Stop programs that the settings no longer want, such as the jar after DYNAMODB_LOCAL_JAR was unset.

    Before anything starts: one program may need another's port.
    Raises ConfirmationNeeded if the emulator would lose changes, unless `lose`.
    """
    wanted = [part for part in parts if isinstance(part, (EmbeddedPostgres, Emulator, DynamoDBLocal))]
    for part in wanted:
        part.stop_outdated(say)
    for module in (embedded_postgres, emulator, dynamodb_jar):
        daemon = module.make_daemon(settings)
        gently = signal.SIGINT if module is embedded_postgres else signal.SIGTERM
        if daemon.lease in [part.daemon.lease for part in wanted]:
            continue
        if daemon.is_alive:
            if module is emulator and not lose:
                emulator.require_saved(settings)
            daemon.stop(gently, within_s=60)
            say(f"{daemon.name} stopped: it is not part of the settings that .env has now")
        end_lost(daemon, say, gently)
