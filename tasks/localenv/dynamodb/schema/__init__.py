"""The tables of the table files on the target: compared, planned, created and changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...aws.wire import AwsError
from ...errors import ConfirmationNeeded
from ...hints import Command
from ...machine.parallel import side_by_side
from ...machine.words import counted
from ..tablefiles import FOLDER, TableFile
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
from .existing import refuse_protected as refuse_protected
from .existing import require_table as require_table
from .existing import summary as summary
from .existing import wait_until_active as wait_until_active
from .replacement import half_replaced as half_replaced

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

COMMAND = "inv ddb.schema-load"


@dataclass(frozen=True)
class Work:
    """The work for the table of a file. `seen` is None if there is no such table.

    `half` says how far an unfinished replacement got; empty if there is none.
    """

    file: TableFile
    seen: Observed | None
    half: str = ""

    @property
    def is_done(self) -> bool:
        return self.seen is not None and self.seen.table.is_active and not self.seen.plan.changes and not self.half

    @property
    def needs_replacement(self) -> bool:
        return bool(self.half) or (self.seen is not None and self.seen.plan.needs_replacement)

    @property
    def unsupported(self) -> tuple[str, ...]:
        at_aws = dict.fromkeys(each.name for each in self.file.at_aws)
        return (*(self.seen.plan.unsupported if self.seen else ()), *at_aws)

    def lines(self) -> list[str]:
        """Return what would be done: + created, ~ changed, - removed, ± recreated."""
        if self.half:
            return [f"± {self.half}; only --replace finishes that"]
        missing = [f"table {self.file.name}: {what}: not on this engine" for what in self.unsupported]
        if self.seen is None:
            return _creation(self.file) + missing
        lines = [str(change) for change in self.seen.plan.changes]
        if self.needs_replacement:
            through = (
                f"its {counted(self.seen.table.items, 'item')} copied through {replacement.copy_name(self.file.name)}"
            )
            lines = [f"{line}: only with --replace, {through}" for line in lines]
        return lines + missing


def find_work(client: DynamoDBClient, file: TableFile) -> Work:
    """Fetch the table of a file and return the work for it."""
    copy, seen = replacement.fetch_copy(client, file.name), observe(client, file)
    return Work(file, seen, replacement.describe_half(copy, seen.table if seen else None) if copy else "")


def find_all_work(client: DynamoDBClient, files: Sequence[TableFile]) -> list[Work]:
    return side_by_side([partial(find_work, client, file) for file in files], at_once=4)


def check_tables(client: DynamoDBClient, files: list[TableFile]) -> str | None:
    """Return a sentence if every table is ACTIVE and as its file says, else None."""
    works = find_all_work(client, files)
    return describe_state(works) if all(work.is_done for work in works) else None


def describe_state(works: Sequence[Work]) -> str:
    """Return a sentence that all tables are as their files say."""
    if not works:
        return "no table in the table files: nothing to do"
    return f"{counted(len(works), 'table')} {_state(works)}"


def plan_tables(client: DynamoDBClient, files: list[TableFile], *, replace: bool = False) -> list[str]:
    """Return what `apply_tables` would do, a line each."""
    works = find_all_work(client, files)
    replaced = [f"± {line}" for line in replacement_lines(works)] if replace else []
    return replaced + [line for work in works if not (replace and work.needs_replacement) for line in work.lines()]


def replacement_lines(works: Sequence[Work]) -> list[str]:
    """Return what `apply_tables` would replace, for the confirmation."""
    lines = []
    for work in works:
        if work.half:
            lines.append(f"finish: {work.half}")
        elif work.needs_replacement and work.seen:
            name, count = work.file.name, work.seen.table.items
            copy = replacement.copy_name(name)
            lines.append(
                f"replace table {name}: copy its {counted(count, 'item')} to {copy}, drop it, recreate it, copy them "
                "back; nothing else may write to it meanwhile"
            )
    return lines


def refuse_replacements(works: Sequence[Work], command: str) -> None:
    """Raise ConfirmationNeeded, naming `command`, if a table cannot be changed in place to match its file."""
    for work in works:
        if work.half:
            raise ConfirmationNeeded(work.half, hint=Command.of(f"{command} --replace", when="to finish that"))
    lines = [str(change) for work in works if work.needs_replacement and work.seen for change in work.seen.plan.changes]
    if lines:
        raise ConfirmationNeeded(
            f"{lines[0].removeprefix('± ')}: DynamoDB cannot change that in place",
            hint=Command.of(f"{command} --replace", when=": it recreates the table and keeps the items"),
            evidence=lines[1:],
        )


def refuse_half_replaced(client: DynamoDBClient, name: str) -> None:
    """Raise ConfirmationNeeded if the table may lack items because its replacement was interrupted."""
    copy = replacement.fetch_copy(client, name)
    if copy and replacement.is_complete(copy):
        raise ConfirmationNeeded(
            replacement.describe_half(copy, None),
            hint=Command("ddb.schema-load", "--replace", when="to finish that, with the same --file"),
        )


def require_whole_table(client: DynamoDBClient, name: str) -> Table:
    """Return a table that has all its items. Raises TableMissing, and ConfirmationNeeded as `refuse_half_replaced`."""
    refuse_half_replaced(client, name)
    return require_table(client, name)


def apply_tables(
    client: DynamoDBClient,
    files: list[TableFile],
    deadline_s: float = DEADLINE_S,
    *,
    say: Say = lambda text: None,
    replace: bool = False,
    command: str = COMMAND,
) -> str:
    """Create the tables that are missing and change those that differ. The next call resumes an interrupted one.

    What cannot be changed in place needs `replace`: else ConfirmationNeeded names `command` before anything is
    changed. Raises TimedOut at the deadline, AwsError when DynamoDB refuses something.
    """
    if not files:
        return describe_state([])
    works = find_all_work(client, files)
    if not replace:
        refuse_replacements(works, command)
    copied = [
        replacement.Replacement(client, work.file, say, deadline_s).run()
        for work in works
        if work.needs_replacement and replace
    ]
    created = sum(side_by_side([partial(create_table, client, file) for file in files]))
    change_s = deadline_s if deadline_s < DEADLINE_S else CHANGE_DEADLINE_S
    side_by_side([partial(wait_until_active, client, file.name, change_s, say) for file in files])
    changes = sum(alter(client, file, say, change_s) for file in files)
    done = [f"{counted(created, 'table')} created"]
    done += [f"1 table replaced, {counted(count, 'item')} before and after" for count in copied if count is not None]
    done += [f"{counted(changes, 'change')} made"] if changes else []
    return f"{', '.join(done)}; {len(files)} {_state(find_all_work(client, files))}"


def create_table(client: DynamoDBClient, file: TableFile) -> bool:
    """Create a table and return whether it was missing; it is not ACTIVE yet."""
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
    unsupported = sorted({what for work in works for what in work.unsupported})
    missing = f"; not on this engine: {', '.join(unsupported)}" if unsupported else ""
    return f"ACTIVE and as {_source([work.file for work in works])} says{missing}"


def _source(files: Sequence[TableFile]) -> str:
    """Return the folder of the files, or the path of a single file outside the usual folder."""
    shown = files[0].shown
    folder = shown.rpartition("/")[0]
    return folder or "." if folder == FOLDER or len(files) > 1 else shown
