"""The app's query files against the seeded database, wrapped in JSON the way the app wraps them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import psycopg
import pytest

from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import databases, setup
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import derived_uuid, read_people

FILES = sorted(path.relative_to(TOOL / "sql").with_suffix("").as_posix() for path in (TOOL / "sql").glob("*/*.sql"))
PEOPLE = read_people(TOOL)
OBJECT = "(SELECT COALESCE(row_to_json(object_row),'{{}}'::json) FROM ({}) object_row);"
ARRAY = "(SELECT COALESCE(array_to_json(array_agg(row_to_json(array_row))),'[]'::json) FROM ({}) array_row);"
Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def seeded(live: Settings) -> Iterator[Settings]:
    """The project's own schema and seeds, in a database of their own; nothing in it is committed by a test."""
    name = f"t_{uuid.uuid4().hex[:12]}"
    settings = replace(live, postgres=replace(live.postgres, database=name))
    setup.setup(settings, lambda _: None, typed=True)
    yield settings
    with databases.maintenance(live.postgres) as conn:
        databases.drop(conn, name)


@pytest.fixture
def conn(seeded: Settings) -> Iterator[Connection]:
    with connect(seeded.postgres) as connection:
        connection.execute("UPDATE users SET cognito_user_id = 'sub-' || handle")
        yield connection
        connection.rollback()


def template(name: str) -> str:
    return (TOOL / "sql" / f"{name}.sql").read_text()


def one(conn: Connection, name: str, **parameters: Any) -> Any:
    """The app's query_object_json."""
    return conn.execute(OBJECT.format(template(name)).encode(), parameters).fetchone()[0]  # type: ignore[index]


def many(conn: Connection, name: str, **parameters: Any) -> Any:
    """The app's query_array_json."""
    return conn.execute(ARRAY.format(template(name)).encode(), parameters).fetchone()[0]  # type: ignore[index]


def value(conn: Connection, name: str, **parameters: Any) -> Any:
    """The app's query_value, and the first column that query_commit returns."""
    row = conn.execute(template(name).encode(), parameters).fetchone()
    return row and row[0]


def columns(conn: Connection, table: str) -> list[Any]:
    return conn.execute(
        "SELECT column_name::text, data_type::text, is_nullable::text, column_default::text"
        " FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = %s ORDER BY ordinal_position",
        (table,),
    ).fetchall()


def test_the_tables_have_the_columns_that_the_app_knows(conn: Connection) -> None:
    made = "timestamp without time zone"
    assert columns(conn, "users") == [
        ("uuid", "uuid", "NO", "gen_random_uuid()"),
        ("display_name", "text", "NO", None),
        ("handle", "text", "NO", None),
        ("email", "text", "NO", None),
        ("cognito_user_id", "text", "NO", None),
        ("created_at", made, "NO", "CURRENT_TIMESTAMP"),
    ]
    assert columns(conn, "activities") == [
        ("uuid", "uuid", "NO", "gen_random_uuid()"),
        ("user_uuid", "uuid", "NO", None),
        ("message", "text", "NO", None),
        ("replies_count", "integer", "YES", "0"),
        ("reposts_count", "integer", "YES", "0"),
        ("likes_count", "integer", "YES", "0"),
        ("reply_to_activity_uuid", "uuid", "YES", None),
        ("expires_at", made, "YES", None),
        ("created_at", made, "NO", "CURRENT_TIMESTAMP"),
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_query_file_can_be_wrapped(name: str) -> None:
    text = re.sub(r"--[^\n]*", "", template(name))
    assert ";" not in text
    assert text.endswith("\n")  # a comment on the last line would swallow the wrapping


def test_everybody_is_seeded_with_the_placeholder(seeded: Settings) -> None:
    with connect(seeded.postgres) as conn:
        rows = conn.execute("SELECT uuid, handle, display_name, email, cognito_user_id FROM users").fetchall()
    wanted = [(derived_uuid("user", p.person), p.handle, p.display_name, p.email, "MOCK") for p in PEOPLE]
    assert sorted(rows) == sorted(wanted)
    assert len(PEOPLE) >= 5
    assert [person.person for person in PEOPLE[:3]] == ["andrewbrown", "bayko", "londo"]


def test_the_feed_has_ten_activities_by_several_people_newest_first(conn: Connection) -> None:
    feed = many(conn, "activities/home")
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    times = [datetime.fromisoformat(activity["created_at"]) for activity in feed]
    assert len(feed) >= 10
    assert len({activity["handle"] for activity in feed}) >= 4
    assert times == sorted(times, reverse=True)
    assert all(time < now for time in times)
    assert all(datetime.fromisoformat(activity["expires_at"]) > now for activity in feed)
    assert set(feed[0]) == {
        *("uuid", "display_name", "handle", "message", "replies_count", "reposts_count", "likes_count"),
        *("reply_to_activity_uuid", "expires_at", "created_at"),
    }


def test_seeded_replies_are_counted_where_they_belong(conn: Connection) -> None:
    feed = many(conn, "activities/home")
    answers = [activity["reply_to_activity_uuid"] for activity in feed]
    assert any(answers)
    assert {a["uuid"]: a["replies_count"] for a in feed} == {a["uuid"]: answers.count(a["uuid"]) for a in feed}


def test_short_gives_who_a_handle_is_and_nothing_for_nobody(conn: Connection) -> None:
    londo = PEOPLE[2]
    wanted = {"uuid": str(londo.uuid), "handle": "londo", "display_name": "Londo Mollari"}
    assert one(conn, "users/short", handle="londo") == wanted
    assert many(conn, "users/short", handle="Londo") == []


def test_the_pool_id_leads_to_the_users_own_id(conn: Connection) -> None:
    assert value(conn, "users/uuid_from_cognito_user_id", cognito_user_id="sub-bayko") == PEOPLE[1].uuid
    assert value(conn, "users/uuid_from_cognito_user_id", cognito_user_id="MOCK") is None


def test_both_sides_of_a_new_conversation_are_found(conn: Connection) -> None:
    found = many(conn, "users/create_message_users", cognito_user_id="sub-andrewbrown", user_receiver_handle="londo")
    assert {row["kind"]: (row["handle"], row["cognito_user_id"]) for row in found} == {
        "sender": ("andrewbrown", "sub-andrewbrown"),
        "recv": ("londo", "sub-londo"),
    }
    assert set(found[0]) == {"uuid", "display_name", "handle", "cognito_user_id", "kind"}


def test_a_profile_has_the_user_and_their_activities_newest_first(conn: Connection) -> None:
    found = one(conn, "users/show", handle="bayko")
    own = [activity for activity in many(conn, "activities/home") if activity["handle"] == "bayko"]
    assert found["profile"] == {
        "uuid": str(PEOPLE[1].uuid),
        "cognito_user_uuid": "sub-bayko",
        "handle": "bayko",
        "display_name": "Andrew Bayko",
        "cruds_count": len(own),
    }
    assert [activity["uuid"] for activity in found["activities"]] == [activity["uuid"] for activity in own]


def test_an_update_changes_the_name_of_the_signed_in_user_only(conn: Connection) -> None:
    changes = {"cognito_user_id": "sub-runa", "display_name": "Rúna", "bio": "not a column here"}
    assert value(conn, "users/update", **changes) == "runa"
    assert one(conn, "users/short", handle="runa")["display_name"] == "Rúna"
    assert value(conn, "users/update", cognito_user_id="nobody", display_name="X") is None


def test_a_new_activity_is_shown_as_an_object(conn: Connection) -> None:
    expires_at = datetime(2030, 1, 1)
    made = value(conn, "activities/create", handle="imani", message="100% new; 'quoted'", expires_at=expires_at)
    found = one(conn, "activities/object", uuid=made)
    assert found.pop("created_at")
    assert found == {
        "uuid": str(made),
        "display_name": "Imani Okafor",
        "handle": "imani",
        "message": "100% new; 'quoted'",
        "expires_at": "2030-01-01T00:00:00",
    }


def test_an_activity_of_an_unknown_handle_is_refused(conn: Connection) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        value(conn, "activities/create", handle="nobody", message="hello", expires_at=None)


def test_a_reply_is_listed_below_what_it_answers_and_counted_there(conn: Connection) -> None:
    made = value(conn, "activities/create", handle="imani", message="question", expires_at=None)
    reply = value(conn, "activities/reply", cognito_user_id="sub-tomas", message="answer", reply_to_activity_uuid=made)
    found = one(conn, "activities/show", uuid=made)
    assert (found["activity"]["message"], found["activity"]["replies_count"]) == ("question", 1)
    assert [(each["uuid"], each["handle"], each["message"]) for each in found["replies"]] == [
        (str(reply), "tomas", "answer")
    ]
