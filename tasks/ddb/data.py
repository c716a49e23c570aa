"""ddb: what is in the tables, item by item: scan, query, export and import."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .. import _output, env
from .._graph import READS, REPLACES, WRITES, StepContext
from .._lazy import lazy
from .._words import word_step
from ..localenv.errors import UsageError
from ..localenv.machine.words import counted
from . import tables
from .tables import CONFIRM, TABLE

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..localenv.dynamodb import client as dynamodb
    from ..localenv.dynamodb import partiql, schema, transfer
    from ..localenv.dynamodb import scan as scanning
    from ..localenv.dynamodb.statement import Statement
    from ..localenv.dynamodb.transfer import importing, itemfile, s3folder
    from ..localenv.dynamodb.transfer.itemline import Keys
    from ..localenv.dynamodb.transfer.s3folder import Part
    from ..localenv.machine import wholefile
else:
    dynamodb = lazy("localenv.dynamodb.client")
    partiql = lazy("localenv.dynamodb.partiql")
    scanning = lazy("localenv.dynamodb.scan")
    schema = lazy("localenv.dynamodb.schema")
    transfer = lazy("localenv.dynamodb.transfer")
    importing = lazy("localenv.dynamodb.transfer.importing")
    itemfile = lazy("localenv.dynamodb.transfer.itemfile")
    s3folder = lazy("localenv.dynamodb.transfer.s3folder")
    wholefile = lazy("localenv.machine.wholefile")

LOCAL_BATCHES, AWS_BATCHES = 4, 8
"""Batches in flight: more of them do not help a local engine, and do help over a distance."""


@word_step(
    example="inv ddb.scan --limit 5",
    effect=READS,
    pre=[env.up],
    word="table",
    help={"table": TABLE, "limit": "this many items at most (default: all)"},
    inputs=lambda c: _positive(c.step.arguments["limit"]),
)
def scan(c: StepContext, table: str = "", limit: int = 0) -> str | None:
    """Print every item of a table as it comes, page after page."""
    limit = _positive(limit)
    client, name = dynamodb.connect(c.step.settings), tables.named(c)
    key = tuple(attribute for attribute, _ in schema.require_whole_table(client, name).shape.key)
    items = scanning.scan(client, name, limit=limit)
    shown = c.step.stream(
        "item", items, lambda found: (scanning.as_text(item, key) for item in found), scanning.plain_item
    )
    return None if shown is None else f"{counted(shown, 'item')} of {name}"


def _statement(c: StepContext) -> Statement:
    statement = partiql.read_query(c.step.arguments["sql"], c.step.arguments["file"])
    if not c.step.arguments["write"]:
        partiql.require_read(statement)
    return statement


def _plan_query(c: StepContext) -> list[str]:
    statement = _statement(c)
    return [] if statement.is_read else [f"{statement.verb} {statement.table}"]


@word_step(
    example="inv ddb.query 'SELECT * FROM \"cruddur-messages\"'",
    effect=READS,
    effects={"write": WRITES},
    lock=False,
    pre=[env.up],
    plan=_plan_query,
    word="sql",
    iterable=["param"],
    help={
        "sql": "the PartiQL statement",
        "file": "a file that holds it",
        "param": 'value of the next ? in it: text, or typed as {"N": "5"}; may be repeated',
        "limit": "this many items at most (default: all)",
        "write": "let it change data",
        "confirm": CONFIRM,
    },
    inputs=lambda c: (_positive(c.step.arguments["limit"]), _statement(c)),
)
def query(
    c: StepContext,
    sql: str = "",
    file: str = "",
    param: list[str] | None = None,
    limit: int = 0,
    write: bool = False,
    confirm: str = "",
) -> str | None:
    """Run one PartiQL statement, read-only unless --write."""
    limit = _positive(limit)
    statement, client = _statement(c), dynamodb.connect(c.step.settings)
    parameters = partiql.parse_parameters(param or (), statement)
    key = tuple(name for name, _ in transfer.keys_of(client, statement.table).key)
    if not statement.is_read:
        client = dynamodb.connect(c.step.writable(statement.table, confirm))
    for warning in (*partiql.not_texts(statement), partiql.full_scan_warning(client, statement)):
        if warning:
            c.step.reporter.warn(c.step.name, warning)
    consumed = partiql.Consumed()
    items = partiql.run(client, statement, parameters, consumed, limit=limit)
    count = c.step.stream("item", items, lambda found: scanning.as_table(found, key), scanning.plain_item)
    if count is None:
        return None
    what = "done" if not count and not statement.is_read else counted(count, "item")
    return f"{statement.verb} {statement.table}: {what}{consumed}"


def _positive(limit: int) -> int:
    if limit < 0:
        raise UsageError(f"--limit {limit} is less than nothing", hint="leave it out to see every item")
    return limit


@word_step(
    example="inv ddb.export --file messages.jsonl.gz",
    effect=READS,
    pre=[env.up],
    word="file",
    plan=lambda c: _plan_export(c),
    help={
        "table": TABLE,
        "file": "where to, compressed where it ends in .gz; - is stdout (default)",
        "s3": "a new folder instead, in the format of AWS's import from S3",
    },
    inputs=lambda c: _destination(c),
)
def export(c: StepContext, table: str = "", file: str = "-", s3: str = "") -> str | None:
    """Write every item of a table as a line of DynamoDB JSON."""
    destination, name = _destination(c), tables.named(c)
    client = dynamodb.connect(c.step.settings)
    description = schema.require_whole_table(client, name).description
    if s3:
        folder = Path(s3).expanduser()
        items, size_bytes = s3folder.write_folder(
            folder, name, scanning.scan(client, name, consistent=True), description
        )
        c.step.note(items=items, bytes=size_bytes, file=destination)
        return (
            f"{counted(items, 'item')} of {name} in {destination} ({size_bytes:,} bytes); next: {_upload(folder, name)}"
        )
    if file == "-":
        items_of = scanning.scan(client, name, consistent=True)
        count = c.step.stream("", items_of, lambda found: (_output.Data(itemfile.as_line(item)) for item in found))
        return None if count is None else f"{counted(count, 'item')} of {name}"
    done = transfer.export_items(client, name, Path(file).expanduser())
    c.step.note(items=done.items, bytes=done.size_bytes, file=destination)
    return f"{counted(done.items, 'item')} of {name} in {destination} ({done.size_bytes:,} bytes)"


def _plan_export(c: StepContext) -> list[str]:
    schema.require_whole_table(dynamodb.connect(c.step.settings), tables.named(c))
    return [f"write the items of {tables.named(c)} to {_destination(c)}"]


def _destination(c: StepContext) -> str:
    file, s3 = c.step.arguments["file"], c.step.arguments["s3"]
    if s3 and file != "-":
        raise UsageError(f"ddb.export writes to {file} or to --s3 {s3}, not to both", hint="run it once for each")
    if s3 or file != "-":
        wholefile.require_folder(Path(s3 or file).expanduser().parent)
    return str(s3 or file)


def _upload(folder: Path, table: str) -> str:
    """Return how an exported folder gets to AWS."""
    sync = f"aws s3 sync {shlex.quote(str(folder / 'data'))} s3://YOUR-BUCKET/{table}/data"
    request = shlex.quote(f"file://{folder / 'import-table.json'}")
    return f"`{sync}`, then `aws dynamodb import-table --cli-input-json {request}`"


@contextmanager
def _checked(c: StepContext) -> Iterator[tuple[DynamoDBClient, list[Part], Keys, int]]:
    """Yield the client, the files, what the table wants of items, and how many there are, all of them checked."""
    client = dynamodb.connect(c.step.settings)
    keys = transfer.keys_of(client, tables.named(c))
    with importing.sources(c.step.arguments["file"], importing.stdin_bytes) as parts:
        yield client, parts, keys, importing.check(parts, keys)


def _glance(c: StepContext) -> None:
    """Raise what is wrong with the first lines of the files; a table is not asked for its keys."""
    with importing.sources(c.step.arguments["file"], importing.stdin_bytes) as parts:
        importing.precheck(parts)


def _plan_import(c: StepContext) -> list[str]:
    with _checked(c) as (client, parts, keys, count):
        outcome = importing.plan(client, tables.named(c), parts, keys, only_new=c.step.arguments["only_new"])
    return [f"write to {tables.named(c)}, of {counted(count, 'item')}: {outcome}"]


@word_step(
    name="import",
    example="inv ddb.import messages.jsonl.gz",
    effect=REPLACES,  # items of the same key
    pre=[tables.schema_load],
    inputs=lambda c: _glance(c),
    word="file",
    plan=_plan_import,
    help={
        "table": TABLE,
        "file": "items as JSON or CSV, a folder of such files, an export of S3, or - for stdin",
        "only_new": "leave items alone whose key the table has already (default: replace them)",
        "confirm": CONFIRM,
    },
)
def import_items(c: StepContext, table: str = "", file: str = "", only_new: bool = False, confirm: str = "") -> str:
    """Write the items of a file to a table, those of the same key over."""
    name = tables.named(c)
    with _checked(c) as (_, parts, keys, count):
        settings = c.step.writable(name, confirm)
        outcome = importing.apply(
            dynamodb.connect(settings),
            name,
            parts,
            keys,
            only_new=only_new,
            at_once=LOCAL_BATCHES if c.step.settings.is_local else AWS_BATCHES,
            on_change=lambda: tables.keep(settings, [name]),
            total=count,
        )
    c.step.note(table=name, items=count, **vars(outcome))
    return f"{counted(count, 'item')} for {name}: {outcome}"
