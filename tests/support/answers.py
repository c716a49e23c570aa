"""What commands answer with --format json: the lines of a stream, the envelope, and whether docs/schema has them so."""

from __future__ import annotations

import functools
import json
from typing import Any

from jsonschema import Draft202012Validator

from tasks.localenv.machine.folders import TOOL


def answer(stdout: str) -> dict[str, Any]:
    """Return the envelope: the last line."""
    found: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    assert found["schemaVersion"] == 2
    return found


def entries(stdout: str, kind: str) -> list[Any]:
    """Return what the lines of a stream before the envelope hold; all of it is there, and ended well."""
    *lines, _ = stdout.splitlines()
    envelope = answer(stdout)
    assert (envelope["status"], envelope["data"]["count"]) == ("ok", len(lines))
    return [json.loads(line)[kind] for line in lines]


def faults(task: str, stdout: str) -> list[str]:
    """List what the schema of a task does not allow in what it wrote.

    A field that the schema does not name is a fault too: here, not for those who read the answers.
    """
    lines = stdout.splitlines()
    ends = ["schemaVersion" in json.loads(line) for line in lines]
    found = [] if ends and ends.index(True) == len(ends) - 1 else ["the envelope is not the last line, and alone"]
    return found + [error.message for line in lines for error in _validator(task).iter_errors(json.loads(line))]


@functools.cache
def _validator(task: str) -> Any:
    schema = json.loads((TOOL / "docs" / "schema" / f"{task}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(_closed(schema))


def _closed(schema: Any) -> Any:
    """Return a schema that allows no field which it does not name. Conditions only look at some."""
    if isinstance(schema, list):
        return list(map(_closed, schema))
    if not isinstance(schema, dict):
        return schema
    inner = {key: value if key in ("if", "then", "else") else _closed(value) for key, value in schema.items()}
    return {"additionalProperties": False, **inner} if "required" in schema and "properties" in schema else inner
