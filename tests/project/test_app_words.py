"""The library says nothing of the app: no attribute, key, table or file of the chat stands in tasks/localenv."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "tasks" / "localenv"
FILES = sorted(LIBRARY.rglob("*.py"))
WORDS = re.compile(
    r"message_group|message_uuid|\buser_uuid\b|user_handle|user_display_name|(GRP|MSG|NEW)#"
    r"|conversation|cruddur|\bactivit(y|ies)\b|group[ _-]row|message-group|\bddb\.(chat|messages|streams)\b"
    r"|andrewbrown|bayko|londo",
    re.IGNORECASE,
)
"""Item attributes, key prefixes, tables, folders and people of the shipped app."""
EXCEPTIONS = {
    "settings/variables.py": {
        "cruddur": "the defaults of CONNECTION_URL and DDB_MESSAGE_TABLE: who has no .env has had these names so far",
    },
}


def found_in(path: Path) -> list[str]:
    return [found[0].lower() for found in WORDS.finditer(path.read_text())]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(LIBRARY)) for path in FILES])
def test_the_library_has_no_word_of_the_app(path: Path) -> None:
    allowed = EXCEPTIONS.get(str(path.relative_to(LIBRARY)), {})
    assert [word for word in found_in(path) if word not in allowed] == []


def test_every_exception_is_still_needed() -> None:
    assert {name: set(words) for name, words in EXCEPTIONS.items()} == {
        name: set(found_in(LIBRARY / name)) for name in EXCEPTIONS
    }


def test_the_words_are_those_of_the_app() -> None:
    """What the test looks for is what the app's own files say: a word that nobody uses any more proves nothing."""
    files = [*(ROOT / "ddb").rglob("*.*"), *(ROOT / "seeds").rglob("*.*"), *(ROOT / "sql").rglob("*.sql")]
    text = "\n".join(str(path) + path.read_text() for path in files if path.suffix != ".pyc")
    assert set(WORDS.findall(text))


def test_the_apps_part_is_named_in_one_place() -> None:
    """Only the commands of the chat itself know its modules; all else goes by tasks/_app.py."""
    chat = ("ddb/conversations.py", "ddb/stream.py")
    named = [
        str(path.relative_to(ROOT / "tasks"))
        for path in sorted((ROOT / "tasks").rglob("*.py"))
        if re.search(r"^\s*(from ddb\b|import ddb\b)", path.read_text(), re.MULTILINE)
    ]
    assert named == ["_app.py", *chat]
