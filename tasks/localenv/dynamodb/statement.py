"""Reads a PartiQL statement far enough to tell what it does, and to which table. Connects to nothing.

Source: Amazon DynamoDB Developer Guide, "PartiQL - a SQL-compatible query language for Amazon DynamoDB".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..errors import UsageError
from ..hints import inv
from ..machine.columns import caret_line
from ..machine.reading import DEPTH

TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?\*/)
    | (?P<text>'(?:[^']|'')*')
    | (?P<name>"(?:[^"]|"")*")
    | (?P<word>[^\W\d]\w*)
    | (?P<number>\d[\w.]*)
    | (?P<open>['"])
    | (?P<sign><<|>>|<>|<=|>=|!=|.)""",
    re.VERBOSE | re.DOTALL,
)
EXAMPLE_STATEMENT = 'SELECT * FROM "my-table" WHERE pk = ?'
OPENING, CLOSING = ("(", "[", "{"), (")", "]", "}")
BEFORE_TABLE = {"SELECT": "FROM", "DELETE": "FROM", "INSERT": "INTO", "UPDATE": "UPDATE"}
EXAMPLE = f"for example {inv('ddb.query', EXAMPLE_STATEMENT, '--param', 'a')}"
COMPARISONS = ("=", "<>", "!=", "<", ">", "<=", ">=")
CONSTANTS = ("TRUE", "FALSE", "NULL", "MISSING")
AFTER_WHERE = ("ORDER", "RETURNING")
FUNCTIONS = ("COUNT", "SUM", "AVG", "MIN", "MAX")
"""Aggregate functions of SQL, which DynamoDB does not have: not every engine refuses them."""


@dataclass(frozen=True)
class Token:
    """A token of a statement. Its kind: text, name, word, number, open (an unclosed quote) or sign."""

    kind: str
    text: str
    at: int

    @property
    def upper(self) -> str:
        """The word in upper case; empty for other kinds."""
        return self.text.upper() if self.kind == "word" else ""

    @property
    def is_attribute(self) -> bool:
        """Whether it stands for an attribute where a value is wanted."""
        return self.kind == "name" or (self.kind == "word" and self.upper not in CONSTANTS)

    @property
    def value(self) -> str:
        """The text, of a name without its quotes."""
        return self.text[1:-1].replace('""', '"') if self.kind == "name" else self.text


@dataclass(frozen=True)
class Statement:
    """A statement. `verb` is SELECT, INSERT, UPDATE or DELETE; `index` is empty without one."""

    shown: str
    text: str
    verb: str
    table: str
    index: str
    tokens: tuple[Token, ...]

    @property
    def is_read(self) -> bool:
        return self.verb == "SELECT"

    @property
    def parameters(self) -> int:
        """The number of parameters: the question marks."""
        return sum(token.text == "?" for token in self.tokens)

    def word_at(self, at: int) -> str:
        """Return the word without quotes at an offset; empty where there is none."""
        return next((token.text for token in self.tokens if token.at == at and token.kind == "word"), "")

    @property
    def compared_names(self) -> list[str]:
        """The attributes that something is compared with, in double quotes; not those that are counted up."""
        names, is_condition = [], False
        for before, token, after in zip(
            self.tokens, self.tokens[1:], (*self.tokens[2:], Token("", "", 0)), strict=False
        ):
            is_condition = is_condition or before.upper == "WHERE"
            is_name = token.kind == "name" or (is_condition and token.is_attribute and after.text != "(")
            if is_name and before.text in COMPARISONS and after.text not in ("+", "-"):
                names.append(token.text if token.kind == "name" else f'"{token.text}"')
        return names

    def is_keyed(self, attribute: str) -> bool:
        """Return whether its WHERE sets this attribute to a value, or values: else every item is read."""
        starts = [position for position, token in enumerate(self.tokens) if token.upper == "WHERE"]
        if not starts:
            return False
        where = self.tokens[starts[0] + 1 :]
        ends = [position for position, token in enumerate(where) if token.upper in AFTER_WHERE]
        return _is_keyed(where[: ends[0]] if ends else where, attribute)


def read_statement(text: str, shown: str) -> Statement:
    """Read a statement. Raises UsageError, with the place in `shown`, for what DynamoDB refuses."""
    text, tokens = _strip_semicolon(text, _tokens(text))
    depth = 0
    for token in tokens:
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth > DEPTH:
            raise error_at(text, shown, token.at, f"nested deeper than {DEPTH} brackets")
        if token.kind == "open":
            raise error_at(text, shown, token.at, f"the quote {token.text} is not closed")
        if token.text == ";":
            raise error_at(text, shown, token.at, "more than one statement", hint="run them one by one")
    verb = tokens[0].upper if tokens else ""
    if verb not in BEFORE_TABLE:
        found = tokens[0].text if tokens else "nothing"
        raise error_at(text, shown, 0, f"wanted {', '.join(BEFORE_TABLE)}, found {found}", hint=EXAMPLE)
    table, index = _table(text, shown, tokens, BEFORE_TABLE[verb])
    statement = Statement(shown, text, verb, table, index, tokens)
    _refuse_unsupported(statement)
    return statement


def _tokens(text: str) -> tuple[Token, ...]:
    return tuple(
        Token(str(found.lastgroup), found.group(), found.start())
        for found in TOKEN.finditer(text)
        if found.lastgroup != "space"
    )


def _strip_semicolon(text: str, tokens: tuple[Token, ...]) -> tuple[str, tuple[Token, ...]]:
    """Remove a final semicolon, and a comment after it."""
    if tokens and tokens[-1].text == ";":
        return text[: tokens[-1].at].rstrip(), tokens[:-1]
    return text.rstrip(), tokens


def error_at(text: str, shown: str, at: int, problem: str, *, hint: str = "") -> UsageError:
    """Return the error for an offset in a statement: path:line:column, and the line with a caret."""
    before = text[:at]
    line, column = before.count("\n"), at - (before.rfind("\n") + 1)
    evidence = caret_line(text.split("\n")[line], column) if text else ""
    return UsageError(f"{shown}:{line + 1}:{column + 1}: {problem}", hint=hint, evidence=evidence)


def _table(text: str, shown: str, tokens: Sequence[Token], before: str) -> tuple[str, str]:
    """Return the name of the table, and of the index if one follows after a dot."""
    for position, token in enumerate(tokens):
        if token.upper == before:
            name, *rest = tokens[position + 1 :] or [Token("", "", len(text))]
            break
    else:
        raise error_at(text, shown, len(text), f"no {before} <table>")
    if name.kind not in ("name", "word"):
        raise error_at(text, shown, name.at, f"wanted a table name, found {name.text or 'nothing'}")
    joined = rest and rest[0].at == name.at + len(name.text)
    if joined and name.kind == "word" and rest[0].text == "-":
        whole = text[name.at :].split()[0]
        raise error_at(
            text, shown, name.at, f"the table name {whole} has a dash", hint=f'put it in double quotes: "{whole}"'
        )
    index = rest[1] if joined and rest[0].text == "." and len(rest) > 1 else None
    return name.value, index.value if index else ""


def _refuse_unsupported(statement: Statement) -> None:
    """Refuse SQL that DynamoDB does not have: an emulator may accept it and do something else."""
    for token, after in pairwise(statement.tokens):
        if token.upper == "LIMIT":
            raise error_at(
                statement.text, statement.shown, token.at, "DynamoDB has no LIMIT", hint=f"use --limit {after.text}"
            )
        if token.upper in FUNCTIONS and after.text == "(":
            hint = "count the lines of --format json, or pipe it into jq"
            raise error_at(statement.text, statement.shown, token.at, f"DynamoDB has no {token.upper}()", hint=hint)


def _is_keyed(tokens: Sequence[Token], attribute: str) -> bool:
    """Return whether a condition requires given values of the attribute."""
    while len(tokens) > 1 and tokens[0].text == "(" and _closing(tokens) == len(tokens) - 1:
        tokens = tokens[1:-1]
    if len(parts := _split(tokens, "OR")) > 1:
        return all(_is_keyed(part, attribute) for part in parts)
    if len(parts := _split(tokens, "AND")) > 1:
        return any(_is_keyed(part, attribute) for part in parts)
    if len(tokens) < 3:
        return False
    first, second, last, last_but_one = tokens[0], tokens[1], tokens[-1], tokens[-2]
    if first.value == attribute and first.is_attribute and (second.text == "=" or second.upper == "IN"):
        other = tokens[2:]
    elif last.value == attribute and last.is_attribute and last_but_one.text == "=":
        other = tokens[:-2]
    else:
        return False
    return not any(token.is_attribute for token in other)


def _split(tokens: Sequence[Token], word: str) -> list[Sequence[Token]]:
    """Split tokens at a word outside all brackets."""
    parts, start, depth = [], 0, 0
    for position, token in enumerate(tokens):
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if token.upper == word and not depth:
            parts.append(tokens[start:position])
            start = position + 1
    return [*parts, tokens[start:]]


def _closing(tokens: Sequence[Token]) -> int:
    """Return the position of the bracket that closes the first one."""
    depth = 0
    for position, token in enumerate(tokens):
        depth += (token.text == "(") - (token.text == ")")
        if not depth:
            return position
    return -1
