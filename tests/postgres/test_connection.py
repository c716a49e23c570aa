"""Connections that fail: the cause in one line, a hint, and never a wait without an end."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tasks.localenv.errors import LocalEnvError, PreflightFailed, ServiceFailed, TimedOut
from tasks.localenv.postgres import connection, prompt
from tasks.localenv.postgres.connection import DatabaseMissing, connect
from tasks.localenv.settings import Settings
from tests.support.ports import find_free


def failure(settings: Settings, **changes: object) -> LocalEnvError:
    with pytest.raises(LocalEnvError) as caught:
        connect(replace(settings.postgres, **changes))  # type: ignore[arg-type]
    return caught.value


def test_a_missing_database_is_an_error_of_its_own(database: Settings) -> None:
    error = failure(database)
    name = database.postgres.database
    assert isinstance(error, DatabaseMissing)
    assert error.message == f'postgres {database.postgres}: database "{name}" does not exist'
    assert error.hint == "run `inv db.setup`"


def test_an_unknown_user_or_a_wrong_password_points_at_the_url(live: Settings) -> None:
    error = failure(live, user="nobody")
    assert "nobody" in error.message
    assert error.hint == "correct user and password in the connection URL"


def test_a_server_that_is_not_there_is_a_failed_service(live: Settings) -> None:
    port = find_free()
    error = failure(live, port=port)
    assert isinstance(error, ServiceFailed)
    assert error.message.lower() == f"postgres 127.0.0.1:{port}/cruddur: connection refused"
    assert error.hint == "run `inv env.up`, or run `inv doctor` to see what this machine lacks"


def test_an_option_that_libpq_does_not_know_is_named(live: Settings) -> None:
    error = failure(live, options=(("foo", "1"),))
    assert error.message.endswith('invalid connection option "foo"')


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_host_that_never_answers_is_given_up(
    live: Settings, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CONNECT_S", 0.3)
    monkeypatch.setattr(connection, "_is_loopback", lambda host: False)
    error = failure(live, port=silent_port)
    assert isinstance(error, TimedOut)
    assert error.hint == "check host, port and firewall"


def test_a_server_without_room_is_a_failed_preflight(live: Settings) -> None:
    with (
        connect(live.postgres, database="postgres") as conn,
        pytest.raises(PreflightFailed) as caught,
        connection.server_errors("database x"),
    ):
        conn.execute("DO $$ BEGIN RAISE disk_full USING MESSAGE = 'could not extend file'; END $$")
    assert caught.value.message == "database x: could not extend file"
    assert caught.value.hint == "free some space on the server's disk, then run the same command again"


def test_a_server_that_goes_away_meanwhile_is_a_failed_service(live: Settings) -> None:
    with connect(live.postgres, database="postgres") as conn, connect(live.postgres, database="postgres") as other:
        other.execute("SELECT pg_terminate_backend(%s, 2000)", (conn.info.backend_pid,))
        with (
            pytest.raises(ServiceFailed, match=r"^query: terminating connection due to administrator command"),
            connection.server_errors("query"),
        ):
            conn.execute("SELECT 1")


def test_the_prompt_runs_what_is_typed_until_it_is_left(live: Settings) -> None:
    settings = replace(live, postgres=replace(live.postgres, database="postgres"))
    typed = iter(["select 'a;", "b' as x;", "", "select nope;", "-- nothing", "create temp table t ();", "exit"])
    prompts: list[str] = []
    shown: list[str] = []

    def ask(text: str) -> str:
        prompts.append(text)
        return next(typed)

    prompt.converse(settings.postgres, ask, shown.append)
    assert prompts == ["postgres=> ", "postgres-> ", *["postgres=> "] * 5]
    assert shown[1:] == ["x", "-----", "a;\\nb", 'postgres: column "nope" does not exist', "CREATE TABLE"]


def test_the_prompt_ends_with_the_input_and_refuses_to_write_where_told(live: Settings) -> None:
    settings = replace(live, postgres=replace(live.postgres, database="postgres"))
    typed = iter(["create table public.t ();"])
    shown: list[str] = []

    def ask(_: str) -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    prompt.converse(replace(settings.postgres, permit=None), ask, shown.append)
    assert shown[1].startswith("postgres: cannot execute CREATE TABLE in a read-only transaction")
