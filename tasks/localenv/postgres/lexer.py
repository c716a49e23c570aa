"""Where the statements of an SQL script begin and end, as psql sees it. Works on bytes; runs nothing.

The rules are those of psql's own scanner (PostgreSQL 18, psqlscan.l): a semicolon ends a statement outside of
quotes, comments, parentheses and the body of a `BEGIN ATOMIC` routine; a backslash outside of them starts a
meta-command that goes to the end of the line; the data of `COPY … FROM stdin` starts on the next line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from mmap import mmap
from typing import Literal, NamedTuple, cast

Text = bytes | mmap
Kind = Literal["sql", "copy", "begin", "commit", "rollback", "prepare", "meta"]

HEAD_BYTES = 1 << 20
"""How much of a statement is searched for its kind."""
BOM = b"\xef\xbb\xbf"

# Bounded, like the runs below: each repetition of a group of alternatives takes 115 bytes of memory.
_BLANK = re.compile(rb"(?:[ \t\r\n\f\v]+|--[^\r\n]*){1,1000}")
_WORD = re.compile(rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*")
_NAME_PART = re.compile(rb"[A-Za-z0-9_$\x80-\xff]+")
_NAME = re.compile(rb'"(?:[^"]|"")*"')
_HEAD = re.compile(rb"[A-Za-z_]{1,200}")
_HEADS = re.compile(rb"[A-Za-z_]{1,200}(?:[ \t\r\n\f\v]+[A-Za-z_]{1,200}){0,4}[ \t\r\n\f\v]*")
"""The same for several words without comments between them, as almost always."""
_DOLLAR = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$")
_LINE = re.compile(rb"[^\n]*")
_IN_ESCAPED = re.compile(rb"(?:[^'\\]+|\\.|''){1,1000}", re.DOTALL)
_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_QUOTED = re.compile(rb"'[^']*'|\"[^\"]*\"|--[^\r\n]*|/\*.*?\*/", re.DOTALL)
_LAST_ROW = re.compile(rb"\n\\\.\r?\n")
_FROM_STDIN = re.compile(rb"\bfrom\s+stdin\b", re.IGNORECASE)
_TRANSACTION = re.compile(
    rb"""(?:
    (?P<begin>(?:begin|start\s+transaction)
        (?:\s+(?:work|transaction|isolation|level|serializable|repeatable|read|committed|uncommitted|write|only
            |not|deferrable)|\s*,)*)
    |(?P<commit>(?:commit|end)(?:\s+(?:work|transaction))?(?:\s+and\s+(?:no\s+)?chain)?)
    |(?P<rollback>(?:rollback|abort)(?:\s+(?:work|transaction))?(?:\s+and\s+(?:no\s+)?chain)?)
    |(?P<prepare>prepare\s+transaction)
    )\s*;?""",
    re.IGNORECASE | re.VERBOSE,
)
_ALONE = re.compile(r"(create( unique)?|drop) index concurrently|vacuum|reindex")
_DETACH = re.compile(rb"\bdetach\s+partition\b.*\bconcurrently\b", re.IGNORECASE | re.DOTALL)
# A run of text that cannot end a statement, matched as a whole for speed. The bound keeps the matcher's stack small.
_RUN = re.compile(rb"(?:[^'\"$;\\/-]+|(?<![eE])'[^'\\]*'|\"[^\"]*\"|-(?!-)|/(?!\*)){1,1000}")
# The same for CREATE, where words and parentheses count.
_RUN_IN_CREATE = re.compile(
    rb"(?:[^'\"$;\\/()A-Za-z_\x80-\xff-]+|(?<![eE])'[^'\\]*'|\"[^\"]*\"|-(?!-)|/(?!\*)){1,1000}"
)


class Statement(NamedTuple):
    """One statement, or a meta-command, as byte offsets into the script.

    `start` is its first byte after blanks and comments, `end` the byte after its semicolon. `words` are the first
    words in lower case, five at most. `data` is the span of the rows that follow a `COPY … FROM stdin`.
    """

    start: int
    end: int
    kind: Kind
    words: tuple[str, ...] = ()
    data: tuple[int, int] | None = None


def statements(text: Text, escapes: Callable[[], bool] = lambda: False) -> Iterator[Statement]:
    """Yield the statements in order, without empty ones (`;;`, comments alone), which the server skips too.

    A quote or comment that is still open at the end of the text ends there: the server reports what is wrong.
    `escapes` is asked, where it matters, whether a backslash escapes in '…' by now (standard_conforming_strings off):
    what was yielded before may have set that.
    """
    position = len(BOM) if text[:3] == BOM else 0
    while True:
        position = _skip_blank(text, position)
        if position >= len(text):
            return
        if text[position : position + 1] == b";":
            position += 1
            continue
        statement = _read(text, position, escapes)
        yield statement
        position = statement.data[1] if statement.data else statement.end
        if statement.data:
            position = _LINE.match(text, position).end() + 1  # type: ignore[union-attr]


def first_words(text: Text) -> tuple[str, ...]:
    """Return the first words of a script in lower case, five at most, after blanks, comments and parentheses."""
    position = _skip_blank(text, 0)
    while text[position : position + 1] == b"(":
        position = _skip_blank(text, position + 1)
    return _words(text, position)


def refused_in_transactions(text: Text, statement: Statement) -> str:
    """Return what a statement is whose kind PostgreSQL refuses in a transaction (its manual, at each); else ""."""
    words = " ".join(statement.words)
    if named := _ALONE.match(words):
        return named.group().upper()
    head = text[statement.start : min(statement.end, statement.start + HEAD_BYTES)]
    return "DETACH PARTITION CONCURRENTLY" if words.startswith("alter table") and _DETACH.search(head) else ""


def called_names(text: Text) -> Iterator[str]:
    """Yield every name before a parenthesis, as the server reads it: functions, and keywords such as IN.

    Strings and comments are skipped. A name written as U&"…" is yielded as U&, with its escapes unread.
    """
    position = 0
    while position < len(text):
        position = _skip_blank(text, position)
        quoted, word = _NAME.match(text, position), _WORD.match(text, position)
        if quoted or word:
            found = (quoted or word).group()  # type: ignore[union-attr]
            end = position + len(found)
            after = _skip_blank(text, end)
            if quoted and text[position - 2 : position] in (b"U&", b"u&"):
                yield "U&"
            elif text[after : after + 1] == b"(":
                name = found[1:-1].replace(b'""', b'"') if quoted else found.lower()
                yield name.decode(errors="replace")
            position = end if quoted else _after_word(text, end)
        else:
            position = _after(text, position, text[position : position + 1], lambda: False)


def _read(text: Text, start: int, escapes: Callable[[], bool]) -> Statement:
    if text[start : start + 1] == b"\\":
        end = _LINE.match(text, start).end()  # type: ignore[union-attr]
        return Statement(
            start, end, "meta", tuple(text[start : min(end, start + 4096)].decode(errors="replace").split()[:5])
        )
    words = _words(text, start)
    end, meta = _find_end(text, start, words, escapes)
    if meta is not None:
        return Statement(meta, _LINE.match(text, meta).end(), "meta")  # type: ignore[union-attr]
    kind = _kind(text, start, end, words)
    data = _find_data(text, end) if kind == "copy" else None
    return Statement(start, end, kind, words, data)


def _words(text: Text, start: int) -> tuple[str, ...]:
    if (plain := _HEADS.match(text, start)) and text[plain.end() : plain.end() + 1] not in (b"-", b"/"):
        return tuple(plain.group().decode().lower().split())
    words: list[str] = []
    position = start
    while len(words) < 5 and (found := _HEAD.match(text, position)):
        words.append(found.group().decode().lower())
        position = _skip_blank(text, found.end())
    return tuple(words)


def _kind(text: Text, start: int, end: int, words: tuple[str, ...]) -> Kind:
    first = words[0] if words else ""
    if first not in ("copy", "begin", "start", "commit", "end", "rollback", "abort", "prepare"):
        return "sql"
    bare = _QUOTED.sub(b" ", text[start : min(end, start + HEAD_BYTES)])
    if first == "copy":
        return "copy" if _FROM_STDIN.search(bare) else "sql"
    found = _TRANSACTION.fullmatch(bare)
    return cast("Kind", found.lastgroup) if found else "sql"


def _find_end(text: Text, position: int, words: tuple[str, ...], escapes: Callable[[], bool]) -> tuple[int, int | None]:
    """Return the end of the statement, or the backslash of a meta-command within it."""
    in_create = words[:1] == ("create",)
    # psql recognizes BEGIN in CREATE [OR REPLACE] FUNCTION|PROCEDURE only.
    has_body = in_create and bool({"function", "procedure"} & set(words[1:4]))
    run = _RUN_IN_CREATE if in_create else _RUN
    parentheses = depth = 0
    while position < len(text):
        if found := run.match(text, position):
            position = found.end()
            continue
        char = text[position : position + 1]
        if char == b";" and not parentheses and not depth:
            return position + 1, None
        if char == b"\\":
            return position, position
        if in_create and char in b"()":
            parentheses = max(0, parentheses + (1 if char == b"(" else -1))
        if in_create and (word := _WORD.match(text, position)):
            if has_body and not parentheses:
                depth = _body_depth(depth, word.group().lower())
            position = _after_word(text, word.end())
            continue
        position = _after(text, position, char, escapes)
    return len(text), None


def _body_depth(depth: int, word: bytes) -> int:
    if word == b"begin" or (word == b"case" and depth):
        return depth + 1
    return depth - 1 if word == b"end" and depth else depth


def _after_word(text: Text, end: int) -> int:
    """Return the end of a word, or of the string that it introduces: E'…' has backslash escapes."""
    if text[end : end + 1] == b"'" and _introduces_escapes(text, end):
        return _after_escaped(text, end)
    return end


def _after(text: Text, position: int, char: bytes, escapes: Callable[[], bool]) -> int:
    """Return the end of the token at `position`, one that no run covers."""
    if char == b"'":
        end = text.find(b"'", position + 1)
        has_backslash = text.find(b"\\", position, len(text) if end < 0 else end) >= 0
        if _introduces_escapes(text, position) or (has_backslash and escapes()):
            return _after_escaped(text, position)
        return _past(text, end, 1)
    if char == b'"':
        return _past(text, text.find(b'"', position + 1), 1)
    if char == b"$":
        return _after_dollar(text, position)
    after = _skip_blank(text, position)
    if after == position and text[position : position + 2] == b"/*":
        return len(text)
    return max(position + 1, after)


def _introduces_escapes(text: Text, quote: int) -> bool:
    before = text[max(0, quote - 2) : quote]
    return before[-1:] in (b"e", b"E") and not _NAME_PART.match(before[:-1])


def _after_escaped(text: Text, quote: int) -> int:
    position = quote + 1
    while found := _IN_ESCAPED.match(text, position):
        position = found.end()
    return position + 1 if text[position : position + 1] == b"'" else len(text)


def _after_dollar(text: Text, position: int) -> int:
    start = position
    while start and _NAME_PART.match(text, start - 1):
        start -= 1
    if start < position and (name := _WORD.match(text, start)):
        return name.end()  # the dollar belongs to a name
    tag = _DOLLAR.match(text, position)
    if not tag:
        return position + 1
    return _past(text, text.find(tag.group(), tag.end()), len(tag.group()))


def _past(text: Text, found: int, length: int) -> int:
    return len(text) if found < 0 else found + length


def _skip_blank(text: Text, position: int) -> int:
    """Skip blanks and comments; block comments nest. An unclosed one is left for the server to report."""
    while True:
        while found := _BLANK.match(text, position):
            position = found.end()
        end = _block_comment_end(text, position) if text[position : position + 2] == b"/*" else None
        if end is None:
            return position
        position = end


def _block_comment_end(text: Text, position: int) -> int | None:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, position):
        depth += 1 if edge.group() == b"/*" else -1
        if not depth:
            return edge.end()
    return None


def _find_data(text: Text, end: int) -> tuple[int, int]:
    r"""Return the rows that follow a COPY: from the next line to a line `\.`, or to the end of the text.

    A `\.` without a line end stays among the rows, as in psql: PostgreSQL 18 rejects it there.
    """
    newline = text.find(b"\n", end)
    if newline < 0:
        return len(text), len(text)
    last = _LAST_ROW.search(text, newline)  # several times as fast as `find` of a mapped file
    return newline + 1, last.start() + 1 if last else len(text)
