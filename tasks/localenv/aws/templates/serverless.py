"""Reads a serverless.yml as the CloudFormation template in its `resources`.

Source: Serverless Framework, "AWS Infrastructure Resources": `resources` is a template, or a list of them to merge.
"""

from __future__ import annotations

from typing import Any

from .document import Document, Steps
from .interpolation import Variables

OTHER_SECTIONS = ("provider", "functions", "resources", "plugins", "frameworkVersion", "custom")
SECTIONS = ("Resources", "Parameters", "Mappings", "Conditions")


def is_serverless(data: dict[str, Any]) -> bool:
    """Return whether this is the configuration of a Serverless Framework service, or the resources of one."""
    resources = data.get("resources")
    return ("service" in data and any(name in data for name in OTHER_SECTIONS)) or (
        isinstance(resources, dict) and "Resources" in resources
    )


def template_in(document: Document, variables: Variables) -> Document:
    """Return the template of a service's resources. Raises UsageError if they cannot be read."""
    found: dict[str, Any] = {name: {} for name in SECTIONS}
    origins: dict[Steps, Steps] = {}
    for part, steps in _parts(document, variables):
        for section in SECTIONS:
            entries, inside = _resolve(part.get(section), (*steps, section), variables)
            if entries is None:
                continue
            if not isinstance(entries, dict):
                raise document.error(
                    inside, f"{section} must be an object", hint=f"write {section} as CloudFormation does"
                )
            for name, entry in entries.items():
                if name in found[section]:
                    hint = "define it once; resource extensions are not merged"
                    raise document.error((*inside, name), f"{name} is defined twice", hint=hint)
                found[section][name] = entry
                origins[section, name] = (*inside, name)
    return document.part(found, origins)


def _parts(document: Document, variables: Variables) -> list[tuple[dict[str, Any], Steps]]:
    given, steps = _resolve(document.data.get("resources"), ("resources",), variables)
    entries = (
        [_resolve(entry, (*steps, number), variables) for number, entry in enumerate(given)]
        if isinstance(given, list)
        else [(given, steps)]
    )
    for entry, where in entries:
        if not isinstance(entry, dict | None):
            raise document.error(where, "resources must be an object", hint="write Resources: and its entries below it")
    return [(entry, where) for entry, where in entries if entry]


def _resolve(value: Any, steps: Steps, variables: Variables) -> tuple[Any, Steps]:
    """Return a value, resolved if it is a variable, and its steps."""
    if not isinstance(value, str):
        return value, steps
    found = variables.resolve(value, steps)
    return found.value, found.steps
