"""What runs, what the stores hold, and how recent that is. Only reads; a failing store becomes a problem line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..errors import LocalEnvError, ServiceFailed, TimedOut
from ..hints import DOCTOR, Command, inv
from ..machine.ages import ago
from ..machine.parallel import side_by_side
from ..machine.waiting import AWAY_LOOK_S, LOOK_S, looking
from ..machine.words import counted

if TYPE_CHECKING:
    import psycopg

    from ..cognito.users import Pool
    from ..dynamodb.tablefiles import TableFile
    from ..engines.service import ServiceState
    from ..settings import Settings
    from .app import App

Tables = Callable[[], "list[TableFile]"]
"""Returns the table files of the app. Raises UsageError."""
Users = Callable[[], "list[str]"]
"""Returns the uuids of the users whose newest items to find."""

COUNT_UP_TO = 100_000
STATEMENT_TIMEOUT_MS = 5000


@dataclass(frozen=True)
class Line:
    """Something in a store (a table, an applied file, a pool), what it holds, and its state."""

    store: str
    what: str
    holds: str
    state: str = ""


@dataclass(frozen=True)
class Problem:
    """A problem, and the next command. `is_down`: the store does not answer."""

    store: str
    text: str
    hint: str
    is_down: bool = False


@dataclass(frozen=True)
class Status:
    """The status of everything. `services` is empty for the prod target: this tool does not run them."""

    services: tuple[ServiceState, ...]
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    """The services that the app does not use, each with the reason."""

    @property
    def is_down(self) -> bool:
        """Return whether something does not answer."""
        return any(state.is_down for state in self.services) or any(problem.is_down for problem in self.problems)

    def as_dict(self) -> dict[str, Any]:
        services = [state.as_dict() for state in self.services]
        found = {name: [vars(value) for value in getattr(self, name)] for name in ("lines", "problems")}
        return {"services": services, **found, "leftOut": dict(self.left_out)}


Seen = tuple[list["ServiceState"], list[Line], list[Problem]]


def examine(settings: Settings, app: App | None, users: Users, tables: Tables) -> Status:
    """Check the services, then read the stores concurrently.

    Reads a store only if this project's own service runs: another program may have the address.
    """
    parts: dict[str, Callable[[], Seen]] = {
        "postgres": lambda: _postgres(settings),
        "dynamodb": lambda: _dynamodb(settings, app, users, tables),
        "cognito": lambda: _cognito(settings),
    }
    engine = _guarded("engine", lambda: _services(settings))() if settings.is_local else ([], [], [])
    services = engine[0]
    if settings.is_local:
        running = {state.service for state in services if state.status == "running"}
        running |= set() if settings.cognito_is_emulated else {"cognito"}
        parts = {store: part for store, part in parts.items() if store in running}
    parts = {store: part for store, part in parts.items() if store in settings.services}
    with looking(LOOK_S if settings.is_local else AWAY_LOOK_S):
        found = [engine, *side_by_side([_guarded(store, part) for store, part in parts.items()])]
    return Status(
        tuple(services),
        tuple(line for seen in found for line in seen[1]),
        tuple(problem for seen in found for problem in seen[2]),
        settings.left_out,
    )


def _guarded(store: str, part: Callable[[], Seen]) -> Callable[[], Seen]:
    def job() -> Seen:
        try:
            return part()
        except LocalEnvError as error:
            down = isinstance(error, ServiceFailed | TimedOut)
            return [], [], [Problem(store, error.message, error.hint or DOCTOR, down)]

    return job


def _services(settings: Settings) -> Seen:
    from .. import engines

    return [*engines.look(settings), *engines.look_at_others(settings)], [], []


def _postgres(settings: Settings) -> Seen:
    from ..postgres import decision, ledger, scripts
    from ..postgres.connection import connect, server_errors

    with (
        connect(settings.postgres, autocommit=True) as connection,
        server_errors("postgres"),
        looking(LOOK_S + STATEMENT_TIMEOUT_MS / 1000),
    ):
        connection.execute(f"SET statement_timeout = {STATEMENT_TIMEOUT_MS}")
        tables = count_rows(connection)
        observed = ledger.read(connection)
    lines = [Line("postgres", name, _rows(count)) for name, count in tables]
    lines += [Line("postgres", row.path, f"applied {ago(row.age_s)}") for row in observed.applied]
    is_ours = settings.is_local or bool(observed.applied)
    files = scripts.read_scripts(settings) if is_ours else scripts.read_migrations(settings)
    pending = [script.file.name for script in observed.pending(files)]
    lines += [Line("postgres", name, "", "pending") for name in pending]
    drift = decision.differences(files, observed) if is_ours else []
    hint = Command("db.setup", when=f"to rebuild it; the old one is kept for {inv('undo')}")
    problems = [Problem("postgres", ", ".join(drift), hint)] if drift else []
    if pending:
        text = f"{len(pending)} migration{' is' if len(pending) == 1 else 's are'} pending"
        problems.append(Problem("postgres", text, Command("db.migrate")))
    return [], lines, problems


_TABLES = """
SELECT schemaname, tablename FROM pg_tables
 WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname NOT IN ('information_schema', 'localenv')
   AND NOT EXISTS (SELECT FROM pg_depend WHERE deptype = 'e' AND classid = 'pg_class'::regclass
                   AND objid = format('%I.%I', schemaname, tablename)::regclass)
 ORDER BY schemaname <> 'public', 1, 2
"""


def count_rows(connection: psycopg.Connection[Any]) -> list[tuple[str, int]]:
    """Return the row count of each table of the app, up to COUNT_UP_TO + 1, sorted by name: SCHEMA.NAME outside public.

    Not those of an extension (PostGIS has some), nor our own.
    """
    from psycopg import sql

    named = connection.execute(_TABLES).fetchall()
    if not named:
        return []
    one = sql.SQL("SELECT {name}, (SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {limit}) AS counted)")
    parts = [
        one.format(
            name=sql.Literal(name if schema == "public" else f"{schema}.{name}"),
            table=sql.Identifier(schema, name),
            limit=sql.Literal(COUNT_UP_TO + 1),
        )
        for schema, name in named
    ]
    return [(str(name), int(count)) for name, count in connection.execute(sql.SQL(" UNION ALL ").join(parts))]


def _rows(count: int) -> str:
    return f"more than {counted(COUNT_UP_TO, 'row')}" if count > COUNT_UP_TO else counted(count, "row")


def _dynamodb(settings: Settings, app: App | None, users: Users, files: Tables) -> Seen:
    from ..dynamodb.client import connect
    from ..dynamodb.schema import fetch_tables, half_replaced

    client = connect(settings)
    tables = fetch_tables(client)
    names = [table.shape.name for table in tables]
    fresh = ""
    if app and settings.message_table in names:
        fresh = _freshness(app.NEWEST, app.newest(client, settings.message_table, users()))
    lines = [
        Line(
            "dynamodb",
            table.shape.name,
            counted(table.items, "item"),
            ", ".join(filter(None, [table.status, fresh if table.shape.name == settings.message_table else ""])),
        )
        for table in tables
    ]
    hint = Command("ddb.schema-load", "--replace", when="to finish that")
    problems = [Problem("dynamodb", text, hint) for text in half_replaced(tables)]
    if not problems:
        missing = [file.name for file in files() if file.name not in names]
        text = "table {} does not exist"
        problems = [Problem("dynamodb", text.format(name), Command("ddb.schema-load")) for name in missing]
    return [], lines, problems


def _freshness(what: str, at: datetime | None) -> str:
    if at is None:
        return f"no {what}s"
    age_s = (datetime.now(timezone.utc) - at).total_seconds()
    return f"newest {what} {ago(age_s)}" if age_s >= 0 else f"newest {what} is in the future"


def _cognito(settings: Settings) -> Seen:
    from ..cognito.users import look_for_pool

    with looking(LOOK_S if settings.cognito else AWAY_LOOK_S):
        return _pool(look_for_pool(settings), settings)


def _pool(pool: Pool | None, settings: Settings) -> Seen:
    if pool is None:
        return [], [], [Problem("cognito", "the emulated user pool does not exist yet", Command("cognito.seed"))]
    described = pool.call("DescribeUserPool", UserPoolId=pool.id)["UserPool"]
    kind = "emulated" if settings.cognito_is_emulated else "real"
    return [], [Line("cognito", pool.id, counted(described.get("EstimatedNumberOfUsers", 0), "user"), kind)], []
