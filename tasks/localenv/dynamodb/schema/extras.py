"""What belongs to a table and is not in DescribeTable: time to live, point-in-time recovery and tags.

An engine may lack them: Amazon's DynamoDB Local knows neither recovery nor tags. That is a None here, and never an
error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ...aws.wire import AwsError
from ..tableshape import Extras, Recovery

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

T = TypeVar("T")
EVERYTHING = Extras("", Recovery(on=False), ())
"""As `wanted`, this asks for all there is."""


def fetch_extras(client: DynamoDBClient, description: Mapping[str, Any], wanted: Extras = EVERYTHING) -> Extras:
    """Ask for those extras of a table that `wanted` says something of. `description` is DescribeTable's."""
    name, arn = description["TableName"], description["TableArn"]
    return Extras(
        time_to_live=None if wanted.time_to_live is None else _or_none(lambda: fetch_time_to_live(client, name)),
        recovery=None if wanted.recovery is None else _or_none(lambda: fetch_recovery(client, name)),
        tags=None if wanted.tags is None else _or_none(lambda: fetch_tags(client, arn)),
    )


def fetch_time_to_live(client: DynamoDBClient, name: str) -> str:
    """Return the attribute by which items expire; empty where they do not."""
    found = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    return found.get("AttributeName", "") if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else ""


def fetch_recovery(client: DynamoDBClient, name: str) -> Recovery:
    """Tell whether a table can be restored to a point in time, and how far back."""
    found: Any = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = found.get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        return Recovery(on=False)
    return Recovery(on=True, days=recovery.get("RecoveryPeriodInDays"))


def fetch_tags(client: DynamoDBClient, arn: str) -> tuple[tuple[str, str], ...]:
    """Return the tags of a table, from all pages, without those that AWS sets (aws:…)."""
    found: list[tuple[str, str]] = []
    answer: Any = client.list_tags_of_resource(ResourceArn=arn)
    while True:
        found += [(tag["Key"], tag["Value"]) for tag in answer.get("Tags", ())]
        if not answer.get("NextToken"):
            return tuple(sorted(tag for tag in found if not tag[0].startswith("aws:")))
        answer = client.list_tags_of_resource(ResourceArn=arn, NextToken=answer["NextToken"])


def set_time_to_live(client: DynamoDBClient, name: str, wanted: str, found: str) -> None:
    """Let items expire by an attribute, empty for none. Where it is another one now, this only takes that off.

    DynamoDB takes one change of this kind in about an hour, and then says so.
    """
    specification: Any = {"Enabled": not found, "AttributeName": found or wanted}
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=specification)


def set_recovery(client: DynamoDBClient, name: str, wanted: Recovery) -> None:
    """Turn point-in-time recovery on or off."""
    days = {"RecoveryPeriodInDays": wanted.days} if wanted.days else {}
    specification: Any = {"PointInTimeRecoveryEnabled": wanted.on, **days}
    client.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)


def set_tags(
    client: DynamoDBClient, arn: str, wanted: tuple[tuple[str, str], ...], found: tuple[tuple[str, str], ...]
) -> None:
    """Give a table these tags and no others."""
    new = [{"Key": key, "Value": value} for key, value in wanted if (key, value) not in found]
    gone = sorted({key for key, _ in found} - {key for key, _ in wanted})
    if new:
        client.tag_resource(ResourceArn=arn, Tags=new)  # type: ignore[arg-type]
    if gone:
        client.untag_resource(ResourceArn=arn, TagKeys=gone)


def _or_none(fetch: Callable[[], T]) -> T | None:
    try:
        return fetch()
    except AwsError as error:
        if error.aws_code in ("UnknownOperationException", "UnknownOperation"):
            return None
        raise
