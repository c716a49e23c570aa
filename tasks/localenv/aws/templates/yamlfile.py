"""Reads YAML files as CloudFormation does, every value with its place.

Source: AWS CloudFormation User Guide, "Template formats": YAML 1.1 without aliases and merge keys; `!Ref x` is short
for `Ref: x`, `!Sub x` for `Fn::Sub: x`, and so on. A date is a string. The SAM CLI and the Serverless Framework resolve
aliases and merge keys before CloudFormation sees them, so their files may have them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...machine.reading import DEPTH, is_deeper, read_text
from .document import Document, Steps

if TYPE_CHECKING:
    import yaml

STANDARD = "tag:yaml.org,2002:"
YAML_BYTES = 1_000_000
"""CloudFormation's limit for templates is 1 MB; the places of all values take several hundred times that in memory."""
OPEN_BRACKETS = 1000
"""Counts brackets in strings too. At each token, the parser goes through all open ones for each of them."""
LONGEST_NUMBER = 40
VALUES = 200_000
"""The most values of a file, with aliases expanded."""
MERGE = f"{STANDARD}merge"
PLAIN = ("bool", "int", "float", "null")
"""Tags of scalars that YAML itself does not read as strings."""


def read_yaml(path: Path, shown: str) -> Document:
    """Read a YAML file. Raises UsageError with the place of what is not YAML, or what CloudFormation refuses."""
    import yaml

    text = read_text(path, shown, at_most=YAML_BYTES)
    if is_deeper(text, OPEN_BRACKETS):
        raise UsageError(f"{shown}: nested too deeply", hint="write it flatter")
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            merges = _resolves_aliases(node)
            if not merges:
                _refuse_aliases(text, shown)
            places: dict[Steps, tuple[int, int]] = {(): (1, 1)}
            data = None if node is None else _Reader(shown, loader, places, merges=merges).value(node, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{shown}:{mark.line + 1}:{mark.column + 1}" if mark else shown
        problem = str(error.problem or error.context)
        raise UsageError(f"{where}: not YAML: {problem}", hint=_hint(problem)) from error
    except yaml.YAMLError as error:
        raise UsageError(f"{shown}: not YAML: {str(error).splitlines()[0]}", hint="save it as UTF-8 text") from error
    except RecursionError as error:
        raise UsageError(f"{shown}: nested too deeply", hint="write it flatter") from error
    return Document(shown, data, lambda: places)


def _refuse_aliases(text: str, shown: str) -> None:
    import yaml

    if "*" not in text:
        return
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            message = f"*{event.anchor} is an alias, which CloudFormation does not accept"
            raise _error(shown, event, message, "replace it with its value")


def _resolves_aliases(node: Any) -> bool:
    """Return whether the file is for a tool that resolves aliases: SAM or the Serverless Framework."""
    if getattr(node, "id", "") != "mapping":
        return False
    top = {key.value: value for key, value in node.value if key.id == "scalar"}
    transform = top.get("Transform")
    entries = transform.value if transform is not None and transform.id == "sequence" else [transform]
    is_sam = any(str(getattr(entry, "value", "")).startswith("AWS::Serverless-") for entry in entries)
    return is_sam or ("service" in top and "provider" in top)


def _hint(problem: str) -> str:
    """Return what to do about a problem of the parser's."""
    if "\\t" in problem:
        return "indent with spaces: YAML does not allow tabs"
    if "another document" in problem:
        return "put each document in a file of its own"
    return "check this line and those around it: indentation, quotes, brackets, a space after each colon"


def _error(shown: str, node: Any, message: str, hint: str) -> UsageError:
    return UsageError(f"{shown}:{node.start_mark.line + 1}:{node.start_mark.column + 1}: {message}", hint=hint)


class _Reader:
    """Converts nodes to values and records their places."""

    def __init__(
        self, shown: str, loader: yaml.SafeLoader, places: dict[Steps, tuple[int, int]], *, merges: bool
    ) -> None:
        self._shown = shown
        self._loader = loader
        self._places = places
        self._merges = merges
        self._left = VALUES

    def value(self, node: yaml.Node, steps: Steps) -> Any:
        if len(steps) > DEPTH:
            raise _error(self._shown, node, f"nested deeper than {DEPTH} levels", "write it flatter")
        self._left -= 1
        if self._left < 0:
            raise _error(self._shown, node, f"aliases expand to more than {VALUES:,} values", "write fewer aliases")
        self._places[steps] = (node.start_mark.line + 1, node.start_mark.column + 1)
        if not node.tag.startswith(STANDARD):
            name = node.tag.lstrip("!")
            if not name:
                return self._content(node, steps)
            function = name if name in ("Ref", "Condition") else f"Fn::{name}"
            return {function: self._content(node, (*steps, function))}
        return self._content(node, steps)

    def _content(self, node: Any, steps: Steps) -> Any:
        if node.id == "sequence":
            return [self.value(entry, (*steps, number)) for number, entry in enumerate(node.value)]
        if node.id == "mapping":
            return self._mapping(node, steps)
        kind = node.tag.removeprefix(STANDARD)
        if kind in PLAIN:
            return self._plain(node, kind)
        return node.value

    def _plain(self, node: Any, kind: str) -> Any:
        try:
            found = self._loader.construct_object(node) if len(node.value) <= LONGEST_NUMBER else math.nan
            if isinstance(found, float) and not math.isfinite(found):
                raise ValueError
        except (ValueError, KeyError, OverflowError) as error:  # `!!int x`, .inf, or too many digits
            raise _error(self._shown, node, f"{node.value[:20]!r} cannot be read as {kind}", "quote it") from error
        return found

    def _mapping(self, node: Any, steps: Steps) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged = []
        for key, value in node.value:
            if key.id != "scalar":
                raise _error(self._shown, key, "a name must be a string", "write a name and a colon")
            if self._merges and key.tag == MERGE:
                merged.append(value)
                continue
            if key.value in found:
                raise _error(self._shown, key, f"{key.value} is defined twice", "remove one of the two")
            found[key.value] = self.value(value, (*steps, key.value))
        for value in merged:
            self._merge(value, found, steps)
        return found

    def _merge(self, node: Any, found: dict[str, Any], steps: Steps) -> None:
        """Add the entries of a merge key, `<<: *other`, that the mapping does not have itself."""
        if node.id == "sequence" and all(entry.id == "mapping" for entry in node.value):
            for entry in node.value:
                self._merge(entry, found, steps)
        elif node.id == "mapping":
            inside = (*steps, "<<")
            for name, value in self.value(node, inside).items():
                if name not in found:
                    found[name] = value
                    here, there = (*steps, name), (*inside, name)
                    self._places[here] = self._places[there]
        else:
            raise _error(self._shown, node, "<< merges a mapping, or a list of them", "write it as <<: *name")
