"""PartiQL: what a statement does and lacks, and its items, page after page."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.localenv.aws.wire import AwsError
from tasks.localenv.dynamodb import partiql
from tasks.localenv.dynamodb.client import TableMissing, connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.partiql import Consumed
from tasks.localenv.dynamodb.scan import as_table
from tasks.localenv.dynamodb.schema import apply_tables
from tasks.localenv.dynamodb.statement import read_statement
from tasks.localenv.dynamodb.tablefiles import read_tables
from tasks.localenv.errors import LocalEnvError, UsageError
from tasks.localenv.settings import Settings


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("SELECT * FROM t", ("SELECT", "t", "", 0)),
        ('select "from" from "a-b"."i-x" where a = ? and b = \'?\' ;\n', ("SELECT", "a-b", "i-x", 1)),
        ("-- FROM nowhere\nDELETE FROM \"t\" WHERE a='it''s' AND b=?", ("DELETE", "t", "", 1)),
        ('UPDATE "say ""t""" SET x=1 WHERE a=\'\'', ("UPDATE", 'say "t"', "", 0)),
        ("INSERT INTO t VALUE {'a': ?, 'b': <<'x'>>}", ("INSERT", "t", "", 1)),
        ("SELECT * FROM t WHERE a = ?;  -- done; the 'end'\n", ("SELECT", "t", "", 1)),
        ("SELECT * /* of ? ; it's */ FROM t -- why?\nWHERE a = ? /* ? */", ("SELECT", "t", "", 1)),
    ],
)
def test_a_statement_tells_what_it_does_to_which_table(text: str, wanted: tuple[Any, ...]) -> None:
    read = read_statement(text, "q")
    assert (read.verb, read.table, read.index, read.parameters) == wanted
    assert not read.text.endswith((";", "\n"))


@pytest.mark.parametrize(
    ("text", "error", "line", "caret"),
    [
        ("", "q:1:1: wanted SELECT, DELETE, INSERT, UPDATE, found nothing", "", ""),
        ("EXISTS(SELECT 1)", "q:1:1: wanted SELECT, DELETE, INSERT, UPDATE, found EXISTS", "EXISTS(SELECT 1)", "^"),
        ("SELECT *\nFRO t", "q:2:6: no FROM <table>", "FRO t", "     ^"),
        ("SELECT * FROM ?", "q:1:15: wanted a table name, found ?", "SELECT * FROM ?", " " * 14 + "^"),
        ("SELECT *\nFROM a-b", "q:2:6: the table name a-b has a dash", "FROM a-b", "     ^"),
        ("SELECT * FROM t WHERE a='x", "q:1:25: the quote ' is not closed", None, None),
        (
            "SELECT '\u2028'\f FROM 7",
            "q:1:18: wanted a table name, found 7",
            "SELECT '\u2028'\f FROM 7",
            " " * 23 + "^",
        ),
        (
            "SELECT '漢\t' FROM 7",
            "q:1:18: wanted a table name, found 7",
            "SELECT '漢\t' FROM 7",
            " " * 10 + "\t" + " " * 7 + "^",
        ),
        ("SELECT * FROM t; SELECT * FROM t", "q:1:16: more than one statement", None, None),
        ("SELECT * FROM t;;", "q:1:16: more than one statement", None, None),
        ("SELECT * FROM t LIMIT 5", "q:1:17: DynamoDB has no LIMIT", None, None),
        ("SELECT count(*) FROM t", "q:1:8: DynamoDB has no COUNT()", None, None),
    ],
)
def test_a_wrong_statement_is_named_with_its_place(text: str, error: str, line: str | None, caret: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_statement(text, "q")
    assert caught.value.message == error
    assert line is None or caught.value.evidence == (f"{line}\n{caret}" if line else "")


@pytest.mark.parametrize(
    ("where", "keyed"),
    [
        ("", False),
        ("WHERE pk = 'a'", True),
        ("WHERE 'a' = pk", True),
        ("WHERE \"pk\" IN ['a', 'b']", True),
        ("WHERE sk = '1' AND (pk = ? AND x > 1)", True),
        ("WHERE (pk = 'a') OR (pk = 'b' AND sk = '1') ORDER BY pk", True),
        ("WHERE pk = 'a' OR sk = '1'", False),
        ("WHERE pk > 'a'", False),
        ("WHERE NOT pk = 'a'", False),
        ("WHERE sk = 'pk = 1'", False),
        ("WHERE begins_with(pk, 'a')", False),
        ("WHERE (pk > 'a') AND (sk = 'b')", False),
    ],
)
def test_a_condition_without_the_partition_key_reads_everything(where: str, keyed: bool) -> None:
    assert read_statement(f"SELECT * FROM t {where}", "q").is_keyed("pk") is keyed


@pytest.mark.parametrize("where", ['pk = "b"', "pk = b", '"b" = pk', 'pk IN ["b"]', "NOT 'b' = pk"])
def test_two_attributes_compared_read_everything(where: str) -> None:
    assert not read_statement(f"SELECT * FROM t WHERE {where}", "q").is_keyed("pk")


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ('SELECT * FROM t WHERE pk = "b"', ["b"]),
        ('SELECT * FROM t WHERE "pk" = \'b\' AND n >= "two words"', ["two words"]),
        ('SELECT "a" FROM "t" WHERE "pk" = ? AND contains("m", \'x\')', []),
        ('UPDATE t SET a = "b" WHERE pk = ?', ["b"]),
        ('UPDATE t SET "n" = "n" + 1 WHERE pk = ?', []),
        ("UPDATE t SET n = n WHERE pk = b", ["b"]),
        ("SELECT * FROM t WHERE pk = ? AND a = true", []),
    ],
)
def test_a_text_in_double_quotes_is_said_to_be_a_name(text: str, warned: list[str]) -> None:
    assert partiql.not_texts(read_statement(text, "q")) == [
        f"\"{name}\" is the name of an attribute, whose value is compared: a text is written '{name}'"
        for name in warned
    ]


def test_values_are_text_unless_typed() -> None:
    statement = read_statement("SELECT * FROM t WHERE a IN [?, ?, ?, ?]", "q")
    given = ["5", '{"N": "5"}', '{"not": "typed"}', '{"B": "AA=="}']
    assert partiql.parse_parameters(given, statement) == [
        {"S": "5"},
        {"N": "5"},
        {"S": '{"not": "typed"}'},
        {"B": b"\x00"},
    ]
    with pytest.raises(UsageError, match=r"q: 4 \? in the statement, but 1 --param"):
        partiql.parse_parameters(["x"], statement)
    with pytest.raises(UsageError, match=r'--param 1, \{"N": "x"\}: wanted a number'):
        partiql.parse_parameters(['{"N": "x"}'], statement)


@pytest.fixture
def items(fresh: Settings) -> Settings:
    """Settings of a table with five items of 400 kB, three pages, in two partitions."""
    client = connect(fresh)
    apply_tables(client, read_tables(fresh))
    made = (
        {"pk": {"S": "ab"[number % 2]}, "sk": {"S": str(number)}, "x": {"S": "x" * 400_000}, "b": {"B": b"\xff"}}
        for number in range(5)
    )
    write(client, fresh.message_table, puts(made))
    return fresh


def ask(settings: Settings, text: str, *given: str, limit: int = 0) -> list[Any]:
    client = connect(settings)
    statement = read_statement(text.replace("TABLE", f'"{settings.message_table}"'), "q")
    return list(partiql.run(client, statement, partiql.parse_parameters(given, statement), Consumed(), limit=limit))


@pytest.mark.parametrize(
    ("text", "given", "limit", "wanted"),
    [
        ("SELECT sk FROM TABLE", (), 0, "01234"),
        ("SELECT sk FROM TABLE WHERE pk = ?", ("a",), 0, "024"),
        ("SELECT sk FROM TABLE WHERE pk = ? AND sk > '1'", ("a",), 1, "2"),
        ("SELECT sk FROM TABLE WHERE b = ?", ('{"B": "/w=="}',), 0, "01234"),
        ("SELECT sk FROM TABLE WHERE pk = 'none'", (), 0, ""),
    ],
)
def test_items_come_from_every_page(
    items: Settings, text: str, given: tuple[str, ...], limit: int, wanted: str
) -> None:
    assert "".join(sorted(item["sk"]["S"] for item in ask(items, text, *given, limit=limit))) == wanted


def test_the_pages_of_one_statement_are_asked_for_as_items_are_taken() -> None:
    asked: list[Any] = []

    class Paging:
        def execute_statement(self, **query: Any) -> Any:
            asked.append((query.get("Limit"), query.get("NextToken")))
            page = len(asked)
            items = [{"n": {"N": str(page)}}] * 2 if page != 2 else []
            return {"Items": items, "NextToken": f"after {page}", "ConsumedCapacity": {"CapacityUnits": 0.5}}

    paging: Any = Paging()
    consumed = Consumed()
    found = list(partiql.run(paging, read_statement("SELECT * FROM t", "q"), [], consumed, limit=3))
    assert (found, asked, str(consumed)) == (
        [{"n": {"N": "1"}}] * 2 + [{"n": {"N": "3"}}],
        [(100, None), (100, "after 1"), (100, "after 2")],
        ", 1.5 capacity units",
    )


def test_writes_are_made_and_tell_what_they_return(items: Settings) -> None:
    ask(items, "INSERT INTO TABLE VALUE {'pk': 'n', 'sk': ?, 'n': ?}", "1", '{"N": "5"}')
    changed = ask(items, "UPDATE TABLE SET n = 6 WHERE pk = 'n' AND sk = '1' RETURNING ALL NEW *")
    assert changed == [{"pk": {"S": "n"}, "sk": {"S": "1"}, "n": {"N": "6"}}]
    ask(items, "DELETE FROM TABLE WHERE pk = 'n' AND sk = '1'")
    assert ask(items, "SELECT * FROM TABLE WHERE pk = 'n'") == []


def test_a_refusal_shows_the_statement(items: Settings) -> None:
    with pytest.raises(LocalEnvError) as caught:
        ask(items, "INSERT INTO TABLE VALUE {'pk': 'a', 'sk': '0'}")
    assert caught.value.message.startswith("q: DuplicateItem")
    assert (caught.value.evidence, caught.value.hint) == (
        f"INSERT INTO \"{items.message_table}\" VALUE {{'pk': 'a', 'sk': '0'}}",
        "an INSERT does not replace: use UPDATE, or ddb.import",
    )


def test_a_refusal_with_a_place_gets_a_caret() -> None:
    class Refusing:
        def execute_statement(self, **query: Any) -> Any:
            raise AwsError("dynamodb ExecuteStatement", "ValidationException", "Unrecognized function: f at 2:7:1")

    refusing: Any = Refusing()
    with pytest.raises(LocalEnvError) as caught:
        list(partiql.run(refusing, read_statement("SELECT * FROM t\nWHERE f(a)", "q"), [], Consumed()))
    assert (caught.value.message, caught.value.evidence) == (
        "q:2:7: ValidationException: Unrecognized function: f",
        "WHERE f(a)\n      ^",
    )


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        ("Unexpected keyword at 1:8:5", 'quote it where it is a name: "order"; it is a word of PartiQL'),
        ("Unexpected keyword at 1:14:4", ""),
        ("Unrecognized function: order at 1:8:5", ""),
    ],
)
def test_a_word_of_the_language_is_to_be_quoted(message: str, hint: str) -> None:
    class Refusing:
        def execute_statement(self, **query: Any) -> Any:
            raise AwsError("dynamodb ExecuteStatement", "ValidationException", message)

    refusing: Any = Refusing()
    with pytest.raises(LocalEnvError) as caught:
        list(partiql.run(refusing, read_statement("SELECT order FROM t", "q"), [], Consumed()))
    assert caught.value.hint == hint


def test_a_read_of_everything_is_said_of_table_and_index(items: Settings) -> None:
    name = items.message_table

    def said(rest: str) -> str:
        return partiql.full_scan_warning(connect(items), read_statement(f'SELECT * FROM "{name}"{rest}', "q"))

    index = '."message-group-sk-index"'
    assert said("") == f"reads the whole table {name}: no pk = … or pk IN […] in WHERE"
    assert said(" WHERE pk = ?") == ""
    assert said(f"{index} WHERE message_group_uuid = 'x'") == ""
    assert said(f"{index} WHERE pk = 'x'") == (
        f"reads the whole index message-group-sk-index of {name}: "
        "no message_group_uuid = … or message_group_uuid IN […] in WHERE"
    )
    by_both = [{"AttributeName": each, "KeyType": "HASH"} for each in ("message_group_uuid", "pk")]
    creation: Any = {
        "IndexName": "both",
        "KeySchema": by_both,
        "Projection": {"ProjectionType": "KEYS_ONLY"},
        "ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1},
    }
    connect(items).update_table(
        TableName=name,
        AttributeDefinitions=[
            {"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk", "message_group_uuid")
        ],
        GlobalSecondaryIndexUpdates=[{"Create": creation}],
    )
    assert said(".\"both\" WHERE message_group_uuid = 'x' AND pk = 'y'") == ""
    assert said(".\"both\" WHERE message_group_uuid = 'x'") == (
        f"reads the whole index both of {name}: no pk = … or pk IN […] in WHERE"
    )
    with pytest.raises(TableMissing, match="table nosuch does not exist"):
        partiql.full_scan_warning(connect(items), read_statement("SELECT * FROM nosuch", "q"))


def test_items_are_a_table_with_the_key_first_and_late_attributes_at_the_end() -> None:
    head: list[Any] = [{"sk": {"S": "1"}, "b": {"S": "two\nlines"}, "pk": {"S": "a"}}] * 1000
    late: Any = {"pk": {"S": "b"}, "sk": {"S": "2"}, "c": {"N": "3"}, "b": {"BOOL": True}}
    lines = list(as_table([*head, late], ("pk", "sk")))
    assert [*lines[:3], lines[-1]] == [
        "pk  sk  b",
        "--  --  ----------",
        "a   1   two\\nlines",
        "b   2   true  c=3",
    ]
    assert list(as_table([], ("pk",))) == []
