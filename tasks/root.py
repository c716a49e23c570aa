"""The commands without a namespace: the whole environment at once."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from . import _app, _output, cognito, db, ddb, env
from ._graph import READS, REPLACES, WRITES, Exit, Found, StepContext, step
from ._lazy import lazy
from ._words import word_step
from .db.building import CONFIRM
from .localenv.errors import LocalEnvError, PreflightFailed, ServiceFailed, UsageError
from .localenv.hints import Command, commands_of, either, inv
from .localenv.machine.folders import APP
from .localenv.machine.words import counted

if TYPE_CHECKING:
    from . import _hook
    from .localenv.checkout import saved
    from .localenv.engines.service import ServiceState
    from .localenv.environment import check as checking
    from .localenv.environment import doctor as diagnosis
    from .localenv.environment import exports, repairing, starting, stores
    from .localenv.environment import status as overview
    from .localenv.environment import why as explaining
    from .localenv.environment.app import App
    from .localenv.environment.check import Report
    from .localenv.environment.findings import Finding
    from .localenv.environment.status import Status
    from .localenv.machine import shell
    from .localenv.postgres import handles
    from .localenv.postgres.handles import User
    from .localenv.settings import Settings
else:
    _hook = lazy("_hook")
    saved = lazy("localenv.checkout.saved")
    checking = lazy("localenv.environment.check")
    diagnosis = lazy("localenv.environment.doctor")
    overview = lazy("localenv.environment.status")
    exports = lazy("localenv.environment.exports")
    repairing = lazy("localenv.environment.repairing")
    starting = lazy("localenv.environment.starting")
    stores = lazy("localenv.environment.stores")
    explaining = lazy("localenv.environment.why")
    shell = lazy("localenv.machine.shell")
    handles = lazy("localenv.postgres.handles")


def _has_nothing(c: StepContext) -> str | None:
    """Say that there is nothing to hold against each other; whoever types it is told by the body."""
    return None if c.step.typed or cognito.queries(c) or _app.part(c.step.settings) else checking.NOTHING_TO_COMPARE


def _check_arguments(c: StepContext) -> None:
    """Raise UsageError for a limit or a cause that cannot be."""
    limit, cause = c.step.arguments["limit"], c.step.arguments["repair"]
    if limit < 0:
        raise UsageError(f"--limit {limit} is less than nothing", hint="leave it out to see the first ones")
    if cause:
        repairing.require_cause(_app.part(c.step.settings), cause)


def _plan_check(c: StepContext) -> Iterable[str]:
    cause = c.step.arguments["repair"]
    return repairing.plan(*_to_repair(c, c.step.settings), cause, _users(c)) if cause else ()


@step(
    example="inv check --repair future",
    codes={1: "something does not belong together"},
    effect=READS,
    effects={"repair": WRITES},
    pre=[env.up],
    after=[cognito.sync_ids, ddb.seed],
    check=_has_nothing,
    plan=_plan_check,
    inputs=_check_arguments,
    help={
        "limit": "this many findings, and subjects of each, at most (default: 20 findings, 3 subjects)",
        "repair": "repair all items of this cause, as the hint of a finding says",
        "confirm": CONFIRM,
    },
)
def check(c: StepContext, limit: int = 0, repair: str = "", confirm: str = "") -> str:
    """Prove that users, user pool and items belong together."""
    if repair:
        return _repair(c, repair, confirm)
    found = examine(c, limit)
    report = replace(found, findings=tuple(_fitting(c, found.findings)))
    saved.require_saved()
    c.step.emit(report.as_dict())
    if report.total:
        raise failure(report)
    return report.sentence


def _repair(c: StepContext, cause: str, confirm: str) -> str:
    settings, app = _to_repair(c, c.step.writable(c.step.settings.message_table, confirm))
    outcome = repairing.repair(settings, app, cause, _users(c), c.step.say)
    c.step.require_saved()
    c.step.emit(outcome.as_dict())
    if error := outcome.failure():
        raise error
    return outcome.sentence


def _to_repair(c: StepContext, settings: Settings) -> tuple[Settings, App]:
    app = _app.part(settings)
    assert app, "inputs asked for it"
    return settings, app


def _users(c: StepContext) -> list[User]:
    return handles.fetch_everybody(c.step.settings, c.step.settings.root / "sql" / "users" / "names.sql")


def examine(c: StepContext, limit: int = 0, settings: Settings | None = None) -> Report:
    settings = settings or c.step.settings
    shown = {"at_most": limit, "subjects": limit} if limit else {}
    return checking.examine(settings, _app.part(settings), cognito.queries(c), cognito.people(c), **shown)


def failure(report: Report) -> LocalEnvError:
    return LocalEnvError(
        f"{report.counted}: users, user pool and items do not belong together",
        hint="run the command below each finding",
        evidence=report.lines(),
    )


def _fitting(c: StepContext, findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with their commands as they fit this run, and as this user types them."""
    found = []
    for one in findings:
        fix = c.step.fitting(one.fix)
        commands = tuple(_output.as_typed(command.shown).strip("`") for command in commands_of(fix))
        found.append(replace(one, fix=_output.as_typed(fix), commands=commands))
    return found


@step(example="inv status", codes={4: "a service is down"}, effect=READS)
def status(c: StepContext) -> None:
    """Show services, data and freshness; exit 4 when a service is down."""
    settings = c.step.settings
    seen = overview.examine(settings, _app.part(settings), lambda: _uuids(c), lambda: ddb.tables.files_of(c))
    problems = (replace(one, hint=_output.as_typed(c.step.fitting(one.hint))) for one in seen.problems)
    found = replace(seen, problems=tuple(problems))
    c.step.emit({"target": c.step.settings.target, **found.as_dict()}, lambda: _shown(c, found))
    if found.is_down:
        down = [state.service for state in found.services if state.is_down]
        down += [problem.store for problem in found.problems if problem.is_down]
        raise Found(ServiceFailed(f"{', '.join(dict.fromkeys(down))} not running", hint=START_ALL))


def _uuids(c: StepContext) -> list[str]:
    return [str(person.uuid) for person in cognito.people(c)]


HEADINGS = ("SERVICE", "STATUS", "ADDRESS", "VERSION", "")
START_ALL = either(Command("env.up", when="to start what is down"), Command("initial-setup", when="for all of it"))


def _row(s: ServiceState) -> tuple[str, ...]:
    return s.service, s.status, s.address, s.version, _output.as_typed(s.detail)


def _shown(c: StepContext, found: Status) -> list[str]:
    parts = [
        [*_output.table((_row(state) for state in found.services), HEADINGS), *_app.left_out(c)],
        _output.table((vars(line).values() for line in found.lines), ("STORE", "WHAT", "HOLDS", "STATE")),
        *([f"{problem.store}: {problem.text}", f"  hint: {problem.hint}"] for problem in found.problems),
    ]
    if any(state.is_down for state in found.services):
        parts.append([_output.as_typed(c.step.fitting(START_ALL))])
    if not found.services and not found.lines:
        parts.append([f"target {c.step.settings.target}: nothing to show"])
    return _output.parted(parts)


@step(
    aggregate=True,
    example="inv initial-setup --hook",
    effect=READS,  # the body itself: it shows, or starts a command that locks
    alone="hook",
    local_only=True,
    pre=[env.up, db.setup, cognito.seed, ddb.schema_load, cognito.sync_ids, ddb.seed, check],
    help={"hook": "for start-up hooks: wait for Docker, keep a log, end with one line"},
)
def initial_setup(c: StepContext, hook: bool = False) -> str | None:
    """Bring everything up: services, database, tables, users, data."""
    if hook:
        _hook.run(c)
        return None
    rows = stores.addresses(c.step.settings)
    c.step.emit({"services": [{"service": name, "address": address} for name, address in rows]}, _output.table(rows))
    ways = {"postgres": "db.connect", "cognito": "cognito.list-users"}
    shown = ["status", *(way for service, way in ways.items() if service in c.step.settings.services)]
    return f"ready; look around with {', '.join(map(inv, shown))}"


def _plan_reset(c: StepContext) -> list[str]:
    c.step.require_database()
    return [
        f"remove {thing}"
        for thing in stores.removed_by_reset(c.step.settings, cognito.people(c), ddb.tables.files_of(c))
    ]


@step(
    example="inv reset --yes",
    effect=REPLACES,
    local_only=True,
    pre=[env.up],
    plan=_plan_reset,
    help={"yes": "do not ask", "confirm": CONFIRM},
)
def reset(c: StepContext, yes: bool = False, confirm: str = "") -> str:
    """Put the data of all stores back to the seeds, after a question."""
    c.step.require_yes(_plan_reset(c), yes=yes)
    settings = c.step.writable_database(confirm)
    return stores.reset(
        settings,
        people=cognito.people(c),
        queries=cognito.queries(c),
        tables=ddb.tables.files_of(c),
        prepare=lambda conn: ddb.seeds.for_reset(c, settings, conn),
        say=c.step.say,
        yes=bool(confirm),
    )


@step(example="inv doctor", codes={6: "something is missing here"}, effect=READS)
def doctor(c: StepContext) -> None:
    """Test what this machine has and lacks, and name each remedy."""
    try:
        findings = diagnosis.examine(c.step.settings)
    except LocalEnvError as error:
        findings = diagnosis.examine_without_settings(error)
    findings = [replace(one, hint=_output.as_typed(c.step.fitting(one.hint))) for one in findings]
    rows: list[_output.Row] = []
    for f in findings:
        rows.append((f.level, f.subject, _output.as_typed(f.text)))
        rows += [f"{'':<16}hint: {f.hint}"] if f.hint else []
    c.step.emit([finding.as_dict() for finding in findings], lambda: _output.table(rows))
    if diagnosis.has_failure(findings):
        first = next(one for one in findings if one.level == "FAIL")
        raise Found(PreflightFailed(f"{first.subject}: {first.text}", hint=first.hint))


def _id_to_explain(c: StepContext) -> str:
    return explaining.require_id(c.step.arguments["name"] or "")


@word_step(
    example="inv why andrewbrown",
    values={"name": "handles"},
    effect=READS,
    pre=[env.up],
    inputs=_id_to_explain,
    word="name",
    needed=True,
    help={"name": "a handle, uuid, sub, e-mail address, or any other id in the stores"},
)
def why(c: StepContext, name: str | None = None) -> None:
    """Explain an id across the stores, and whether they agree on it."""
    found = explaining.explain(
        c.step.settings, _app.part(c.step.settings), cognito.queries(c), cognito.people(c), name or ""
    )
    facts = _output.table((fact.store, fact.what, fact.text) for fact in found.facts)
    found.findings = _fitting(c, found.findings)
    verdict = [line for finding in found.findings for line in finding.lines()]
    c.step.emit(found.as_dict(), _output.parted([[found.sentence], facts, verdict or ["all of this agrees"]]))


def _plan_init(c: StepContext) -> list[str]:
    return [f"write {file.path}, from {file.source}" for file in starting.find_files(APP)]


@step(example="inv init --plan", effect=READS, shows=False, local_only=True, plan=_plan_init)
def init(c: StepContext) -> str:
    """Write what this tool reads from what an app has: compose file, schema, seeds. Never over a file."""
    files = starting.find_files(APP)  # no settings are read: .env may be what has to be written
    starting.write(APP, files)
    for file in files:
        c.step.say(f"{file.path} written from {file.source}")
    c.step.note(files=[str(file.path) for file in files])
    for line in starting.missing_lines(APP):
        c.step.say(f".env lacks {line}")
    after = f"look through {'it' if len(files) == 1 else 'them'}, then {inv('doctor')} and {inv('initial-setup')}"
    nothing = "nothing to write: each file is there, or has no source"
    return f"{counted(len(files), 'file')} written; {after}" if files else nothing


def _command(c: StepContext) -> list[str]:
    """Return the words behind --. Invoke joins them, and with that loses where each ends."""
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else shlex.split(c.remainder or "")
    if not words:
        raise UsageError("exec wants a command", hint=f"it stands behind --: {inv('exec', '--', 'pytest', '-x')}")
    return words


@step(
    name="exec",
    example="inv exec -- pytest -x",
    codes={1: "or any other: that of the command"},
    effect=READS,
    local_only=True,
    inputs=_command,
    pre=[env.up, db.setup, cognito.seed, ddb.schema_load, cognito.sync_ids, ddb.seed],
    help={"destroy": "remove the services and all their data afterwards, for CI"},
)
def exec_command(c: StepContext, destroy: bool = False) -> None:
    """Run a command with the app's variables, everything up: exec -- pytest -x."""
    words, stdout = _command(c), sys.stderr if c.step.as_json else None  # the answer alone is on stdout then
    try:
        code = shell.attach(words, env={**os.environ, **exports.variables(c.step.settings)}, stdout=stdout)
    finally:
        remove = shell.inv_command("env.destroy", "--confirm", c.step.settings.name_of_all)
        removed = shell.attach(remove, stdout=stdout) if destroy else 0
    # A command that a signal has ended has its number, as in a shell.
    code = 128 - code if code < 0 else code
    c.step.emit({"command": words, "exitCode": code})
    raise Exit(code=code or removed)
