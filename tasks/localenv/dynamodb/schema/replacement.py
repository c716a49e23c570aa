"""Recreates a table with its items, for what DynamoDB cannot change in place.

A table cannot be renamed, so the items are copied twice: from T to `T.replacing`, which has the new key, then T is
dropped, created as its file says, and filled from the copy. The tables themselves are the only record of progress:

- `T.replacing` without deletion protection: T has every item, the copy may be incomplete.
- `T.replacing` with deletion protection: the copy has every item. T is still the old table, gone, or partly filled.

So it may be interrupted anywhere, and the same call resumes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...aws.wire import AwsError
from ...errors import LocalEnvError
from ...hints import Command, inv
from ...machine.words import counted
from .. import itemwriter
from ..scan import about, scan
from ..tablefiles import TableFile
from .altering import Say
from .changes import immutable_shape
from .contents import Contents, key_digest, read_contents, read_keys
from .existing import DEADLINE_S, Table, drop_table, fetch_table, wait_for, wait_until_active
from .fitness import refuse_losses, refuse_unfit_items

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SUFFIX = ".replacing"
NAME_LENGTH = 255
REPORT_EVERY_S = 5.0


def copy_name(name: str) -> str:
    """Return the name of the table that holds the items meanwhile."""
    return name + SUFFIX


def fetch_copy(client: DynamoDBClient, name: str) -> Table | None:
    """Return the copy that a replacement left; None if there is none, or if the credentials may not read it."""
    try:
        return fetch_table(client, copy_name(name))
    except AwsError as error:
        if error.aws_code == "AccessDeniedException":
            return None
        raise


def describe_half(copy: Table, table: Table | None) -> str:
    """Return how far the replacement that left this copy got."""
    aside = copy.shape.name
    name = aside.removesuffix(SUFFIX)
    if is_complete(copy):
        return f"table {name} is half replaced: its {counted(copy.items, 'item')} are safe in {aside}"
    if table is None:
        return f"table {name} does not exist, but {aside} with {counted(copy.items, 'item')} does"
    return f"a replacement of table {name} was cut short: {name} is complete, {aside} is left over"


def half_replaced(tables: Sequence[Table]) -> list[str]:
    """Describe the unfinished replacements among all tables."""
    by_name = {table.shape.name: table for table in tables}
    halves = [table for table in tables if table.shape.name.endswith(SUFFIX)]
    return [describe_half(copy, by_name.get(copy.shape.name.removesuffix(SUFFIX))) for copy in halves]


def is_complete(copy: Table) -> bool:
    return bool(copy.shape.deletion_protection)


@dataclass(frozen=True)
class Replacement:
    """The replacement of one table. Nothing else may write to the table until `run` returns."""

    client: DynamoDBClient
    file: TableFile
    say: Say
    deadline_s: float = DEADLINE_S

    def run(self) -> int | None:
        """Replace the table and return how many items it has; None if there was nothing to replace.

        Raises LocalEnvError before anything is changed if an item does not fit the new table, if settings would be
        lost, or if the table changes while it is copied.
        """
        table, copy = self._fetch_settled(self.file.name), self._fetch_settled(copy_name(self.file.name))
        if copy is not None:
            copy = self._usable_copy(table, copy)
        if copy is None:
            if table is None or immutable_shape(table.shape) == immutable_shape(self.file.shape):
                return None
            copy = self._copy_out(table)
            drop_table(self.client, table, self.deadline_s)
        return self._copy_back(copy)

    def _usable_copy(self, table: Table | None, copy: Table) -> Table | None:
        """Return the copy if the table depends on it; drop it if the table itself has every item."""
        complete = is_complete(copy)
        if table is None and not complete:
            raise LocalEnvError(
                describe_half(copy, table),
                hint=Command("ddb.drop", copy.shape.name, first=f"check it with {inv('ddb.scan', copy.shape.name)}"),
            )
        if complete and (table is None or immutable_shape(table.shape) == immutable_shape(copy.shape)):
            return copy
        if complete and table is not None:
            self._require_all_items(table, copy)
        self._drop_copy(copy)
        return None

    def _require_all_items(self, table: Table, copy: Table) -> None:
        """Raise LocalEnvError if the old table, which may have been written to since, lacks items of the copy."""
        name, key = table.shape.name, copy.shape.key
        missing = read_keys(self.client, copy.shape.name, key) - read_keys(self.client, name, key)
        if missing:
            raise LocalEnvError(
                f"table {name} lacks {counted(len(missing), 'item')} of {copy.shape.name}, its complete copy",
                hint=f"compare both with {inv('ddb.scan', 'TABLE')}, and add what is missing to {name}",
            )

    def _copy_out(self, table: Table) -> Table:
        """Copy a table's items to one with the new key, and protect the copy once it has them all."""
        name, aside = table.shape.name, copy_name(table.shape.name)
        if len(aside) > NAME_LENGTH:
            raise LocalEnvError(f"table {name}: its name with {SUFFIX} is longer than {NAME_LENGTH} characters")
        refuse_losses(self.client, table, self.file)
        refuse_unfit_items(self.client, name, table.shape.key, self.file.shape)
        self.say(f"copying the items of {name} to {aside}")
        self.client.create_table(**self._copy_parameters())
        wait_until_active(self.client, aside, self.deadline_s)
        read = Contents()
        items = read.counting(scan(self.client, name, consistent=True))
        itemwriter.write(self.client, aside, itemwriter.puts(items), total=about(self.client, name))
        if not (read == read_contents(self.client, aside) == read_contents(self.client, name)):
            raise LocalEnvError(
                f"table {name} changed while it was copied: nothing was replaced",
                hint="stop what writes to it, then run the same command again",
            )
        self.client.update_table(TableName=aside, DeletionProtectionEnabled=True)
        self.say(f"{counted(read.count, 'item')} are safe in {aside}; recreating {name}")
        return wait_until_active(self.client, aside, self.deadline_s)

    def _copy_back(self, copy: Table) -> int:
        """Create the table as its file says, fill it from the copy, and drop the copy once every item is there."""
        name, aside, key = self.file.name, copy.shape.name, copy.shape.key
        if immutable_shape(copy.shape) != immutable_shape(self.file.shape):
            raise LocalEnvError(
                f"{describe_half(copy, None)}, whose key or local indexes differ from the file",
                hint=f"restore the key and local indexes in {self.file.shown}, then run the same command again",
            )
        present: set[bytes] = set()
        if self._fetch_settled(name) is None:
            self._create()
        else:
            self.say(f"resuming to fill {name} from {aside}")
            present = read_keys(self.client, name, key)
        copied = scan(self.client, aside, consistent=True)
        left = (item for item in copied if key_digest(item, key) not in present)
        itemwriter.write(self.client, name, itemwriter.puts(left), total=about(self.client, aside) - len(present))
        wanted = read_keys(self.client, aside, key)
        missing = wanted - read_keys(self.client, name, key)
        if missing:
            raise LocalEnvError(
                f"table {name} lacks {len(missing):,} of {counted(len(wanted), 'item')}; {aside} has all of them",
                hint="stop what writes to it, then run the same command again",
            )
        self._drop_copy(copy)
        return len(wanted)

    def _create(self) -> None:
        """Create the table as its file says, without a stream, which would see every item as new, or protection."""
        parameters = dict(self.file.parameters)
        for later in ("StreamSpecification", "DeletionProtectionEnabled"):
            parameters.pop(later, None)
        self.client.create_table(**parameters)
        wait_until_active(self.client, self.file.name, self.deadline_s, self.say)

    def _copy_parameters(self) -> dict[str, Any]:
        """Return CreateTable's parameters for the copy: the new key and local indexes, the same encryption and tags."""
        properties, parameters = self.file.properties, self.file.parameters
        local = properties.get("LocalSecondaryIndexes") or []
        used = {entry["AttributeName"] for schema in (properties, *local) for entry in schema["KeySchema"]}
        defined = [entry for entry in properties["AttributeDefinitions"] if entry["AttributeName"] in used]
        kept = ("KeySchema", "LocalSecondaryIndexes", "SSESpecification", "Tags")
        return {
            "TableName": copy_name(self.file.name),
            "AttributeDefinitions": defined,
            "BillingMode": "PAY_PER_REQUEST",
            **{name: parameters[name] for name in kept if parameters.get(name)},
        }

    def _drop_copy(self, copy: Table) -> None:
        name = copy.shape.name
        if is_complete(copy):
            self.client.update_table(TableName=name, DeletionProtectionEnabled=False)
            copy = wait_until_active(self.client, name, self.deadline_s)
        drop_table(self.client, copy, self.deadline_s)

    def _fetch_settled(self, name: str) -> Table | None:
        """Return a table once it is neither being created nor deleted."""
        found = fetch_table(self.client, name)
        if found and found.status == "DELETING":
            wait_for(lambda: fetch_table(self.client, name) is None, self.deadline_s)
            found = fetch_table(self.client, name)
        return wait_until_active(self.client, name, self.deadline_s, self.say) if found else None
