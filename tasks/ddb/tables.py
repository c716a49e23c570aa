"""ddb: the tables themselves. Load their shape, list, describe and drop them."""

from __future__ import annotations

import functools
import json
import shlex
from typing import TYPE_CHECKING

from .. import _app, _output, env
from .._graph import READS, REPLACES, WRITES, StepContext, step
from .._lazy import lazy
from .._words import word_step
from ..localenv.errors import UsageError
from ..localenv.hints import Command
from ..localenv.machine.reading import is_stream, path_of
from ..localenv.settings import guard
from ..localenv.settings.parts import TABLES, lacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._output import Reporter
    from ..localenv.dynamodb import client as dynamodb
    from ..localenv.dynamodb import schema, tableshape
    from ..localenv.dynamodb import tablefiles as table_files
    from ..localenv.dynamodb.schema import Table, Work, definition
    from ..localenv.dynamodb.tablefiles import Reading, TableFile
    from ..localenv.settings import Settings
else:
    dynamodb = lazy("localenv.dynamodb.client")
    schema = lazy("localenv.dynamodb.schema")
    definition = lazy("localenv.dynamodb.schema.definition")
    table_files = lazy("localenv.dynamodb.tablefiles")
    tableshape = lazy("localenv.dynamodb.tableshape")

CONFIRM = "name of the table to write to, for --target prod"
TABLE = "name of the table (default: the one of DDB_MESSAGE_TABLE, or the app's only one)"


def named(c: StepContext) -> str:
    """Return the table that was typed, or the app's own: that of its part, or its only one. Raises UsageError."""
    given, settings = c.step.arguments["table"], c.step.settings
    if given or _app.part(settings):
        return str(given or settings.message_table)
    names = [file.name for file in files_of(c)]
    if len(names) > 1 and settings.message_table not in names:
        raise UsageError(f"which of the tables {', '.join(names)}?", hint="say it with --table")
    return names[0] if len(names) == 1 else settings.message_table


def files_of(c: StepContext) -> list[TableFile]:
    return _reading_of(c).tables


def _told_files(c: StepContext) -> list[TableFile]:
    """Return the tables, and say once a run what a reader of the files would not expect."""
    reading = _reading_of(c)
    if c.step.typed or c.step.options.plan:
        for note in reading.notes:
            _tell_once(c.step.reporter, c.step.name, note)
    return reading.tables


@functools.cache
def _tell_once(reporter: Reporter, name: str, note: str) -> None:
    reporter.progress(name, note)


def _reading_of(c: StepContext) -> Reading:
    given = c.step.arguments.get("file", "")
    if not given and ("dynamodb" not in c.step.settings.services or lacks(c.step.settings.root, TABLES)):
        return table_files.Reading([], [])
    path = path_of("/dev/stdin" if given == "-" else given)
    if given == "-" or (given and is_stream(path)):
        return _read_once(c.step.settings, str(path))
    return table_files.read_all(c.step.settings, given)


@functools.cache
def _read_once(settings: Settings, pipe: str) -> Reading:
    """Read a pipe, such as <(…), for the check and for what follows it."""
    return table_files.read_all(settings, pipe)


def _is_loaded(c: StepContext) -> str | None:
    return schema.check_tables(dynamodb.connect(c.step.settings), _told_files(c))


def _plan_tables(c: StepContext) -> Iterator[str]:
    client, files, replace = dynamodb.connect(c.step.settings), _told_files(c), c.step.arguments["replace"]
    yield from schema.plan_tables(client, files, replace=replace)
    if not replace:
        schema.refuse_replacements(schema.find_all_work(client, files), _command(c, c.step.arguments["file"]))


@step(
    example="inv ddb.schema-load --plan",
    effect=WRITES,
    effects={"replace": REPLACES},
    pre=[env.up],
    check=_is_loaded,
    plan=_plan_tables,
    help={
        "file": "another table file, or folder of them, than ddb/tables; - is stdin",
        "replace": "recreate a table where DynamoDB cannot change it, and copy its items",
        "yes": "do not ask",
        "confirm": CONFIRM,
    },
    inputs=_told_files,
)
def schema_load(c: StepContext, file: str = "", replace: bool = False, yes: bool = False, confirm: str = "") -> str:
    """Create the tables of ddb/tables, and change those that differ."""
    client, files, command = dynamodb.connect(c.step.settings), _told_files(c), _command(c, file)
    found = schema.find_all_work(client, files)
    works = [work for work in found if not work.is_done]
    if replace:
        _ask_to_replace(c, works, yes=yes)
    else:
        schema.refuse_replacements(works, command)
    if not works:
        return schema.describe_state(found)
    settings = _allow_changes(c, works, confirm)
    keep(settings, [work.file.name for work in works if work.seen and work.seen.plan.needs_replacement])
    client = dynamodb.connect(settings)
    return schema.apply_tables(client, files, say=c.step.say, replace=replace, command=command)


def _command(c: StepContext, file: str) -> str:
    words = f" --file {shlex.quote(file)}" if file else ""
    return f"inv ddb.schema-load{words}{'' if c.step.settings.is_local else ' --target prod'}"


def _ask_to_replace(c: StepContext, works: list[Work], *, yes: bool) -> None:
    settings = c.step.settings
    lines = schema.replacement_lines(works)
    for work in works:
        if work.seen and work.seen.plan.needs_replacement:
            schema.refuse_protected(work.seen.table, settings.dynamodb.url if settings.dynamodb else "")
    if lines:
        c.step.require_yes(lines, yes=yes)


def _allow_changes(c: StepContext, works: list[Work], confirm: str) -> Settings:
    """Show what would change in production, and ask for the names of its tables; the local target may."""
    if not c.step.settings.is_local:
        for line in [line for work in works for line in work.lines()]:
            c.step.say(line)
    return c.step.writable(",".join(work.file.name for work in works), confirm)


@step(example="inv ddb.list-tables", effect=READS, pre=[env.up])
def list_tables(c: StepContext) -> None:
    """List the tables with their state, keys, indexes and item counts."""
    tables = schema.fetch_tables(dynamodb.connect(c.step.settings))
    data = [dict(zip(COLUMNS, _row(table), strict=True)) for table in tables]
    headings = [column.upper() for column in COLUMNS]
    c.step.emit(data, lambda: _output.table(map(_row, tables), headings) or f"no tables; {Command('ddb.schema-load')}")


@word_step(
    example="inv ddb.describe cruddur-messages --as-file",
    effect=READS,
    pre=[env.up],
    word="table",
    help={"table": TABLE, "as_file": "as a table file for ddb/tables (CloudFormation, JSON)"},
)
def describe(c: StepContext, table: str = "", as_file: bool = False) -> None:
    """Describe a table: keys, indexes, throughput, stream, items."""
    client, name = dynamodb.connect(c.step.settings), named(c)
    if as_file:
        defined = definition.fetch_definition(client, name)
        properties = defined.properties
        if defined.left_out:
            c.step.say(f"a table file cannot say {', '.join(defined.left_out)}: left out")
        c.step.emit(properties, lambda: json.dumps(properties, indent=2, ensure_ascii=False).split("\n"))
        return
    found = schema.require_table(client, name)
    c.step.emit(found.description, lambda: _output.table(schema.describe(found)))


def _is_gone(c: StepContext) -> str | None:
    client, name = dynamodb.connect(c.step.settings), named(c)
    schema.refuse_half_replaced(client, name)
    return None if schema.fetch_table(client, name) else f"there is no table {name}"


def _plan_drop(c: StepContext) -> list[str]:
    name = named(c)
    return [f"- {schema.summary(schema.require_whole_table(dynamodb.connect(c.step.settings), name))}"]


@word_step(
    example="inv ddb.drop cruddur-messages --yes",
    effect=REPLACES,
    pre=[env.up],
    check=_is_gone,
    plan=_plan_drop,
    word="table",
    help={"table": TABLE, "yes": "do not ask", "confirm": CONFIRM},
)
def drop(c: StepContext, table: str = "", yes: bool = False, confirm: str = "") -> str:
    """Drop a table with its items, after a question."""
    settings = c.step.settings
    client = dynamodb.connect(settings)
    found = schema.require_whole_table(client, named(c))
    endpoint_url = settings.dynamodb.url if settings.dynamodb else ""
    schema.refuse_protected(found, endpoint_url)
    if settings.is_local:
        c.step.require_yes([f"drop {schema.summary(found)}"], yes=yes)
    else:
        c.step.say(f"will drop {schema.summary(found)}")
    settings = c.step.writable(found.shape.name, confirm)
    keep(settings, [found.shape.name])
    return schema.drop_table(dynamodb.connect(settings), found)


def keep(settings: Settings, names: Sequence[str]) -> None:
    """Keep tables for `undo` before they are replaced, removed or written over. Of AWS's nothing is kept."""
    keeper = guard.keeper_of(settings)
    if keeper and names:
        keeper.tables(names)


COLUMNS = ("table", "status", "items", "key", "indexes", "throughput", "stream")


def _row(table: Table) -> tuple[str, str, int, str, str, str, str]:
    shape = table.shape
    indexes = ", ".join(index.name for index in shape.indexes)
    units = str(shape.throughput or "on demand")
    return shape.name, table.status, table.items, tableshape.describe_key(shape.key), indexes, units, shape.stream
