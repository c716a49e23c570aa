"""A starting set for an app: the files that this tool reads, written from what the app has. Never over a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..engines.docker import composefile
from ..hints import inv
from ..machine import wholefile
from ..machine.folders import TOOL
from ..settings.addresses import PostgresAddress
from ..settings.parts import ITEMS, SCHEMA, SCHEMA_FILES, TABLES, has

SEED = "seeds/sql/01_seed.sql"
SCHEMA_NAMES = ("schema.sql", "structure.sql", "init.sql", "create_tables.sql", "db.sql")
SEED_NAMES = ("seed.sql", "seeds.sql", "data.sql", "sample_data.sql")
"""What apps call such files, the likeliest first."""
NOT_SEARCHED = {"node_modules", "venv", "site-packages", "__pycache__", "dist", "build", "vendor"}
DEPTH = 4
PORTS = {"postgres": 5432, "dynamodb": 8000}
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?[^}]*\}|(\w+))")
_PORT = re.compile(r"(?:.*:)?(\d+):(\d+)(?:/tcp)?")


@dataclass(frozen=True)
class NewFile:
    """A file to write: its path from the app's folder, its text, and what it was written from."""

    path: str
    text: str
    source: str


def find_files(root: Path) -> list[NewFile]:
    """Return what is missing of the starting set, and can be written from what is there. Changes nothing.

    In a copy or fork of this tool nothing is missing.
    """
    if root == TOOL:
        return []
    wanted: list[Callable[[Path], NewFile | None]] = [_tasks, _dotenv, _schema, _seed]
    found = filter(None, (make(root) for make in wanted))
    return [file for file in found if not (root / file.path).exists()]


def write(root: Path, files: list[NewFile]) -> None:
    """Write the files. Raises as `wholefile.written_new` does, also for one that has come up meanwhile."""
    for file in files:
        (root / file.path).parent.mkdir(parents=True, exist_ok=True)
        wholefile.write_new(root / file.path, file.text)


def missing_lines(root: Path) -> list[str]:
    """Return the lines that an existing .env lacks, where the compose file says what they would be."""
    there = _variables(root)
    return (
        [line for line in _addresses(root) if line.partition("=")[0] not in there] if (root / ".env").exists() else []
    )


def _tasks(root: Path) -> NewFile | None:
    if not TOOL.is_relative_to(root) or (root / "tasks").is_dir():
        return None
    parts = TOOL.relative_to(root).parts
    if not all(part.isidentifier() for part in parts):
        return None
    package = ".".join([*parts, "tasks"])
    return NewFile("tasks.py", f"from {package} import ns  # noqa: F401 - Invoke reads it\n", f"{parts[-1]}/ beside it")


def _dotenv(root: Path) -> NewFile | None:
    lines = _addresses(root)
    source = composefile.paths(root)[0].name
    head = f"# Written by {inv('init')} from {source}. The tool's .env.example has every setting.\n"
    return NewFile(".env", head + "".join(f"{line}\n" for line in lines), source) if lines else None


def _schema(root: Path) -> NewFile | None:
    if any(root.glob(SCHEMA_FILES)):
        return None
    found = _find(root, SCHEMA_NAMES)
    return _including(root, SCHEMA, found) if found else None


def _seed(root: Path) -> NewFile | None:
    found = None if any(root.glob("seeds/sql/*.sql")) else _find(root, SEED_NAMES)
    return _including(root, SEED, found) if found else None


def _including(root: Path, path: str, found: Path) -> NewFile:
    up = "../" * path.count("/")
    name = str(found.relative_to(root))
    quoted = "'" + f"{up}{name}".replace("'", "''") + "'"
    return NewFile(path, f"-- Read from there, which stays the only place to change.\n\\ir {quoted}\n", name)


def _find(root: Path, names: tuple[str, ...]) -> Path | None:
    """Find the likeliest file of these names, the nearest to the root: neither the tool's nor a library's."""
    found = [path for path in _walk(root, DEPTH) if path.name in names and path.stat().st_size]
    return min(found, key=lambda path: (names.index(path.name), len(path.parts), path), default=None)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file():
            yield path
        elif depth and _is_searched(path):
            yield from _walk(path, depth - 1)


def _is_searched(path: Path) -> bool:
    is_hidden = path.name.startswith(".") or path.name in NOT_SEARCHED
    return path.is_dir() and not path.is_symlink() and path != TOOL and not is_hidden


def _addresses(root: Path) -> list[str]:
    """Return the settings that follow from the app's compose file; none without one."""
    if composefile.paths(root)[0].parent != root:
        return []
    services, names, variables = composefile.read_services(root), composefile.read_names(root), _variables(root)
    lines = []
    if "postgres" in names:
        service = services[names["postgres"]]
        given = {name: _filled(value, variables) for name, value in _environment(service).items()}
        user = given.get("POSTGRES_USER") or "postgres"
        database = given.get("POSTGRES_DB") or re.sub(r"\W+", "_", root.name.lower()).strip("_") or user
        port = _published(service, PORTS["postgres"], variables)
        password = given.get("POSTGRES_PASSWORD", "")
        address = PostgresAddress("127.0.0.1", port, user, password, database)
        lines.append(f"CONNECTION_URL={address.url(masked=False)}")
    if "dynamodb" in names:
        port = _published(services[names["dynamodb"]], PORTS["dynamodb"], variables)
        lines.append(f"AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:{port}")
        if not has(root, TABLES, ITEMS):  # else the files say that it is needed
            lines.append(f"LOCALENV_SERVICES={','.join(names)}")
    return lines


def _environment(service: Mapping[str, Any]) -> dict[str, str]:
    """Return a service's variables, which a compose file has as a mapping or as a list."""
    given = service.get("environment") or {}
    if isinstance(given, list):
        given = dict(str(one).split("=", 1) for one in given if "=" in str(one))
    return {str(name): str(value) for name, value in given.items() if value is not None}


def _published(service: Mapping[str, Any], inside: int, variables: Mapping[str, str]) -> int:
    """Return the port of this machine that leads to a port of the service; the same one where none is published."""
    for one in service.get("ports") or []:
        if isinstance(one, dict):
            text = f"{one.get('published', inside)}:{one.get('target', inside)}"
        else:
            text = _filled(str(one), variables)
        found = _PORT.fullmatch(text)
        if found and int(found[2]) == inside:
            return int(found[1])
    return inside


def _filled(text: str, variables: Mapping[str, str]) -> str:
    """Return a value of the compose file with its variables as .env has them, or by their defaults."""
    return _VARIABLE.sub(lambda found: variables.get(found[1] or found[3]) or found[2] or "", str(text))


def _variables(root: Path) -> dict[str, str]:
    from dotenv import dotenv_values

    found = dotenv_values(root / ".env") if (root / ".env").is_file() else {}
    return {name: value or "" for name, value in found.items()}
