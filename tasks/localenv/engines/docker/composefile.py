"""The compose file as text: which services it names, where no Docker is asked. For a start, Compose reads it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...machine.folders import TOOL
from ..service import ServiceName

FILE = "docker-compose.yml"
NAMES = ("compose.yaml", "compose.yml", FILE, "docker-compose.yaml")
OVERRIDES = (
    *("compose.override.yml", "compose.override.yaml"),
    *("docker-compose.override.yml", "docker-compose.override.yaml"),
)
"""In the order in which Compose looks for them, and takes the first of either."""
OURS: Mapping[ServiceName, str] = {"postgres": "db", "dynamodb": "dynamodb-local"}
"""The services of ours that it has, and what they are called in the tool's own."""
IMAGES: Mapping[ServiceName, str] = {
    "postgres": r"(?:.*/)?(?:postgres|postgresql|postgis|pgvector|timescaledb(?:-ha)?)(?:[:@].*)?",
    "dynamodb": r"(?:.*/)?dynamodb-local(?:[:@].*)?",
}
"""The images of their servers, which show what a service is that an app calls otherwise."""


def paths(root: Path) -> list[Path]:
    """Return the app's file, or the tool's own where it has none, and the app's overrides."""
    there = [[root / name for name in names if (root / name).is_file()][:1] for names in (NAMES, OVERRIDES)]
    return [*(there[0] or [TOOL / FILE]), *there[1]]


def read_names(root: Path) -> dict[ServiceName, str]:
    """Return what the file calls our services: by the name, else the first by its image. Without those it lacks."""
    images = {name: str(service.get("image", "")) for name, service in read_services(root).items()}
    found: dict[ServiceName, str] = {}
    for service, name in OURS.items():
        of_image = (one for one, image in images.items() if re.fullmatch(IMAGES[service], image))
        if name := name if name in images else next(of_image, ""):
            found[service] = name
    return found


def read_others(root: Path) -> list[str]:
    """Return the services that start with ours: those without a profile. Empty where the file cannot be read."""
    ours = read_names(root).values()
    return [name for name, service in read_services(root).items() if name not in ours and not service.get("profiles")]


def read_project(root: Path) -> str:
    """Return the name that the files give their project; empty without one, or for one with variables."""
    given = [str(document.get("name") or "") for document in _documents(root) if isinstance(document, dict)]
    return next((name for name in reversed(given) if re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name)), "")


def read_services(root: Path) -> dict[str, dict[str, Any]]:
    """Return the services of the file and its overrides. A file that cannot be read has none: Compose says why."""
    found: dict[str, dict[str, Any]] = {}
    for document in _documents(root):
        with suppress(ValueError, TypeError, KeyError):
            services = document["services"]
            found.update({str(name): {**found.get(str(name), {}), **(services[name] or {})} for name in services})
    return found


def _documents(root: Path) -> Iterator[Any]:
    """Yield the contents of the files that can be read."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Passes over the tags of Compose (!reset, !override)."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    for path in paths(root):
        with suppress(OSError, ValueError, yaml.YAMLError, TypeError, RecursionError):
            yield yaml.load(path.read_bytes(), Loader)
