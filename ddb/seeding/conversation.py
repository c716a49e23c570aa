"""Conversation files: who talks to whom, and a line for each message. Read and checked; nothing connects here.

    # group: 5ae290ed-55d1-47a0-bc6d-fe2bc2700399
    # Person 1: the one who starts
    # Person 2: the other
    Person 1: Hello!
    Person 2: Hello to you.

The three headers come first, in any order. Other lines that start with # are comments, blank lines mean nothing,
a message is one line. UTF-8, with or without byte order mark, any line ends.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

SPEAKERS = ("Person 1", "Person 2")
HEADERS = ("group", *SPEAKERS)
HEADER = re.compile(rf"#\s*({'|'.join(HEADERS)})\s*:(.*)", re.IGNORECASE)
MESSAGE = re.compile(rf"({'|'.join(SPEAKERS)})\s*:(.*)", re.IGNORECASE)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Mistake(Exception):
    """Something in a seed file that cannot be, with its place, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Person(Protocol):
    """Someone who plays in the seeds: the name that never changes, and the handle of now."""

    @property
    def person(self) -> str: ...
    @property
    def handle(self) -> str: ...


FindPerson = Callable[[str, str], Person]
"""Takes a name, and the place in a file that names it; gives the person, or raises."""


class Line(NamedTuple):
    """A message: its line in the file, who says it (0 or 1), and the text."""

    number: int
    speaker: int
    text: str


@dataclass(frozen=True)
class Conversation:
    """A conversation between two people. `shown` is the file's path as messages give it."""

    shown: str
    group: str
    people: tuple[Person, Person]
    places: tuple[str, str]
    lines: Sequence[Line]

    def handles(self) -> Iterator[tuple[str, str]]:
        """Return the handle of each of the two, and where the file names them."""
        return zip((person.handle for person in self.people), self.places, strict=True)


class _Header(NamedTuple):
    value: str
    place: str


def read_conversations(files: Iterable[tuple[str, bytes]], find_person: FindPerson) -> list[Conversation]:
    """Read conversations: of each file its name, as messages give it, and its content.

    Raises Mistake with path:line:column for the first thing that is wrong.
    """
    found: dict[str, Conversation] = {}
    for name, data in files:
        conversation = read_conversation(name, data, find_person)
        other = found.setdefault(conversation.group, conversation)
        if other is not conversation:
            raise Mistake(
                f"{conversation.shown}: group {conversation.group} is that of {other.shown} too",
                hint="give each conversation a group uuid of its own",
            )
    return list(found.values())


def read_conversation(shown_as: str, data: bytes, find_person: FindPerson) -> Conversation:
    """Read one conversation file."""
    headers: dict[str, _Header] = {}
    lines: list[Line] = []
    # As text with any line ends; a byte that is no UTF-8 becomes half of a surrogate pair, which has a column.
    file = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="surrogateescape")
    for number, text in enumerate(file, 1):
        _read_line(f"{shown_as}:{number}", text, number, headers, lines)
    for name in HEADERS:
        if name not in headers:
            raise Mistake(f"{shown_as}:1: no header for {name!r}", hint=_how_to_write(name))
    if not lines:
        raise Mistake(f"{shown_as}: nobody says anything", hint="add a line such as `Person 1: Hello!`")
    first, second = (find_person(headers[name].value, headers[name].place) for name in SPEAKERS)
    if first == second:
        raise Mistake(f"{headers[SPEAKERS[1]].place}: {first.person!r} talks to nobody else")
    places = (headers[SPEAKERS[0]].place, headers[SPEAKERS[1]].place)
    return Conversation(shown_as, _group(headers["group"]), (first, second), places, lines)


def _read_line(place: str, text: str, number: int, headers: dict[str, _Header], lines: list[Line]) -> None:
    text = text.rstrip("\n")
    stray = re.search(r"[\udc80-\udcff\0]", text)
    if stray:
        what = "not UTF-8" if stray[0] != "\0" else "a NUL byte"
        raise Mistake(f"{place}:{stray.start() + 1}: {what}", hint="save the file as UTF-8")
    if not text.strip():
        return
    if text.startswith("#"):
        header = HEADER.match(text)
        if header:
            _add_header(headers, header, place, late=bool(lines))
        return
    message = MESSAGE.match(text)
    if not message:
        raise Mistake(f"{place}:1: neither 'Person 1:' nor 'Person 2:'", hint=_nearest_speaker(text))
    said = message.group(2).strip()
    if not said:
        raise Mistake(f"{place}:{message.start(2) + 1}: {_named(message.group(1), SPEAKERS)} says nothing")
    lines.append(Line(number, SPEAKERS.index(_named(message.group(1), SPEAKERS)), said))


def _add_header(headers: dict[str, _Header], header: re.Match[str], place: str, *, late: bool) -> None:
    name = _named(header.group(1), HEADERS)
    value = header.group(2).strip()
    column = header.start(2) + 1 + len(header.group(2)) - len(header.group(2).lstrip())
    if name in headers:
        raise Mistake(f"{place}:1: a second header for {name!r}", hint="keep one of them")
    if late:
        raise Mistake(f"{place}:1: the header for {name!r} comes after the first message", hint="put it at the top")
    if not value:
        raise Mistake(f"{place}:{column}: nothing behind {name!r}", hint=_how_to_write(name))
    headers[name] = _Header(value, f"{place}:{column}")


def _group(header: _Header) -> str:
    if not UUID.fullmatch(header.value):
        raise Mistake(f"{header.place}: {header.value!r} is not a uuid", hint=_how_to_write("group"))
    return header.value.lower()


def _how_to_write(name: str) -> str:
    value = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399" if name == "group" else "<a person of seeds/people.csv>"
    return f"write a line such as `# {name}: {value}` before the first message"


def _nearest_speaker(text: str) -> str:
    before, colon, _ = text.partition(":")
    if colon and re.fullmatch(r"\s*person\s*\d+\s*", before, re.IGNORECASE):
        return "a conversation has two people, and their names start the line"
    near = difflib.get_close_matches(before.strip().title(), SPEAKERS, n=1, cutoff=0.7) if colon else []
    return f"did you mean '{near[0]}:'?" if near else "a message is one line; start a comment with #"


def _named(text: str, names: Sequence[str]) -> str:
    return next(name for name in names if name.lower() == text.lower())
