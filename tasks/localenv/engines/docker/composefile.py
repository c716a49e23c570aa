"""The compose file as text: which services it names, where no Docker is asked. For a start, Compose reads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...machine.folders import TOOL
from ..service import ServiceName

FILES = ("docker-compose.yml", "docker-compose.override.yml", "docker-compose.override.yaml")
OURS: Mapping[ServiceName, str] = {"postgres": "db", "dynamodb": "dynamodb-local"}
"""The services of ours that it has, and what they are called there."""


def paths(root: Path) -> list[Path]:
    """Return the app's file, or the tool's own where it has none, and the app's overrides."""
    found = [root / name for name in FILES if (root / name).is_file()]
    return found if found[:1] == [root / FILES[0]] else [TOOL / FILES[0], *found]


def read_others(root: Path) -> list[str]:
    """Return the services that start with ours: those without a profile. Empty where the file cannot be read."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Passes over the tags of Compose (!reset, !override)."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    found: dict[str, Any] = {}
    for path in paths(root):
        try:
            document = yaml.load(path.read_bytes(), Loader)
            services = document["services"]
            found.update({name: {**(found.get(name) or {}), **(services[name] or {})} for name in services})
        except (OSError, yaml.YAMLError, TypeError, KeyError, RecursionError):
            continue
    return [str(name) for name, service in found.items() if name not in OURS.values() and not service.get("profiles")]
