"""seeds/people.csv: the one place for handles, names and addresses, checked line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.localenv.errors import UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings.people import PEOPLE, Person, find_person, read_people

HEAD = "person,handle,display_name,email\n"


def read(root: Path, text: str | bytes) -> list[Person]:
    file = root / PEOPLE
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_people(root)


def test_the_shipped_people_begin_with_the_default_handles() -> None:
    people = read_people(TOOL)
    assert [person.handle for person in people[:3]] == ["andrewbrown", "bayko", "londo"]
    assert len(people) >= 5


def test_a_spreadsheets_file_is_read_as_well(tmp_path: Path) -> None:
    text = "\ufeff" + HEAD.replace("\n", "\r\n") + 'zoe, zoë ,"Zoë, the first",zoe@example.com\r\n\r\n'
    assert read(tmp_path, text) == [Person("zoe", "zoë", "Zoë, the first", "zoe@example.com")]


def test_an_id_follows_the_person_and_not_the_handle(tmp_path: Path) -> None:
    (before,) = read(tmp_path, HEAD + "zoe,zoe,Zoe,zoe@example.com\n")
    (after,) = read(tmp_path, HEAD + "zoe,zoe2,Zoe Two,two@example.com\n")
    assert (before.uuid, before.handle, after.handle) == (after.uuid, "zoe", "zoe2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"{PEOPLE}:1: the columns are , wanted person, handle, display_name, email"),
        ("name,handle\n", f"{PEOPLE}:1: the columns are name, handle, wanted person, handle, display_name, email"),
        (HEAD, f"{PEOPLE}: it lists nobody"),
        (HEAD + "a,a,A,a@example.com\nb,,B,b@example.com\n", f"{PEOPLE}:3: no handle"),
        (HEAD + "a,a\n", f"{PEOPLE}:2: no display_name and no email"),
        (HEAD + "a,a,A,a@example.com,more\n", f"{PEOPLE}:2: too many columns"),
        (HEAD + "a,a,A,nowhere\n", f"{PEOPLE}:2: 'nowhere' is not an e-mail address"),
        (HEAD + "a,a,A,a@example.com\nb,a,B,b@example.com\n", f"{PEOPLE}:3: handle 'a' appears twice"),
        (HEAD.encode() + b"a,a,\xff,a@example.com\n", f"{PEOPLE}: not UTF-8: invalid start byte at byte 37"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert caught.value.message == message


def test_without_the_file_there_is_nobody(tmp_path: Path) -> None:
    assert read_people(tmp_path) == []


def test_a_person_is_found_by_name_or_handle_and_the_nearest_is_suggested() -> None:
    people = [Person("londo", "londom", "Londo", "l@example.com"), Person("bayko", "bayko", "Bayko", "b@example.com")]
    assert find_person(people, "londom", "a.txt:1:3") is find_person(people, "londo", "a.txt:1:3")
    with pytest.raises(UsageError) as caught:
        find_person(people, "baiko", "a.txt:1:3")
    assert (caught.value.message, caught.value.hint) == (
        f"a.txt:1:3: nobody in {PEOPLE} is called 'baiko'",
        "did you mean 'bayko'?",
    )
