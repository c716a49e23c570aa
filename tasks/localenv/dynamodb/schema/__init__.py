"""The tables of the table files on the target: compared, planned, made and changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...aws.wire import AwsError
from ...errors import ConfirmationNeeded
from ...hints import Command
from ...machine.parallel import side_by_side
from ..tables import FOLDER, TableFile
from ..tableshape import describe_index, describe_key
from . import replacement
from .altering import DEADLINE_S as CHANGE_DEADLINE_S
from .altering import Observed, Say, alter, observe
from .changes import describe_tags
from .existing import DEADLINE_S
from .existing import Table as Table
from .existing import describe as describe
from .existing import drop_table as drop_table
from .existing import fetch_names as fetch_names
from .existing import fetch_table as fetch_table
from .existing import fetch_tables as fetch_tables
from .existing import need_table as need_table
from .existing import refuse_protected as refuse_protected
from .existing import summary as summary
from .existing import wait_until_active as wait_until_active
from .replacement import half_replaced as half_replaced

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

COMMAND = "inv ddb.schema-load"


@dataclass(frozen=True)
class Work:
    """What there is to do for the table of a file. `seen` is None where there is no such table.

    `half` says how far an earlier replacement came; empty where there is none.
    """

    file: TableFile
    seen: Observed | None
    half: str = ""

    @property
    def is_done(self) -> bool:
        return self.seen is not None and self.seen.table.is_active and not self.seen.plan.changes and not self.half

    @property
    def replaces(self) -> bool:
        return bool(self.half) or (self.seen is not None and self.seen.plan.replaces)

    @property
    def lacking(self) -> tuple[str, ...]:
        return self.seen.plan.lacking if self.seen else ()

    def lines(self) -> list[str]:
        """Return what would be done: + made, ~ changed, - removed, ± made anew."""
        if self.half:
            return [f"± {self.half}; only --replace goes on with that"]
        if self.seen is None:
            return _creation(self.file)
        told = [str(change) for change in self.seen.plan.changes]
        if self.replaces:
            through = f"its {self.seen.table.items:,} items copied through {replacement.copy_name(self.file.name)}"
            told = [f"{line}: only by --replace, {through}" for line in told]
        return told + [f"table {self.file.name}: {what}: not on this engine" for what in self.lacking]


def look(client: DynamoDBClient, file: TableFile) -> Work:
    """Find out what there is to do for a file."""
    copy, seen = replacement.fetch_copy(client, file.name), observe(client, file)
    return Work(file, seen, replacement.describe_half(copy, seen.table if seen else None) if copy else "")


def look_at_all(client: DynamoDBClient, files: Sequence[TableFile]) -> list[Work]:
    return side_by_side([partial(look, client, file) for file in files], at_once=4)


def check_tables(client: DynamoDBClient, files: list[TableFile]) -> str | None:
    """Say that every table is there, ACTIVE and as its file says; None otherwise."""
    works = look_at_all(client, files)
    return state_of(works) if all(work.is_done for work in works) else None


def state_of(works: Sequence[Work]) -> str:
    """Say that all tables are as they should be."""
    if not works:
        return "no table in the table files: nothing to do"
    return f"{_counted(len(works), 'table')} {_state(works)}"


def plan_tables(client: DynamoDBClient, files: list[TableFile], *, replace: bool = False) -> list[str]:
    """Return what `apply_tables` would do, a line each."""
    works = look_at_all(client, files)
    anew = [f"± {line}" for line in replacement_lines(works)] if replace else []
    return anew + [line for work in works if not (replace and work.replaces) for line in work.lines()]


def replacement_lines(works: Sequence[Work]) -> list[str]:
    """Return what `apply_tables` would replace, for a question."""
    lines = []
    for work in works:
        if work.half:
            lines.append(f"go on: {work.half}")
        elif work.replaces and work.seen:
            name, count = work.file.name, work.seen.table.items
            aside = replacement.copy_name(name)
            lines.append(
                f"replace table {name}: copy its {count:,} items to {aside}, drop it, make it anew, copy them back;"
                " nothing else may write to it meanwhile"
            )
    return lines


def refuse_replacements(works: Sequence[Work], command: str) -> None:
    """Raise ConfirmationNeeded, naming `command`, where a table cannot become what its file says in place."""
    for work in works:
        if work.half:
            raise ConfirmationNeeded(work.half, hint=Command.of(f"{command} --replace", when="to finish that"))
    lines = [str(change) for work in works if work.replaces and work.seen for change in work.seen.plan.changes]
    if lines:
        raise ConfirmationNeeded(
            f"{lines[0].removeprefix('± ')}: DynamoDB cannot change that in place",
            hint=Command.of(f"{command} --replace", when=": it makes the table anew and keeps the items"),
            evidence=lines[1:],
        )


def refuse_half(client: DynamoDBClient, name: str) -> None:
    """Raise ConfirmationNeeded where a replacement was cut short after which the table may lack items."""
    copy = replacement.fetch_copy(client, name)
    if copy and replacement.is_complete(copy):
        raise ConfirmationNeeded(
            replacement.describe_half(copy, None),
            hint=Command("ddb.schema-load", "--replace", when="to finish that, with the --file that it had"),
        )


def need_whole_table(client: DynamoDBClient, name: str) -> Table:
    """Describe a table whose items are to be read. Raises TableMissing, and ConfirmationNeeded as `refuse_half`."""
    refuse_half(client, name)
    return need_table(client, name)


def apply_tables(
    client: DynamoDBClient,
    files: list[TableFile],
    deadline_s: float = DEADLINE_S,
    *,
    say: Say = lambda text: None,
    replace: bool = False,
    command: str = COMMAND,
) -> str:
    """Create the tables that are missing and change those that differ. Cut short, the next call goes on.

    What cannot be changed in place is only done with `replace`: ConfirmationNeeded names `command` before anything is
    changed. Raises TimedOut at the deadline, AwsError where DynamoDB refuses something.
    """
    if not files:
        return state_of([])
    works = look_at_all(client, files)
    if not replace:
        refuse_replacements(works, command)
    copied = [
        replacement.Replacement(client, work.file, say, deadline_s).run() for work in works if work.replaces and replace
    ]
    created = sum(side_by_side([partial(create_table, client, file) for file in files]))
    patience_s = deadline_s if deadline_s < DEADLINE_S else CHANGE_DEADLINE_S
    side_by_side([partial(wait_until_active, client, file.name, patience_s, say) for file in files])
    changes = sum(alter(client, file, say, patience_s) for file in files)
    done = [f"{_counted(created, 'table')} created"]
    done += [f"1 table replaced, {count:,} items before and after" for count in copied if count is not None]
    done += [f"{_counted(changes, 'change')} made"] if changes else []
    return f"{', '.join(done)}; {len(files)} {_state(look_at_all(client, files))}"


def create_table(client: DynamoDBClient, file: TableFile) -> bool:
    """Create a table and tell whether it was missing; it is not ACTIVE yet."""
    if fetch_table(client, file.name) is not None:
        return False
    try:
        client.create_table(**file.parameters)
    except AwsError as error:
        if error.aws_code == "ResourceInUseException":
            return False
        raise
    return True


def _creation(file: TableFile) -> list[str]:
    shape = file.shape
    parts = [f"key {describe_key(shape.key)}", f"throughput {shape.throughput or 'on demand'}"]
    if shape.stream:
        parts.append(f"stream {shape.stream}")
    if file.extras.time_to_live:
        parts.append(f"time to live {file.extras.time_to_live}")
    if file.extras.recovery:
        parts.append(f"point-in-time recovery {file.extras.recovery}")
    if file.extras.tags:
        parts.append(f"tags {describe_tags(file.extras.tags)}")
    indexes = [f"+ index {index.name} of {shape.name}: {describe_index(index)}" for index in shape.indexes]
    return [f"+ table {shape.name}: {', '.join(parts)}", *indexes]


def _state(works: Sequence[Work]) -> str:
    lacking = sorted({what for work in works for what in work.lacking})
    missing = f"; not on this engine: {', '.join(lacking)}" if lacking else ""
    return f"ACTIVE and as {_source([work.file for work in works])} says{missing}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _source(files: Sequence[TableFile]) -> str:
    """Name the folder that the files are in, or the only one where that is not the usual folder."""
    shown = files[0].shown
    folder = shown.rpartition("/")[0]
    return folder or "." if folder == FOLDER or len(files) > 1 else shown
