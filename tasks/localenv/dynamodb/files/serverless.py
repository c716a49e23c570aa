"""A serverless.yml as the CloudFormation template in its `resources`.

Source: Serverless Framework, "AWS Infrastructure Resources": `resources` is a template, or a list of templates, which
are put together.
"""

from __future__ import annotations

from typing import Any

from .document import Document, Steps
from .interpolation import Variables

BESIDE = ("provider", "functions", "resources", "plugins", "frameworkVersion", "custom")
SECTIONS = ("Resources", "Parameters", "Mappings", "Conditions")


def is_serverless(data: dict[str, Any]) -> bool:
    """Return whether this is the configuration of a service of the Serverless Framework."""
    return "service" in data and any(name in data for name in BESIDE)


def template_in(document: Document, variables: Variables) -> Document:
    """Return the template that the resources of a service make. Raises UsageError where they cannot be read."""
    found: dict[str, Any] = {name: {} for name in SECTIONS}
    origins: dict[Steps, Steps] = {}
    for part, steps in _parts(document, variables):
        for section in SECTIONS:
            entries, inside = _filled(part.get(section), (*steps, section), variables)
            if entries is None:
                continue
            if not isinstance(entries, dict):
                raise document.error(
                    inside, f"{section} must be an object", hint=f"write {section} as CloudFormation does"
                )
            for name, entry in entries.items():
                if name in found[section]:
                    hint = "write it once; extensions of a resource are not put together here"
                    raise document.error((*inside, name), f"{name} is there twice", hint=hint)
                found[section][name] = entry
                origins[section, name] = (*inside, name)
    return document.part(found, origins)


def _parts(document: Document, variables: Variables) -> list[tuple[dict[str, Any], Steps]]:
    given, steps = _filled(document.data.get("resources"), ("resources",), variables)
    entries = (
        [_filled(entry, (*steps, number), variables) for number, entry in enumerate(given)]
        if isinstance(given, list)
        else [(given, steps)]
    )
    for entry, where in entries:
        if not isinstance(entry, dict | None):
            raise document.error(where, "resources must be an object", hint="write Resources: and its entries below it")
    return [(entry, where) for entry, where in entries if entry]


def _filled(value: Any, steps: Steps, variables: Variables) -> tuple[Any, Steps]:
    """Return a value that may be a variable as what it stands for."""
    if not isinstance(value, str):
        return value, steps
    found = variables.filled(value, steps)
    return found.value, found.steps
