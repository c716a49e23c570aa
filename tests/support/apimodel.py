"""Draws the parameters of CreateTable from botocore's model of the API: whatever members the model has.

Only the rules that the model does not say are written here (`_Rules`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from botocore.loaders import Loader
from hypothesis import strategies as st

Shapes = dict[str, Any]
Path = tuple[str, ...]
CREATE = "CreateTableInput"
DEPTH = 7
"""From here on only what is required: a shape may contain itself."""
LARGEST = 1000
TEXT = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])


def shapes() -> Shapes:
    """Return the shapes of the API as botocore has them today."""
    found: Shapes = Loader().load_service_model("dynamodb", "service-2")["shapes"]
    return found


def of_next_year(today: Shapes) -> Shapes:
    """Return the shapes with one more member in each structure of CreateTable; it contains itself.

    A tag has none: it is the same pair in all of AWS.
    """
    found = copy.deepcopy(dict(today))
    for name in {name for name, _ in _structures(today, CREATE)} - {"Tag"}:
        found[name]["members"]["AddedLater"] = {"shape": "AddedLater"}
    found["AddedLater"] = {
        "type": "structure",
        "required": ["Mode"],
        "members": {"Mode": {"shape": "AddedMode"}, "Inner": {"shape": "AddedLater"}},
    }
    found["AddedMode"] = {"type": "string", "enum": ["SLOW", "FAST"]}
    return found


def paths(model: Shapes) -> list[Path]:
    """Return the way to each member of CreateTable that may be left out, at any depth."""
    return [
        (*path, member)
        for name, path in _structures(model, CREATE)
        for member in sorted(model[name]["members"].keys() - set(model[name].get("required", [])))
    ]


def _structures(model: Shapes, name: str, path: Path = (), above: Path = ()) -> Iterator[tuple[str, Path]]:
    shape = model[name]
    if shape["type"] == "list":
        yield from _structures(model, shape["member"]["shape"], path, above)
    elif shape["type"] == "structure" and name not in above:
        yield name, path
        for member, found in shape["members"].items():
            yield from _structures(model, found["shape"], (*path, member), (*above, name))


@st.composite
def tables(draw: st.DrawFn, model: Shapes, path: Path = ()) -> dict[str, Any]:
    """Draw parameters of CreateTable that have the member at the end of the path; AWS may still refuse them."""
    found = _value(draw, model, CREATE, path)
    _Rules(draw, found).apply()
    return dict(found)


def _value(draw: st.DrawFn, model: Shapes, name: str, path: Path, depth: int = 0) -> Any:
    shape = model[name]
    kind, smallest = shape["type"], shape.get("min")
    if kind == "structure":
        required = shape.get("required", [])
        optional = sorted(shape["members"].keys() - set(required))
        some = draw(st.sets(st.sampled_from(optional), max_size=3)) if optional and depth < DEPTH else set()
        names = sorted({*required, *some, *path[:1]} & shape["members"].keys())
        return {
            each: _value(
                draw, model, shape["members"][each]["shape"], path[1:] if path[:1] == (each,) else (), depth + 1
            )
            for each in names
        }
    if kind in ("list", "map"):
        least = max(smallest or 0, 1 if path or depth < DEPTH else 0)
        entries = range(draw(st.integers(least, least + 1)))
        if kind == "list":
            return [_value(draw, model, shape["member"]["shape"], path, depth + 1) for _ in entries]
        return {f"key{each}": _value(draw, model, shape["value"]["shape"], (), depth + 1) for each in entries}
    return draw(_plain(shape))


def _plain(shape: Any) -> st.SearchStrategy[Any]:
    kind, smallest = shape["type"], shape.get("min")
    if kind == "string":
        if "enum" in shape:
            return st.sampled_from(shape["enum"])
        if "pattern" in shape:
            return st.from_regex(shape["pattern"], fullmatch=True).map(lambda text: text[:20].ljust(smallest or 0, "x"))
        return st.text(TEXT, min_size=smallest or 0, max_size=max(smallest or 0, 12))
    if kind in ("integer", "long"):
        least = 1 if smallest is None else smallest
        return st.integers(least, max(least, min(shape.get("max", LARGEST), LARGEST)))
    return {
        "boolean": st.booleans(),
        "double": st.floats(0, 1),
        "float": st.floats(0, 1),
        "blob": st.binary(max_size=9),
        "timestamp": st.just(1_800_000_000),
    }[kind]


class _Rules:
    """What DynamoDB wants of a table and its model does not say.

    Source: Amazon DynamoDB API Reference, CreateTable.
    """

    def __init__(self, draw: st.DrawFn, table: dict[str, Any]) -> None:
        self._draw = draw
        self._table = table
        names = draw(st.lists(st.text(TEXT, min_size=1, max_size=12), min_size=10, max_size=10, unique=True))
        self._types = {name: draw(st.sampled_from("SNB")) for name in names}
        self._names = names

    def apply(self) -> None:
        self._keys()
        self._capacity()
        numbered = 0
        for found in list(_objects(self._table)):
            if "IndexName" in found:
                numbered += 1
                found["IndexName"] = f"{found['IndexName']}{numbered}"
            if "VectorAttribute" in found:
                found["VectorAttribute"]["AttributeName"] = "vector"
            if "Projection" in found:
                self._projection(found["Projection"])
        stream = self._table.get("StreamSpecification", {})
        if stream.get("StreamEnabled"):
            stream.setdefault("StreamViewType", "NEW_IMAGE")
        else:
            stream.pop("StreamViewType", None)
        tags = self._table.get("Tags", [])
        for number, tag in enumerate(tags):
            tag["Key"] = f"{number}{tag['Key']}"
        self._define()

    def _keys(self) -> None:
        table, (first, second, *others) = self._table, self._names
        local = table.get("LocalSecondaryIndexes", [])
        ranged = bool(local) or self._draw(st.booleans())
        table["KeySchema"] = self._key(table.get("KeySchema"), [first], [second] if ranged else [])
        for index, name in zip(local, others, strict=False):
            index["KeySchema"] = self._key(index["KeySchema"], [first], [name])
        for index in table.get("GlobalSecondaryIndexes", []):
            names = self._draw(st.permutations(self._names))
            partition, sort = self._draw(st.integers(1, 4)), self._draw(st.integers(0, 4))
            index["KeySchema"] = self._key(index["KeySchema"], names[:partition], names[partition : partition + sort])
        for found in list(_objects(table)):
            for entry in found.get("SearchSchema", []):
                entry["AttributeName"] = self._draw(st.sampled_from(self._names))

    @staticmethod
    def _key(drawn: Any, partition: list[str], sort: list[str]) -> list[dict[str, Any]]:
        """Return a key of these attributes; whatever else an entry of the drawn one has goes to the first."""
        more = drawn[0] if drawn else {}
        parts = [(name, "HASH") for name in partition] + [(name, "RANGE") for name in sort]
        key: list[dict[str, Any]] = [{"AttributeName": name, "KeyType": kind} for name, kind in parts]
        key[0] = {**more, **key[0]}
        return key

    def _capacity(self) -> None:
        table = self._table
        indexes = table.get("GlobalSecondaryIndexes", [])
        on_demand = "OnDemandThroughput" in table or any("OnDemandThroughput" in index for index in indexes)
        on_demand = on_demand or "VectorIndexes" in table or table.get("BillingMode") == "PAY_PER_REQUEST"
        table["BillingMode"] = "PAY_PER_REQUEST" if on_demand else "PROVISIONED"
        for found in (table, *indexes):
            if on_demand:
                found.pop("ProvisionedThroughput", None)
            else:
                found.setdefault("ProvisionedThroughput", {"ReadCapacityUnits": 3, "WriteCapacityUnits": 2})

    def _projection(self, projection: dict[str, Any]) -> None:
        if projection.setdefault("ProjectionType", "ALL") == "INCLUDE":
            projection["NonKeyAttributes"] = ["beside", "more"]
        else:
            projection.pop("NonKeyAttributes", None)

    def _define(self) -> None:
        schemas = [found[name] for found in _objects(self._table) for name in found if name.endswith("Schema")]
        used = {entry["AttributeName"] for schema in schemas for entry in schema}
        more = (self._table.get("AttributeDefinitions") or [{}])[0]
        defined = [{"AttributeName": name, "AttributeType": self._types[name]} for name in self._names if name in used]
        self._table["AttributeDefinitions"] = [{**more, **defined[0]}, *defined[1:]]


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(each)
