"""Conversation files: how they are read, and what is wrong with them and where."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from ddb import chat
from ddb.seeding.conversation import Conversation, Line, Mistake, read_conversation, read_conversations
from tasks.localenv.errors import UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings.people import Person, find_person, read_people
from tests.support.environments import Finished

GROUP = "5ae290ed-55d1-47a0-bc6d-fe2bc2700399"
ANDREW = Person("andrewbrown", "andrew-b", "Andrew Brown", "andrew@example.com")
BAYKO = Person("bayko", "bayko", "Andrew Bayko", "bayko@example.com")
FIND = partial(find_person, [ANDREW, BAYKO])
HEADERS = f"# group: {GROUP}\n# Person 1: andrewbrown\n# Person 2: bayko\n"


def read(text: str | bytes) -> Conversation:
    return read_conversation("talk.txt", text if isinstance(text, bytes) else text.encode(), FIND)


def lines_of(text: str | bytes) -> list[Line]:
    return list(read(text).lines)


def error_of(text: str | bytes) -> tuple[str, str]:
    with pytest.raises((Mistake, UsageError)) as caught:
        read(text)
    error = cast("Any", caught.value)
    return error.message, error.hint


def test_a_file_is_a_group_two_people_and_lines() -> None:
    assert read(HEADERS + "Person 1: Hello!\nPerson 2: Hi\n") == Conversation(
        shown="talk.txt",
        group=GROUP,
        people=(ANDREW, BAYKO),
        places=("talk.txt:2:13", "talk.txt:3:13"),
        lines=[Line(4, 0, "Hello!"), Line(5, 1, "Hi")],
    )


def test_people_may_be_named_by_their_handle_too() -> None:
    assert read(HEADERS.replace("andrewbrown", "andrew-b") + "Person 1: Hello!\n").people == (ANDREW, BAYKO)


def test_headers_in_any_order_comments_and_blank_lines() -> None:
    text = (
        f"# A talk\n#\n# person 2:bayko\n\n#  Person 1 : andrewbrown \n#group:{GROUP.upper()}\n"
        "  \nPerson 1: one\n\n# in between\nPERSON 2 :two\n"
    )
    found = read(text)
    assert (found.group, found.people, list(found.lines)) == (
        GROUP,
        (ANDREW, BAYKO),
        [Line(8, 0, "one"), Line(11, 1, "two")],
    )


def test_crlf_a_byte_order_mark_and_no_last_line_end_do_not_matter() -> None:
    text = (HEADERS + "Person 1: one\nPerson 2: two").replace("\n", "\r\n").encode()
    assert lines_of(b"\xef\xbb\xbf" + text) == [Line(4, 0, "one"), Line(5, 1, "two")]


def test_a_text_may_hold_anything_but_a_line_end() -> None:
    text = "# Person 2: no, group: \u2028 🐕 ñ\x85 'quoted' \"twice\""
    assert lines_of(f"{HEADERS}Person 1:{text}\n") == [Line(4, 0, text)]


WRONG = [
    (
        HEADERS + "Person 1: Hello!\nPerson 3: Hi\n",
        "talk.txt:5:1: neither 'Person 1:' nor 'Person 2:'",
        "a conversation has two people, and their names start the line",
    ),
    (
        HEADERS + "Person 1: Hello!\nPersn 2: Hi\n",
        "talk.txt:5:1: neither 'Person 1:' nor 'Person 2:'",
        "did you mean 'Person 2:'?",
    ),
    (
        HEADERS + "Person 1: Hello!\n  and more\n",
        "talk.txt:5:1: neither 'Person 1:' nor 'Person 2:'",
        "a message is one line; start a comment with #",
    ),
    (HEADERS + "Person 1: a\nPerson 2:  \n", "talk.txt:5:10: Person 2 says nothing", ""),
    (
        HEADERS.replace("bayko", "baiko") + "Person 1: a\n",
        "talk.txt:3:13: nobody in seeds/people.csv is called 'baiko'",
        "did you mean 'bayko'?",
    ),
    (
        HEADERS.replace("bayko", "andrew-b") + "Person 1: a\n",
        "talk.txt:3:13: 'andrewbrown' talks to nobody else",
        "",
    ),
    (
        "# Person 1: andrewbrown\n# Person 2: bayko\nPerson 1: a\n",
        "talk.txt:1: no header for 'group'",
        f"write a line such as `# group: {GROUP}` before the first message",
    ),
    (
        f"# group: {GROUP}\n# Person 2: bayko\nPerson 1: a\n",
        "talk.txt:1: no header for 'Person 1'",
        "write a line such as `# Person 1: <a person of seeds/people.csv>` before the first message",
    ),
    (
        HEADERS.replace("# Person 2: bayko", "# Person 2:") + "Person 1: a\n",
        "talk.txt:3:12: nothing behind 'Person 2'",
        "write a line such as `# Person 2: <a person of seeds/people.csv>` before the first message",
    ),
    (
        HEADERS.replace("5ae290ed", "5ae290e") + "Person 1: a\n",
        f"talk.txt:1:10: '{GROUP[:7]}{GROUP[8:]}' is not a uuid",
        f"write a line such as `# group: {GROUP}` before the first message",
    ),
    (HEADERS + "# Person 1: bayko\nPerson 1: a\n", "talk.txt:4:1: a second header for 'Person 1'", "keep one of them"),
    (
        "Person 1: a\n" + HEADERS,
        "talk.txt:2:1: the header for 'group' comes after the first message",
        "put it at the top",
    ),
    (HEADERS, "talk.txt: nobody says anything", "add a line such as `Person 1: Hello!`"),
    ("", "talk.txt:1: no header for 'group'", f"write a line such as `# group: {GROUP}` before the first message"),
    (HEADERS.encode() + b"Person 1: caf\xe9\n", "talk.txt:4:14: not UTF-8", "save the file as UTF-8"),
]


@pytest.mark.parametrize(("text", "message", "hint"), WRONG, ids=[message for _, message, _ in WRONG])
def test_what_is_wrong_is_told_with_its_place(text: str | bytes, message: str, hint: str) -> None:
    assert error_of(text) == (message, hint)


def test_two_files_of_one_group_are_an_error() -> None:
    files = [(name, f"{HEADERS}Person 1: a\n".encode()) for name in ("a.txt", "b.txt")]
    with pytest.raises(Mistake) as caught:
        read_conversations(files, FIND)
    assert caught.value.message == f"b.txt: group {GROUP} is that of a.txt too"


@pytest.mark.parametrize(
    ("name", "said"), [("nosuch.txt", "nosuch.txt: no such file or directory"), ("", ": no *.txt in it")]
)
def test_seeds_that_are_not_there_are_an_error(
    cli: Callable[..., Finished], tmp_path: Path, name: str, said: str
) -> None:
    done = cli("ddb.seed", "--file", str(tmp_path / name))
    assert (done.code, said in done.stderr) == (2, True)


def test_the_shipped_conversations_are_as_promised() -> None:
    files = [
        (f"{chat.SEEDS}/{path.name}", path.read_bytes()) for path in sorted((TOOL / chat.SEEDS).glob(chat.PATTERN))
    ]
    found = read_conversations(files, partial(find_person, read_people(TOOL)))
    told = [(talk.shown, talk.group, *(person.person for person in talk.people)) for talk in found]
    assert told == [
        ("seeds/conversations/andrewbrown-bayko.txt", GROUP, "andrewbrown", "bayko"),
        (
            "seeds/conversations/andrewbrown-londo.txt",
            "0f6b6d0e-3c41-4b7e-9a55-7d1c5a0e9b42",
            "andrewbrown",
            "londo",
        ),
    ]
    assert len(found[0].lines) >= 100
