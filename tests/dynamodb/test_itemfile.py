"""Lines of items: what is one, in which of its forms, and where it is wrong."""

from __future__ import annotations

import contextlib
import gzip
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.dynamodb.transfer import itemdocument
from tasks.localenv.dynamodb.transfer.itemfile import read_items, read_lines
from tasks.localenv.dynamodb.transfer.itemline import LINE_BYTES, Keys
from tasks.localenv.dynamodb.transfer.typed import Misfit, comparable_item, item_bytes, key_text, read_item
from tasks.localenv.errors import UsageError

KEYS = Keys((("pk", "S"), ("n", "N")), {"pk": "S", "n": "N", "index": "B"}, {"pk": 2048, "n": 1024, "index": 3})
KEY = '"pk": {"S": "a"}, "n": {"N": "1"}'
LONG, LARGE, DEEP, NAME = "1" * 39, "x" * 409_600, '{"L": [' * 32 + '{"NULL": true}' + "]}" * 32, "n" * 65_536
ITEM = {"pk": {"S": "a"}, "n": {"N": "1"}}


def read(folder: Path, content: bytes | str, *, name: str = "f", keys: Keys = KEYS) -> list[Any]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_items(folder / name, name, keys))


def errors(folder: Path, content: bytes | str, *, name: str = "f") -> list[str]:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [line.error.message for line in read_lines(folder / name, name, KEYS) if line.error]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f'{{"Item": {{{KEY}}}}}', ITEM),
        (f"{{{KEY}}}", ITEM),
        (f"\ufeff  {{{KEY}}}\r", ITEM),
        ('{"pk": "a", "n": 1}', ITEM),
        (
            '{"pk": "a", "n": 1.50, "t": true, "z": null, "l": [1e3, {"m": ""}], "S": {"S": "x"}}',
            {
                "pk": {"S": "a"},
                "n": {"N": "1.50"},
                "t": {"BOOL": True},
                "z": {"NULL": True},
                "l": {"L": [{"N": "1E+3"}, {"M": {"m": {"S": ""}}}]},
                "S": {"M": {"S": {"S": "x"}}},
            },
        ),
        (f'{{{KEY}, "b": {{"BS": ["AP8="]}}, "index": {{"B": "AA=="}}}}',
         {**ITEM, "b": {"BS": [b"\x00\xff"]}, "index": {"B": b"\x00"}}),
    ],
)  # fmt: skip
def test_a_line_is_typed_or_plain_and_its_key_tells_which(tmp_path: Path, line: str, wanted: Any) -> None:
    assert read(tmp_path, f"{line}\n\n  \n{line.lstrip()}") == [wanted, wanted] if line[0] != "\ufeff" else True
    assert read(tmp_path, line) == [wanted]


def test_a_key_may_be_called_item(tmp_path: Path) -> None:
    keys = Keys((("Item", "S"),), {"Item": "S"})
    lines = '{"Item": {"S": "a"}}\n{"Item": {"Item": {"S": "b"}}}\n{"Item": "c"}'
    assert read(tmp_path, lines, keys=keys) == [{"Item": {"S": letter}} for letter in "abc"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("nonsense", "f:1:1: not JSON: expecting value"),
        ('  {"pk": }', "f:1:10: not JSON: expecting value"),
        ("[", "f:1:2: not JSON: the file ends here"),
        ("[1]", "f:1:2: wanted an item, found 1"),
        ("5", "f:1:1: wanted an item, found 5"),
        ('{"n": 1}', "f:1:1: no 'pk', which is in the table's key"),
        ('{"pk": "a", "n": "1"}', "f:1:18: 'n' is a key of type N, found S"),
        ('{"Item": {"pk": {"S": "a"}}}', "f:1:10: no 'n', which is in the table's key"),
        (f'{{{KEY}, "index": {{"S": "x"}}}}', "f:1:46: 'index' is a key of type B, found S"),
        ('{"pk": {"S": ""}, "n": {"N": "1"}}', "f:1:8: 'pk' is a key and must not be empty"),
        (f'{{{KEY}, "x": "plain"}}', 'f:1:42: wanted a typed value such as {"S": "text"}, found "plain"'),
        (f'{{{KEY}, "x": {{"X": 1}}}}', "f:1:48: 'X' is not one of S, N, B, BOOL, NULL, M, L, SS, NS, BS"),
        (f'{{{KEY}, "x": {{"S": 1}}}}', "f:1:48: wanted text, found 1"),
        (f'{{{KEY}, "x": {{"N": 1}}}}', 'f:1:48: wanted a number in quotes such as "1.5", found 1'),
        (f'{{{KEY}, "x": {{"L": [{{"N": "NaN"}}]}}}}', 'f:1:55: wanted a number in quotes such as "1.5", found "NaN"'),
        (f'{{{KEY}, "x": {{"N": "1e126"}}}}', "f:1:48: 1e126 is out of DynamoDB's range, 1E-130 to 9.9E+125"),
        (f'{{{KEY}, "x": {{"N": "{LONG}"}}}}', f"f:1:48: {LONG} has more than the 38 digits that DynamoDB stores"),
        (f'{{{KEY}, "x": {{"B": "a"}}}}', "f:1:48: not base64: "),
        (f'{{{KEY}, "x": {{"SS": []}}}}', "f:1:49: wanted a set, a list of at least one entry, found []"),
        (f'{{{KEY}, "x": {{"NS": ["1", "1.0"]}}}}', "f:1:49: duplicate entry in a set"),
        (f'{{{KEY}, "x": {{"BOOL": "true"}}}}', 'f:1:51: wanted true or false, found "true"'),
        (f'{{{KEY}, "x": {{"NULL": false}}}}', "f:1:51: wanted true, found false"),
        (f'{{{KEY}, "x": {{"M": []}}}}', "f:1:48: wanted an object of typed values, found []"),
        (f'{{{KEY}, "x": {{"L": {{}}}}}}', "f:1:48: wanted a list of typed values, found {}"),
        (f'{{{KEY}, "x": {{"S": "\\ud800"}}}}', "f:1:48: half of a surrogate pair at character 1"),
        ('{"pk": "a", "n": NaN}', "f:1:1: NaN is not JSON, nor a DynamoDB number"),
        ('{"pk": "a", "pk": "b", "n": 1}', "f:1:1: 'pk' is in one object twice"),
        (f'{{{KEY}, "x": {{"S": "{LARGE}"}}}}', "f:1:1: the item has 409,607 bytes, and DynamoDB allows 409,600"),
        (f'{{{KEY}, "x": {DEEP}}}', "nested deeper than the 32 levels that DynamoDB allows"),
        (f'{{{KEY}, "": {{"S": "x"}}}}', "f:1:41: an attribute has an empty name, which DynamoDB refuses"),
        (f'{{"Item": {{{KEY}, "x": {{"L": [{{"M": {{"": {{"S": ""}}}}}}]}}}}}}', "f:1:69: an attribute has an empty "),
        ('{"pk": "a", "n": 1, "x": {"": 1}}', "f:1:26: an attribute has an empty name"),
        (f'{{{KEY}, "{NAME}": {{"S": "x"}}}}', "the name of an attribute has 65,536 bytes, more than 65,535"),
        (f'{{{KEY}, "\\ud800": {{"S": "x"}}}}', "f:1:47: half of a surrogate pair at character 1"),
        (f'{{"pk": "{"é" * 1025}", "n": 1}}', "f:1:8: 'pk' is a key and has 2,050 bytes, more than 2,048"),
        (f'{{{KEY}, "index": {{"B": "AAAAAA=="}}}}', "f:1:46: 'index' is a key and has 4 bytes, more than 3"),
        (f'{{"pk": "a", "n": {"1" * 5000}}}', f"f:1:18: {'1' * 39}… has more than the 38 digits that DynamoDB stores"),
        (f'{{"pk": "a", "n": 1e{"9" * 20}}}', f"f:1:1: 1e{'9' * 20} is out of DynamoDB's range"),
        ("[" * 100_000, "f:1:2: nested deeper than the 32 levels that DynamoDB allows"),
        ('{"Keys": {}, "NewImage": {}}', "f:1:1: a change of an incremental export, not an item"),
        (b"\xff\n", "f:1: not UTF-8: invalid start byte at byte 1"),
        ("{" + " " * LINE_BYTES, "f:1: the line is longer than 16,777,216 bytes"),
        (gzip.compress(b"{}" * 100, mtime=0)[:-9], "f: the compressed data is damaged or cut short: "),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, str) else None,
)  # fmt: skip
def test_a_wrong_line_is_named_with_its_place(tmp_path: Path, line: str | bytes, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, line)
    assert error in caught.value.message


def test_what_an_emulator_holds_and_dynamodb_refuses_is_read_where_that_is_wished(tmp_path: Path) -> None:
    item = {"pk": {"S": "a" * 3000}, "n": {"N": "1"}, "": {"M": {"": {"S": ""}}}}
    assert read(tmp_path, json.dumps(item), keys=replace(KEYS, strict=False)) == [item]


def test_every_wrong_line_is_found_and_the_right_ones_are_read(tmp_path: Path) -> None:
    content = f"{{{KEY}}}\nx\n\n{{{KEY}}}\r\n{{}}\n"
    assert errors(tmp_path, content) == [
        "f:2:1: not JSON: expecting value",
        "f:5:1: no 'pk', which is in the table's key",
    ]


TYPED = f"{{{KEY}}}"
PLAIN = '{"pk": "a", "n": 1}'


@pytest.mark.parametrize("more", ['"LastEvaluatedKey": {"pk": {"S": "a"}}', '"NextToken": "abc"'])
def test_an_answer_that_is_cut_off_is_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(UsageError, match=r"f:2:1: not all items: (LastEvaluatedKey|NextToken) says that more follow"):
        read(tmp_path, f'{{"Items": [{TYPED}],\n{more}}}')


@pytest.mark.parametrize(
    "text",
    [
        f"[{TYPED}, {PLAIN}]",
        f"\ufeff[\n{TYPED},\n{TYPED}]\n",
        f"[{TYPED}]\n[{PLAIN}]",
        f'{{"Items": [{TYPED}, {TYPED}], "Count": 2, "ScannedCount": 2, "ConsumedCapacity": null}}',
        f'{{"Count": 2, "$metadata": {{"a": [1]}}, "Items": [{PLAIN}, {TYPED}]}}',
        json.dumps({"Items": [ITEM, ITEM], "Count": 2}, indent=4),
        f'{{"Items": [{TYPED}], "Count": 1}}\n{{"Items": [{TYPED}], "Count": 1}}',
        f'{{"Items": [{TYPED}], "LastEvaluatedKey": {TYPED}}}\n{{"Items": [{TYPED}], "LastEvaluatedKey": null}}',
        json.dumps({"things": [{"PutRequest": {"Item": ITEM}}] * 2}),
        json.dumps({"RequestItems": {"things": [{"PutRequest": {"Item": ITEM}}] * 2}}, indent=2),
        json.dumps({"Responses": {"things": [ITEM, ITEM]}, "UnprocessedKeys": {}}),
        json.dumps({"Responses": [{"Item": ITEM}] * 2}),
        json.dumps(ITEM, indent=2) + json.dumps({"Item": ITEM}, indent=4),
        json.dumps({"PutRequest": {"Item": ITEM}}) + "\n" + TYPED,
    ],
)
def test_items_in_arrays_answers_and_batches_are_read(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == [ITEM, ITEM]
    assert read(tmp_path, gzip.compress(text.encode())) == [ITEM, ITEM]
    assert read(tmp_path, text, keys=Keys((), {}))


@pytest.mark.parametrize("text", ["[]", '{"Items": [], "Count": 0}', '{"Items": [\n]}'])
def test_an_answer_may_have_no_items(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == []


def test_an_item_with_an_attribute_called_items_is_an_item(tmp_path: Path) -> None:
    for text in ('{"Items": [{"sku": 1}], "pk": "a", "n": 1}', '{"Count": 1, "Items": [], "pk": "a", "n": 1}'):
        assert set(read(tmp_path, text)[0]) >= {"pk", "n", "Items"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f'[\n  {TYPED},\n  {{\n    "pk": {{"S": 1}}, "n": {{"N": "1"}}}}]', "f:4:17: wanted text, found 1"),
        (f"[{TYPED}, {{}}]", "f:1:39: no 'pk', which is in the table's key"),
        (f"[{TYPED}, {TYPED}", "f:1:74: not JSON: wanted ',', the file ends here"),
        (f'{{"Items": [{TYPED}, {{"pk": ', "f:1:49: not JSON: the file ends within this"),
        (f'{{"Items": [{TYPED} 1]}}', "f:1:48: not JSON: wanted ',', found '1'"),
        ('{"t": [{"DeleteRequest": {"Key": {}}}]}', "f:1:26: a deletion, not an item"),
        (
            json.dumps({name: [{"PutRequest": {"Item": ITEM}}] for name in ("t", "u")}),
            "f:1:72: items of another table, u, after those of t",
        ),
    ],
)
def test_what_is_wrong_in_an_array_or_answer_is_named(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert caught.value.message == error


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            json.dumps({"my users": [ITEM, ITEM]}, indent=2),
            """`jq -c '.["my users"][]'` prints the items in it, one a line""",
        ),
        ("Count: 2\nItems:\n- pk:\n    S: a\n", "items are JSON: use --output json of the AWS CLI; CSV is read where"),
        ("pk,n\na,1\n", "items are JSON: use --output json of the AWS CLI; CSV is read where"),
    ],
)
def test_other_forms_are_told_what_converts_them(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert caught.value.hint[: len(hint)] == hint


@pytest.mark.parametrize("piece", [1, 7, 1 << 16])
def test_a_document_is_read_alike_in_pieces_of_any_size_and_refused_wherever_it_is_cut(
    tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(itemdocument, "PIECE_BYTES", piece)
    item = {**ITEM, "text": {"S": 'é \\ "\n'}}
    text = json.dumps({"Items": [item, item], "Count": 2}, indent=1, ensure_ascii=False)
    assert read(tmp_path, text) == [item, item]
    for end in range(len(text)):
        with contextlib.suppress(UsageError):
            assert read(tmp_path, text[:end]) == []


def test_a_large_array_takes_the_memory_of_one_item(tmp_path: Path) -> None:
    item = json.dumps({**ITEM, "text": {"S": "x" * 1000}})
    with (tmp_path / "f").open("w") as file:
        file.write('{"Items": [' + ", ".join([item] * 20_000) + '], "Count": 20000}')
    tracemalloc.start()
    count = sum(1 for _ in read_items(tmp_path / "f", "f", KEYS))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 2_000_000


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_may_have_semicolons_or_tabs(tmp_path: Path, delimiter: str) -> None:
    content = "pk,n,text\na,1,'x'\n".replace(",", delimiter).replace("'x'", '"x, y"')
    with_excels = f"sep={delimiter}\r\n{content}"
    assert read(tmp_path, with_excels, name="f.csv") == [{**ITEM, "text": {"S": "x, y"}}]
    for keys in (KEYS, replace(KEYS, types={"n": "N"}, key=())):
        assert read(tmp_path, content, name="f.tsv", keys=keys) == [{**ITEM, "text": {"S": "x, y"}}]


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz"])
def test_csv_gives_text_but_for_keys(tmp_path: Path, name: str) -> None:
    content = b'\xef\xbb\xbfpk,n,text\na,1,"x, ""y""\nz"\nb,2.5,\n'
    packed = gzip.compress(content) if name.endswith(".gz") else content
    assert read(tmp_path, packed, name=name) == [
        {"pk": {"S": "a"}, "n": {"N": "1"}, "text": {"S": 'x, "y"\nz'}},
        {"pk": {"S": "b"}, "n": {"N": "2.5"}, "text": {"S": ""}},
    ]


def test_csv_has_long_cells_blank_lines_and_no_empty_keys_of_indexes(tmp_path: Path) -> None:
    content = f'\npk,n,index,text\na,1,AAAA,{LARGE[:300_000]}\n\n"b",2,,\n\n'
    assert read(tmp_path, content, name="f.csv") == [
        {"pk": {"S": "a"}, "n": {"N": "1"}, "index": {"B": b"\0\0\0"}, "text": {"S": LARGE[:300_000]}},
        {"pk": {"S": "b"}, "n": {"N": "2"}, "text": {"S": ""}},
    ]


def test_every_row_of_csv_with_too_many_or_few_cells_is_found(tmp_path: Path) -> None:
    assert errors(tmp_path, "pk,n\na\nb,1\nc,1,2\n", name="f.csv") == [
        "f.csv:2: 1 column, but 2 in the first line",
        "f.csv:4: 3 columns, but 2 in the first line",
    ]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('pk,n\n"a\nb",1\nc,x\n', "f.csv:4: 'n' is a number such as 1.5, found 'x'"),
        ("pk\na\n", "f.csv:2: no 'n', which is in the table's key"),
        ("pk,n,x,x\na,1,2,3\n", "f.csv:1: 'x' is the name of two columns"),
        ("pk,n,\na,1,2\n", "f.csv:1: column 3 has no name"),
        ("pk,n\n,1\n", "f.csv:2: 'pk' is a key and must not be empty"),
        (f"pk,n\n{'a' * 2049},1\n", "f.csv:2: 'pk' is a key and has 2,049 bytes, more than 2,048"),
        ("pk,n\na,1,2\n", "f.csv:2: 3 columns, but 2 in the first line"),
        (b"pk,n\n\xff,1\n", "f.csv:2: not UTF-8: invalid start byte"),
    ],
)
def test_a_wrong_line_of_csv_is_named(tmp_path: Path, content: str | bytes, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content, name="f.csv")
    assert caught.value.message == error


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="f: no such file or directory"):
        list(read_items(tmp_path / "f", "f", KEYS))


def test_items_are_the_same_whatever_the_order_and_writing_of_their_values() -> None:
    one: Any = {"n": {"NS": ["1", "2.0"]}, "b": {"BS": [b"a", b"b"]}, "l": {"L": [{"N": "10"}, {"B": b"a"}]}}
    other: Any = {"l": {"L": [{"N": "1E1"}, {"B": "YQ=="}]}, "b": {"BS": ["Yg==", "YQ=="]}, "n": {"NS": ["2", "1.00"]}}
    assert comparable_item(one) == comparable_item(other)
    assert comparable_item({"a": {"S": "1"}}) != comparable_item({"a": {"N": "1"}})
    assert comparable_item({"a": {"L": [{"S": "1"}, {"S": "2"}]}}) != comparable_item(
        {"a": {"L": [{"S": "2"}, {"S": "1"}]}}
    )


@pytest.mark.parametrize("text", ["0", "-0.0", "0e5"])
def test_zero_is_one_key_however_written(text: str) -> None:
    assert key_text({"N": text}) == "0"


def test_the_key_of_a_number_keeps_all_digits() -> None:
    assert key_text({"N": "12345678901234567890123456789012345678"}) == "12345678901234567890123456789012345678"
    assert key_text({"N": "1.50"}) == key_text({"N": "15e-1"})


def test_the_size_of_an_item_is_as_dynamodb_counts() -> None:
    item: Any = {
        "é": {"S": "ñ"},
        "b": {"B": b"123"},
        "n": {"N": "-0.00123"},
        "m": {"M": {"x": {"BOOL": True}}},
        "l": {"L": [{"NULL": True}]},
        "s": {"SS": ["ab", "c"]},
    }
    assert item_bytes(item) == 4 + 4 + (1 + 3) + (1 + 3 + 1 + 1 + 1) + (1 + 3 + 1 + 1) + 4


def test_nesting_up_to_the_limit_is_taken() -> None:
    value: Any = {"S": "deep"}
    for _ in range(31):
        value = {"M": {"x": value}}
    assert read_item(json.loads(json.dumps({"x": value}))) == {"x": value}
    with pytest.raises(Misfit, match="nested deeper"):
        read_item({"x": {"M": {"x": value}}})
