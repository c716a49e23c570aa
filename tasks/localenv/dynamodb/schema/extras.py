"""What DescribeTable leaves out: time to live, point-in-time recovery and tags.

An extra that the engine does not support is None: Amazon's DynamoDB Local has neither recovery nor tags.
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
"""As `wanted`: fetch all extras."""


def fetch_extras(client: DynamoDBClient, description: Mapping[str, Any], wanted: Extras = EVERYTHING) -> Extras:
    """Fetch those extras of a table that are not None in `wanted`. `description` is DescribeTable's."""
    name, arn = description["TableName"], description["TableArn"]
    return Extras(
        time_to_live=None if wanted.time_to_live is None else _or_none(lambda: fetch_time_to_live(client, name)),
        recovery=None if wanted.recovery is None else _or_none(lambda: fetch_recovery(client, name)),
        tags=None if wanted.tags is None else _or_none(lambda: fetch_tags(client, arn)),
    )


def fetch_time_to_live(client: DynamoDBClient, name: str) -> str:
    """Return the time-to-live attribute; empty if it is off."""
    found = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    return found.get("AttributeName", "") if found.get("TimeToLiveStatus") in ("ENABLED", "ENABLING") else ""


def fetch_recovery(client: DynamoDBClient, name: str) -> Recovery:
    """Return whether a table has point-in-time recovery, and for how many days."""
    found: Any = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = found.get("PointInTimeRecoveryDescription", {})
    if recovery.get("PointInTimeRecoveryStatus") != "ENABLED":
        return Recovery(on=False)
    return Recovery(on=True, days=recovery.get("RecoveryPeriodInDays"))


def fetch_tags(client: DynamoDBClient, arn: str) -> tuple[tuple[str, str], ...]:
    """Return the tags of a table, without those that AWS sets (aws:…)."""
    found: list[tuple[str, str]] = []
    answer: Any = client.list_tags_of_resource(ResourceArn=arn)
    while True:
        found += [(tag["Key"], tag["Value"]) for tag in answer.get("Tags", ())]
        if not answer.get("NextToken"):
            return tuple(sorted(tag for tag in found if not tag[0].startswith("aws:")))
        answer = client.list_tags_of_resource(ResourceArn=arn, NextToken=answer["NextToken"])


def set_time_to_live(client: DynamoDBClient, name: str, wanted: str, found: str) -> None:
    """Set the time-to-live attribute, empty for off. If another one is set now, this only turns that off.

    DynamoDB allows about one such change an hour, and refuses others with an error that says so.
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
    """Set the tags of a table: add those that are new, remove all others."""
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
