"""What is checked is what is touched: no option of a URL and no variable of libpq's sends a command to another server.

A decoy listens beside the real server, and must never hear of anybody.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tasks import ns
from tasks._graph import Step
from tasks.localenv import engines
from tasks.localenv.errors import LocalEnvError, NotLocal, UsageError
from tasks.localenv.postgres import connection, libpq, prompt
from tasks.localenv.postgres.connection import client_environment, connect
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.settings.addresses import parse_postgres_url
from tests.support.environments import Finished, environment, inv, reachable

pytestmark = pytest.mark.reliability("guard")


@dataclass
class Decoy:
    """A server that accepts, counts and hangs up."""

    port: int
    heard: list[bytes] = field(default_factory=list)


@pytest.fixture(autouse=True)
def _no_variables_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libpq, "_removed", {})


@pytest.fixture
def decoy() -> Iterator[Decoy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = Decoy(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                found.heard.append(b"connected")
                client.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield found
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def variables(decoy: Decoy, folder: Path) -> dict[str, str]:
    """Every way in which libpq's variables could lead to the decoy, or to somebody else."""
    service, passwords = folder / "services.conf", folder / "passwords"
    service.write_text(f"[decoy]\nhost=127.0.0.1\nhostaddr=127.0.0.1\nport={decoy.port}\ndbname=other\nuser=other\n")
    passwords.write_text("*:*:*:*:other\n")
    passwords.chmod(0o600)
    return {
        "PGHOST": "127.0.0.1",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": str(decoy.port),
        "PGDATABASE": f"host=127.0.0.1 port={decoy.port}",
        "PGUSER": "other",
        "PGPASSWORD": "other",
        "PGPASSFILE": str(passwords),
        "PGSERVICE": "decoy",
        "PGSERVICEFILE": str(service),
        "PGOPTIONS": "-c search_path=nowhere -c role=nobody",
    }


URL_OPTIONS = {
    "host": "127.0.0.2",
    "hostaddr": "127.0.0.2",
    "port": "1",
    "dbname": "other",
    "user": "other",
    "password": "other",
    "service": "decoy",
    "servicefile": "/tmp/services.conf",
    "passfile": "/tmp/passwords",
    "options": "-c role=nobody",
}


@pytest.mark.parametrize("variable", ["CONNECTION_URL", "PROD_CONNECTION_URL", "PROD_READ_CONNECTION_URL"])
@pytest.mark.parametrize("option", URL_OPTIONS)
def test_an_option_that_says_where_or_who_is_a_usage_error(option: str, variable: str) -> None:
    url = f"postgresql://postgres:hush@localhost:5432/cruddur?sslmode=disable&{option}={URL_OPTIONS[option]}"
    with pytest.raises(UsageError) as caught:
        read_settings(environ={variable: url})
    assert f"{variable} in the environment: option {option} is not allowed in a Postgres URL" == caught.value.message
    assert caught.value.hint.startswith("write it ")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:pa/ss@localhost:5432/db",
        "postgresql://u:pa?ss@localhost:5432/db",
        "postgresql://u:pa#ss@localhost:5432/db",
        "postgresql://u@pass/word@localhost:5432/db",
        "postgresql://u:12/34@localhost/db",
        "postgresql://u:p@localhost,127.0.0.2:5432/db",
        "postgresql://u:p@%2Ftmp/db",
        "postgresql://u:p@[pass]/db",
        "postgresql://u:p%00ass@localhost/db",
        "postgresql://u:p@localhost/db?sslmode=disable&sslmode=require",
        "postgresql://u:p@localhost/db?sslmod=disable",
        "postgresql://u:p@localhost/db?sslpassword=pass",
    ],
)
def test_a_url_that_cannot_be_is_refused_without_a_piece_of_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_postgres_url(url)
    said = f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"
    assert [piece for piece in ("pa/ss", "ss@", "pa?", "pa#", "12", "34", "word@", "pass]") if piece in said] == []


@pytest.mark.parametrize("name", [*URL_OPTIONS, "everything"])
def test_libpqs_variables_lead_nobody_astray(
    live: Settings, decoy: Decoy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    planted = variables(decoy, tmp_path)
    of_option = {"dbname": "PGDATABASE"}.get(name, f"PG{name.upper()}")
    for variable, value in planted.items():
        if name == "everything" or variable in (of_option, "PGSERVICEFILE"):
            monkeypatch.setenv(variable, value)
    with connect(live.postgres, database="postgres") as conn:
        row = conn.execute("SELECT current_database(), current_user, current_setting('search_path')").fetchone()
    assert row == ("postgres", live.postgres.user, '"$user", public')
    told = client_environment(live.postgres)
    assert (told["PGHOSTADDR"], told["PGPORT"]) == (live.postgres.host, str(live.postgres.port))
    assert (told["PGDATABASE"], told["PGUSER"]) == (live.postgres.database, live.postgres.user)
    assert "PGSERVICE" not in told
    assert decoy.heard == []


COMMANDS: dict[str, tuple[str, ...]] = {
    "check": (),
    "cognito.list-users": (),
    "cognito.seed": (),
    "cognito.set-password": ("bayko",),
    "cognito.sync-ids": (),
    "cognito.token": ("bayko",),
    "db.connect": (),
    "db.create": (),
    "db.diff": (),
    "db.drop": ("--yes",),
    "db.dump": ("--file", "-"),
    "db.load": (str(Path(__file__).parents[2] / "seeds" / "people.csv"), "--table", "users"),
    "db.migrate": (),
    "db.query": ("select 1",),
    "db.reset": (),
    "db.rollback": ("--confirm", "cruddur"),
    "db.schema-load": (),
    "db.seed": (),
    "db.sessions": ("--kill",),
    "db.setup": ("--force",),
    "undo": (),
    "ddb.get-conversation": ("--as", "andrewbrown", "--with", "bayko"),
    "ddb.list-conversations": ("andrewbrown",),
    "ddb.seed": (),
    "ddb.send-message": ("--as", "andrewbrown", "--to", "bayko", "hello"),
    "ddb.stream": ("--once",),
    "doctor": (),
    "exec": ("--", "true"),
    "initial-setup": (),
    "reset": ("--yes",),
    "snapshot.delete": ("one", "--confirm", "one"),
    "snapshot.list": (),
    "snapshot.restore": ("one", "--yes"),
    "snapshot.save": ("one", "--yes"),
    "snapshot.switch": ("feat",),
    "status": (),
    "why": ("andrewbrown",),
}
"""Every command that connects to Postgres, and how it is called here."""
CODES = {"db.load": 2, "db.rollback": 1, "snapshot.switch": 2}
"""Exit codes of those that find nothing to do here."""

ELSEWHERE = {
    "completion", "snapshot.hook",
    "db.new-migration",
    "ddb.audit", "ddb.describe", "ddb.drop", "ddb.export", "ddb.import", "ddb.list-tables", "ddb.query", "ddb.scan",
    "ddb.schema-load", "env.destroy", "env.down", "env.export", "env.list", "env.logs", "env.restart", "env.status",
    "env.up", "init", "rds.status", "rds.update-sg-rule",
}  # fmt: skip
"""Every command that does not, or no more than env.up does when it starts the server."""


def test_every_command_is_known_to_connect_or_not() -> None:
    steps = {name for name in ns.task_names if isinstance(ns[name], Step)}
    assert steps == COMMANDS.keys() | ELSEWHERE


def test_no_command_hears_of_the_decoy(decoy: Decoy, tmp_path: Path) -> None:
    """One after the other on one environment, since each leaves it in a state that the next can work on."""
    environ = {**environment(reachable(tmp_path) / "state"), **variables(decoy, tmp_path)}
    first, last = ["initial-setup", "snapshot.save"], ["snapshot.delete"]
    wrong: dict[str, Finished] = {}
    for name in [*first, *sorted(COMMANDS.keys() - {*first, *last}), *last]:
        done = inv(name, *COMMANDS[name], environ=environ)
        if (
            done.code != CODES.get(name, 0)
            or "PGHOST, PGHOSTADDR, PGPORT" not in done.stderr
            or "Traceback" in done.stderr
        ):
            wrong[name] = done
    engines.destroy(read_settings(environ=environ), print)
    assert wrong == {}
    assert decoy.heard == []


def test_a_server_that_is_not_the_one_shown_is_left_at_once(
    live: Settings, decoy: Decoy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were libpq to go elsewhere after all, the peer's address tells."""
    real = libpq.parameters

    def astray(*told: object) -> dict[str, object]:
        return {**real(*told), "port": live.postgres.port}  # type: ignore[arg-type]

    monkeypatch.setattr(libpq, "parameters", astray)
    with pytest.raises(NotLocal, match=r"connected to \('127.0.0.1', \d+\) instead"):
        connect(replace(live.postgres, port=decoy.port), database="postgres")


def test_on_production_what_protects_a_connection_is_told_to_it(
    live: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prod = replace(live.postgres, is_local=False)
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    with pytest.raises(LocalEnvError, match="server does not support SSL"):
        connect(prod, database="postgres")
    assert client_environment(prod)["PGSSLMODE"] == "verify-full"
    assert "PGSSLMODE" not in client_environment(live.postgres)
    monkeypatch.setenv("PGSSLNEWFANGLED", "1")
    with pytest.raises(UsageError, match="PGSSLNEWFANGLED is set, but this libpq does not support it"):
        connect(prod, database="postgres")


def test_a_host_is_looked_up_once_and_kept_for_tls(live: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    look_up: Any = socket.getaddrinfo

    def counted(host: str, *rest: Any, **named: Any) -> Any:
        asked.append(host)
        return look_up("127.0.0.1", *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    monkeypatch.setattr(connection, "_resolved", {})
    prod = replace(live.postgres, host="db.example.test", is_local=False)
    for _ in range(2):
        with connect(prod, database="postgres") as conn:
            assert conn.info.host == "db.example.test"
    assert asked == ["db.example.test"]
    told = client_environment(prod)
    assert (told["PGHOST"], told["PGHOSTADDR"]) == ("db.example.test", "127.0.0.1")


def test_without_a_permit_a_session_is_read_only(live: Settings) -> None:
    reading = replace(live.postgres, permit=None)
    for autocommit in (True, False):
        with connect(reading, database="postgres", autocommit=autocommit) as conn:
            row = conn.execute("SELECT current_setting('transaction_read_only')").fetchone()
            assert row == ("on",)
    assert client_environment(reading)["PGOPTIONS"] == "-c default_transaction_read_only=on"
    assert "PGOPTIONS" not in client_environment(live.postgres)


@pytest.mark.parametrize("name", ["psql", "pgcli"])
def test_a_client_is_told_all_of_the_address_and_its_arguments_hold_no_secret(
    live: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    client = tmp_path / name
    client.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words\nenv >{tmp_path}/environ\n')
    client.chmod(0o755)
    monkeypatch.setenv("DSN", "production")
    monkeypatch.setenv("PGSERVICE", "production")
    address = replace(live.postgres, password="hush hush", database="a db")
    assert prompt.attach(client, address) == 0
    environ = dict(line.split("=", 1) for line in (tmp_path / "environ").read_text().splitlines() if "=" in line)
    assert (environ["PGHOSTADDR"], environ["PGPORT"], environ["PGUSER"]) == ("127.0.0.1", str(address.port), "postgres")
    assert (environ["PGPASSWORD"], environ["PGDATABASE"], "PGSERVICE" in environ) == ("hush hush", "a db", False)
    words = (tmp_path / "words").read_text()
    assert "hush" not in words
    assert ("--dbname=a db" in words, "DSN" in environ) == ((True, False) if name == "pgcli" else (False, True))


def test_pgcli_is_not_given_a_name_that_it_takes_for_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pgcli").write_text("#!/bin/sh\n")
    (tmp_path / "pgcli").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert prompt.find_client(None, "cruddur") == tmp_path / "pgcli"
    assert prompt.find_client(None, "host=127.0.0.2") is None
    assert prompt.find_client(None, "postgresql://127.0.0.2/x") is None
