"""Saves a table to two files, its definition and its contents, and restores it.

The contents are the emulator's own state where it is ours, and DynamoDB Local's own rows of a large table, at the speed
of the file, else items, whose hash does not depend on their order.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, UsageError
from ..hints import Command
from ..machine import private
from ..machine.disk import disk_errors
from ..machine.parallel import side_by_side
from ..machine.words import counted
from . import rows, schema
from .itemwriter import Request, deletes, is_dynamodb_local, puts, write
from .scan import scan
from .schema.definition import fetch_definition
from .tablefiles import TableFile, read_table
from .transfer import export_items, import_items
from .transfer.itemfile import as_line, raw_lines, read_items, write_lines
from .transfer.itemline import Keys

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..aws.emulatordoor import TableDoor


STATE, ROWS = ".state", ".rows"
SEGMENTS = 4
REBUILD_FROM = 2_000_000
"""From this many items a table is rebuilt: finding the differences takes a number in memory for each item."""


@dataclass(frozen=True)
class Items:
    """How many items there are, and a SHA-256 of all of them that does not depend on their order."""

    count: int
    sha256: str


@dataclass(frozen=True)
class Files:
    """The files of a table: its definition as CloudFormation properties, and its contents.

    These are items as compressed JSON lines, in a file that ends in .state the emulator's own state, in one that ends
    in .rows the rows of DynamoDB Local.
    """

    definition: Path
    content: Path

    @property
    def are_state(self) -> bool:
        return self.content.suffix == STATE

    @property
    def are_rows(self) -> bool:
        return self.content.suffix == ROWS


def save_table(
    client: DynamoDBClient,
    name: str,
    files: Files,
    *,
    door: TableDoor | None = None,
    store: Path | None = None,
) -> Items:
    """Write a table to its files and return what they hold; `door` is for the emulator's own state, `store` for rows.

    Raises TableMissing, and LocalEnvError if `replace_table` could not restore it from them.
    """
    _save_definition(client, name, files.definition)
    if files.are_state and door:
        count = door.save(name, files.content)
        return Items(count, file_sha256(files.content))
    if files.are_rows and store:
        count = rows.save(store, name, files.content)
        return Items(count, file_sha256(files.content))
    export_items(client, name, files.content)
    return digest(_read_lines(files))


def check_files(name: str, files: Files, wanted: Items) -> None:
    """Raise UsageError if the files are not those of the table, or hold other items than wanted.

    Connects to nothing. Holds one line in memory.
    """
    shown = f"items of table {name}"
    shape = _definition(name, files.definition).shape
    keyed = [shape.key, *(index.key for index in shape.indexes)]
    keys = Keys(shape.key, {attribute: kind for key in keyed for attribute, kind in key}, strict=False)
    for _ in read_items(files.content, shown, keys):
        pass
    if (found := digest(_read_lines(files))) != wanted:
        raise UsageError(f"{shown}: wanted {wanted.count:,}, found {found.count:,}, or they differ")


def require_restorable(client: DynamoDBClient) -> None:
    """Raise LocalEnvError if `save_table` would refuse a table."""
    names = schema.fetch_names(client)
    with disk_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.json" for number in range(len(names))]
        jobs = [partial(_save_definition, client, name, path) for name, path in zip(names, paths, strict=True)]
        side_by_side(jobs, at_once=4)


def _save_definition(client: DynamoDBClient, name: str, path: Path) -> None:
    """Write a definition and read it back. Raises LocalEnvError where a restore would not make the same table of it."""
    found = fetch_definition(client, name)
    private.write(path, json.dumps(found.properties, indent=2) + "\n")
    subject = f"table {name} is not one that a snapshot could restore"
    hint = Command("ddb.describe", name, "--as-file", when="to see its definition; change the table, or drop it")
    if found.left_out:
        raise LocalEnvError(f"{subject}: a definition does not keep {', '.join(found.left_out)}", hint=hint)
    try:
        read = _definition(name, path).properties
    except UsageError as error:
        raise LocalEnvError(f"{subject}: {error.message}", hint=hint) from error
    if read != found.properties:
        changed = ", ".join(each for each, value in found.properties.items() if read.get(each) != value)
        raise LocalEnvError(f"{subject}: its definition reads back with another {changed}", hint=hint)


def _definition(name: str, path: Path) -> TableFile:
    file = read_table(path, f"definition of table {name}", {})
    if file.name != name:
        raise UsageError(f"the definition of table {name} is that of {file.name}")
    return file


def replace_table(
    client: DynamoDBClient,
    name: str,
    files: Files,
    wanted: Items,
    *,
    door: TableDoor | None = None,
    present: Files | None = None,
) -> None:
    """Restore a table from its files, whatever it is now.

    `present` are files of the table as it is now, with the same definition: then writing the differences may suffice.
    Raises UsageError if the files are not those of the table, LocalEnvError if the items differ afterwards.
    """
    if files.are_state:
        _replace_state(name, files, wanted, door)
        return
    if files.are_rows:
        with _as_items(files) as (unpacked, held):
            replace_table(client, name, unpacked, held)
        return
    file = _definition(name, files.definition)
    if present and wanted.count < REBUILD_FROM:
        write(client, name, _differences(present, files, [key for key, _ in file.shape.key]))
        if measure_items(client, name) == wanted:
            return
    make_empty(client, name, files)
    import_items(client, name, files.content, shown=f"items of table {name}", total=wanted.count)
    schema.apply_tables(client, [file])
    found = measure_items(client, name)
    if found != wanted:
        raise LocalEnvError(
            f"table {name}: wanted {counted(wanted.count, 'item')}, found {found.count:,}, or they differ"
        )


def make_empty(client: DynamoDBClient, name: str, files: Files) -> None:
    """Make a table of its definition anew, whatever it is now; its stream comes with `complete`."""
    file = _definition(name, files.definition)
    drop_table(client, name)
    schema.apply_tables(client, [_without_stream(file)])


def fill(store: Path, name: str, files: Files, wanted: Items) -> bool:
    """Write rows into the empty table, in DynamoDB Local's file; False where they are of another form of it."""
    if file_sha256(files.content) != wanted.sha256:
        raise UsageError(f"table {name}: its rows are not those that were saved")
    return rows.fill(store, name, files.content)


def complete(client: DynamoDBClient, name: str, files: Files, wanted: Items) -> None:
    """Give a table whose rows are there its stream. Raises LocalEnvError where there are more or less of them."""
    schema.apply_tables(client, [_definition(name, files.definition)])
    found = schema.require_table(client, name).items
    if found != wanted.count:
        raise LocalEnvError(f"table {name}: wanted {counted(wanted.count, 'item')}, found {found:,}")


@contextmanager
def _as_items(files: Files) -> Iterator[tuple[Files, Items]]:
    """Give the files of a table with its rows as items, for another server or another form of the rows."""
    with disk_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="localenv-") as folder:
        unpacked = Files(files.definition, Path(folder) / "items.jsonl.gz")
        write_lines(unpacked.content, rows.read(files.content))
        yield unpacked, digest(_read_lines(unpacked))


def _without_stream(file: TableFile) -> TableFile:
    """Return a table to fill: its stream comes afterwards, which has nothing to say of what was there before."""
    properties = {name: value for name, value in file.properties.items() if name != "StreamSpecification"}
    return replace(file, properties=properties, shape=replace(file.shape, stream=""))


def _replace_state(name: str, files: Files, wanted: Items, door: TableDoor | None) -> None:
    if door is None:
        raise UsageError(
            f"table {name} was saved as the emulator's own state, and DynamoDB is another server now",
            hint="stop setting DYNAMODB_LOCAL_JAR, or restore what was saved with it",
        )
    found = door.replace(name, files.content)
    if found != wanted.count:
        raise LocalEnvError(f"table {name}: wanted {counted(wanted.count, 'item')}, found {found:,}")


def _differences(present: Files, wanted: Files, key: list[str]) -> Iterator[Request]:
    """Yield the requests that turn the items of one file into those of another. Holds a number per line in memory."""

    def keyed(item: dict[str, Any]) -> str:
        return json.dumps([item[name] for name in key])

    old, new = (set(map(hash, _read_lines(files))) for files in (present, wanted))
    surplus: dict[str, dict[str, Any]] = {}
    for line in _read_lines(present):
        if hash(line) not in new:
            item = json.loads(line)["Item"]
            surplus[keyed(item)] = {name: item[name] for name in key}
    for line in _read_lines(wanted):
        if hash(line) not in old:
            item = json.loads(line)["Item"]
            surplus.pop(keyed(item), None)
            yield from puts([item])
    yield from deletes(surplus.values())


def _read_lines(files: Files) -> Iterator[bytes]:
    return raw_lines(files.content, files.content.name)


def drop_table(client: DynamoDBClient, name: str) -> None:
    """Drop a table if it exists, even one with deletion protection."""
    found = schema.fetch_table(client, name)
    if found is None:
        return
    if found.description.get("DeletionProtectionEnabled"):
        client.update_table(TableName=name, DeletionProtectionEnabled=False)
    schema.drop_table(client, found)


def measure_items(client: DynamoDBClient, name: str) -> Items:
    """Read every item of a table and return their digest. DynamoDB Local answers several scans at once."""
    segments = SEGMENTS if is_dynamodb_local(client, name) else 1

    def part(number: int) -> tuple[int, int]:
        return _add_up(_lines(scan(client, name, consistent=True, segment=(number, segments))))

    parts = side_by_side([partial(part, number) for number in range(segments)])
    return _items(sum(count for count, _ in parts), sum(total for _, total in parts))


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def digest(lines: Iterable[bytes]) -> Items:
    """Add up the hashes of items, one a line, so that their order does not matter."""
    return _items(*_add_up(lines))


def _add_up(lines: Iterable[bytes]) -> tuple[int, int]:
    total = count = 0
    for count, line in enumerate(lines, 1):  # noqa: B007 - counted for the result
        total += int.from_bytes(hashlib.sha256(line).digest(), "big")
    return count, total


def _items(count: int, total: int) -> Items:
    return Items(count, hashlib.sha256(str(total).encode()).hexdigest())


def _lines(items: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    return (as_line(item).encode(errors="backslashreplace") for item in items)
