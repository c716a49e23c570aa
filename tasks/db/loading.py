"""What db's tasks take from files of data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .._graph import WRITES, StepContext
from .._lazy import lazy
from .._words import word_step
from ..localenv.errors import UsageError
from ..localenv.hints import Command
from ..localenv.machine.reading import path_of
from .building import CONFIRM, YES, setup

if TYPE_CHECKING:
    from ..localenv.postgres import csvform, dataload
else:
    csvform = lazy("localenv.postgres.csvform")
    dataload = lazy("localenv.postgres.dataload")

TAB = ("tab", "\\t")


def _asked(c: StepContext) -> tuple[Path, str, csvform.Asked]:
    """Return the file, the table and what the options say of the file. Raises UsageError for what cannot be."""
    given = c.step.arguments
    if not given["file"] or not given["table"]:
        missing = "a file" if not given["file"] else "--table"
        raise UsageError(f"db.load wants {missing}", hint=Command("db.load", "people.csv", "--table", "users"))
    if given["header"] and given["no_header"]:
        raise UsageError("--header and --no-header exclude each other", hint="give one of the two")
    header = True if given["header"] else False if given["no_header"] else None
    delimiter = "\t" if given["delimiter"] in TAB else given["delimiter"]
    path = path_of(given["file"])
    asked = csvform.Asked(delimiter, given["quote"], header, given["encoding"])
    dataload.check_file(c.step.settings, path, asked)
    return path, given["table"], asked


def _plan_load(c: StepContext) -> list[str]:
    settings = c.step.settings
    if settings.is_local:
        c.step.writable_database(c.step.arguments["confirm"], yes=c.step.arguments["yes"])
    return [dataload.plan(*dataload.observe(settings.postgres, settings.root, *_asked(c)))]


@word_step(
    example="inv db.load people.csv --table users",
    effect=WRITES,
    pre=[setup],
    inputs=_asked,
    plan=_plan_load,
    word="file",
    help={
        "file": "CSV, or an object of JSON a line; may be compressed by gzip",
        "table": "the table that its rows are added to",
        "delimiter": "what divides the fields of CSV, or tab (default: found out)",
        "quote": 'what encloses values of CSV (default: ")',
        "header": "the first line of CSV names the columns (default: found out)",
        "no_header": "the first line of CSV is a row",
        "encoding": "of a file that is not UTF-8 and has no byte order mark",
        "yes": YES,
        "confirm": CONFIRM,
    },
)
def load(
    c: StepContext,
    file: str = "",
    table: str = "",
    delimiter: str = "",
    quote: str = "",
    header: bool = False,
    no_header: bool = False,
    encoding: str = "",
    yes: bool = False,
    confirm: str = "",
) -> str:
    """Add the rows of a CSV or JSON lines file to a table, all or none."""
    settings = c.step.writable_database(confirm, yes=yes)
    into, read, count = dataload.load(settings, *_asked(c))
    c.step.note(file=read.name, table=into.name, rows=count)
    return dataload.summary(into, read, count)
