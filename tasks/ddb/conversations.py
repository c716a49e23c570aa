"""ddb: the conversations, read as one of the users, and a message more."""

from __future__ import annotations

import functools
import re
import shlex
import shutil
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .. import _output, db, env
from .._graph import READS, WRITES, StepContext, step
from .._lazy import lazy, lazy_of_app
from .._words import word_step
from ..localenv.errors import TimedOut, UsageError
from ..localenv.hints import Command, inv
from ..localenv.machine.columns import aligned, cut
from ..localenv.machine.reading import NOTE_BYTES, read_stream
from . import tables
from .seeds import lookup
from .tables import CONFIRM

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ddb import messages
    from ddb.messages import Page
    from ddb.streams import transactions

    from ..localenv.dynamodb import client as dynamodb
    from ..localenv.dynamodb import schema
    from ..localenv.machine import waiting as waits
    from ..localenv.postgres import handles
    from ..localenv.postgres.handles import User
else:
    messages = lazy_of_app("ddb.messages")
    transactions = lazy_of_app("ddb.streams.transactions")
    dynamodb = lazy("localenv.dynamodb.client")
    schema = lazy("localenv.dynamodb.schema")
    waits = lazy("localenv.machine.waiting")
    handles = lazy("localenv.postgres.handles")

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
WHO = "handle of the user who looks"
GROUP = "uuid of the group, instead of --with"
LIMIT = "this many at most"
BEFORE = "only what is older than this time, by your clock or with its offset: 2026, 2026-11-21, 2026-11-21T10:30"


def _check_page(c: StepContext) -> None:
    """Raise UsageError for a page that cannot be: of nobody, of no items, or before what is no time."""
    arguments = c.step.arguments
    _require_handle("--as", arguments["as_"])
    _check_limit(arguments["limit"])
    _time(arguments["before"])


def _check_conversation(c: StepContext) -> None:
    _check_page(c)
    _check_way(c.step.arguments["with_"], c.step.arguments["group"], "--with")


def _check_message(c: StepContext) -> None:
    arguments = c.step.arguments
    _check_way(arguments["to"], arguments["group"], "--to")
    _require_handle("--as", arguments["as_"])
    _text(arguments["text"])


@word_step(
    example="inv ddb.list-conversations --as andrewbrown",
    effect=READS,
    pre=[env.up],
    word="as_",
    help={"as": WHO, "limit": LIMIT, "before": BEFORE},
    inputs=_check_page,
)
def list_conversations(c: StepContext, as_: str = "", limit: int = 20, before: str = "") -> None:
    """List a user's conversations, the newest first."""
    older_than = _time(before)
    _check_limit(limit)
    (user,) = _users(c, {"--as": as_})
    page = messages.list_message_groups(*_whole_table(c), user.uuid, limit=limit, before=older_than)
    cells = max(20, _columns() - 40) if _columns() else 200
    rows = [(at, who, cut(text, cells)) for at, who, text in _told(c, page.items)]
    nothing = f"{user.handle} has no conversations{' before that' if before else ''}"
    _show(c, "conversations", page.items, page, rows, nothing, older=["--as", user.handle])


@step(
    example="inv ddb.get-conversation --as andrewbrown --with bayko",
    effect=READS,
    pre=[env.up],
    inputs=_check_conversation,
    help={"as": WHO, "with": "handle of the other one", "group": GROUP, "limit": LIMIT, "before": BEFORE},
)
def get_conversation(
    c: StepContext,
    as_: str = "",
    with_: str = "",
    group: str = "",
    limit: int = 20,
    before: str = "",
) -> None:
    """Show the newest messages of a conversation, the newest at the end."""
    older_than = _time(before)
    _check_limit(limit)
    _check_way(with_, group, "--with")
    user, *others = _users(c, {"--as": as_, **({"--with": with_} if with_ else {})})
    client, table = _whole_table(c)
    found = messages.find_group(client, table, user.uuid, others[0].uuid) if others else group.lower()
    if not found or (group and not messages.is_member(client, table, found, user.uuid)):
        raise _no_conversation(user, with_, group)
    page = messages.list_messages(client, table, found, limit=limit, before=older_than)
    items = page.items[::-1]
    rows = _told(c, items)
    way = ["--as", user.handle, *(["--with", with_] if with_ else ["--group", found])]
    _show(c, "messages", items, page, rows, "no messages before that" if before else "no messages", older=way)


def _told(c: StepContext, items: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    """Return time, person and text of each; what an item lacks is said, with its key, and the others are shown."""
    for item in items:
        lacking = [name for name in ("user_handle", "message") if not item.get(name)]
        if lacking:
            c.step.say(f"item {item['pk']} {item['sk']} has no text as {' and '.join(lacking)}")
    return [(item["sk"], item.get("user_handle") or "?", item.get("message") or "?") for item in items]


def _plan_send(c: StepContext) -> list[str]:
    as_, to, group = (c.step.arguments[name] for name in ("as_", "to", "group"))
    _check_way(to, group, "--to")
    sender, *others = _users(c, {"--as": as_, **({"--to": to} if to else {})})
    if others and others[0].uuid == sender.uuid:
        raise _not_sent(messages.NotSent(f"{sender.handle} cannot write to themselves"), sender, group)
    client, table = dynamodb.connect(c.step.settings), c.step.settings.message_table
    found = group.lower() or messages.find_group(client, table, sender.uuid, others[0].uuid)
    if group and not messages.is_member(client, table, found, sender.uuid):
        raise _no_conversation(sender, to, group)
    rows = "~ 2 group rows, moved to its time" if found else "+ 2 group rows"
    return [f"+ 1 message of {sender.handle} in {f'group {found}' if found else 'a new group'}", rows]


@word_step(
    example="inv ddb.send-message --as andrewbrown --to bayko --text 'Hello'",
    effect=WRITES,
    pre=[db.setup, tables.schema_load],
    lock=False,
    plan=_plan_send,
    inputs=_check_message,
    word="text",
    help={
        "as": "handle of the sender",
        "to": "handle of the receiver; a first message starts a group",
        "group": "uuid of the group, instead of --to",
        "text": "the message; - reads it from stdin",
        "confirm": CONFIRM,
    },
)
def send_message(
    c: StepContext,
    as_: str = "",
    to: str = "",
    group: str = "",
    text: str = "",
    confirm: str = "",
) -> str:
    """Send a message to somebody, or into a group."""
    _check_way(to, group, "--to")
    said = _text(text)
    sender, *others = _users(c, {"--as": as_, **({"--to": to} if to else {})})
    settings = c.step.writable(c.step.settings.message_table, confirm)
    client, table = dynamodb.connect(settings), settings.message_table
    try:
        with waits.waiting(f"table {table} to take the message", transactions.PATIENCE_S):
            if others:
                sent = messages.create_message_group(client, table, sender, others[0], said)
            else:
                sent = messages.create_message(client, table, group.lower(), sender, said)
    except messages.NotSent as error:
        raise _not_sent(error, sender, group) from error
    except messages.Busy as error:
        raise TimedOut(f"nothing was sent: {error}", hint="run the same command again") from error
    c.step.emit(sent)
    kind = "new group" if sent.is_new_group else "group"
    return f"sent in {kind} {sent.group} at {_local(sent.message['sk'])}; {_consumed(sent.capacity)}"


def _whole_table(c: StepContext) -> tuple[DynamoDBClient, str]:
    """Return client and table to read from. Raises ConfirmationNeeded where the table is half replaced."""
    client, table = dynamodb.connect(c.step.settings), c.step.settings.message_table
    schema.refuse_half_replaced(client, table)
    return client, table


def _users(c: StepContext, given: dict[str, str]) -> list[User]:
    for option, handle in given.items():
        _require_handle(option, handle)
    return handles.find_users(c.step.settings, lookup(c), given, c.step.say)


def _require_handle(option: str, handle: str) -> None:
    if not handle:
        raise UsageError(f"{option} is missing", hint=f"say who: {option} andrewbrown")


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise UsageError(f"--limit {limit} shows nothing", hint="give 1 or more")


def _time(given: str) -> str:
    """Read --before as a sort key. A time without an offset is one of the clock that the output shows."""
    if not given:
        return ""
    begun = "-01" * (2 - given.count("-")) if re.fullmatch(r"\d{4}(-\d\d)?", given) else ""
    zone = "+00:00" if given.endswith("Z") else ""
    try:
        at = datetime.fromisoformat(given.removesuffix("Z") + begun + zone)
        return messages.format_time(at.astimezone(timezone.utc))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--before {given!r} is not a time", hint="write it as 2026-11-21T10:30") from error


def _check_way(other: str, group: str, option: str) -> None:
    if bool(other) == bool(group):
        raise UsageError(
            f"{option} and --group: one of them is needed, and only one",
            hint=f"say {option} HANDLE; {inv('ddb.list-conversations', '--as', 'HANDLE')} shows with whom",
        )
    if group and not UUID.fullmatch(group):
        raise UsageError(f"--group {group!r} is not a uuid", hint=f"say {option} HANDLE, or a group's uuid")


def _text(given: str) -> str:
    """Return the text of --text, or of stdin without its last line end."""
    if not given:
        raise UsageError("the message is missing", hint="add --text 'Hello', or --text - to read it from stdin")
    if given != "-":
        return given
    try:
        return _stdin().decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise UsageError(f"stdin: byte {error.start + 1} is not UTF-8", hint="send UTF-8") from error


@functools.cache
def _stdin() -> bytes:
    """Read stdin, once for the check of the arguments and for the body. Raises UsageError for more than fits a note."""
    return read_stream(sys.stdin.buffer, "stdin", at_most=NOTE_BYTES)


def _no_conversation(user: User, other: str, group: str) -> Exception:
    if group:
        return UsageError(
            f"{user.handle} is not in group {group}",
            hint=Command("ddb.list-conversations", "--as", user.handle),
        )
    if other == user.handle:
        return UsageError(f"{other} has no conversation with themselves", hint="give somebody else's handle")
    start = Command("ddb.send-message", "--as", user.handle, "--to", other, "--text", "Hello", when="to start one")
    return UsageError(f"{user.handle} and {other} have no conversation", hint=start)


def _not_sent(error: Exception, sender: User, group: str) -> Exception:
    return UsageError(f"nothing was sent: {error}", hint=_way_to_send(sender.handle, group))


def _way_to_send(handle: str, group: str) -> str:
    if group:
        return Command("ddb.list-conversations", "--as", handle, "--format", "json", when="to see the groups")
    return "give another text or receiver"


def _show(
    c: StepContext,
    what: str,
    items: list[dict[str, str]],
    page: Page,
    rows: list[tuple[str, str, str]],
    nothing: str,
    *,
    older: list[str],
) -> None:
    """Print a page: a line an item, or more for a long text; then what it cost. The next page's command goes beside."""
    limit = c.step.arguments["limit"]
    target = [] if c.step.settings.is_local else ["--target", "prod"]
    words = [_output.typed_command(), c.step.name, *older, "--limit", str(limit), "--before", page.cursor, *target]
    following = shlex.join(words) if page.cursor else ""
    lines = aligned(((_local(at), handle, text) for at, handle, text in rows), _columns())
    data: dict[str, Any] = {what: items, "cursor": page.cursor, "next": following, "capacity": page.capacity}
    c.step.emit(data, lambda: [*(lines if rows else [nothing]), _consumed(page.capacity)])
    if following and not c.step.as_json:
        sys.stdout.flush()
        c.step.say(f"older ones: `{following}`")


def _columns() -> int:
    """Return the width to wrap at; 0 where a program reads."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _local(sort_key: str) -> str:
    """Write a time as the clock on the wall has it."""
    try:
        return f"{messages.parse_time(sort_key).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return sort_key


def _consumed(capacity: dict[str, float]) -> str:
    if not capacity:
        return "the engine does not tell the consumed capacity"
    return f"consumed capacity: {capacity['total']:g} units, table {capacity['table']:g}, index {capacity['index']:g}"
