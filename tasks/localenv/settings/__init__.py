"""Settings from the environment and .env, read and checked.

The environment wins over .env, .env wins over the default, and an empty value counts as absent. LOCALENV_DOTENV, in
the environment alone, names another file than .env; /dev/null means none.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import LocalEnvError, UsageError
from ..hints import inv
from ..machine.folders import APP, require_app
from ..machine.reading import read_note
from .addresses import Endpoint, PostgresAddress, loopback_host
from .kept import are_fixed, kept_ports
from .parts import left_out
from .variables import ENGINES, LIBPQ_VARIABLES, PORT_VARIABLES, SERVICES, TARGETS, VARIABLES, Variable, checked, choice

if TYPE_CHECKING:
    from dotenv.parser import Binding

    from .guard import Permit

Target = Literal["local", "prod"]


@dataclass(frozen=True)
class Settings:
    """The settings of a run, known before it touches anything. Frozen; one per run.

    `postgres`, `dynamodb` and `cognito` are those of the target: an endpoint is None where AWS's own is meant.
    `movable` names the services whose address is not set: env.up may give them another port, but for those that `fixed`
    names, whose ports the user asked for. `left_out` names those that the app does not need, each with the reason: they
    are neither started nor looked at.
    `prod_postgres`, `prod_reading` (a read-only role) and `prod_account` are production's, whatever the target;
    `workspace_ip` is unparsed. `undo` goes back `undo_keep` commands, with at most `undo_bytes` in all.
    With a `permit`, which only the guard issues, stores open for writing.
    """

    root: Path
    state_dir: Path
    project_id: str
    target: Target
    engine: str
    postgres: PostgresAddress
    dynamodb: Endpoint | None
    cognito: Endpoint | None
    region: str
    access_key: str
    secret_key: str
    message_table: str
    user_pool_id: str
    user_pool_client_id: str
    dynamodb_local_jar: Path | None
    session_token: str = ""
    hook_wait_s: float = 60
    hook_timeout_s: float = 600
    undo_keep: int = 3
    undo_bytes: int = 2_000_000_000
    cors_origins: tuple[str, ...] = ("loopback",)
    prod_postgres: PostgresAddress | None = None
    prod_reading: PostgresAddress | None = None
    prod_account: str = ""
    security_group: str = ""
    security_group_rule: str = ""
    workspace_ip: str = ""
    checkip_url: str = ""
    movable: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    permit: Permit | None = field(default=None, compare=False, repr=False)

    @property
    def is_local(self) -> bool:
        return self.target == "local"

    @property
    def name_of_all(self) -> str:
        """The name that confirms what concerns all stores: the database's, or the folder's of an app without one."""
        return self.postgres.database if "postgres" in self.services else self.root.name

    @property
    def cognito_is_emulated(self) -> bool:
        return self.cognito is not None and "cognito" in self.services

    @property
    def services(self) -> tuple[str, ...]:
        """Name the services that the app needs."""
        return tuple(name for name in SERVICES if not self.why_left_out(name))

    def why_left_out(self, service: str) -> str:
        """Return why a service is left out; empty for one that is not."""
        return dict(self.left_out).get(service, "")

    @property
    def ports(self) -> dict[str, int]:
        """Return the port of each service that runs on this machine."""
        addresses = {"postgres": self.postgres, "dynamodb": self.dynamodb, "cognito": self.cognito}
        return {name: address.port for name, address in addresses.items() if address and name in self.services}

    def with_ports(self, ports: Mapping[str, int]) -> Settings:
        """Return the same settings with these ports, by service."""

        def moved(service: str, address: Any) -> Any:
            return replace(address, port=ports[service]) if address and service in ports else address

        return replace(
            self,
            postgres=moved("postgres", self.postgres),
            dynamodb=moved("dynamodb", self.dynamodb),
            cognito=moved("cognito", self.cognito),
        )


_AS_GIVEN = {
    "engine": "LOCALENV_ENGINE",
    "postgres": "CONNECTION_URL",
    "dynamodb": "AWS_ENDPOINT_URL_DYNAMODB",
    "cognito": "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER",
    "region": "AWS_DEFAULT_REGION",
    "access_key": "AWS_ACCESS_KEY_ID",
    "secret_key": "AWS_SECRET_ACCESS_KEY",
    "session_token": "AWS_SESSION_TOKEN",
    "message_table": "DDB_MESSAGE_TABLE",
    "user_pool_id": "AWS_COGNITO_USER_POOL_ID",
    "user_pool_client_id": "AWS_COGNITO_USER_POOL_CLIENT_ID",
    "prod_account": "PROD_AWS_ACCOUNT_ID",
    "hook_wait_s": "LOCALENV_HOOK_WAIT_S",
    "hook_timeout_s": "LOCALENV_HOOK_TIMEOUT_S",
    "undo_keep": "LOCALENV_UNDO_KEEP",
    "cors_origins": "LOCALENV_CORS_ORIGINS",
    "security_group": "DB_SG_ID",
    "security_group_rule": "DB_SG_RULE_ID",
    "workspace_ip": "GITPOD_IP",
    "checkip_url": "LOCALENV_CHECKIP_URL",
}
"""The fields of Settings that are the value of a variable."""
_BY_NAME = {variable.name: variable for variable in VARIABLES}


def read_settings(
    *, target: str = "local", engine: str = "", root: Path = APP, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read and check every setting. Side effects: none; reads .env and two small files of the state folder.

    Raises UsageError with name and place of a bad value, NotLocal where the local target leaves this machine.
    """
    environ = os.environ if environ is None else environ
    require_app(root)
    choice_of_target = checked("--target", target, choice(*TARGETS))
    dotenv = root / environ.get("LOCALENV_DOTENV", ".env")
    in_file = _read_dotenv(dotenv)
    values = {variable.name: _value(variable, environ, in_file, dotenv) for variable in VARIABLES}
    if engine:
        values["LOCALENV_ENGINE"] = checked("--engine", engine, choice(*ENGINES))
    state_dir = root / values["LOCALENV_STATE_DIR"]
    settings = Settings(
        root=root,
        state_dir=state_dir,
        project_id=project_id(root, state_dir),
        target="local",
        dynamodb_local_jar=values["DYNAMODB_LOCAL_JAR"] or None,
        prod_postgres=values["PROD_CONNECTION_URL"] or None,
        prod_reading=values["PROD_READ_CONNECTION_URL"] or None,
        undo_bytes=values["LOCALENV_UNDO_MB"] * 1_000_000,
        **{field: values[name] for field, name in _AS_GIVEN.items()},
        left_out=left_out(root, values["LOCALENV_SERVICES"]),
        movable=tuple(s for s, name in PORT_VARIABLES.items() if not _given(_BY_NAME[name], environ, in_file)[1]),
        warnings=(
            *_near_misses(in_file, dotenv),
            *_ignored(environ),
            *_regions(environ.get("AWS_REGION") or in_file.get("AWS_REGION"), values["AWS_DEFAULT_REGION"]),
            *_unfinished(state_dir),
        ),
    )
    if choice_of_target == "prod":
        return _for_prod(settings, values["PROD_CONNECTION_URL"], environ, in_file)
    return _for_local(settings, environ, in_file, dotenv)


def project_id(root: Path, state_dir: Path) -> str:
    """Return this checkout's id: its folder's name and a digest of its path, valid in Compose and DynamoDB."""
    slug = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:24] or "project"
    where = str(root) if state_dir == root / ".local" else str(state_dir)
    return f"{slug}-{hashlib.sha256(where.encode()).hexdigest()[:6]}"


def emulated_pool_file(state_dir: Path) -> Path:
    """Return the file where cognito.seed notes the id of the emulated pool, then those of the pools it replaced.

    .env may repeat the id for the app; an outdated one there must not be mistaken for a real pool.
    """
    return state_dir / "user_pool"


def _for_local(settings: Settings, environ: Mapping[str, str], in_file: Mapping[str, str], dotenv: Path) -> Settings:
    def here(name: str, host: str) -> str:
        try:
            return loopback_host(host)
        except LocalEnvError as error:
            error.message = f"{name} in {_place(name, environ, in_file, dotenv)}: {error.message}"
            error.hint = "point it at localhost, or pass --target prod for the production stores"
            raise

    postgres, dynamodb, cognito = settings.postgres, settings.dynamodb, settings.cognito
    assert dynamodb and cognito
    note = emulated_pool_file(settings.state_dir)
    emulated = not settings.user_pool_id or (note.is_file() and settings.user_pool_id in note.read_text().split())
    kept = kept_ports(settings.state_dir, settings.project_id)
    fixed = settings.movable if are_fixed(settings.state_dir, settings.project_id) else ()
    from_aws = f"AWS_COGNITO_USER_POOL_ID names a real pool: users are read from AWS, {settings.user_pool_id}"
    return replace(
        settings,
        fixed=fixed,
        warnings=settings.warnings if emulated else (*settings.warnings, from_aws),
        postgres=replace(postgres, host=here("CONNECTION_URL", postgres.host), is_local=True),
        dynamodb=Endpoint(here("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.host), dynamodb.port),
        cognito=Endpoint(here("AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER", cognito.host), cognito.port)
        if emulated
        else None,
    ).with_ports({service: port for service, port in kept.items() if service in settings.movable})


def _for_prod(
    settings: Settings, postgres: PostgresAddress, environ: Mapping[str, str], in_file: Mapping[str, str]
) -> Settings:
    for name in ("PROD_CONNECTION_URL", "AWS_DEFAULT_REGION"):  # the region's default may not be where production is
        if not _given(_BY_NAME[name], environ, in_file)[1]:
            raise UsageError(
                f"--target prod needs {name}, which is not set", hint="set it in .env or in the environment"
            )
    return replace(settings, target="prod", postgres=postgres, dynamodb=None, cognito=None)


def _read_dotenv(path: Path) -> dict[str, str]:
    """Read NAME=value lines as python-dotenv does. Raises UsageError for a line that it would skip."""
    if not path.is_file():
        return {}
    from dotenv.parser import parse_stream

    try:
        with path.open(encoding="utf-8-sig") as file:
            found = list(parse_stream(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"byte {error.start + 1} is not UTF-8"
        raise UsageError(f"{path.name} cannot be read: {reason}", hint="correct the file") from error
    for binding in found:
        _require_whole(binding, path)
    return {binding.key: binding.value for binding in found if binding.key and binding.value is not None}


def _require_whole(binding: Binding, path: Path) -> None:
    """Raise UsageError unless it is NAME=value. The line may hold a secret, so the message repeats only the name."""
    if not binding.error and (binding.value is not None or binding.key not in _BY_NAME):
        return
    text = binding.original.string.lstrip()
    line = binding.original.line + binding.original.string[: -len(text) or None].count("\n")
    name = re.match(r"(?:export\s+)?(\w+)", text)
    hint = f"write it as {name[1] if name else 'NAME'}=value" + (
        "; close its quote" if re.search(r"=\s*['\"]", text) else ""
    )
    raise UsageError(f"{path.name}:{line}: not a line of the form NAME=value", hint=hint)


def _value(variable: Variable, environ: Mapping[str, str], in_file: Mapping[str, str], dotenv: Path) -> Any:
    name, text = _given(variable, environ, in_file)
    if text:
        return checked(f"{name} in {_place(name, environ, in_file, dotenv)}", text, variable.parse)
    return variable.parse(variable.default) if variable.default else ""


def _given(variable: Variable, environ: Mapping[str, str], in_file: Mapping[str, str]) -> tuple[str, str]:
    """Return under which of its names a variable is set, and its value; two empty strings where it is not."""
    for name in filter(None, (variable.name, variable.formerly)):
        text = (environ.get(name) or in_file.get(name) or "").strip()
        if text:
            return name, text
    return "", ""


def _place(name: str, environ: Mapping[str, str], in_file: Mapping[str, str], dotenv: Path) -> str:
    if environ.get(name):
        return "the environment"
    return f"{dotenv.name}:{_line_of(name, dotenv)}" if in_file.get(name) else "the defaults"


def _line_of(name: str, dotenv: Path) -> int:
    for number, line in enumerate(dotenv.read_text(errors="replace").splitlines(), 1):
        if re.match(rf"\s*(export\s+)?{re.escape(name)}\s*=", line):
            return number
    return 1


def _unfinished(state_dir: Path) -> list[str]:
    """Return a warning for each command that was cut short while it replaced something (snapshot/entries.py)."""
    found = []
    for note in sorted(state_dir.glob("undo/*.open/entry.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            what = f"`{read_note(note)['command']}` is under way or was cut short"
            found.append(f"{what}: run it again, or {inv('undo')} brings back what was there")
    return found


def _ignored(environ: Mapping[str, str]) -> list[str]:
    """Return a warning that names the libpq variables in the environment, which are ignored; nothing if none is set."""
    found = [name for name in LIBPQ_VARIABLES if environ.get(name)]
    return [f"{', '.join(found)}: ignored, the connection URL alone says where and as whom"] if found else []


def _regions(other: str | None, region: str) -> list[str]:
    """Return a warning where SDKs of other languages, which read AWS_REGION, would look elsewhere than boto3."""
    if not other or other == region:
        return []
    return [f"AWS_REGION is {other}, and AWS_DEFAULT_REGION {region}: this tool and boto3 read the latter alone"]


def _near_misses(in_file: Mapping[str, str], dotenv: Path) -> list[str]:
    known = [name for variable in VARIABLES for name in (variable.name, variable.formerly) if name]
    found = []
    for name in in_file:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if name not in known and near:
            found.append(f"{dotenv.name}:{_line_of(name, dotenv)}: {name} is not read; did you mean {near[0]}?")
    return found
