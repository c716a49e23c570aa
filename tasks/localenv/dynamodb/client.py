"""The DynamoDB client of a run: boto3's method names sent through aws/wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ..aws.wire import Api, AwsError, api
from ..errors import LocalEnvError
from ..hints import Command, either

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from ..settings import Settings


class TableMissing(LocalEnvError):
    """There is no table of that name."""

    name = "table-missing"

    def __init__(self, table: str) -> None:
        super().__init__(
            f"table {table} does not exist",
            hint=either(
                Command("ddb.schema-load", when="if its file is in ddb/tables"),
                Command("ddb.list-tables", when="to see which do"),
            ),
        )


def connect(settings: Settings) -> DynamoDBClient:
    """Return a thread-safe client for the target.

    Its methods raise TableMissing, AwsError for DynamoDB's other errors, ServiceFailed if nothing answers.
    """
    return cast("DynamoDBClient", _Client(api(settings, "dynamodb")))


class _Client:
    """Maps `client.describe_table(TableName=…)` to the operation DescribeTable."""

    def __init__(self, call: Api) -> None:
        self._call = call

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(word.capitalize() for word in method.split("_"))

        def call(**parameters: Any) -> dict[str, Any]:
            try:
                return self._call(operation, **parameters)
            except AwsError as error:
                if error.aws_code != "ResourceNotFoundException" or operation == "BatchWriteItem":
                    raise
                raise TableMissing(parameters.get("TableName", "")) from error

        return call
