"""The shapes of services' answers: checked once, on arrival, so that no code behind meets a missing key.

A shape is a type, a list with the shape of its elements, a dict with the shape of each key (`name?` may be missing or
null), `Each` for a dict of any keys, or a function that returns the fault as text. Only what is read has a shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..errors import ServiceFailed

LARGEST_BYTES = 64 * 1024**2
"""DynamoDB answers 16 MB at most (BatchGetItem), of which base64 and names make a few times as much."""
SHOWN_CHARS = 400


@dataclass(frozen=True)
class Each:
    """A dict of any keys, whose values have a shape."""

    shape: Shape


Shape: TypeAlias = "type | list[Any] | dict[str, Any] | Each | Callable[[Any], str]"


def require(found: Any, shape: Shape, subject: str, *, hint: str) -> Any:
    """Return the answer if it has the shape. Raises ServiceFailed; `subject` says who answered what."""
    fault = fault_of(found, shape)
    if fault:
        raise ServiceFailed(f"{subject}: {fault}", hint=hint, evidence=shown(json.dumps(found, default=str)))
    return found


def read_json(text: bytes, subject: str, *, hint: str) -> Any:
    """Parse an answer as JSON. Raises ServiceFailed where it is not."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nothing" if not text.strip() else "no JSON"
        raise ServiceFailed(f"{subject}: {what}", hint=hint, evidence=shown(text.decode(errors="replace"))) from error


def fault_of(found: Any, shape: Shape, place: str = "") -> str:
    """Return what is wrong with an answer, empty if it has the shape: "no Items", "Table.KeySchema is a string"."""
    if isinstance(shape, type):
        return _is_a(found, shape, place)
    if isinstance(shape, dict | Each | list):
        return _is_a(found, list if isinstance(shape, list) else dict, place) or next(
            filter(None, _inside(found, shape, place)), ""
        )
    text = shape(found)
    return f"{place or 'the answer'} {text}" if text else ""


def _inside(found: Any, shape: dict[str, Any] | Each | list[Any], place: str) -> Iterator[str]:
    if isinstance(shape, dict):
        return (_member(found, name, inner, place) for name, inner in shape.items())
    if isinstance(shape, Each):
        return (fault_of(one, shape.shape, _joined(place, str(name))) for name, one in found.items())
    return (fault_of(one, shape[0], f"{place}[{index}]") for index, one in enumerate(found))


def shown(text: str) -> str:
    """Return the start of an answer as evidence."""
    return text[:SHOWN_CHARS] + ("…" if len(text) > SHOWN_CHARS else "")


def _member(found: Mapping[str, Any], name: str, shape: Shape, place: str) -> str:
    key = name.removesuffix("?")
    if found.get(key) is None:
        return "" if name.endswith("?") else f"no {_joined(place, key)}"
    return fault_of(found[key], shape, _joined(place, key))


def _is_a(found: Any, kind: type, place: str) -> str:
    return "" if isinstance(found, kind) else f"{place or 'the answer'} is {_kind(found)}, not {_WORDS[kind]}"


def _kind(found: Any) -> str:
    return "null" if found is None else _WORDS.get(type(found), type(found).__name__)


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


_WORDS = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number", bool: "a truth value"}


def _item(found: Any) -> str:
    """Return what is wrong with an item in DynamoDB JSON."""
    if not isinstance(found, dict):
        return f"is {_kind(found)}, not an item"
    bad = next((name for name, value in found.items() if not isinstance(value, dict) or len(value) != 1), None)
    return "" if bad is None else f"has no attribute value at {bad!r}"


def _table(found: Any) -> str:
    """Return what is wrong with a table's description."""
    fault = fault_of(found, _TABLE)
    if fault:
        return f"has a fault: {fault}"
    mode = (found.get("BillingModeSummary") or {}).get("BillingMode") or "PROVISIONED"
    indexes = [index for index in found.get("GlobalSecondaryIndexes") or () if index.get("IndexStatus") != "DELETING"]
    if mode == "PROVISIONED" and any(one.get("ProvisionedThroughput") is None for one in (found, *indexes)):
        return "has a fault: no ProvisionedThroughput"
    known = {each["AttributeName"] for each in found["AttributeDefinitions"]}
    keys = [entry for one in (found, *indexes) for entry in one["KeySchema"]]
    missing = next((entry["AttributeName"] for entry in keys if entry["AttributeName"] not in known), None)
    return f"has a fault: no AttributeDefinitions entry for {missing!r}" if missing else ""


_KEY: Shape = [{"AttributeName": str, "KeyType": str}]
_UNITS: Shape = {"ReadCapacityUnits": int, "WriteCapacityUnits": int}
_INDEX: Shape = {
    "IndexName": str,
    "KeySchema": _KEY,
    "Projection": {"ProjectionType": str, "NonKeyAttributes?": [str]},
    "IndexStatus?": str,
    "ProvisionedThroughput?": _UNITS,
}
_TABLE: Shape = {
    "TableName": str,
    "TableStatus": str,
    "TableArn?": str,
    "KeySchema": _KEY,
    "AttributeDefinitions": [{"AttributeName": str, "AttributeType": str}],
    "GlobalSecondaryIndexes?": [_INDEX],
    "LocalSecondaryIndexes?": [_INDEX],
    "ProvisionedThroughput?": _UNITS,
    "BillingModeSummary?": {"BillingMode?": str},
    "StreamSpecification?": dict,
    "ItemCount?": int,
    "TableSizeBytes?": int,
}
_RECORD: Shape = {"eventName": str, "dynamodb": {"SequenceNumber": str, "Keys": _item, "NewImage?": _item}}
_USER: Shape = {"Username": str, "Attributes?": [{"Name": str, "Value?": str}], "UserStatus?": str, "Enabled?": bool}

OPERATIONS: Mapping[str, Shape] = {
    "BatchGetItem": {"Responses": Each([_item]), "UnprocessedKeys?": Each({"Keys": [_item]})},
    "BatchWriteItem": {"UnprocessedItems": Each([dict])},
    "CreateTable": {"TableDescription": dict},
    "CreateUserPool": {"UserPool": {"Id": str}},
    "DeleteTable": {"TableDescription": dict},
    "DescribeContinuousBackups": {"ContinuousBackupsDescription": dict},
    "DescribeStream": {
        "StreamDescription": {
            "Shards": [{"ShardId": str, "ParentShardId?": str}],
            "LastEvaluatedShardId?": str,
        }
    },
    "DescribeTable": {"Table": _table},
    "DescribeTimeToLive": {"TimeToLiveDescription": dict},
    "DescribeUserPool": {"UserPool": {"EstimatedNumberOfUsers?": int}},
    "ExecuteStatement": {"Items?": [_item], "NextToken?": str},
    "GetItem": {"Item?": _item},
    "GetRecords": {"Records": [_RECORD], "NextShardIterator?": str},
    "GetShardIterator": {"ShardIterator": str},
    "ListTables": {"TableNames": [str], "LastEvaluatedTableName?": str},
    "ListTagsOfResource": {"Tags?": [{"Key": str, "Value": str}], "NextToken?": str},
    "ListUserPoolClients": {"UserPoolClients": [{"ClientName": str, "ClientId": str}], "NextToken?": str},
    "ListUserPools": {"UserPools": [{"Id": str, "Name": str}], "NextToken?": str},
    "ListUsers": {"Users": [_USER], "PaginationToken?": str},
    "Query": {"Items": [_item], "LastEvaluatedKey?": _item},
    "Scan": {"Items": [_item], "LastEvaluatedKey?": _item},
    "TransactWriteItems": {"ConsumedCapacity?": [dict]},
    "UpdateTable": {"TableDescription": dict},
}
"""The shapes of the answers to AWS operations; the answer to an operation that is missing here is not read.

Source: Amazon DynamoDB, DynamoDB Streams and Amazon Cognito API References.
"""
