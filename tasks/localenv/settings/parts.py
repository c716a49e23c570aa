"""What an app has, found by its files: the services that it needs, and why another one is left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .people import PEOPLE
from .variables import SERVICES

SCHEMA = "sql/schema.sql"
SCHEMA_FILES = "sql/schema/*.sql"
MIGRATIONS = "sql/migrations"
TABLES = "ddb/tables"
ITEMS = "seeds/ddb"
LINK = ("sql/users/cognito_ids.sql", "sql/users/set_cognito_user_ids.sql")
"""The queries that read and write the link between users and pool."""
SIGN_UP = "sql/sign_up/create_user.sql"
"""The query that adds the row of a pool user who has none."""
CONFIRMED = "sql/sign_up/post_confirmation.py"
"""The function that Cognito runs once a user is confirmed: it adds that row."""


def has(root: Path, *places: str) -> bool:
    """Return whether one of these files is there, or a folder that holds something."""
    found = (root / place for place in places)
    return any(path.is_file() or (path.is_dir() and any(path.iterdir())) for path in found)


def lacks(root: Path, *places: str) -> str:
    """Return the first of these files that is not there, as a reason; empty where all are."""
    return next((f"this app has no {place}" for place in places if not has(root, place)), "")


def left_out(root: Path, wanted: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the services that are left out, each with the reason; `wanted` are those of LOCALENV_SERVICES, if any."""
    if wanted:
        return tuple((name, "LOCALENV_SERVICES leaves it out") for name in SERVICES if name not in wanted)
    needed = {
        "postgres": has(root, SCHEMA) or any(root.glob(SCHEMA_FILES)) or any((root / MIGRATIONS).glob("*.sql")),
        "dynamodb": has(root, TABLES, ITEMS),
        "cognito": has(root, PEOPLE, *LINK),
    }
    reasons = {
        "postgres": f"this app has no {SCHEMA}",
        "dynamodb": f"this app has no {TABLES}",
        "cognito": f"this app has no {PEOPLE} and no {LINK[0]}",
    }
    return tuple((name, reasons[name]) for name in SERVICES if not needed[name])
