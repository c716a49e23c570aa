"""The people of a conversation as the database has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.localenv.errors import LocalEnvError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.handles import Lookup, User, fetch_users
from tasks.localenv.settings import Settings
from tests.support.chats import ANDREW, BAYKO, LONDO, make_seed

QUERIES = TOOL / "sql" / "users"
LOOKUP = Lookup(by_handles=QUERIES / "by_handles.sql", handles=QUERIES / "handles.sql")
TABLE = """
CREATE TABLE users (
    uuid uuid PRIMARY KEY, handle text NOT NULL, display_name text NOT NULL, created_at timestamp DEFAULT now()
)
"""


@pytest.fixture
def people(database: Settings) -> Settings:
    """A database with a users table, in which bayko is there twice."""
    rows = [
        (ANDREW.uuid, ANDREW.handle, ANDREW.display_name, "2026-01-01"),
        (LONDO.uuid, BAYKO.handle, "A second Bayko", "2026-02-02"),
        (BAYKO.uuid, BAYKO.handle, BAYKO.display_name, "2026-01-01"),
    ]
    name = database.postgres.database
    with connect(database.postgres, database="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with connect(database.postgres) as connection, connection.cursor() as cursor:
        cursor.execute(TABLE)
        cursor.executemany("INSERT INTO users VALUES (%s, %s, %s, %s)", rows)
    return database


def talk(*users: User) -> dict[str, str]:
    return dict(make_seed(["Hi"], users=(users[0], users[1])).conversation.handles())


def test_everybody_is_found_by_handle_with_the_real_rows_data(people: Settings) -> None:
    said: list[str] = []
    assert fetch_users(people, LOOKUP, talk(ANDREW, BAYKO), said.append) == {"andrewbrown": ANDREW, "bayko": BAYKO}
    assert said == [f"two users have the handle 'bayko'; {BAYKO.uuid} counts"]


def test_somebody_unknown_is_an_error_at_their_header_with_the_nearest_handle(people: Settings) -> None:
    stranger = User("", "andrewbrawn", "")
    with pytest.raises(LocalEnvError) as caught:
        fetch_users(people, LOOKUP, talk(BAYKO, stranger), print)
    assert (caught.value.message, caught.value.hint) == (
        f"talk.txt:3:13: no user has the handle 'andrewbrawn' in database {people.postgres.database}",
        "did you mean 'andrewbrown'? then correct seeds/people.csv, or add the user, then run `inv db.seed --force`",
    )


def test_an_unknown_handle_like_no_other_is_an_error_with_the_way_out(people: Settings) -> None:
    with pytest.raises(LocalEnvError) as caught:
        fetch_users(people, LOOKUP, talk(LONDO, BAYKO), print)
    assert caught.value.hint == "run `inv db.seed --force`, or correct the handle in seeds/people.csv"


def test_a_database_without_the_table_is_an_error_with_the_query(people: Settings) -> None:
    with connect(people.postgres) as connection:
        connection.execute("DROP TABLE users")
    with pytest.raises(LocalEnvError, match=r'by_handles\.sql: relation "public\.users" does not exist'):
        fetch_users(people, LOOKUP, talk(ANDREW, BAYKO), print)


def test_the_apps_query_can_be_wrapped_as_the_app_wraps_its_queries(people: Settings) -> None:
    query = Path(LOOKUP.by_handles).read_text()
    with connect(people.postgres) as connection:
        wrapped = f"SELECT array_to_json(array_agg(row_to_json(found))) FROM ({query}) found"
        rows = connection.execute(wrapped.encode(), {"handles": ["andrewbrown"]}).fetchone()
    assert rows == ([{"uuid": ANDREW.uuid, "handle": "andrewbrown", "display_name": "Andrew Brown"}],)
