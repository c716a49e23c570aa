"""Templates as they are in the field: SAM, serverless.yml, functions and conditions, tables without a name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb.tablefiles import Reading, read_all
from tasks.localenv.dynamodb.tableshape import TableShape, Throughput
from tasks.localenv.errors import UsageError
from tasks.localenv.settings import Settings, read_settings

KEY = (("pk", "S"),)
ATTRIBUTES = "AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]"
SCHEMA = "KeySchema: [{AttributeName: pk, KeyType: HASH}]"
ON_DEMAND = "BillingMode: PAY_PER_REQUEST"
NAMELESS = f"""\
Resources:
  Messages:
    Type: AWS::DynamoDB::Table
    Properties:
      {ATTRIBUTES}
      {SCHEMA}
      {ON_DEMAND}
"""


def settings(**environ: str) -> Settings:
    return read_settings(environ=environ)


def read(path: Path, text: str, **environ: str) -> Reading:
    path.write_text(text)
    return replaced(read_all(settings(**environ), str(path)), path)


def replaced(reading: Reading, path: Path) -> Reading:
    """Give what was read with the file's name in place of its path."""
    return replace(reading, notes=[note.replace(f"{path.parent}/", "") for note in reading.notes])


def error_of(path: Path, text: str) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        read(path, text)
    return caught.value.message.replace(f"{path.parent}/", ""), caught.value.hint


def names(reading: Reading) -> list[str]:
    return [table.name for table in reading.tables]


def template(properties: str, *, before: str = "", name: str = "TableName: things") -> str:
    """Write a template whose table has these properties beside its key."""
    own = "".join(f"      {line}\n" for line in [name, ATTRIBUTES, SCHEMA, *properties.splitlines()] if line)
    return f"{before}Resources:\n  Things:\n    Type: AWS::DynamoDB::Table\n    Properties:\n{own}"


@pytest.mark.parametrize(
    ("environ", "name"),
    [({}, "cruddur-messages"), ({"DDB_MESSAGE_TABLE": "mine"}, "mine")],
)
def test_the_only_table_without_a_name_is_the_message_table(tmp_path: Path, environ: dict[str, str], name: str) -> None:
    reading = read(tmp_path / "t.yaml", NAMELESS, **environ)
    assert (names(reading), reading.notes) == ([name], [f"no TableName in t.yaml:5:7: using {name}"])


def test_a_table_without_a_name_has_its_logical_id_where_another_file_has_the_message_table(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(f"TableName: cruddur-messages\n{ATTRIBUTES}\n{SCHEMA}\n{ON_DEMAND}\n")
    (tmp_path / "b.yaml").write_text(NAMELESS)
    assert names(read_all(settings(), str(tmp_path))) == ["cruddur-messages", "Messages"]
    assert names(read_all(settings(DDB_MESSAGE_TABLE="mine"), str(tmp_path))) == ["mine", "Messages"]


def test_of_several_tables_without_a_name_each_has_its_logical_id(tmp_path: Path) -> None:
    second = NAMELESS.partition("\n")[2].replace("Messages:", "Others:")
    reading = read(tmp_path / "t.yaml", NAMELESS + second, DDB_MESSAGE_TABLE="mine")
    assert (names(reading), reading.notes) == (
        ["Messages", "Others"],
        [
            "no TableName in t.yaml:5:7: using Messages",
            "no TableName in t.yaml:11:7: using Others",
        ],
    )


def test_a_name_that_is_no_value_is_none(tmp_path: Path) -> None:
    nothing = template(ON_DEMAND, name="TableName: !Ref AWS::NoValue")
    assert names(read(tmp_path / "t.yaml", nothing)) == ["cruddur-messages"]


def test_two_files_that_give_one_logical_id_are_an_error_with_both_places(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(NAMELESS)
    (tmp_path / "b.yaml").write_text(NAMELESS)
    with pytest.raises(UsageError) as caught:
        read_all(settings(), str(tmp_path))
    assert caught.value.message.replace(f"{tmp_path}/", "") == (
        "b.yaml:5:7: table Messages is defined twice, first at a.yaml:5:7"
    )
    assert caught.value.hint == "remove one, or give it another TableName"


def test_production_is_not_given_a_name_that_is_made_up(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(NAMELESS)
    prod = replace(settings(), target="prod")
    with pytest.raises(
        UsageError, match=r"t\.yaml:5:7: no TableName, and the name that CloudFormation gave it is unknown"
    ):
        read_all(prod, str(tmp_path))
    known = replace(prod, message_table="stack-Messages-1A2B3C")
    assert names(read_all(known, str(tmp_path))) == ["stack-Messages-1A2B3C"]


def test_production_has_no_stand_in_for_the_stack(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(template(ON_DEMAND, name='TableName: !Sub "${AWS::StackName}-x"'))
    with pytest.raises(UsageError, match=r"t\.yaml:5:18: AWS::StackName is not a parameter and has no value here"):
        read_all(replace(settings(), target="prod"), str(tmp_path))


SIMPLE = """\
Transform: AWS::Serverless-2016-10-31
Globals:
  SimpleTable:
    SSESpecification: {SSEEnabled: true}
Resources:
  Bare:
    Type: AWS::Serverless::SimpleTable
  Full:
    Type: AWS::Serverless::SimpleTable
    IgnoreGlobals: [SSESpecification]
    Properties:
      TableName: full
      PrimaryKey: {Name: number, Type: Number}
      ProvisionedThroughput: {ReadCapacityUnits: 5, WriteCapacityUnits: 4}
      Tags: {Team: chat, Level: 2}
"""


def test_a_simple_table_is_the_table_that_it_stands_for(tmp_path: Path) -> None:
    reading = read(tmp_path / "t.yaml", SIMPLE)
    assert [table.shape for table in reading.tables] == [
        TableShape("cruddur-messages", (("id", "S"),), (), None, "", encryption="KMS"),
        TableShape("full", (("number", "N"),), (), Throughput(5, 4), ""),
    ]
    assert reading.tables[1].extras.tags == (("Level", "2"), ("Team", "chat"))


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("Type: Number", "Type: Text", "t.yaml:13:40: Type is 'Text', not one of String, Number, Binary", "known here"),
        (", Type: Number", "", "t.yaml:13:19: no Type", "add 'Type' here"),
        ("PrimaryKey:", "PrimaryKeys:", "t.yaml:13:20: unknown property 'PrimaryKeys'", "did you mean 'PrimaryKey'?"),
        ("Tags: {Team: chat, Level: 2}", "Tags: [a]", "t.yaml:15:13: Tags must be an object", "write names and values"),
        ("Name: number", "Name: 7", "t.yaml:13:26: AttributeName must be a string", ""),
        ("Units: 5", "Units: 0", "t.yaml:14:50: ReadCapacityUnits must be 1 or more", ""),
        ("TableName: full", "TableName: a b", "t.yaml:12:18: TableName 'a b' is not 3 to 255", ""),
        ("Level: 2", "Level: [2]", "t.yaml:15:33: Value must be a string", ""),
    ],
)
def test_what_is_wrong_in_a_simple_table_is_said_at_its_place(
    tmp_path: Path, old: str, new: str, message: str, hint: str
) -> None:
    found = error_of(tmp_path / "t.yaml", SIMPLE.replace(old, new))
    assert (found[0][: len(message)], found[1][: len(hint)]) == (message, hint)


CONDITIONS = """\
Parameters:
  Stage: {Type: String, Default: dev}
  Units: {Type: Number, Default: 5}
  Names: {Type: CommaDelimitedList, Default: "red, green"}
  Secret: {Type: String}
  Path: {Type: "AWS::SSM::Parameter::Value<String>", Default: /a/b}
Mappings:
  Capacity:
    dev: {Read: 2, Write: 3}
Conditions:
  IsProd: !Equals [!Ref Stage, prod]
  IsDev: !Not [!Condition IsProd]
  IsHere: !And [!Condition IsDev, !Equals [!Ref "AWS::Region", us-east-1]]
  Either: {"Fn::Or": [{"Condition": IsProd}, {"Fn::Equals": [!Ref Units, "5"]}]}
  Round: !Not [!Condition Round]
"""


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("!Ref Stage", "dev"),
        ("!Ref AWS::StackName", "local"),
        ('!Sub "${Stage}-${AWS::Region}-${AWS::AccountId}-${AWS::Partition}"', "dev-us-east-1-000000000000-aws"),
        ('!Sub ["${Stage}-${Kind}", {Kind: !Join ["-", [a, !Ref Stage]]}]', "dev-a-dev"),
        ('!Join ["-", [a, !Ref "AWS::NoValue", !Select [1, !Ref Names]]]', "a-green"),
        ('!Select [1, !Split ["/", a/bcd]]', "bcd"),
        ("!If [IsHere, !If [Either, inner, wrong], !ImportValue x]", "inner"),
        ("!FindInMap [Capacity, prod, Name, {DefaultValue: fallback}]", "fallback"),
        ("\"${self:custom.x, 'name-a'}\"", "name-a"),
    ],
)
def test_functions_are_worked_out(tmp_path: Path, name: str, found: str) -> None:
    assert names(read(tmp_path / "t.yaml", template(ON_DEMAND, before=CONDITIONS, name=f"TableName: {name}"))) == [
        found
    ]


def test_no_value_removes_a_property_an_entry_and_what_a_branch_holds(tmp_path: Path) -> None:
    text = template(
        """\
BillingMode: !If [IsProd, PAY_PER_REQUEST, !Ref AWS::NoValue]
StreamSpecification: !Ref AWS::NoValue
SSESpecification: {SSEEnabled: true, KMSMasterKeyId: !If [IsDev, !Ref AWS::NoValue, !GetAtt Key.Arn]}
Tags: [!Ref AWS::NoValue, {Key: a, Value: !Ref Units}, !If [IsProd, {Key: b, Value: c}, !Ref AWS::NoValue]]
ProvisionedThroughput: !If
  - IsProd
  - !Ref AWS::NoValue
  - {ReadCapacityUnits: !FindInMap [Capacity, !Ref Stage, Read], WriteCapacityUnits: !Ref Units}""",
        before=CONDITIONS,
    )
    (table,) = read(tmp_path / "t.yaml", text).tables
    assert (table.shape, table.extras.tags) == (
        TableShape("things", KEY, (), Throughput(2, 5), "", encryption="KMS"),
        (("a", "5"),),
    )


def test_a_table_whose_condition_is_false_is_passed_over(tmp_path: Path) -> None:
    text = template(ON_DEMAND, before=CONDITIONS).replace("    Properties", "    Condition: IsProd\n    Properties")
    reading = read(tmp_path / "t.yaml", text)
    assert (reading.tables, reading.notes) == (
        [],
        ["t.yaml:18:5: Things is skipped: its condition IsProd is false here"],
    )
    assert names(read(tmp_path / "t.yaml", text.replace("Condition: IsProd", "Condition: IsDev"))) == ["things"]


WRITE = "write the value itself, or a parameter with a Default"


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("!GetAtt Key.Arn", "t.yaml:20:18: Fn::GetAtt cannot be resolved here", WRITE),
        ("!ImportValue x", "t.yaml:20:18: Fn::ImportValue cannot be resolved here", WRITE),
        ("!Ref Secret", "t.yaml:20:18: parameter Secret has no Default", WRITE),
        ("!Ref Path", "t.yaml:20:18: parameter Path is an SSM parameter", WRITE),
        ("!Ref Stages", "t.yaml:20:18: Stages is not a parameter and has no value here", "did you mean 'Stage'?"),
        (
            '!Sub "${Stage}-${Nobody}"',
            "t.yaml:20:18: Nobody is not a parameter and has no value here",
            "known here: Stage",
        ),
        ("!If [Nobody, a, b]", "t.yaml:20:23: no condition 'Nobody' in Conditions", "known here: IsProd"),
        ("!If [Round, a, b]", "t.yaml:15:16: condition Round depends on itself", "break the cycle"),
        ("!If [IsProd, a]", "t.yaml:20:18: Fn::If takes a list of 3", "see the function's page"),
        ("!FindInMap [Capacity, prod, Read]", "t.yaml:20:40: no 'prod' in Mappings/Capacity", "known here: dev"),
        ("!Select [7, [a, b]]", "t.yaml:20:18: Fn::Select has no entry 7 in its list", "count from 0"),
        ("!Join [a, b]", "t.yaml:20:18: Fn::Join takes a delimiter and a list", "write it as !Join"),
        ("!If [IsProd, aaa, x y]", "t.yaml:20:36: TableName 'x y' is not 3 to 255", ""),
        ('"{{resolve:ssm:/name}}"', "t.yaml:20:18: {{resolve:…}} has no value here", WRITE),
        ('"${env:NAME}"', "t.yaml:20:18: ${env:NAME} has no value in this file", "add a fallback: ${env:…, 'value'}"),
        ('"${self:custom.a"', "t.yaml:20:18: ${self:custom.a is not closed", "close it with }"),
    ],
)
def test_what_cannot_be_known_is_said_at_its_place(tmp_path: Path, value: str, message: str, hint: str) -> None:
    text = template(ON_DEMAND, before=CONDITIONS, name=f"TableName: {value}")
    found = error_of(tmp_path / "t.yaml", text)
    assert (found[0][: len(message)], found[1][: len(hint)]) == (message, hint)


def test_what_is_wrong_after_what_was_left_out_is_said_at_its_place(tmp_path: Path) -> None:
    tags = "Tags: [!Ref AWS::NoValue, {Key: a, Value: b}, {Key: a, Value: c}]"
    found = error_of(tmp_path / "t.yaml", template(f"{ON_DEMAND}\n{tags}"))
    assert found[0] == "t.yaml:9:59: tag 'a' is defined twice"


SERVERLESS = """\
service: chat
custom:
  prefix: ${self:service}-${sls:stage}
  capacity:
    dev: {ReadCapacityUnits: 1, WriteCapacityUnits: 2}
  common: &common
    BillingMode: PAY_PER_REQUEST
    AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
    KeySchema: [{AttributeName: pk, KeyType: HASH}]
params:
  default: {team: red}
  dev: {team: blue}
provider:
  name: aws
  stage: ${opt:stage, 'dev'}
  region: eu-west-1
resources:
  - Resources:
      Messages:
        Type: AWS::DynamoDB::Table
        Properties:
          TableName: ${self:custom.prefix}-messages
          AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
          KeySchema: [{AttributeName: pk, KeyType: HASH}]
          ProvisionedThroughput: ${self:custom.capacity.${self:provider.stage}}
          Tags: [{Key: team, Value: "${param:team}"}, {Key: e, Value: "${env:E, env:F, 'none'}"}]
  - Resources:
      Other:
        Type: AWS::DynamoDB::Table
        Properties:
          <<: *common
          TableName: !Sub "${AWS::AccountId}-${aws:region}-${opt:name, self:custom.name, 'other'}"
    Outputs: {Name: {Value: !Ref Other}}
"""


def test_the_resources_of_a_service_are_a_template(tmp_path: Path) -> None:
    reading = read(tmp_path / "serverless.yml", SERVERLESS)
    assert [table.shape for table in reading.tables] == [
        TableShape("chat-dev-messages", KEY, (), Throughput(1, 2), ""),
        TableShape("000000000000-eu-west-1-other", KEY, (), None, ""),
    ]
    assert reading.tables[0].extras.tags == (("e", "none"), ("team", "blue"))


def test_stage_and_region_are_the_frameworks_own_where_the_file_names_none(tmp_path: Path) -> None:
    text = SERVERLESS.replace("  stage: ${opt:stage, 'dev'}\n", "").replace("  region: eu-west-1\n", "")
    assert names(read(tmp_path / "serverless.yml", text)) == ["chat-dev-messages", "000000000000-us-east-1-other"]


def test_the_resources_of_a_service_may_be_one_template(tmp_path: Path) -> None:
    own = "".join(f"  {line}\n" for line in NAMELESS.splitlines())
    reading = read(tmp_path / "serverless.yml", f"service: chat\nprovider: {{name: aws}}\nresources:\n{own}")
    assert reading.notes == ["no TableName in serverless.yml:8:9: using cruddur-messages"]


OTHER_FILES = "other files are not read"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("${self:custom.prefix}-m", "${self:custom.pre}-m", "22:22: ${self:custom.pre} has no value", "define it in"),
        ("${opt:stage, 'dev'}", "${opt:stage}", "15:10: ${opt:stage} has no value in this file", "add a fallback"),
        ("${env:E, env:F, 'none'}", "${env:E}", "26:71: ${env:E} has no value in this file", "add a fallback: ${env:"),
        ("${self:service}-$", "${self:custom.prefix}$", "3:11: ${self:custom.prefix} refers to itself", "write"),
        ("ReadCapacityUnits: 1", "ReadCapacityUnits: 0", "5:30: ReadCapacityUnits must be 1 or more", ""),
        ("${param:team}", "${param:tem}", "26:37: ${param:tem} has no value in this file", "add a fallback: ${param"),
        ("${self:service}-$", "${self:provider}-$", "3:11: ${self:provider} is not a string", "use a string there"),
        ("resources:\n", "resources:\n  - ${file(x.yml)}\n", "18:5: ${file(x.yml)} has no value in this", OTHER_FILES),
        ("      Other:", "      Messages:", "29:9: Messages is defined twice", "define it once"),
    ],
)  # fmt: skip
def test_a_variable_without_a_value_is_named_at_its_place(
    tmp_path: Path, old: str, new: str, message: str, hint: str
) -> None:
    assert old in SERVERLESS
    found = error_of(tmp_path / "serverless.yml", SERVERLESS.replace(old, new))
    message = f"serverless.yml:{message}"
    assert (found[0][: len(message)], found[1][: len(hint)]) == (message, hint)


WITHOUT_TABLES: list[tuple[str, str]] = [
    ("t.yaml", "Resources:\n  Q: {Type: AWS::SQS::Queue}\n"),
    ("t.yml", "AWSTemplateFormatVersion: 2010-09-09\nResources: {}\n"),
    ("t.json", json.dumps({"Transform": "AWS::Serverless-2016-10-31", "Resources": {"F": {"Type": "x", "a": {}}}})),
    ("serverless.yml", "service: chat\nprovider: {name: aws}\nfunctions: {a: {handler: b.c}}\n"),
    ("serverless.yml", "service: chat\nprovider: {name: aws}\nresources: {Resources: {Q: {Type: AWS::SQS::Queue}}}\n"),
]


@pytest.mark.parametrize(("name", "text"), WITHOUT_TABLES)
def test_a_template_without_a_table_is_passed_over(tmp_path: Path, name: str, text: str) -> None:
    reading = read(tmp_path / name, text)
    assert (reading.tables, reading.notes) == ([], [f"{name}: no table in it, skipped"])


@pytest.mark.parametrize("text", ['{"name": "app", "version": "1.0.0"}', "{}", "[]", '"Resources"', "7", "null"])
def test_what_is_neither_a_template_nor_a_table_stays_an_error(tmp_path: Path, text: str) -> None:
    message, _ = error_of(tmp_path / "t.json", text)
    assert message.startswith("t.json:1:1: ")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("Resources:\n\tA: 1\n", "2:1: not YAML: found character '\\t' that cannot start", "indent with spaces"),
        (NAMELESS + "---\nResources: {}\n", "8:1: not YAML: but found another document", "put each document in a"),
        ("Resources: {a: &a 1, b: *a}\n", "1:25: *a is an alias, which CloudFormation does not", "replace it with its"),
        ("Resources:\n  Fn::ForEach::T: [{a: {Type: AWS::DynamoDB::Table}}]\n", "2:19: Fn::ForEach::T", "write"),
    ],
)  # fmt: skip
def test_yaml_that_cloudformation_refuses_is_told_with_a_way_out(
    tmp_path: Path, text: str, message: str, hint: str
) -> None:
    found = error_of(tmp_path / "t.yaml", text)
    message = f"t.yaml:{message}"
    assert (found[0][: len(message)], found[1][: len(hint)]) == (message, hint)


def test_line_ends_comments_and_a_document_mark_do_not_matter(tmp_path: Path) -> None:
    text = "# first\n---\n" + NAMELESS.replace("Properties:", "Properties: # a remark") + "...\n"
    path = tmp_path / "t.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert names(read_all(settings(), str(path))) == ["cruddur-messages"]


def test_aliases_of_aliases_end(tmp_path: Path) -> None:
    lines = ["service: a", "provider: {name: aws}", "a: &a [x, x]"]
    lines += [f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(9))}]" for a, b in zip("abcdef", "bcdefg", strict=True)]
    message, hint = error_of(tmp_path / "serverless.yml", "\n".join(lines))
    assert ("aliases expand to more than 200,000 values" in message, hint) == (True, "write fewer aliases")


@pytest.mark.parametrize(
    "custom",
    [
        {f"a{n}": f"${{self:custom.a{n + 1}}}" * 2 for n in range(40)} | {"a40": "x"},
        {f"a{n}": [f"${{self:custom.a{n + 1}}}"] * 9 for n in range(12)},
        {"a0": {"b": "${self:custom}"}},
        {"a0": "${self:custom.a1}", "a1": "${self:custom.a0}"},
        {"a0": "${" * 5000 + "self:x"},
        {"a0": "${self:" * 5000 + "x" + "}" * 5000},
    ],
)
def test_variables_without_an_end_are_an_error(tmp_path: Path, custom: dict[str, Any]) -> None:
    table = {"Type": "AWS::DynamoDB::Table", "Properties": {"Tags": "${self:custom.a0}"}}
    service = {"service": "x", "provider": {}, "custom": custom, "resources": {"Resources": {"T": table}}}
    message, hint = error_of(tmp_path / "serverless.json", json.dumps(service))
    assert (message.startswith("serverless.json:1:"), bool(hint)) == (True, True), message


def test_a_long_template_is_read_at_once(tmp_path: Path) -> None:
    function = "  FNUMBER:\n    Type: AWS::Serverless::Function\n    Properties:\n" + "".join(
        f"      P{m}: !Sub '${{Stage}}-{m}'\n" for m in range(45)
    )
    tables = [template(ON_DEMAND, name="").partition("\n")[2].replace("Things", f"Things{n}") for n in range(3)]
    text = "Transform: AWS::Serverless-2016-10-31\n" + CONDITIONS + "Resources:\n"
    text += "".join(function.replace("NUMBER", str(n)) for n in range(40)) + "".join(tables)
    assert text.count("\n") > 1900
    assert names(read(tmp_path / "t.yaml", text)) == ["Things0", "Things1", "Things2"]
