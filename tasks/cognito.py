"""cognito: the user pool, and its link to the users in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _output, db, env
from ._graph import READS, REPLACES, WRITES, StepContext, step
from ._lazy import lazy
from ._words import word_step
from .db.building import CONFIRM
from .localenv.errors import UsageError
from .localenv.hints import inv
from .localenv.settings.parts import LINK, SIGN_UP, lacks
from .localenv.settings.people import read_people

if TYPE_CHECKING:
    from .localenv.cognito import seed as seeding
    from .localenv.cognito import shape, sync, tokens
    from .localenv.cognito import users as pool
    from .localenv.cognito.seed import Seeded
    from .localenv.cognito.sync import Comparison, Queries
    from .localenv.cognito.users import PoolUser
    from .localenv.settings.people import Person
else:
    seeding = lazy("localenv.cognito.seed")
    shape = lazy("localenv.cognito.shape")
    sync = lazy("localenv.cognito.sync")
    tokens = lazy("localenv.cognito.tokens")
    pool = lazy("localenv.cognito.users")


def people(c: StepContext) -> list[Person]:
    return read_people(c.step.settings.root)


def queries(c: StepContext) -> Queries | None:
    """Name the app's queries that read and write the link, where it has them and a database."""
    settings = c.step.settings
    if settings.why_left_out("postgres") or lacks(settings.root, *LINK):
        return None
    read, write, create = (settings.root / place for place in (*LINK, SIGN_UP))
    return sync.Queries(read, write, create if create.is_file() else None)


def _link(c: StepContext) -> Queries:
    found = queries(c)
    assert found, "the step is skipped without them"
    return found


def _examine(c: StepContext) -> Seeded:
    return seeding.examine(c.step.settings, people(c))


def _is_seeded(c: StepContext) -> str | None:
    settings = c.step.settings
    if not settings.is_local:
        return "target prod: the users of a real pool are its own"
    if not settings.cognito_is_emulated:
        return f"AWS_COGNITO_USER_POOL_ID names a real pool: {settings.user_pool_id}"
    found = _examine(c)
    return found.sentence if found.is_complete else None


def _plan_seed(c: StepContext) -> list[str]:
    if not c.step.settings.cognito_is_emulated:
        return []
    found = _examine(c)
    if c.step.force and found.reshaped == "cannot" and not c.step.arguments["yes"]:
        found.require_yes()
    return found.plan(anew=c.step.force)


@step(
    example="inv cognito.seed",
    effect=REPLACES,  # with --force, a pool of another shape
    pre=[env.up],
    check=_is_seeded,
    plan=_plan_seed,
    help={"yes": "with --force: replace a pool of another shape, also where users signed up in it"},
    inputs=lambda c: shape.read_shape(c.step.settings),
)
def seed(c: StepContext, yes: bool = False) -> str:
    """Put the people of the seeds into the emulated user pool."""
    reason = None if c.step.settings.cognito_is_emulated else _is_seeded(c)
    if reason:
        return reason
    return seeding.apply(c.step.writable("the user pool"), people(c), anew=c.step.force, yes=yes)


@step(example="inv cognito.list-users", effect=READS, pre=[seed])
def list_users(c: StepContext) -> None:
    """List every user of the pool, with and without a handle."""
    users = sorted(
        pool.list_users(c.step.settings), key=lambda user: (user.handle is None, user.handle or "", user.username)
    )
    c.step.emit(
        [user.as_dict() for user in users],
        lambda: _output.table(map(_row, users), HEADINGS) or "nobody is in the pool",
    )


HEADINGS = ("HANDLE", "NAME", "E-MAIL", "SUB", "USERNAME", "STATUS")


def _row(user: PoolUser) -> tuple[str, ...]:
    status = user.status if user.enabled else f"{user.status}, disabled"
    return user.handle or "-", user.name or "-", user.email or "-", user.sub, user.username, status


def _compare(c: StepContext) -> Comparison:
    return sync.compare(c.step.settings, _link(c))


def _adds_rows(c: StepContext, found: Comparison) -> bool:
    """Return whether users who signed up get their row. Of a real pool one asks for it: it copies e-mail addresses."""
    may = c.step.settings.cognito_is_emulated or c.step.arguments["create"]
    return bool(may and found.lacking and _link(c).create)


def _is_synced(c: StepContext) -> str | None:
    found = _compare(c)
    left = c.step.typed and (found.match.users or any(user.handle for user in found.match.pool_users))  # say why
    is_done = found.match.pairs and not found.match.changes and not left
    return found.sentence if is_done and not _adds_rows(c, found) else None


def _plan_sync(c: StepContext) -> list[str]:
    found = _compare(c)
    added = [f"add a row for pool user {user}, handle {user.handle}" for user in found.lacking]
    return [*(added if _adds_rows(c, found) else []), *found.lines()]


@step(
    example="inv cognito.sync-ids",
    effect=WRITES,
    pre=[db.setup, seed],
    check=_is_synced,
    plan=_plan_sync,
    help={
        "create": "add the rows of confirmed pool users of a real pool too: copies e-mail addresses",
        "confirm": CONFIRM,
    },
)
def sync_ids(c: StepContext, create: bool = False, confirm: str = "") -> str:
    """Give each user in the database the id (sub) of their pool user, and each who signed up a row."""
    comparison, settings, added = _compare(c), c.step.settings, 0
    if _adds_rows(c, comparison):
        settings = c.step.writable_database(confirm)
        for line in sync.add_rows(settings, _link(c), comparison):
            c.step.say(line)
        lacked = len(comparison.lacking)
        comparison = _compare(c)
        added = lacked - len(comparison.lacking)
    for line in comparison.lines() if c.step.typed else comparison.unmatched():
        c.step.say(line)
    if comparison.match.changes:
        settings = c.step.writable_database(confirm)
    changed = sync.apply(settings, _link(c), comparison)
    c.step.note(users=comparison.users, matched=len(comparison.match.pairs), changed=changed, added=added)
    done = f"{len(comparison.match.pairs)} of {comparison.users} users have their sub, {changed} changed"
    return done + (f", {added} added" if added else "")


WHO = "their handle, username or e-mail address"


def _whose(c: StepContext) -> str:
    if not c.step.arguments["handle"]:
        raise UsageError(f"{c.step.name} wants a handle", hint=f"{inv(c.step.name, 'andrewbrown')}")
    tokens.require_emulated(c.step.settings)
    return str(c.step.arguments["handle"])


@word_step(
    example="inv cognito.token andrewbrown --format header",
    effect=READS,
    pre=[seed],
    word="handle",
    needed=True,
    inputs=_whose,
    formats=("text", "json", "header"),
    format_help="text, json, or header: Authorization: Bearer …",
    help={
        "handle": WHO,
        "password": "theirs (default: that of the seeds)",
    },
)
def token(c: StepContext, handle: str = "", password: str = "") -> None:
    """Sign a user of the emulated pool in, and print the tokens."""
    found = tokens.sign_in(c.step.settings, _whose(c), password)
    rows = [f"{name}  {getattr(found, f'{name}_token')}" for name in ("access", "id", "refresh")]
    header = f"Authorization: Bearer {found.access_token}"
    c.step.emit_exactly(found, header if c.step.format == "header" else "\n".join(rows))


@word_step(
    example="inv cognito.set-password andrewbrown",
    effect=WRITES,
    pre=[seed],
    local_only=True,
    word="handle",
    needed=True,
    inputs=_whose,
    help={"handle": WHO, "password": "the new one (default: that of the seeds)"},
)
def set_password(c: StepContext, handle: str = "", password: str = "") -> str:
    """Set the password of a user of the emulated pool."""
    return tokens.set_password(c.step.writable("the user pool"), _whose(c), password)
