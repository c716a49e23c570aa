"""What is wrong before the place that a syntax error names: a comma or semicolon lacks, or is one too many. Pure."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from .lexemes import Token, read_tokens
from .lexer import HEAD_BYTES, Statement, statements
from .sqlfile import SqlFile

SEARCHED_BYTES = 16 << 20
"""How far into a file the statement before a rejected one is looked for."""
CONTINUES = {
    *("on", "where", "from", "and", "or", "returning", "group", "order", "limit", "offset", "having", "union"),
    *("join", "left", "right", "inner", "cross", "except", "intersect"),
}
"""Words that continue a statement and never begin one."""
TOO_FEW = ("INSERT has more target columns than expressions", "VALUES lists must all be the same length")
"""Messages on a row with too few values."""
OPEN = ("insert", "select", "update", "delete", "with")
"""First words of the statements that they continue."""
AFTER_LIST = {")", ";", ",", "from", "where", "on", "returning", "group", "order", "limit", "having"}
"""What ends a list: no comma stands before it."""
HEADS = re.compile(
    r"insert into|delete from|update \S+ set|truncate \S+|select \S+|with \S+ as|comment on|grant \S+|revoke \S+"
    r"|(?:create|alter|drop) (?:or replace|table|index|unique|view|materialized|type|domain|sequence|schema|extension"
    r"|function|procedure|trigger|policy|role|user|publication|temp|temporary)\b"
)
"""The first words of a statement."""
TYPES = {
    *("int", "integer", "bigint", "smallint", "serial", "bigserial", "smallserial", "text", "varchar", "character"),
    *("char", "uuid", "boolean", "bool", "timestamp", "timestamptz", "date", "time", "timetz", "interval", "numeric"),
    *("decimal", "real", "double", "float", "float4", "float8", "int2", "int4", "int8", "json", "jsonb", "bytea"),
    *("inet", "cidr", "money", "xml", "citext", "vector", "tsvector", "point", "bit"),
}
CLAUSES = ("select", "from", "where", "group", "order", "values", "set", "having", "returning")
TABLE_CONSTRAINTS = re.compile(
    r"constraint \S+ (?:primary|foreign|unique|check)|foreign key \(|primary key \(|unique \("
)

OPERATORS = {
    *("and", "or", "in", "is", "not", "like", "ilike", "similar", "between", "collate", "at", "over", "filter", "as"),
    *("from", "where", "on", "returning", "order", "group", "limit", "union", "when", "then", "else", "end", "within"),
}
"""Words that may follow a value without a comma."""
END = Token("sign", "", 0, 0, 0)
"""The end of the statement."""


class Advice(NamedTuple):
    """A hint, and the text that it would make of the rejected statement; b"" where it leaves that to the user.

    `line` is that of the error in this text, from 1: a syntax error in a later line is another one.
    """

    hint: str = ""
    mended: bytes = b""
    line: int = 0


NONE = Advice()


def find_mistake(file: SqlFile, statement: Statement, where: int) -> Advice:
    """Return which earlier line has the mistake of a syntax error at byte offset `where`; NONE if unsure."""
    end = min(statement.end, max(where + 4096, statement.start + HEAD_BYTES))
    tokens = read_tokens(file.text, statement.start, end)
    index = next((i for i, token in enumerate(tokens) if token.start <= where < token.end), len(tokens))
    if index < len(tokens) and tokens[index].start < where:
        return NONE  # inside of a body
    if (ended := _ended_early(file, statement, tokens, index, where)) != NONE:
        return ended
    if not index or (index == len(tokens) and tokens[-1].text != ","):
        return NONE
    before, at = tokens[index - 1], tokens[index] if index < len(tokens) else END
    line = file.line_at(before.end - 1)

    def advise(hint: str, token: Token, by: bytes) -> Advice:
        from_, to = (token.start, token.end) if token.text == "," else (token.end, token.end)
        return _advice(file, hint, (statement.start, from_, to, statement.end), by, where)

    if hint := _unclosed_quote(file, before, at):
        return Advice(hint)
    if before.text == ",":
        if at.word in AFTER_LIST or at == END:
            here = line == file.line_at(at.start)
            which = "before it" if here else f"that ends line {line}"
            return advise(f"remove the comma {which}, or add what is missing behind it", before, b"")
        if _begins_statement(file, tokens, index):
            return advise(f"end line {line} with a semicolon, not a comma", before, b";")
        return NONE
    if first := _lacks_semicolon(file, tokens, index):
        last = tokens[first - 1]
        return advise(f"add a semicolon at the end of line {file.line_at(last.end - 1)}", last, b";")
    if lacking := _lacks_comma(file, tokens, index):
        return advise(f"add a comma at the end of line {file.line_at(lacking.end - 1)}", lacking, b",")
    return NONE


def _advice(file: SqlFile, hint: str, cuts: tuple[int, int, int, int], by: bytes, where: int) -> Advice:
    """Return the advice to replace by `by` what lies between the two inner cuts of a text."""
    start, from_, to, end = cuts
    if end - start > SEARCHED_BYTES:
        return Advice(hint)
    line = 1 + file.text[start:where].count(b"\n")
    return Advice(hint, b"".join((file.text[start:from_], by, file.text[to:end])), line)


def find_continued(file: SqlFile, statement: Statement) -> str:
    """Return a hint for the first string that goes on in the next line, where two values were meant; "" if none."""
    tokens = read_tokens(file.text, statement.start, min(statement.end, statement.start + HEAD_BYTES))
    for before, at in itertools.pairwise(tokens):
        if before.kind == at.kind == "string" and before.depth == at.depth == 1:
            return f"add a comma at the end of line {file.line_at(before.end - 1)}: its string goes on in the next line"
    return ""


def _ended_early(file: SqlFile, statement: Statement, tokens: list[Token], index: int, where: int) -> Advice:
    """Return the advice for a statement that is the rest of the one before it, which a semicolon has ended."""
    if not tokens or index > 200 or statement.start > SEARCHED_BYTES:
        return NONE
    is_row = tokens[0].text == "(" and tokens[1:2] and tokens[1].word not in ("select", "with", "values", "table")
    if not (is_row or (index == 0 and tokens[0].word in CONTINUES)):
        return NONE
    last: Statement | None = None
    for other in statements(file.text):
        if other.start >= statement.start:
            break
        last = other
    if last is None or last.kind != "sql" or file.text[last.end - 1 : last.end] != b";":
        return NONE
    earlier = read_tokens(file.text, max(last.start, last.end - HEAD_BYTES), last.end)
    line = file.line_at(last.end - 1)
    cuts = (last.start, last.end - 1, last.end, statement.end)
    if not is_row:
        word = tokens[0].word
        is_open = last.words[:1] == ("insert",) if word == "on" else last.words[:1] and last.words[0] in OPEN
        if not is_open or any(token.word == word and not token.depth for token in earlier):
            return NONE
        hint = f"remove the semicolon that ends line {line}, or add what is missing before {tokens[0].text}"
        return _advice(file, hint, cuts, b"", where)
    is_values = any(token.word == "values" and token.depth == 0 for token in earlier) or (
        last.end - last.start > HEAD_BYTES or (last.start and earlier[0].text == "(")
    )
    ends_row = len(earlier) > 1 and earlier[-2].text == ")"
    if not (is_values and ends_row):
        return NONE
    return _advice(file, f"end line {line} with a comma, not a semicolon: more rows follow", cuts, b",", where)


def _unclosed_quote(file: SqlFile, before: Token, at: Token) -> str:
    """Return a hint for a word right behind a string: what looks like its end was an apostrophe, or began another."""
    if before.kind != "string" or at.kind != "name" or before.end != at.start:
        return ""
    first, last = file.line_at(before.start), file.line_at(at.start)
    if first != last:
        return f"look at the string that begins in line {first}: it lacks its closing quote there"
    end = file.text.find(b"\n", at.start)
    line = file.text[file.offset_of_line(0, at.start) : end if end >= 0 else len(file.text)]
    if line.count(b"'") % 2 == 0:
        return ""
    return "look at the quotes: a string ends right before it; a quote inside of one is written twice"


def _starts_line(file: SqlFile, token: Token) -> bool:
    start = file.text.rfind(b"\n", 0, token.start) + 1
    return token.start - start < 4096 and not file.text[start : token.start].strip()


def _begins_statement(file: SqlFile, tokens: list[Token], index: int) -> bool:
    words = " ".join(token.word for token in tokens[index : index + 3])
    return _starts_line(file, tokens[index]) and HEADS.match(words) is not None


def _lacks_semicolon(file: SqlFile, tokens: list[Token], index: int) -> int:
    """Return the index of the token that begins the next statement: the error's, or the one before it."""
    for first in (index, index - 1):
        token = tokens[first]
        if first > 1 and token.depth == 0 and _begins_statement(file, tokens, first):
            ended = tokens[first - 1]
            is_complete = (
                ended.kind in ("string", "number", "body")
                or ended.text == ")"
                or (
                    ended.kind == "name"
                    and ended.word not in ("as", "for", "do", "then", "else", "to", "from", "union", "all")
                )
            )
            return first if is_complete else 0
    return 0


def _lacks_comma(file: SqlFile, tokens: list[Token], index: int) -> Token | None:
    """Return the token behind which a comma is missing, the last one of an earlier line."""
    for first in (index, index - 1, index - 2, index - 3):
        if first < 1 or not _starts_line(file, tokens[first]):
            continue
        before, at = tokens[first - 1], tokens[first]
        if before.text in (",", "(") or (before.kind == "sign" and before.text not in (")", "]")):
            return None
        return before if _is_next_item(file, tokens, first, index) and before.depth == at.depth else None
    return None


def _is_next_item(file: SqlFile, tokens: list[Token], first: int, index: int) -> bool:
    """Return whether the line that begins at `first` is another item of the list that it stands in."""
    before, at = tokens[first - 1], tokens[first]
    following = tokens[first + 1].word if first + 1 < len(tokens) else ""
    opening = max((i for i in range(first) if tokens[i].text == "(" and tokens[i].depth == at.depth - 1), default=0)
    head = [token.word for token in tokens[:8]]
    if "create" in head[:1] and "table" in head[1:4] and at.depth == 1:
        words = " ".join(token.word for token in tokens[first : first + 3])
        is_column = first == index and at.kind == "name" and (following in TYPES or _is_own_type(file, following))
        return is_column or TABLE_CONSTRAINTS.match(words) is not None
    clauses = [t.word for t in tokens[:first] if t.depth == at.depth and t.word in CLAUSES]
    in_select = clauses[-1:] == ["select"]
    if first != index:
        return in_select and first == index - 1 and at.kind == "name" and tokens[index].text in (".", "(")
    if at.text == "(" and at.depth == 0:
        return before.text == ")" and any(token.word == "values" and token.depth == 0 for token in tokens[:first])
    if in_select or (at.depth == 1 and any(token.word == "values" and not token.depth for token in tokens[:first])):
        is_value = before.kind in ("string", "number") or before.text == ")" or before.word in ("null", "true", "false")
        is_word = at.kind == "name" and at.word not in OPERATORS and not _begins_statement(file, tokens, first)
        return is_value and (at.kind in ("string", "number") or is_word or (at.text == "(" and before.text == ")"))
    if head[:2] == ["insert", "into"] and opening <= 5 and at.depth == 1:
        return before.kind == at.kind == "name" and following in (",", ")")
    return head[:1] == ["update"] and at.depth == 0 and at.kind == "name" and following == "=" and before.word != "set"


def _is_own_type(file: SqlFile, name: str) -> bool:
    pattern = rb"\bcreate\s+(?:type|domain)\s+(?:\w+\.)?" + re.escape(name.encode()) + rb"\b"
    return bool(name) and re.search(pattern, file.text[:HEAD_BYTES], re.IGNORECASE) is not None
