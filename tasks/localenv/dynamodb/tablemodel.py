"""What the properties of a table may hold: the API's model as botocore has it, and what CloudFormation has otherwise.

Sources: botocore, dynamodb/2012-08-10/service-2.json; AWS CloudFormation Template Reference, AWS::DynamoDB::Table;
Amazon DynamoDB Developer Guide, "Quotas" and "Multi-attribute keys". The tables here are as of November 2026.
"""

from __future__ import annotations

import functools
import gzip
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Shape = Mapping[str, Any]
"""A shape of the model: `type`, and `members`, `required`, `member`, `enum`, `min`, `max`, `pattern` as they apply."""

MODEL = "data/dynamodb/2012-08-10/service-2.json.gz"
TABLE = "Table"
KEY_ATTRIBUTES = 4
"""The most attributes of each part of a global index's key."""
ALL_NON_KEY_ATTRIBUTES = 100
"""The most NonKeyAttributes of all indexes of a table together."""


def _structure(required: str, optional: str = "", **others: str) -> Shape:
    """Return a structure: names with spaces between, whose shapes are called like them unless in `others`."""
    names = required.split(), optional.split()
    shapes = {name: {"shape": others.get(name, name)} for each in names for name in each}
    return {"type": "structure", "required": names[0], "members": shapes}


def _list(member: str, at_most: int) -> Shape:
    return {"type": "list", "member": {"shape": member}, "min": 1, "max": at_most}


CLOUDFORMATION: dict[str, Shape] = {
    TABLE: _structure(
        "TableName AttributeDefinitions KeySchema",
        "BillingMode ProvisionedThroughput GlobalSecondaryIndexes LocalSecondaryIndexes StreamSpecification "
        "DeletionProtectionEnabled OnDemandThroughput PointInTimeRecoverySpecification SSESpecification TableClass "
        "Tags TimeToLiveSpecification ContributorInsightsSpecification ImportSourceSpecification "
        "KinesisStreamSpecification ResourcePolicy WarmThroughput",
        KeySchema="TableKey",
    ),
    "AttributeDefinitions": {"type": "list", "member": {"shape": "AttributeDefinition"}, "min": 1},
    "TableKey": _list("KeySchemaElement", 2),
    "GlobalKey": _list("KeySchemaElement", 2 * KEY_ATTRIBUTES),
    "GlobalSecondaryIndexes": _list("GlobalIndex", 20),
    "LocalSecondaryIndexes": _list("LocalIndex", 5),
    "GlobalIndex": _structure(
        "IndexName KeySchema Projection",
        "ProvisionedThroughput OnDemandThroughput WarmThroughput ContributorInsightsSpecification",
        KeySchema="GlobalKey",
    ),
    "LocalIndex": _structure("IndexName KeySchema Projection", KeySchema="TableKey"),
    "Projection": _structure("ProjectionType", "NonKeyAttributes", NonKeyAttributes="NonKeyAttributeNameList"),
    "StreamSpecification": _structure("StreamViewType", "ResourcePolicy"),
    "SSESpecification": _structure("SSEEnabled", "SSEType KMSMasterKeyId", KMSMasterKeyId="KmsKey"),
    "SSEType": {"type": "string", "enum": ["KMS"]},
    "KmsKey": {"type": "string", "min": 1, "max": 2048},
    "TimeToLiveSpecification": _structure(
        "Enabled", "AttributeName", Enabled="TimeToLiveEnabled", AttributeName="TimeToLiveAttributeName"
    ),
    "ContributorInsightsSpecification": _structure(
        "Enabled", "Mode", Enabled="BooleanObject", Mode="ContributorInsightsMode"
    ),
    "KinesisStreamSpecification": _structure("StreamArn", "ApproximateCreationDateTimePrecision"),
    "ResourcePolicy": _structure("PolicyDocument"),
    "PolicyDocument": {"type": "map"},
    "ImportSourceSpecification": {"type": "map"},
    "Tags": {**_list("Tag", 50), "min": 0},
}
"""The shapes that CloudFormation has otherwise than the API, and the limits that the model lacks."""

SET_BY = {
    "ContributorInsightsSpecification": "aws dynamodb update-contributor-insights",
    "ImportSourceSpecification": "aws dynamodb import-table",
    "KinesisStreamSpecification": "aws dynamodb enable-kinesis-streaming-destination",
    "ResourcePolicy": "aws dynamodb put-resource-policy",
    "WarmThroughput": "aws dynamodb update-table",
}
"""Properties of a table, its stream and its indexes that AWS alone has, and what sets them there."""
SET_BY_FOR_INDEX = {**SET_BY, "OnDemandThroughput": SET_BY["WarmThroughput"]}


@functools.cache
def _model() -> Mapping[str, Shape]:
    """Return the shapes of DynamoDB's API. Read without botocore, which takes five times as long (20 ms and 100 ms)."""
    spec = importlib.util.find_spec("botocore")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    shapes: Mapping[str, Shape] = json.loads(gzip.decompress((folder / MODEL).read_bytes()))["shapes"]
    return shapes


def shape_called(name: str) -> Shape:
    """Return a shape, CloudFormation's before the API's."""
    return CLOUDFORMATION.get(name) or _model()[name]


@functools.cache
def is_a_name(name: str) -> bool:
    """Return whether AWS has a member of this name anywhere: it is no misspelt other one."""
    return any(name in shape.get("members", ()) for shapes in (CLOUDFORMATION, _model()) for shape in shapes.values())


@functools.cache
def words_of(name: str) -> tuple[str, ...]:
    """Return the values that a shape allows."""
    return tuple(shape_called(name)["enum"])
