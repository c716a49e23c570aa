"""ddb: what is in the tables, item by item."""

from __future__ import annotations

from .. import _output, env
from .._graph import StepContext, step
from .tables import TABLE


@step(
    pre=[env.up],
    reads=True,
    help={"table": TABLE, "limit": "this many items at most (default: all)", "format": "text, or json: a line an item"},
)
def scan(c: StepContext, table: str = "", limit: int = 0, format: str = "text") -> str | None:
    """Print every item of a table as it comes, page after page."""
    from ..localenv.dynamodb import scan as scanning
    from ..localenv.dynamodb import schema
    from ..localenv.dynamodb.client import connect
    from ..localenv.errors import UsageError

    as_json = c.step.format == "json"
    if limit < 0:
        raise UsageError(f"--limit {limit} is less than nothing", hint="leave it out to see every item")
    client, name = connect(c.step.settings), table or c.step.settings.message_table
    key = tuple(attribute for attribute, _ in schema.need_table(client, name).shape.key)
    items = scanning.scan(client, name, limit=limit)
    count = _output.stream(scanning.as_json_line(item) if as_json else scanning.as_text(item, key) for item in items)
    return None if count is None else f"{count:,} items of {name}"
