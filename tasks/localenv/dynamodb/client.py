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
    """There is no table of that name; at AWS in `region`, which may not be the one of the user's profile."""

    name = "table-missing"

    def __init__(self, table: str, region: str = "") -> None:
        super().__init__(
            f"table {table} does not exist{f' in region {region}' if region else ''}",
            hint=either(
                _other_region(region) if region else "",
                Command("ddb.schema-load", when="if its file is in ddb/tables"),
                Command("ddb.list-tables", when="to see which do"),
            ),
        )


def _other_region(region: str) -> str:
    """Return the hint to use the region of the AWS profile; empty where it names none, or the same."""
    from ..aws.boto import profile

    name, known = profile()
    other = known.get("region", region)
    return f"set AWS_DEFAULT_REGION={other}, the region of AWS profile {name}" if other != region else ""


def connect(settings: Settings) -> DynamoDBClient:
    """Return a thread-safe client for the target.

    Its methods raise TableMissing, AwsError for DynamoDB's other errors, ServiceFailed if nothing answers.
    """
    return cast("DynamoDBClient", _Client(api(settings, "dynamodb"), "" if settings.dynamodb else settings.region))


class _Client:
    """Maps `client.describe_table(TableName=…)` to the operation DescribeTable."""

    def __init__(self, call: Api, region: str) -> None:
        self._call, self._region = call, region

    def __getattr__(self, method: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(word.capitalize() for word in method.split("_"))

        def call(**parameters: Any) -> dict[str, Any]:
            try:
                return self._call(operation, **parameters)
            except AwsError as error:
                if error.aws_code != "ResourceNotFoundException" or operation == "BatchWriteItem":
                    raise
                raise TableMissing(parameters.get("TableName", ""), self._region) from error

        return call
