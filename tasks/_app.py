"""What the app has: its part, which tells the library what its items mean, and what of a task is not there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .localenv.hints import inv
from .localenv.settings.parts import ITEMS, LINK, MIGRATIONS, TABLES, has, lacks

if TYPE_CHECKING:
    from ._graph import StepContext
    from .localenv.engines.service import ServiceName
    from .localenv.environment.app import App
    from .localenv.settings import Settings

PART = "ddb/chat.py"
"""Where the part is, from the root of the project. Without this file the app has none."""
SEEDS = "seeds/conversations"
"""Its seeds, for an app that has neither."""


def part(settings: Settings) -> App | None:
    """Load the app's part where it has one, and a store for its items."""
    if "dynamodb" not in settings.services or not (settings.root / PART).is_file():
        return None
    if str(settings.root) not in sys.path:
        sys.path.insert(0, str(settings.root))
    from ddb import chat

    return chat


SERVICE_OF = {"db": "postgres", "ddb": "dynamodb", "cognito": "cognito"}
"""The service that the tasks of a namespace are about."""
OF_THE_PART = ("ddb.seed", "ddb.list-conversations", "ddb.get-conversation", "ddb.send-message", "ddb.stream")


def why_absent(task: str, c: StepContext) -> str:
    """Return what the app lacks of that which a task is about; empty where it has all."""
    service = SERVICE_OF.get(task.partition(".")[0], "")
    if not service:
        return ""
    settings, given = c.step.settings, c.step.arguments.get("file")
    if task == "ddb.seed" and not given and has(settings.root, ITEMS):
        return settings.why_left_out(service)
    needed = (service, "postgres") if task in (*OF_THE_PART, "cognito.sync-ids") else (service,)
    left_out = next(filter(None, map(settings.why_left_out, needed)), "")
    if left_out or task == "cognito.sync-ids":
        return left_out or lacks(settings.root, *LINK)
    if task == "db.migrate":
        return lacks(settings.root, MIGRATIONS)
    if task not in OF_THE_PART:
        return lacks(settings.root, TABLES) if task == "ddb.schema-load" and not given else ""
    return why_no_seeds(settings) if task == "ddb.seed" and not given else lacks(settings.root, PART)


def why_no_seeds(settings: Settings) -> str:
    """Return what the app lacks of a part with seeds of its own; empty where it has them."""
    found = part(settings)
    return lacks(settings.root, found.SEEDS if found else SEEDS) or lacks(settings.root, PART)


def services(c: StepContext) -> list[ServiceName]:
    """Return the services that the app needs."""
    order: tuple[ServiceName, ...] = ("postgres", "dynamodb", "cognito")
    return [service for service in order if service in c.step.settings.services]


def left_out(c: StepContext) -> list[str]:
    """Return in one line which services the app does not need, and why."""
    reasons = [f"{service} ({reason})" for service, reason in c.step.settings.left_out]
    return [f"left out: {', '.join(reasons)}"] if reasons else []


def what_next(c: StepContext) -> str:
    """Return what a typed rebuild of the database leaves open; within initial-setup the next steps see to it."""
    is_open = c.step.typed and not why_absent("cognito.sync-ids", c)
    return f"; next: {inv('cognito.sync-ids')}, since new users have no pool id yet" if is_open else ""
