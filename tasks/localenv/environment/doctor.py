"""Checks what this machine has and lacks for this project, with a hint for each problem. Repairs nothing."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import LocalEnvError
from ..hints import START
from ..machine.folders import TOOL
from ..machine.parallel import side_by_side
from ..machine.waiting import AWAY_LOOK_S, LOOK_S, looking, within
from ..settings.variables import PORT_VARIABLES

if TYPE_CHECKING:
    from ..settings import Settings

Level = Literal["ok", "warn", "FAIL"]

OLDEST_PYTHON = (3, 10)
DISK_NEEDED_BYTES = 300 * 1024**2
"""A new environment takes 160 MB: a PostgreSQL cluster and, for root, a copy of its programs; plus logs and WAL."""
DISK_WARN_BYTES = 1024**3
SLOW_TO_COMPILE = ("invoke", "botocore", "psycopg")


@dataclass(frozen=True)
class Finding:
    """The result of one check. `FAIL` blocks the local environment; `hint` says what to do about a warn or FAIL."""

    subject: str
    level: Level
    text: str
    hint: str = ""

    @classmethod
    def of(cls, subject: str, error: LocalEnvError) -> Finding:
        return cls(subject, "FAIL", error.message, error.hint)

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(settings: Settings) -> list[Finding]:
    """Check everything that the target and the engine of these settings need. Takes about a second.

    For --target prod, tries the credentials and the database over the network, without writing.
    """
    from .. import engines  # noqa: F401 - before the threads: concurrent imports see half-initialized modules

    parts = [("settings", _settings), ("folder", _folder), ("disk", _disk)]
    parts += [("engine", _engine), ("ports", _ports), ("ports", _notices), ("java", _java)] if settings.is_local else []
    parts += [("aws", _aws), *([("database", _database)] if not settings.is_local else [])]
    jobs = [_guarded(subject, part, settings) for subject, part in parts]
    return [*examine_python(), *(finding for found in side_by_side(jobs) for finding in found)]


def examine_without_settings(error: LocalEnvError) -> list[Finding]:
    """Check what does not need the settings, which cannot be read because of `error`."""
    hint = error.hint or "correct it in .env or in the environment"
    return [*examine_python(), Finding("settings", "FAIL", error.message, hint)]


def examine_python(root: Path = TOOL) -> list[Finding]:
    """Check Python and the installed packages, which needs no settings."""
    return [*_python(), *_packages(root / "requirements.txt"), *_bytecode()]


def has_failure(findings: list[Finding]) -> bool:
    """Return whether a finding blocks the local environment."""
    return any(finding.level == "FAIL" for finding in findings)


def _guarded(
    subject: str, part: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> Callable[[], list[Finding]]:
    def job() -> list[Finding]:
        try:
            with looking(LOOK_S if settings.is_local else AWAY_LOOK_S):
                return list(part(settings))
        except LocalEnvError as error:
            return [Finding.of(subject, error)]

    return job


def _python() -> Iterator[Finding]:
    text = f"Python {platform.python_version()} in {sys.prefix}"
    if sys.version_info >= OLDEST_PYTHON:
        yield Finding("python", "ok", text)
    else:
        yield Finding("python", "FAIL", f"{text} is too old", "install Python 3.10 or newer, and remove .venv")


def _packages(lock: Path) -> Iterator[Finding]:
    """Compare the installed packages with the lock file, which may list a name twice, for different Pythons."""
    from importlib.metadata import PackageNotFoundError, version

    wanted: dict[str, set[str]] = {}
    for name, release, rest in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)([^\n]*)", lock.read_text(), re.MULTILINE):
        if "win32" not in rest:
            wanted.setdefault(name, set()).add(release)
    problems = []
    for name, releases in wanted.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            if len(releases) == 1 and not _is_conditional(name, lock):
                problems.append(f"{name} is not installed")
            continue
        if found not in releases:
            problems.append(f"{name} {found}, but the lock file has {' or '.join(sorted(releases))}")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        yield Finding(
            "packages", "warn", "; ".join(problems[:3]) + more, f"run `pip install -r {lock.name}`, or use ./inv"
        )
    else:
        yield Finding("packages", "ok", f"{len(wanted)} packages as in {lock.name}")


def _is_conditional(name: str, lock: Path) -> bool:
    return re.search(rf"^{re.escape(name)}==[^\n]*;", lock.read_text(), re.MULTILINE) is not None


def _bytecode() -> Iterator[Finding]:
    """Warn of packages without bytecode: Invoke disables writing it, so every command compiles them again."""
    slow = []
    for name in SLOW_TO_COMPILE:
        found = importlib.util.find_spec(name)
        if found and found.origin and not Path(importlib.util.cache_from_source(found.origin)).exists():
            slow.append(Path(found.origin).parent)
    if slow:
        yield Finding(
            "bytecode",
            "warn",
            f"{', '.join(path.name for path in slow)} without compiled bytecode: each command is slower",
            f"run `{sys.executable} -m compileall -q {slow[0].parent}`",
        )


def _settings(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding("settings", "warn", warning, "correct the name in .env, or remove the line")
    if not settings.warnings:
        exists = (settings.root / ".env").is_file()
        yield Finding("settings", "ok", ".env is read" if exists else "no .env: the defaults in .env.example apply")
    endpoint_url = os.environ.get("AWS_ENDPOINT_URL")
    if endpoint_url:
        yield Finding(
            "settings",
            "warn",
            f"AWS_ENDPOINT_URL is set: boto3 and the AWS CLI send every service's calls to {endpoint_url}",
            "rename it to AWS_ENDPOINT_URL_DYNAMODB",
        )


def _folder(settings: Settings) -> Iterator[Finding]:
    place = _existing_parent(settings.state_dir)
    read_only = [
        path for path in (place, settings.state_dir / "lock") if path.exists() and not os.access(path, os.W_OK)
    ]
    if read_only:
        yield Finding(
            "folder",
            "FAIL",
            f"{read_only[0]} is not writable for this user",
            "take it over with chown, or set LOCALENV_STATE_DIR to a folder of yours",
        )
    else:
        yield Finding("folder", "ok", f"{settings.state_dir} is writable")


def _disk(settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(_existing_parent(settings.state_dir)).free
    level: Level = "FAIL" if free < DISK_NEEDED_BYTES else "warn" if free < DISK_WARN_BYTES else "ok"
    hint = (
        "" if level == "ok" else f"free some space, or set LOCALENV_STATE_DIR to another disk ({_size(300)} are needed)"
    )
    yield Finding("disk", level, f"{_size(free // 1024**2)} free at {settings.state_dir}", hint)


def _size(megabytes: int) -> str:
    return f"{megabytes / 1024:.1f} GB" if megabytes >= 1024 else f"{megabytes} MB"


def _existing_parent(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _engine(settings: Settings) -> Iterator[Finding]:
    from ..engines import choose
    from ..engines.docker.preflight import preflight

    docker = preflight(settings)
    embedded = _embedded()
    try:
        chosen = choose(settings)
        yield Finding("engine", "ok", f"{chosen.engine}: {chosen.reason}")
        wanted: str = chosen.engine
    except LocalEnvError as error:
        yield Finding.of("engine", error)
        wanted = settings.engine
    if docker.ok:
        yield Finding("docker", "ok", docker.reason)
    elif wanted == "docker":
        yield Finding("docker", "FAIL", docker.reason, docker.hint)
    else:
        yield Finding("docker", "ok", f"not used: {docker.reason}")
    if embedded.level == "FAIL" and wanted == "docker":
        yield Finding("embedded", "warn", f"{embedded.text} (not used)", embedded.hint)
    else:
        yield embedded


def _embedded() -> Finding:
    """Check that the wheels of the embedded engine are installed and run on this machine."""
    from ..engines.embedded.home import installed_programs
    from ..machine import shell

    try:
        postgres = installed_programs() / "bin" / "postgres"
        result = shell.run([postgres, "--version"], timeout_s=10)
    except (LocalEnvError, OSError) as error:
        return Finding("embedded", "FAIL", str(error), getattr(error, "hint", "") or "use --engine docker")
    if result.code:
        why = (result.stderr or result.stdout).strip().splitlines()
        return Finding(
            "embedded", "FAIL", f"{postgres} does not run: {why[-1] if why else result.code}", "use --engine docker"
        )
    if importlib.util.find_spec("ministack") is None:
        return Finding(
            "embedded", "FAIL", "the Python package ministack is not installed", "run `pip install -r requirements.txt`"
        )
    return Finding("embedded", "ok", f"{result.stdout.strip()} and ministack are installed")


def _ports(settings: Settings) -> Iterator[Finding]:
    from .. import engines

    try:
        seen = {state.service: state for state in engines.look(settings)}
        moves: dict[str, engines.Move] = {move.service: move for move in engines.moves(settings)}
    except LocalEnvError:
        seen, moves = {}, {}  # _engine reports it
    used: dict[int, str] = {}
    for service, variable, host, port in _addresses(settings):
        state = seen.get(service)
        if port in used:
            text = f"{used[port]} and {service} both have port {port}"
            yield Finding("ports", "FAIL", text, f"give {variable} another port in .env")
        elif state and state.status == "failed":
            yield Finding("ports", "warn", f"{service} {host}:{port}: {state.detail or 'failed'}", START)
        elif state and state.status != "stopped":
            yield Finding("ports", "ok", f"{service} {host}:{port}: {state.status}, {state.holder or 'this project'}")
        elif service in moves:
            yield Finding("ports", "ok", f"at the next env.up {moves[service]}")
        else:
            yield _port(service, variable, host, port)
        used[port] = service


def _notices(settings: Settings) -> Iterator[Finding]:
    from .notices import notices

    yield from (Finding(one.about, "warn", one.text, one.hint) for one in notices(settings))


def _port(service: str, variable: str, host: str, port: int) -> Finding:
    from ..machine.ports import require_free

    try:
        require_free(host, port, service=service, variable=variable)
    except LocalEnvError as error:
        return Finding.of("ports", error)
    return Finding("ports", "ok", f"{service} {host}:{port}: free")


def _addresses(settings: Settings) -> Iterator[tuple[str, str, str, int]]:
    """Yield the local addresses: service, variable, host, port."""
    addresses = {"postgres": settings.postgres, "dynamodb": settings.dynamodb, "cognito": settings.cognito}
    for service, address in addresses.items():
        if address and service in settings.services:
            yield service, PORT_VARIABLES[service], address.host, address.port


def _java(settings: Settings) -> Iterator[Finding]:
    if settings.dynamodb_local_jar:
        from ..engines.embedded.dynamodb_jar import require_java

        yield Finding("java", "ok", f"{require_java()} runs {settings.dynamodb_local_jar}")


def _aws(settings: Settings) -> Iterator[Finding]:
    if settings.is_local and settings.cognito:
        yield Finding("aws", "ok", "no credentials are needed: every service is local")
        return
    from ..aws.boto import NETWORK_HINT
    from ..production.caller import describe

    with looking(AWAY_LOOK_S):
        lines = within(AWAY_LOOK_S, "AWS", lambda: describe(settings), hint=NETWORK_HINT)
    yield from (Finding("aws", "ok", line) for line in lines)


def _database(settings: Settings) -> Iterator[Finding]:
    from ..postgres.connection import connect

    with connect(settings.postgres) as connection:
        version = connection.info.parameter_status("server_version")
    yield Finding("database", "ok", f"{settings.postgres}: PostgreSQL {version}")
