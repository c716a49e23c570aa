"""Writes docs/schema: a JSON Schema (2020-12) for what each task answers with --format json, made from _answers.py.

python -m tasks._schemas            # write them
python -m tasks._schemas --check    # exit 1 where they are not as this would write them
"""

from __future__ import annotations

import inspect
import json
import sys
import types
from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from . import ns
from ._answers import DATA, NOTES, STREAMS
from ._envelope import SCHEMA_VERSION
from ._graph import Step
from ._shapes import Effects, Error, Graph, Plan, Sentence, Streamed
from ._shapes import Step as StepShape
from .localenv.machine.folders import TOOL

FOLDER = TOOL / "docs" / "schema"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANY_RUN = "inv"
"""The schema of every answer, whatever was typed: of a mistake, or of several tasks at once."""
PRIMITIVES = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
Schema = dict[str, Any]


class Writer:
    """Makes schemas of types, and gathers those of records as definitions."""

    def __init__(self) -> None:
        self.defs: dict[str, Schema] = {}

    def of(self, shape: Any) -> Schema:
        """Return the schema of a type: of JSON's own ones, Literal, list, dict, unions, TypedDicts and dataclasses."""
        if shape is Any:
            return {}
        if shape in PRIMITIVES:
            return {"type": PRIMITIVES[shape]}
        if is_typeddict(shape) or is_dataclass(shape):
            return self._record(shape)
        origin, parts = get_origin(shape), get_args(shape)
        if origin is Annotated:
            return {**self.of(parts[0]), "format": parts[1]}
        if origin is Literal:
            return {"enum": list(parts)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(part) for part in parts]}
        if origin in (list, tuple):
            return {"type": "array", "items": self.of(parts[0])}
        assert origin is dict and parts[0] is str, shape
        return {"type": "object", "additionalProperties": self.of(parts[1])}

    def _record(self, shape: Any) -> Schema:
        if shape.__name__ not in self.defs:
            self.defs[shape.__name__] = {}  # for one that holds itself
            hints = get_type_hints(shape, include_extras=True)
            fields = {name: hints[name] for name in getattr(shape, "__dataclass_fields__", hints)}
            doc = inspect.getdoc(shape) if "__doc__" in vars(shape) else None
            described = {"description": doc.split("\n\n")[0]} if doc and doc != dict.__doc__ else {}
            self.defs[shape.__name__] = {**described, **self.object(fields)}
        return {"$ref": f"#/$defs/{shape.__name__}"}

    def object(self, fields: Mapping[str, Any], required: Iterable[str] | None = None) -> Schema:
        """Return the schema of an object with these fields, all of them required unless it is said which."""
        properties = {name: self.of(value) for name, value in fields.items()}
        return {"type": "object", "properties": properties, "required": list(fields if required is None else required)}

    def data(self, task: str) -> Schema:
        """Return the schema of a task's data: null where it came to none."""
        ways = [self.of(DATA[task])] if task in DATA else []
        beside = NOTES.get(task, {})
        if task in STREAMS:
            ways.append(self.object({"count": int, **beside}, ["count"]) if beside else self.of(Streamed))
        streams = task in STREAMS and STREAMS[task].always
        if not streams and (task not in DATA or task in NOTES):
            ways.append(self.object({"sentence": str, **beside}, ["sentence"]) if beside else self.of(Sentence))
        return {"anyOf": [*ways, self.of(Plan), self.of(Graph), {"type": "null"}]}

    def envelope(self, command: Schema, effects: Iterable[str], data: Schema) -> Schema:
        fields = {"steps": list[StepShape], "warnings": list[str], "undo": list[str]}
        body = self.object(fields, [])
        properties = {
            "schemaVersion": {"const": SCHEMA_VERSION},
            "command": command,
            "effect": {"enum": list(effects)},
            "status": {"enum": ["ok", "error"]},
            "data": data,
            **body["properties"],
            "error": {"anyOf": [self.of(Error), {"type": "null"}]},
        }
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "if": {"properties": {"status": {"const": "ok"}}},
            "then": {"properties": {"error": {"type": "null"}}},
            "else": {"properties": {"error": {"type": "object"}}},
        }


def schema_of(name: str, task: Step) -> Schema:
    """Return the schema of each line that a task writes: of a stream the entries too."""
    writer = Writer()
    effects = dict.fromkeys(["reads", task.effect.word, *(effect.word for effect in task.effects.values())])
    body = writer.envelope({"const": name}, effects, writer.data(name))
    if name in STREAMS:
        kind, value, _ = STREAMS[name]
        body = {"anyOf": [writer.object({kind: value}), body]}
    return _document(f"inv {name} --format json", str(task.__doc__ or "").split("\n")[0], body, writer)


def schema_of_any_run() -> Schema:
    writer = Writer()
    body = writer.envelope({"type": "string"}, get_args(Effects), {})
    return _document("any command with --format json", "What every answer has, a mistake's too.", body, writer)


def _document(title: str, description: str, body: Schema, writer: Writer) -> Schema:
    defs = dict(sorted(writer.defs.items()))
    return {"$schema": DIALECT, "title": title, "description": description, **body, "$defs": defs}


def documents() -> dict[Path, str]:
    """Return each file's text by its path."""
    tasks = {name: ns[name] for name in sorted(ns.task_names)}
    schemas = {name: schema_of(name, task) for name, task in tasks.items() if isinstance(task, Step)}
    schemas[ANY_RUN] = schema_of_any_run()
    return {FOLDER / f"{name}.json": json.dumps(schema, indent=1) + "\n" for name, schema in schemas.items()}


def main(words: list[str]) -> int:
    wanted = documents()
    there = {path: path.read_text() for path in FOLDER.glob("*.json")}
    if "--check" in words:
        stale = sorted(path.name for path in {*wanted, *there} if wanted.get(path) != there.get(path))
        if stale:
            print(f"docs/schema is not as the code says: {', '.join(stale)}; python -m tasks._schemas writes it")
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for path in there.keys() - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
