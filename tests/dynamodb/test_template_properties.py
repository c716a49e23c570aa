"""A table that nobody thought of, written in every form, reads back as the same; and nonsense is refused in words."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.localenv.dynamodb.tablefiles import TableFile, read_all, read_file
from tasks.localenv.errors import UsageError
from tasks.localenv.settings import read_settings

NAME = st.from_regex(r"[A-Za-z0-9_.-]{3,20}", fullmatch=True)
CHARACTERS = st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="$\ufeff")
TEXT = st.text(CHARACTERS, min_size=1, max_size=12)
UNITS = st.fixed_dictionaries(
    {"ReadCapacityUnits": st.integers(1, 40_000), "WriteCapacityUnits": st.integers(1, 40_000)}
)
PROJECTION = st.one_of(
    st.sampled_from([{"ProjectionType": "ALL"}, {"ProjectionType": "KEYS_ONLY"}]),
    st.lists(TEXT, min_size=1, max_size=3, unique=True).map(
        lambda names: {"ProjectionType": "INCLUDE", "NonKeyAttributes": names}
    ),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """Make the properties of a table."""
    on_demand = draw(st.booleans())
    types: dict[str, str] = {}

    def key() -> list[dict[str, str]]:
        names = draw(st.lists(TEXT, min_size=1, max_size=2, unique=True))
        for name in names:
            types.setdefault(name, draw(st.sampled_from("SNB")))
        return [{"AttributeName": name, "KeyType": kind} for name, kind in zip(names, ("HASH", "RANGE"), strict=False)]

    def index(name: str) -> dict[str, Any]:
        units = {} if on_demand else {"ProvisionedThroughput": draw(UNITS)}
        return {"IndexName": name, "KeySchema": key(), "Projection": draw(PROJECTION), **units}

    found: dict[str, Any] = {"TableName": draw(NAME), "KeySchema": key()}
    found |= {"BillingMode": "PAY_PER_REQUEST"} if on_demand else {"ProvisionedThroughput": draw(UNITS)}
    indexes = [index(name) for name in draw(st.lists(NAME, max_size=3, unique=True))]
    if indexes:
        found["GlobalSecondaryIndexes"] = indexes
    if draw(st.booleans()):
        found["StreamSpecification"] = {"StreamViewType": draw(st.sampled_from(["KEYS_ONLY", "NEW_IMAGE"]))}
    if draw(st.booleans()):
        found["TimeToLiveSpecification"] = {"Enabled": True, "AttributeName": draw(TEXT)}
    if draw(st.booleans()):
        tags = draw(st.lists(TEXT.filter(lambda text: not text.startswith("aws:")), max_size=3, unique=True))
        found["Tags"] = [{"Key": key, "Value": draw(TEXT)} for key in tags]
    found["AttributeDefinitions"] = [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()]
    return found


def read(name: str, text: str) -> list[TableFile]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        return read_file(path, name, {})


def dumped(data: Any, flow: bool) -> str:
    unshared = json.loads(json.dumps(data))  # what stands in two places would become an alias
    return yaml.safe_dump(unshared, allow_unicode=True, default_flow_style=flow, sort_keys=False)


def in_a_branch(properties: dict[str, Any]) -> dict[str, Any]:
    """Wrap each property into a condition that is true, its other branch being nothing."""
    nothing = {"Ref": "AWS::NoValue"}
    return {name: {"Fn::If": ["Yes", value, nothing]} for name, value in properties.items()} | {"Colour": nothing}


FEW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@FEW
@given(tables(), st.booleans())
def test_a_table_reads_back_the_same_from_every_form(properties: dict[str, Any], flow: bool) -> None:
    resources = {"Resources": {"Things": {"Type": "AWS::DynamoDB::Table", "Properties": properties}}}
    conditional = {
        "Conditions": {"Yes": {"Fn::Not": [{"Fn::Equals": ["a", "b"]}]}},
        "Resources": {"Things": {"Type": "AWS::DynamoDB::Table", "Properties": in_a_branch(properties)}},
    }
    service = {"service": "x", "provider": {"name": "aws"}, "custom": {"table": properties}}
    by_variable = {"Resources": {"Things": {"Type": "AWS::DynamoDB::Table", "Properties": "${self:custom.table}"}}}
    forms = {
        "t.json": json.dumps(properties),
        "cloudformation.json": json.dumps(resources, indent=2),
        "cloudformation.yaml": dumped(resources, flow),
        "conditional.yaml": dumped(conditional, flow),
        "conditional.json": json.dumps(conditional),
        "sam.yaml": dumped({"Transform": "AWS::Serverless-2016-10-31", **resources}, flow),
        "serverless.yml": dumped({**service, "resources": resources}, flow),
        "list.yml": dumped({**service, "resources": [{"Resources": {}}, resources]}, flow),
        "variable.yml": dumped({**service, "resources": by_variable}, flow),
    }
    wanted, *others = [(name, read(name, text)) for name, text in forms.items()]
    (table,) = wanted[1]
    assert [(name, [(file.shape, file.extras) for file in files]) for name, files in others] == [
        (name, [(table.shape, table.extras)]) for name, _ in others
    ]


TAGS = st.dictionaries(TEXT.filter(lambda text: not text.startswith("aws:")), TEXT, max_size=3)


@FEW
@given(NAME, TEXT, st.sampled_from(["String", "Number", "Binary"]), st.none() | UNITS, TAGS, st.booleans())
def test_a_simple_table_reads_back_as_the_table_that_it_makes(
    name: str, key: str, kind: str, units: dict[str, int] | None, tags: dict[str, str], flow: bool
) -> None:
    capacity: dict[str, Any] = {"ProvisionedThroughput": units} if units else {}
    simple = {"TableName": name, "PrimaryKey": {"Name": key, "Type": kind}, "Tags": tags, **capacity}
    made = {
        "TableName": name,
        "AttributeDefinitions": [{"AttributeName": key, "AttributeType": kind[0]}],
        "KeySchema": [{"AttributeName": key, "KeyType": "HASH"}],
        "Tags": [{"Key": tag, "Value": value} for tag, value in tags.items()],
        **(capacity or {"BillingMode": "PAY_PER_REQUEST"}),
    }
    transform = "AWS::Serverless-2016-10-31"
    resource = {"Type": "AWS::Serverless::SimpleTable", "Properties": simple}
    (found,) = read("t.yaml", dumped({"Transform": transform, "Resources": {"Things": resource}}, flow))
    (wanted,) = read("t.json", json.dumps(made))
    assert (found.shape, found.extras) == (wanted.shape, wanted.extras)


FRAGMENTS = st.sampled_from(
    ["Ref", "Fn::Sub", "Fn::If", "Fn::Join", "Fn::FindInMap", "Fn::Select", "Fn::Split", "Fn::Equals", "Fn::Not",
     "Condition", "AWS::NoValue", "A", "TableName", "KeySchema", "Tags", "${A}", "${self:custom}", "${self:a.b, 'x'}",
     "Type", "AWS::DynamoDB::Table", "AWS::Serverless::SimpleTable", "Properties", "PrimaryKey", "Default", "${!x}"]
)  # fmt: skip
NONSENSE = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 9), FRAGMENTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(FRAGMENTS, inner, max_size=3)),
    max_leaves=12,
)


def refusal(folder: str) -> str:
    """Read the table files of a folder, and give what is wrong with them; empty where nothing is.

    There is always something to do about it.
    """
    try:
        read_all(read_settings(environ={}), folder)
    except UsageError as error:
        return error.message.replace(folder, "") if error.hint else f"no hint: {error.message}"
    return ""


SECTIONS = st.sampled_from(["Conditions", "Mappings", "Parameters", "Globals", "Transform", "resources", "custom"])


@settings(max_examples=400, deadline=None)
@given(
    st.dictionaries(SECTIONS, st.one_of(NONSENSE, st.dictionaries(st.just("A"), NONSENSE)), max_size=4),
    st.one_of(NONSENSE, st.dictionaries(FRAGMENTS, NONSENSE, max_size=6)),
    st.one_of(st.none(), NONSENSE),
    st.sampled_from(["AWS::DynamoDB::Table", "AWS::Serverless::SimpleTable"]),
    st.booleans(),
)
def test_nonsense_is_refused_at_a_place_with_a_way_out(
    sections: dict[str, Any], properties: Any, condition: Any, kind: str, in_a_service: bool
) -> None:
    resource = {"Type": kind, "Properties": properties} | ({} if condition is None else {"Condition": condition})
    template = {**sections, "Resources": {"Things": resource}}
    if in_a_service:
        template = {"service": "x", "provider": {"stage": "${self:custom.A}"}, "resources": template, **sections}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.json").write_text(json.dumps(template, indent=1))
        message = refusal(folder)
    place = message.partition(": ")[0].split(":")
    assert not message or (place[0], len(place)) == ("/t.json", 3), message


@settings(max_examples=200, deadline=None)
@given(st.text("{}[]:,-!&*#|>'\"${}%@ \t\nabAFn", max_size=60), st.booleans())
def test_any_text_is_a_table_a_template_or_an_error(text: str, in_a_template: bool) -> None:
    head = "Resources:\n  Things:\n    Type: AWS::DynamoDB::Table\n    Properties:\n      TableName: "
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "t.yaml").write_text(head + text if in_a_template else text)
        message = refusal(folder)
    assert not message or message.startswith("/t.yaml:"), message
