"""Where a hint leads: each command that one names is run as it is printed, and what it was printed for is gone.

ROWS has a state, a command, what it finds and the hint's command. A hint that only shows something `tells` it.
SHOWN has what cannot fail here (AWS, Docker, a damaged disk): there the real function makes the hint, or the named file
of tests holds its text. A command in a hint that no row covers fails.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from invoke.parser import ParserContext

from ddb.items import format_time
from tasks import ns
from tasks._advice import Situation, advised, fitting
from tasks.ddb.stream import _given_up as given_up
from tasks.localenv import engines
from tasks.localenv.aws.wire import api
from tasks.localenv.cognito import seed, sync, tokens
from tasks.localenv.cognito.matching import Match
from tasks.localenv.cognito.shape import SHAPE_TAG
from tasks.localenv.cognito.users import Pool, find_pool
from tasks.localenv.dynamodb import schema
from tasks.localenv.dynamodb.client import connect as connect_dynamodb
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.engines import emulator
from tasks.localenv.engines.docker import composemessages as docker_messages
from tasks.localenv.engines.docker import databaseserver as docker_postgres
from tasks.localenv.engines.embedded import postgres as embedded_postgres
from tasks.localenv.errors import LocalEnvError, ServiceFailed, UsageError
from tasks.localenv.hints import RESTART, START, Command, commands_of, either
from tasks.localenv.machine import uncaught
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres import connection, databases, sqlhints
from tasks.localenv.postgres.connection import connect
from tasks.localenv.production.rds import instances
from tasks.localenv.settings import Settings, read_settings
from tests.support import worlds
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.support.seeded import PEOPLE, quiet
from tests.support.worlds import State

TYPED = "path/to/inv"
"""As these tests type `inv`, in the folder where they stand."""


@dataclass(frozen=True)
class Row:
    """A state, a command, a pattern of what it finds, and the hint's command with the places that make it.

    `tells` is a pattern of what the hint's command shows where it repairs nothing.
    """

    sites: tuple[str, ...]
    state: State
    command: str
    finding: str
    hint: str
    tells: str = ""


def row(site: str, state: State, command: str, finding: str, hint: str, tells: str = "") -> Row:
    return Row(tuple(site.split(" | ")), state, command, finding, hint, tells)


def sql(statement: str) -> State:
    """Return the state of a whole environment after a statement."""

    def state(settings: Settings) -> None:
        worlds.set_up(settings)
        with connect(settings.postgres, autocommit=True) as conn:
            conn.execute(statement.encode())

    state.__name__ = statement.split()[0].lower()
    return state


def no_pool(settings: Settings) -> None:
    worlds.set_up(settings)
    pool = find_pool(settings)
    pool.call("DeleteUserPool", UserPoolId=pool.id)


def other_password(settings: Settings) -> None:
    worlds.set_up(settings)
    tokens.set_password(settings, "bayko", "Another-1-pass")


def group_row_missing(settings: Settings) -> None:
    worlds.set_up(settings)
    client = connect_dynamodb(settings)
    key = next(item for item in scan(client, settings.message_table) if item["pk"]["S"].startswith("GRP#"))
    client.delete_item(TableName=settings.message_table, Key={name: key[name] for name in ("pk", "sk")})


def stray_item(settings: Settings) -> None:
    worlds.set_up(settings)
    item = {"pk": {"S": "it's"}, "sk": {"S": "1"}}
    connect_dynamodb(settings).put_item(TableName=settings.message_table, Item=item)


def other_shape(settings: Settings) -> None:
    """The pool was made when its file said something else, and somebody has signed up in it."""
    worlds.set_up(settings)
    call, found = api(settings, "cognito-idp"), find_pool(settings)
    call("DeleteUserPool", UserPoolId=found.id)
    pool = call("CreateUserPool", PoolName=settings.project_id, UserPoolTags={SHAPE_TAG: "of-before"})["UserPool"]["Id"]
    seed.note_pool(settings, pool)
    call("AdminCreateUser", UserPoolId=pool, Username="stranger")


def signed_up(settings: Settings) -> None:
    """Somebody is confirmed in the pool, and their row was never added."""
    worlds.set_up(settings)
    pool = find_pool(settings)
    attributes = [{"Name": name, "Value": "newcomer"} for name in ("preferred_username", "name")]
    user = {"UserPoolId": pool.id, "Username": "new@example.com"}
    pool.call("AdminCreateUser", **user, UserAttributes=attributes)
    pool.call("AdminSetUserPassword", **user, Password=seed.PASSWORD, Permanent=True)


def other_shape_alone(settings: Settings) -> None:
    other_shape(settings)
    call = api(settings, "cognito-idp")
    call("AdminDeleteUser", UserPoolId=find_pool(settings).id, Username="stranger")
    seed.apply(settings, PEOPLE)


def messages_like(*sort_keys: str, **attributes: str) -> State:
    """Return the state of a whole environment with further messages, each like one that is there."""

    def state(settings: Settings) -> None:
        worlds.set_up(settings)
        client, table = connect_dynamodb(settings), settings.message_table
        message = next(item for item in scan(client, table) if item["pk"]["S"].startswith("MSG#"))
        for sort_key in sort_keys:
            more = {name: {"S": value} for name, value in attributes.items()}
            client.put_item(TableName=table, Item={**message, **more, "sk": {"S": sort_key}})

    state.__name__ = f"messages_{sort_keys[0]}"
    return state


def old_seed(settings: Settings) -> None:
    """An old seed script ran: 103 messages, one a minute from now on."""
    now = datetime.now(timezone.utc)
    messages_like(*(format_time(now + timedelta(minutes=minute)) for minute in range(1, 104)))(settings)


def cut_short(settings: Settings) -> None:
    worlds.set_up(settings)
    item = {"pk": {"S": "NEW#1#2"}, "sk": {"S": "NEW"}, "claim": {"S": "x"}}
    connect_dynamodb(settings).put_item(TableName=settings.message_table, Item=item)


def half_replaced(settings: Settings) -> None:
    """A replacement of the table by one of the same key was cut short."""
    worlds.table_missing(settings)
    client, name = connect_dynamodb(settings), f"{settings.message_table}.replacing"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": one, "AttributeType": "S"} for one in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    schema.wait_until_active(client, name)


def half_made_copy(settings: Settings) -> None:
    half_replaced(settings)
    name = f"{settings.message_table}.replacing"
    connect_dynamodb(settings).update_table(TableName=name, DeletionProtectionEnabled=False)


def clone_lost(settings: Settings) -> None:
    worlds.snapshot_there(settings)
    drop_others(settings)


def drop_others(settings: Settings) -> None:
    """Drop each database that stands beside the app's."""
    with databases.maintenance(settings.postgres) as conn:
        for name, _ in databases.names(conn):
            if name not in (*worlds.OTHERS, settings.postgres.database):
                databases.drop(conn, name)


def kept_lost(settings: Settings) -> None:
    worlds.undo_there(settings)
    drop_others(settings)


def paused(settings: Settings) -> None:
    worlds.set_up(settings)
    holder = next(state.holder for state in engines.look(settings) if state.service == "postgres")
    os.kill(int(holder.removeprefix("pid ")), signal.SIGSTOP)


LONDO = "(SELECT uuid FROM users WHERE handle = 'londo')"
GONE = sql("DELETE FROM activities; DELETE FROM users")
ROW_OF_NOBODY = sql("INSERT INTO users (display_name, handle, email, cognito_user_id) VALUES ('G', 'gone', '', '')")
LONDO_GONE = sql(f"DELETE FROM activities WHERE user_uuid = {LONDO}; DELETE FROM users WHERE handle = 'londo'")
TWICE = sql(
    "INSERT INTO users (display_name, handle, email, cognito_user_id)"
    " SELECT display_name, handle, 'x' || email, 'MOCK' FROM users WHERE handle = 'londo'"
)
UNKNOWN_GROUP = "11111111-2222-3333-4444-555555555555"
UNKNOWN = "no user has the handle|nobody"

TOMAS = next(str(person.uuid) for person in PEOPLE if person.handle == "tomas")
REPAIR = "tasks/localenv/environment/check:_repair: check --repair …"

ROWS = [
    row("tasks/root:START_ALL: env.up", worlds.down, "status", "stopped", "env.up"),
    row("tasks/root:START_ALL: initial-setup", worlds.destroyed, "status", "stopped", "initial-setup"),
    row("tasks/localenv/postgres/connection:_connection_error: db.setup", worlds.no_database, "status", "does not",
        "db.setup"),
    row("tasks/localenv/postgres/connection:server_error: db.setup", sql("DROP TABLE users CASCADE"), "check",
        "relation .* does not exist", "db.setup"),
    row("tasks/localenv/environment/status:_dynamodb: ddb.schema-load",
        worlds.table_missing, "status", "does not exist",
        "ddb.schema-load"),
    row("tasks/localenv/environment/status:_dynamodb: ddb.schema-load --replace", half_replaced, "status",
        "half replaced", "ddb.schema-load --replace"),
    row("tasks/localenv/environment/status:_pool: cognito.seed", no_pool, "status", "does not exist yet",
        "cognito.seed"),
    row("tasks/localenv/environment/status:_postgres: db.setup",
        worlds.schema_changed, "status", "changed since", "db.setup"),
    row("tasks/localenv/postgres/decision:require_agreement: …", worlds.schema_changed, "initial-setup",
        "kept as it is", "db.setup"),
    row("tasks/localenv/postgres/decision:ACCEPT: db.schema-load --accept", worlds.schema_changed, "initial-setup",
        "kept as it is", "db.schema-load --accept"),
    row("tasks/localenv/postgres/migrating:_acceptable: db.setup", worlds.empty_database, "db.schema-load --accept",
        "nothing to accept", "db.setup"),
    row("tasks/localenv/postgres/migrating:_newest: db.migrate --plan", worlds.set_up, "db.rollback --confirm cruddur",
        "no migration is applied", "db.migrate --plan", "no sql/migrations"),
    row("tasks/localenv/environment/check:link_cases: cognito.sync-ids", worlds.unlinked, "check", "in the pool",
        "cognito.sync-ids"),
    row("tasks/localenv/environment/check:_case_of_row: cognito.seed",
        worlds.user_missing, "check", "no pool user has this",
        "cognito.seed"),
    row("tasks/localenv/environment/check:SEED: db.seed --force", LONDO_GONE, "check", "pool user .*londo",
        "db.seed --force"),
    row("tasks/localenv/environment/check:WITHOUT_THEM: db.setup --force", ROW_OF_NOBODY, "check",
        "no pool user has this", "db.setup --force"),
    row("tasks/localenv/environment/check:ADD_SIGNED_UP: cognito.sync-ids --create", signed_up, "check",
        "no user in the database has the handle 'newcomer'", "cognito.sync-ids --create"),
    row("tasks/localenv/cognito/seed:ANEW: cognito.seed --force", other_shape_alone, "cognito.seed",
        "the pool was made before", "cognito.seed --force"),
    row("tasks/localenv/cognito/seed:require_yes: cognito.seed --force --yes", other_shape, "cognito.seed --force",
        "another pool loses 1 user who signed up", "cognito.seed --force --yes"),
    row("tasks/localenv/environment/check:SEED: db.seed --force", LONDO_GONE, "check", "but not in the database",
        "db.seed --force"),
    row("tasks/localenv/environment/check:FOLLOW: ddb.stream --once", group_row_missing, "check", "no group row",
        "ddb.stream --once"),
    row(REPAIR, old_seed, "check", "103 of .* with a time in the future", "check --repair future"),
    row(REPAIR, messages_like(*(f"2999-01-01T00:0{minute}:00.000000+00:00" for minute in range(6))), "check",
        "6 of .* with a time in the future", "check --repair future"),
    row(REPAIR, messages_like("2026-01-01T12:59:00.000000+01:00"), "check", "another offset", "check --repair offset"),
    row(REPAIR, messages_like("2026-01-01T12:59:00Z", "yesterday"), "check", "that the app cannot read",
        "check --repair unreadable"),
    row(REPAIR, messages_like("2026-01-01T12:59:00.000000+00:00", message_group_uuid=UNKNOWN_GROUP), "check",
        "it shows among the groups", "check --repair listed"),
    row(REPAIR, messages_like("2026-01-01T12:59:00.000000+00:00", user_uuid=TOMAS), "check",
        "is not in it", "check --repair members"),
    row(REPAIR, messages_like("2026-01-01T12:59:00.000000+00:00", pk=f"MSG#{UNKNOWN_GROUP}"), "check",
        "nor do they tell which two", "check --repair unfound"),
    row(REPAIR, cut_short, "check", "cut short", "check --repair claims"),
    row(REPAIR, stray_item, "check", "neither a message", "check --repair strays"),
    row(REPAIR, sql(f"UPDATE users SET uuid = '{UNKNOWN_GROUP}' WHERE handle = 'bayko'"), "check",
        "named by .*, but .* in the database", "check --repair former-users"),
    row("tasks/localenv/cognito/sync:_require_pairs: cognito.list-users",
        sql("UPDATE users SET handle = 'x' || handle"), "cognito.sync-ids", "none of", "cognito.list-users", "londo"),
    row("tasks/localenv/cognito/matching:about_row: db.setup --force", TWICE, "check", "rows have this handle",
        "db.setup --force"),
    row("tasks/localenv/cognito/users:find_pool: cognito.seed", no_pool, "check", "no user pool called",
        "cognito.seed"),
    row("tasks/localenv/dynamodb/client:__init__: ddb.schema-load", worlds.table_missing, "ddb.scan", "does not exist",
        "ddb.schema-load"),
    row("tasks/localenv/dynamodb/client:__init__: ddb.list-tables", worlds.table_missing, "ddb.scan", "does not exist",
        "ddb.list-tables", "no tables"),
    row("tasks/ddb/tables:list_tables: ddb.schema-load", worlds.table_missing, "ddb.list-tables", "no tables",
        "ddb.schema-load"),
    row("tasks/localenv/dynamodb/schema/__init__:refuse_half_replaced: ddb.schema-load --replace", half_replaced,
        "ddb.scan", "half replaced", "ddb.schema-load --replace"),
    row("tasks/localenv/dynamodb/schema/__init__:refuse_replacements: …", worlds.table_of_another_key,
        "ddb.schema-load", "cannot change that in place", "ddb.schema-load --replace"),
    row("tasks/localenv/dynamodb/schema/replacement:_usable_copy: ddb.drop …", half_made_copy,
        "ddb.schema-load --replace --yes", "does not exist, but", "ddb.drop"),
    row("tasks/localenv/environment/why:_cases: cognito.seed",
        no_pool, "why londo", "user pool: does not exist", "cognito.seed"),
    row("tasks/localenv/environment/why:_cases: db.seed --force",
        LONDO_GONE, "why londo", "not in the database with uuid",
        "db.seed --force"),
    row("tasks/localenv/environment/why:_not_found: cognito.list-users",
        worlds.set_up, "why zzz", "not found", "cognito.list-users",
        "londo"),
    row("tasks/localenv/postgres/decision:due_seeds: db.seed --force", worlds.seed_changed, "db.seed", "applied before",
        "db.seed --force"),
    row("tasks/localenv/postgres/decision:due_seeds: db.reset", worlds.seed_changed, "db.seed", "applied before",
        "db.reset"),
    row("tasks/localenv/postgres/load:_run: db.setup --force", worlds.schema_changed, "db.schema-load",
        "relation .* already exists", "db.setup --force"),
    row("tasks/localenv/postgres/load:_run: db.reset", worlds.schema_changed, "db.schema-load",
        "relation .* already exists", "db.reset"),
    row("tasks/localenv/snapshot/save:NOTHING: initial-setup", worlds.nothing, "snapshot.save one", "no database",
        "initial-setup"),
    row("tasks/localenv/dynamodb/copies:_save_definition: ddb.describe … --as-file", worlds.table_that_cannot_be_saved,
        "snapshot.save one", "a definition does not keep GlobalSecondaryIndexes.0..WarmThroughput",
        "ddb.describe cruddur-messages --as-file", "a table file cannot say GlobalSecondaryIndexes.0..WarmThroughput"),
    row("tasks/localenv/snapshot/shelf:_hint_for_missing: snapshot.save …", worlds.set_up, "snapshot.restore one --yes",
        "no snapshot", "snapshot.save one"),
    row("tasks/localenv/snapshot/undoing:_require_database: undo --list", kept_lost, "undo --yes", "which had the old",
        "undo --list", "database cruddur"),
    row("tasks/localenv/snapshot/restore:_lost: snapshot.delete … --confirm …", clone_lost,
        "snapshot.restore one --yes", "its clone is not", "snapshot.delete one --confirm one"),
    row("tasks/env:export: env.up", worlds.down, "env.export", "not all services run", "env.up"),
    row("tasks/ddb/conversations:_no_conversation: ddb.send-message --as … --to … --text Hello", worlds.set_up,
        "ddb.get-conversation --as londo --with bayko", "have no conversation", "ddb.send-message"),
    row("tasks/ddb/conversations:_no_conversation: ddb.list-conversations --as …", worlds.set_up,
        f"ddb.get-conversation --as londo --group {UNKNOWN_GROUP}", "is not in group",
        "ddb.list-conversations", "consumed|no"),
    row("tasks/ddb/conversations:_way_to_send: ddb.list-conversations --as … --format json", worlds.set_up,
        f"ddb.send-message --as londo --group {UNKNOWN_GROUP} --text Hi", "nothing was sent", "ddb.list-conversations",
        '"status": "ok"'),
    row("tasks/_run:require_name: … …", worlds.snapshot_there, "snapshot.delete one", "nothing brings that back",
        "snapshot.delete --name one --confirm one"),
    row("tasks/_run:require_yes: … …", worlds.set_up, "db.drop", "answer was not yes", "db.drop --yes"),
    row("tasks/localenv/engines/__init__:choose: env.down --engine …", worlds.set_up, "doctor --engine docker",
        "run under the engine embedded", "env.down --engine embedded"),
    row("tasks/localenv/hints:START: env.up", paused, "doctor", "is paused", "env.up"),
    row("tasks/localenv/cognito/tokens:sign_in: cognito.set-password …", other_password, "cognito.token bayko",
        "the pool refuses bayko", "cognito.set-password bayko"),
    row("tasks/localenv/cognito/tokens:_find_user: cognito.list-users", worlds.set_up, "cognito.token zzz",
        "nobody in the pool", "cognito.list-users", "londo"),
    row("tasks/db/looking:_what_to_dump: db.dump --file dump.sql", worlds.set_up, "db.dump", "wants a file",
        "db.dump --file dump.sql", "bytes in dump.sql"),
    row("tasks/localenv/postgres/handles:find_users: db.seed", GONE,
        "ddb.list-conversations --as londo", "it has no users", "db.seed"),
    row("tasks/localenv/postgres/handles:_way_out: db.seed --force", LONDO_GONE, "ddb.seed --force", UNKNOWN,
        "db.seed --force"),
]  # fmt: skip
"""Alphabetical order is of no use here: those of one state stand together where they can."""


def made(error: BaseException) -> str:
    assert isinstance(error, LocalEnvError)
    return error.hint


def no_users() -> str:
    """What db.setup keeps from happening on local data: a database without users."""
    with pytest.raises(LocalEnvError) as caught:
        sync._require_pairs(sync.Comparison(Pool("p", None), {}, 0, Match((), (), ())))  # type: ignore[arg-type]
    return caught.value.hint


SHOWN: dict[str, Callable[[], str] | str] = {
    "tasks/localenv/hints:RESTART: env.restart": lambda: RESTART,
    "tasks/localenv/hints:LOGS: env.logs": lambda: advised(
        ServiceFailed("x", hint=START), Situation((("env.up", ()),))
    ),
    "tasks/localenv/hints:DOCTOR: doctor": lambda: connection.LOCAL_HINT,
    "tasks/_advice:_fitting: env.restart": lambda: fitting(START, Situation((("check", ()),), all_run=lambda: True)),
    "tasks/localenv/postgres/connection:HINTS: db.sessions": lambda: connection.HINTS["55P03"],
    "tasks/localenv/postgres/connection:HINTS: db.sessions --kill": lambda: connection.HINTS["55P03"],
    "tasks/localenv/postgres/sqlhints:HINTS: db.connect": lambda: sqlhints.HINTS["25001"],
    "tasks/localenv/engines/embedded/postgres:HINT: env.destroy": lambda: embedded_postgres.HINT,
    "tasks/localenv/engines/emulator:HINT: env.destroy": lambda: emulator.HINT,
    "tasks/localenv/engines/__init__:LOST: initial-setup": lambda: engines.LOST,
    "tasks/localenv/engines/docker/databaseserver:FORMER_LOGIN: env.destroy": lambda: docker_postgres.FORMER_LOGIN,
    "tasks/ddb/stream:_given_up: ddb.stream --once": lambda: made(given_up({"g": "no row"}, "one")),
    "tasks/localenv/environment/repairing:failure: check --repair …": "tests/environment/test_repairing.py",
    "tasks/localenv/cognito/sync:_require_pairs: db.seed --force": lambda: no_users(),
    "tasks/localenv/production/rds/instances:UPDATE: rds.update-sg-rule": lambda: instances.UPDATE,
    "tasks/localenv/machine/uncaught:_of_library: status": lambda: made(uncaught.understood(ConnectionResetError())),
    "tasks/localenv/engines/docker/composemessages:RULES: env.up": lambda: made(
        docker_messages.explain(["Cannot connect to the Docker daemon"])
    ),
    "tasks/localenv/engines/docker/composemessages:ended: env.up": lambda: made(
        docker_messages.ended("x", docker_messages.Ending(oom_killed=True))
    ),
    "tasks/localenv/environment/status:_postgres: db.migrate": "tests/commands/test_db_migrations.py",
    "tasks/localenv/postgres/decision:MIGRATE: db.migrate": "tests/commands/test_db_migrations.py",
    "tasks/localenv/postgres/decision:WRITE: db.new-migration NAME": "tests/commands/test_db_migrations.py",
    "tasks/localenv/dynamodb/files/template:_refuse_answer: ddb.describe … --as-file": "tests/dynamodb/test_tables.py",
    "tasks/db/loading:_asked: db.load people.csv --table users": "tests/commands/test_db.py",
    "tasks/localenv/postgres/load:_hint_for_seed: db.reset": "tests/postgres/test_migrations.py",
    "tasks/localenv/postgres/load:_hint_for_seed: db.setup --force": "tests/postgres/test_migrations.py",
    "tasks/localenv/snapshot/listing:_parked_here: snapshot.delete … --confirm … --engine …": (
        "tests/commands/test_branches.py"
    ),
    "tasks/localenv/snapshot/undoing:_require: undo … --engine …": "tests/engines/docker/test_snapshot_travels.py",
    "tasks/localenv/snapshot/restore:_read: snapshot.restore … --file …": "tests/commands/test_snapshot.py",
    "tasks/localenv/checkout/saved:require_saved: check": "tests/engines/test_emulator_saving.py",
    "tasks/localenv/engines/emulator:require_saved: env.down --yes": "tests/engines/test_emulator_saving.py",
    "tasks/localenv/machine/waiting:error: env.up": "tests/engines/test_paused.py",
    "tasks/localenv/production/rds/rule:require_ids: rds.status": "tests/production/test_rds.py",
    "tasks/localenv/production/audit/report:_describe: ddb.list-tables --target prod": "tests/production/test_audit.py",
    "tasks/_run:_writable_production: … --target prod --confirm …": "tests/commands/test_ddb_prod.py",
    "tasks/localenv/dynamodb/streamreader:_arn: ddb.schema-load": "tests/commands/test_ddb_stream.py",
    "tasks/localenv/engines/docker/start:_name_holder: env.up": "tests/engines/docker/test_failures.py",
    "tasks/localenv/engines/docker/containers:_in_use: env.destroy": "tests/engines/docker/test_failures.py",
    **dict.fromkeys(
        (
            "tasks/_wishes:_require_docker: env.up --adopt --engine docker",
            "tasks/localenv/engines/docker/plaincompose:adopt_hint: env.up --adopt …",
            "tasks/localenv/engines/docker/plaincompose:hint: env.up --adopt",
            "tasks/localenv/engines/docker/takeover:_require_one_folder: env.up --adopt",
            "tasks/localenv/engines/docker/takeover:_require_room: env.destroy",
            "tasks/localenv/engines/docker/takeover:copy: env.destroy",
            "tasks/localenv/engines/docker/takeover:copy: env.up --adopt",
        ),
        "tests/engines/docker/test_plain_compose.py",
    ),
    "tasks/localenv/engines/portclaims:FREE: env.up --ports free": "tests/commands/test_ports.py",
    "tasks/localenv/engines/portclaims:STANDARD: env.up --ports standard": "tests/commands/test_ports.py",
}
"""Hints of what cannot fail here, by the function that makes them or the tests that provoke them."""


@dataclass
class Place:
    """An environment, and the folder where its user stands and types TYPED."""

    environ: dict[str, str]
    folder: Path

    @property
    def settings(self) -> Settings:
        return permitted(read_settings(environ=self.environ))

    def run(self, line: str) -> Finished:
        """Run a line as a shell does, which splits it into words; no hint needs more of a shell than that."""
        assert not set(line) & set("$`;&|<>*?~#"), line
        words = shlex.split(line)
        typed = words.index(TYPED)
        assigned = dict(word.split("=", 1) for word in words[:typed])
        environ = {"LOCALENV_INV": TYPED, **self.environ, **assigned}
        return inv(*words[typed + 1 :], environ=environ, cwd=self.folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    environ = environment(reachable(tmp_path_factory.mktemp("hints")) / "state")
    yield Place(environ, tmp_path_factory.mktemp("typed"))
    engines.destroy(read_settings(environ=environ), quiet)


def commands_in(done: Finished) -> list[str]:
    """Return the commands that an output names, as they are printed."""
    return re.findall(rf"`({TYPED} [^`]+)`", done.stdout + done.stderr)


def follow(place: Place, command: str) -> Finished:
    """Run a hint's command; where it asks, run the one that this names."""
    done = place.run(command)
    return place.run(commands_in(done)[-1]) if done.code == 3 else done


@pytest.mark.reliability("hints")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.command}-{row.hint}")
def test_the_command_of_a_hint_removes_the_finding(place: Place, row: Row) -> None:
    row.state(place.settings)
    found = place.run(f"{TYPED} {row.command}")
    told = found.stdout + found.stderr
    assert re.search(row.finding, told), told
    named = [one for one in commands_in(found) if one.startswith(f"{TYPED} {row.hint}")]
    assert named, told
    done = follow(place, named[0])
    assert done.code == 0, f"{named[0]}\n{done.stdout}{done.stderr}"
    if row.tells:
        assert re.search(row.tells, done.stdout + done.stderr), done
        return
    again = place.run(f"{TYPED} {row.command}")
    assert not re.search(row.finding, again.stdout + again.stderr), f"{named[0]} did not help\n{again.stderr}"


@pytest.mark.parametrize("site", SHOWN)
def test_a_hint_of_what_cannot_fail_here_names_its_command(site: str) -> None:
    source, words = SHOWN[site], site.rpartition(": ")[2]
    literal = words.partition("…")[0].strip()
    if isinstance(source, str):
        assert f"inv {literal}" in (TOOL / source).read_text()
    else:
        assert literal in [shlex.join(command.words) for command in commands_of(source())]


def test_a_statement_that_writes_to_production_is_sent_to_the_command_for_that(place: Place) -> None:
    url = "PROD_CONNECTION_URL=postgresql://u:p@prod.example.com/cruddur"
    refused = place.run(f"{url} {TYPED} db.query 'select 1' --write --target prod")
    assert (refused.code, commands_in(refused)) == (2, [f"{TYPED} db.connect --write --target prod"])


def sites() -> Iterator[tuple[str, list[str]]]:
    """Find every command of a hint in the source: where it is made, with the words that stand there."""
    for top in ("tasks", "ddb"):
        for path in sorted((TOOL / top).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                yield from _sites(node, str(path.relative_to(TOOL).with_suffix("")), "")


def _sites(node: ast.AST, path: str, name: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(node, ast.FunctionDef):
        name = node.name
    if isinstance(node, ast.Assign) and not name and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Command", "Command.of"):
        words = [str(word.value) if isinstance(word, ast.Constant) else "…" for word in node.args]
        yield f"{path}:{name}: {' '.join(words)}", words
    for child in ast.iter_child_nodes(node):
        yield from _sites(child, path, name)


SITES = dict(sites())
OF_THE_MECHANISM = {"tasks/localenv/hints:replaced: …"}
ON_PROD = {"tasks/db/looking:_statement: db.connect --write --target prod"}
"""What a test of its own here holds."""


def test_every_command_of_a_hint_has_a_row() -> None:
    covered = {site for row in ROWS for site in row.sites} | SHOWN.keys() | OF_THE_MECHANISM | ON_PROD
    assert (sorted(SITES.keys() - covered), sorted(covered - SITES.keys())) == ([], [])


@pytest.mark.parametrize("words", [words for words in SITES.values() if words[0] != "…"], ids=" ".join)
def test_a_command_of_a_hint_exists_with_its_options(words: list[str]) -> None:
    known = {flag for context in [ParserContext(args=ns[words[0]].get_arguments())] for flag in context.flags}
    assert {word for word in words if word.startswith("--")} <= known


def test_no_command_stands_in_a_text_as_text() -> None:
    found = []
    for top in ("tasks", "ddb"):
        for path in sorted((TOOL / top).rglob("*.py")):
            tree = ast.parse(path.read_text())
            docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs]
            found += [f"{path.relative_to(TOOL)}:{node.lineno}" for node in texts if "`inv " in str(node.value)]
    assert [place for place in found if not place.startswith("tasks/_output.py:")] == []


@pytest.mark.parametrize(
    ("hint", "now", "shown"),
    [
        (START, Situation((("env.up", ()),)), ""),
        (either(START, "read the log"), Situation((("env.up", ()),)), "read the log"),
        (START, Situation((("check", ()),), all_run=lambda: True), "run `inv env.restart`"),
        (START, Situation((("env.restart", ()),), all_run=lambda: True), ""),
        (Command("env.up", first="start Docker"), Situation((("env.up", ()),)), "start Docker, then run `inv env.up`"),
        (Command("db.seed", "--force"), Situation((("db.seed", ()),)), "run `inv db.seed --force`"),
        (Command("db.seed", "--force"), Situation((("db.seed", ("--force",)),)), ""),
        (START, Situation((("check", ()),), target="prod"), ""),
        (Command("check"), Situation((("why", ()),), target="prod"), "run `inv check --target prod`"),
        (Command("db.setup"), Situation((("db.seed", ()),), engine="docker"), "run `inv db.setup --engine docker`"),
        (
            Command("why", "a", "why", "b"),
            Situation((), engine="docker"),
            "run `inv why a --engine docker why b --engine docker`",
        ),
        ("give another name", Situation((("db.setup", ()),)), "give another name"),
    ],
)
def test_a_hint_fits_what_ran_and_what_runs(hint: str, now: Situation, shown: str) -> None:
    assert fitting(hint, now) == shown


@pytest.mark.parametrize(
    ("error", "name", "shown"),
    [
        (ServiceFailed("x", hint=START), "env.up", "run `inv env.logs` to see what the services say"),
        (UsageError("x", hint=Command("db.setup")), "db.setup", "run `inv doctor` to see what this machine lacks"),
        (ServiceFailed("x", hint=START), "check", "run `inv env.up`"),
        (ServiceFailed("x"), "check", ""),
    ],
)
def test_where_no_command_is_left_the_evidence_is_named(error: LocalEnvError, name: str, shown: str) -> None:
    assert advised(error, Situation(((name, ()),))) == shown
