"""Runs one PartiQL statement and pages through its items; read-only by default."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..aws.wire import AwsError
from ..errors import LocalEnvError, UsageError
from ..machine.reading import json_of, path_of, read_text
from .schema import require_table
from .statement import EXAMPLE, Statement, error_at, read_statement
from .transfer.typed import Item, Misfit, Value, is_typed, read_value

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PLACE = re.compile(r" at (\d+):(\d+)(?::\d+)?$")
"""DynamoDB may give the place of an error as line:column:length at the end of the message."""
STATEMENT_BYTES = 64 << 10
"""DynamoDB takes 8,192 characters (API Reference, ExecuteStatement); this leaves room for comments."""
SMALLEST_PAGE = 100
GRAMMAR = {"SELECT", "FROM", "WHERE", "UPDATE", "SET", "REMOVE", "INSERT", "INTO", "VALUE", "DELETE", "RETURNING"}
"""Words that are where they belong more often than a name of an attribute."""


@dataclass
class Consumed:
    """The capacity units that a statement has consumed so far; None if the engine does not report them."""

    units: float | None = None

    def add(self, answer: dict[str, Any]) -> None:
        consumed = answer.get("ConsumedCapacity")
        if consumed:
            self.units = (self.units or 0.0) + consumed["CapacityUnits"]

    def __str__(self) -> str:
        return "" if self.units is None else f", {self.units:,g} capacity units"


def read_query(sql: str, file: str) -> Statement:
    """Read the statement from the command line or from a file. Raises UsageError."""
    if bool(sql) == bool(file):
        raise UsageError(
            "ddb.query wants one statement, as text or as --file",
            hint=EXAMPLE,
        )
    if not file:
        return read_statement(sql, "query")
    return read_statement(read_text(path_of(file), file, at_most=STATEMENT_BYTES), file)


def parse_parameters(given: Iterable[str], statement: Statement) -> list[Value]:
    """Read the values of the question marks, in their order: text, or a typed value such as {"N": "5"}.

    Text is never taken for a number. Raises UsageError.
    """
    values = [_parameter(number, text) for number, text in enumerate(given, 1)]
    if len(values) != statement.parameters:
        raise UsageError(
            f"{statement.shown}: {statement.parameters} ? in the statement, but {len(values)} --param",
            hint='pass one --param for each ?, in order; --param \'{"N": "5"}\' is a number',
        )
    return values


def full_scan_warning(client: DynamoDBClient, statement: Statement) -> str:
    """Return a warning if a statement reads the whole table or index, else an empty text. Raises TableMissing."""
    shape = require_table(client, statement.table).shape
    key = next(
        (index.key[: index.partition_size] for index in shape.indexes if index.name == statement.index), shape.key[:1]
    )
    attribute = next((name for name, _ in key if not statement.is_keyed(name)), None)
    if not statement.is_read or attribute is None:
        return ""
    whole = f"index {statement.index} of {statement.table}" if statement.index else f"table {statement.table}"
    return f"reads the whole {whole}: no {attribute} = … or {attribute} IN […] in WHERE"


def not_texts(statement: Statement) -> list[str]:
    """Return a warning for each name in double quotes that something is compared with."""
    return [
        f"{name} is the name of an attribute, whose value is compared: a text is written '{name[1:-1]}'"
        for name in statement.compared_names
    ]


def require_read(statement: Statement) -> None:
    """Raise UsageError for a statement that changes data."""
    if not statement.is_read:
        raise error_at(
            statement.text,
            statement.shown,
            statement.tokens[0].at,
            f"{statement.verb} changes data",
            hint="pass --write to let it change data",
        )


def run(
    client: DynamoDBClient, statement: Statement, parameters: list[Value], consumed: Consumed, *, limit: int = 0
) -> Iterator[Item]:
    """Run the statement and yield its items, the first `limit` of them. Holds one page in memory.

    Raises LocalEnvError with the statement, and a caret if DynamoDB gives the place of the error.
    """
    query: dict[str, Any] = {"Statement": statement.text, "ReturnConsumedCapacity": "TOTAL"}
    if parameters:
        query["Parameters"] = parameters
    if limit:
        query["Limit"] = max(limit, SMALLEST_PAGE)  # counts items read, of which a condition may match few
    left = limit
    while True:
        answer = _execute(client, statement, query)
        consumed.add(answer)
        items = answer.get("Items", [])[: left or None]
        yield from items
        left -= len(items)
        if not answer.get("NextToken") or (limit and left <= 0):
            return
        query["NextToken"] = answer["NextToken"]


def _execute(client: DynamoDBClient, statement: Statement, query: dict[str, Any]) -> dict[str, Any]:
    try:
        answer: Any = client.execute_statement(**query)
    except AwsError as error:
        message = error.message.partition(": ")[2].replace("\n", " ")
        place = PLACE.search(message)
        lines = statement.text.split("\n")
        if place and int(place[1]) <= len(lines):
            at = sum(len(line) + 1 for line in lines[: int(place[1]) - 1]) + int(place[2]) - 1
            hint = _quoting(message, statement.word_at(at))
            raise error_at(statement.text, statement.shown, at, message[: place.start()], hint=hint) from error
        # DynamoDB Local repeats the whole statement in its message.
        message = message.removesuffix(statement.text.replace("\n", " ")).rstrip(": ")
        raise LocalEnvError(f"{statement.shown}: {message}", evidence=statement.text, hint=_hint(error)) from error
    return dict(answer)


def _quoting(message: str, word: str) -> str:
    """Return the hint where a word of the language stands for a name."""
    is_taken = re.search("keyword|reserved", message, re.IGNORECASE) and word and word.upper() not in GRAMMAR
    return f'quote it where it is a name: "{word}"; it is a word of PartiQL' if is_taken else ""


def _hint(error: AwsError) -> str:
    hints = {
        "DuplicateItemException": "an INSERT does not replace: use UPDATE, or ddb.import",
        "DuplicateItem": "an INSERT does not replace: use UPDATE, or ddb.import",
        "ConditionalCheckFailedException": "no item with that key meets the condition",
    }
    return hints.get(error.aws_code, "")


def _parameter(number: int, text: str) -> Value:
    try:
        value = json_of(text, "") if text.startswith("{") else None
    except UsageError:
        value = None
    if not is_typed(value):
        return {"S": text}
    try:
        return read_value(value, ())
    except Misfit as error:
        raise UsageError(f"--param {number}, {text}: {error.message}", hint=error.hint) from error
