"""Masking: which values are secret, and how a text is cleared of them in whatever spelling.

Secrets are taken from the raw environment and .env, so that they are known even if the settings cannot be parsed. A
parser that fails on a password echoes pieces of it: those are secrets too.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .folders import APP

MASK = "***"
Span = tuple[int, int]

SHORTEST = 4
"""Fewer characters are masked only where a secret is expected: in a URL, or in the quotes of a parser's error."""

COMMON = {
    *("admin", "administrator", "database", "default", "development", "example", "false"),
    *("guest", "host", "http", "https", "local", "localenv", "localhost", "messages", "none", "null", "passwd"),
    *("password", "port", "postgres", "postgresql", "production", "root", "sample", "secret", "secrets", "server"),
    *("service", "test", "testing", "tests", "token", "true", "user", "username", "users"),
}
"""Ordinary words in this project's texts: masking one of them everywhere would reveal more than it hides."""

SECRET_NAMES = ("CONNECTION_URL", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "PRIVATE_KEY", "API_KEY")
"""Parts of the names of variables whose values are secret, those in variables.py among them."""

# Patterns are compiled on first use: compiling all of them at each start would cost 5 ms.
_LINE = r"(?m)^\s*(?:export\s+)?([\w.-]+)\s*[=:]\s*(.*)$"
_LINES = r"""(?m)^\s*(?:export\s+)?([\w.-]+)\s*[=:]\s*("(?:[^"\\]|\\.)*"|'[^']*')"""
_AUTHORITY = r"(https?://)[^\s/?#'\"<>`@]*@|(://[^\s/?#'\"<>`@:]*:)(?!\d{1,5}(?:[/?#\s]|$))[^\s'\"<>`]*@"
"""What precedes the host of a URL: with http all of it may be a token, elsewhere the user is not secret."""
_PARAMETER = (
    r"(?i)([?&;](?:[\w.-]*(?:pass(?:word|wd)?|pwd|secret|token|signature|api_?key|credential)[\w.-]*)=)[^&;\s'\"<>`]+"
)
_ENCODED = r"(?i)(?:%[0-9a-f]{2})+|&(?:amp|lt|gt|quot|apos|#\d{2,3}|#x[0-9a-f]{2});"
_ESCAPED = r"(?:\\u[0-9a-fA-F]{4})+|\\U[0-9a-fA-F]{8}|\\x[0-9a-fA-F]{2}|\\[nrtbf]"
_QUOTED = r"(['\"`])([^'\"`\n]{2,})\1"
_SPLITTERS = r"[/?#@:\[\]&=%]"

_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_FOLDED: dict[int, str | None] = {
    **{number: chr(number).lower() for number in range(ord("A"), ord("Z") + 1)},
    ord("+"): " ",
    **dict.fromkeys(map(ord, "'\"\\"), None),
}
"""Case, quotes and backslashes are ignored: shells, SQL, JSON and repr add quoting, host names lose case."""


def masked(text: str) -> str:
    """Return a text with *** in place of every secret and of any URL's password."""
    if "://" in text:
        text = re.sub(_AUTHORITY, rf"\1\2{MASK}@", text)
    if "=" in text:
        text = re.sub(_PARAMETER, rf"\1{MASK}", text)
    return _known().hide(text)


@functools.cache
def _known() -> Secrets:
    return Secrets.of(os.environ, _dotenv_text(os.environ))


def _dotenv_text(environ: Mapping[str, str]) -> str:
    with contextlib.suppress(OSError, ValueError):
        path = APP / environ.get("LOCALENV_DOTENV", ".env")
        if path.is_file():
            return path.read_text(encoding="utf-8", errors="surrogateescape")
    return ""


class Secrets(NamedTuple):
    """The secrets to hide: `needles` anywhere, `words` only within quotes; both in the form that `_read` returns.

    Each needle has the number of characters at either end that may be shown.
    """

    needles: tuple[tuple[str, int], ...]
    words: frozenset[str]

    @classmethod
    def of(cls, environ: Mapping[str, str], dotenv: str) -> Secrets:
        """Find the secrets in variables and in the text of a .env file, parsable or not."""
        whole, pieces = set[str](), set[str]()
        for name, value in [*environ.items(), *re.findall(_LINE, dotenv), *re.findall(_LINES, dotenv)]:
            whole.update(_secrets_of(name, value))
            pieces.update(_pieces_of(name, value))
        return cls._sorted(whole, pieces)

    @classmethod
    def _sorted(cls, whole: Iterable[str], pieces: Iterable[str]) -> Secrets:
        needles: dict[str, int] = {}
        words: set[str] = set()
        for secret in whole:
            read = _folded(secret)
            if _is_distinctive(read):
                needles.update(dict.fromkeys([read, *_base64(secret)], 0))
            elif read:
                needles[f":{read}@"] = 1
        for piece in map(_folded, pieces):
            if _is_distinctive(piece):
                needles.setdefault(piece, 0)
            elif len(piece) > 1:
                words.add(piece)
        return cls(tuple(sorted(needles.items(), key=lambda one: -len(one[0]))), frozenset(words))

    def hide(self, text: str) -> str:
        """Return a text with *** in place of every secret."""
        read = _folded(text)
        if any(needle in read for needle, _ in self.needles):
            text = "\n".join(map(self._without_needles, text.split("\n")))
        if self.words:
            text = re.sub(_QUOTED, self._without_words, text)
        return text

    def _without_needles(self, text: str) -> str:
        read, spans = _read(text)
        found = [
            (spans[at + shown][0], spans[at + len(needle) - shown - 1][1])
            for needle, shown in self.needles
            for at in _places(needle, read)
        ]
        for start, end in reversed(_merged(found)):
            text = f"{text[:start]}{MASK}{text[end:]}"
        return text

    def _without_words(self, quoted: re.Match[str]) -> str:
        parts = re.split(f"({_SPLITTERS})", quoted[2])
        return quoted[1] + "".join(MASK if _folded(part) in self.words else part for part in parts) + quoted[1]


def _is_secret(name: str) -> bool:
    where_it_is = ("_DIR", "_FILE", "_PATH")  # AWS_WEB_IDENTITY_TOKEN_FILE says where, and errors have to name it
    return any(part in name.upper() for part in SECRET_NAMES) and not name.upper().endswith(where_it_is)


def _secrets_of(name: str, raw: str) -> Iterator[str]:
    """Yield the secrets in a variable: all of it, or of a URL what precedes the host."""
    value = _unquoted(raw)
    passwords = list(_passwords(value, sloppy=_is_secret(name)))
    for one in passwords:
        yield from {one, _percent_decoded(one)}
    for found in re.finditer(_PARAMETER, value) if "=" in value and "://" in value else ():
        yield found[0].partition("=")[2]
    if "password" in value and (given := re.search(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)", value)):
        yield _unquoted(given[1])
    if _is_secret(name) and "://" not in value and not passwords:
        yield from {value, *(line for line in value.splitlines() if len(line) > SHORTEST)} - {"-----BEGIN"}


def _passwords(value: str, *, sloppy: bool) -> Iterator[str]:
    """Yield what precedes a URL's host, for each way to read it: up to the last @, or up to the first.

    `sloppy`: the value is meant to be a URL, even without // or @.
    """
    for found in re.finditer(r"(\w[\w+.-]*):(/*)([^\n]*)", value) if sloppy or "://" in value else ():
        scheme, rest = found[1].lower(), found[3]
        if not sloppy and len(found[2]) < 2:
            continue
        for end in {rest.rfind("@"), rest.find("@"), _netloc(rest).rfind("@")} - {-1}:
            user, colon, password = rest[:end].partition(":")
            yield password if colon and found[2] else rest[:end] if not found[2] else ""
            if scheme.startswith("http") and (not colon or len(user) >= 2 * SHORTEST):
                yield user
        if sloppy and "@" not in rest and (bare := re.match(r"[^/:?#\[\]]*:(?!\d+(?:[/?#]|$))(.+)", rest)):
            yield bare[1]


def _pieces_of(name: str, raw: str) -> Iterator[str]:
    """Yield the pieces into which a URL parser may split a password with a delimiter in it: / ? # @ [ ]."""
    value = _unquoted(raw)
    if not _is_secret(name) and "://" not in value:
        return
    for password in _passwords(value, sloppy=_is_secret(name)):
        if set(password) & set("/?#@[]:"):
            yield from filter(None, re.split(_SPLITTERS, password))
            yield from (password[a.end() :] for a in re.finditer(_SPLITTERS, password))
            yield from (password[: a.start()] for a in re.finditer(_SPLITTERS, password))


def _netloc(rest: str) -> str:
    return re.split(r"[/?#]", rest, maxsplit=1)[0]


def _unquoted(raw: str) -> str:
    text = raw.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text.lstrip("'\"") if text[:1] in ("'", '"') else re.sub(r"\s+#.*$", "", text)


def _percent_decoded(text: str) -> str:
    from urllib.parse import unquote

    return unquote(text, errors="surrogateescape") if "%" in text else text


def _is_distinctive(read: str) -> bool:
    """Return whether a secret differs from ordinary words and numbers."""
    if len(read) < SHORTEST or read in COMMON or (read.isdigit() and len(read) < 8):
        return False
    return not (read.isascii() and read.isalpha() and len(read) < 6)


def _base64(secret: str) -> list[str]:
    """Return a long secret in base64 at each of the three alignments, without the ends that depend on neighbours."""
    if len(secret) < 3 * SHORTEST:
        return []
    import binascii

    data = secret.encode(errors="surrogateescape")
    written = [binascii.b2a_base64(b"\0" * shift + data, newline=False).decode() for shift in range(3)]
    found = [text[(0, 2, 3)[shift] : -4] for shift, text in enumerate(written)]
    return [_folded(form) for text in found for form in {text, text.replace("+", "-").replace("/", "_")}]


def _folded(text: str) -> str:
    """Return a text normalized so that all spellings of a secret are equal: decoded, unescaped, without quotes."""
    if "%" in text or "&" in text:
        text = _to_the_end(_ENCODED, text)
    if "\\" in text:
        text = _to_the_end(_ESCAPED, text)
    return text.translate(_FOLDED)


def _to_the_end(pattern: str, text: str) -> str:
    for _ in range(3):
        before, text = text, re.sub(pattern, _decoded, text)
        if text == before:
            break
    return text


def _decoded(found: re.Match[str]) -> str:
    """Decode one run of %41%42, an HTML entity, or a JSON or Python escape."""
    code = found[0]
    if code[0] == "%":
        return bytes.fromhex(code.replace("%", "")).decode(errors="surrogateescape")
    if code[0] == "&":
        name = code[1:-1].lower()
        return _ENTITIES.get(name) or chr(int(name[2:], 16) if name[1] == "x" else int(name[1:]))
    if code[1] == "u":
        return bytes.fromhex(code.replace("\\u", "")).decode("utf-16-be", errors="surrogatepass")
    if code[1] in "xU":
        number = int(code[2:], 16)
        return chr(number) if number < 0x110000 else code
    return {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}.get(code[1], code)


def _read(text: str) -> tuple[str, list[Span]]:
    """Return a text normalized as by `_folded`, and for each of its characters the span that it had in the text."""
    read, spans = text, [(at, at + 1) for at in range(len(text))]
    for pattern in (_ENCODED, _ESCAPED):
        for _ in range(3):
            read, spans = _decoded_at(pattern, read, spans)
    kept = [(char.translate(_FOLDED), span) for char, span in zip(read, spans, strict=True)]
    return "".join(char for char, _ in kept), [span for char, span in kept if char]


def _decoded_at(pattern: str, text: str, spans: list[Span]) -> tuple[str, list[Span]]:
    new, places, done = "", list[Span](), 0
    for found in re.finditer(pattern, text):
        decoded = _decoded(found)
        new += text[done : found.start()] + decoded
        place = (spans[found.start()][0], spans[found.end() - 1][1])
        places += [*spans[done : found.start()], *[place] * len(decoded)]
        done = found.end()
    return new + text[done:], [*places, *spans[done:]]


def _places(needle: str, text: str) -> Iterator[int]:
    at = text.find(needle)
    while at >= 0:
        yield at
        at = text.find(needle, at + 1)


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
