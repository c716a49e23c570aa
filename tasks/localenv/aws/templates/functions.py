"""Resolves CloudFormation's functions, as far as the template itself allows.

Parameters have their Default, pseudo parameters a local stand-in, conditions and mappings come from the template. What
only the deployed stack knows is an error. Source: AWS CloudFormation Template Reference, "Intrinsic functions",
"Condition functions" and "Pseudo parameters".
"""

from __future__ import annotations

import difflib
import re
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ...errors import UsageError
from .document import Document, Steps
from .interpolation import Variables

STAND_INS: Mapping[str, str] = MappingProxyType(
    {
        "AWS::AccountId": "000000000000",
        "AWS::Partition": "aws",
        "AWS::Region": "us-east-1",
        "AWS::StackId": f"arn:aws:cloudformation:us-east-1:000000000000:stack/local/{uuid.UUID(int=0)}",
        "AWS::StackName": "local",
        "AWS::URLSuffix": "amazonaws.com",
    }
)
"""Values of the pseudo parameters without a stack."""

NO_VALUE = object()
"""The value of `Ref: AWS::NoValue`: a property with it is left out."""

IN_SUB = re.compile(r"\$\{(!?)\s*([^}\s]*)\s*\}")
MAX_VALUES = 1_000_000
"""The most values and characters that a file's functions and variables may produce."""
DEPTH = 110
"""The deepest nesting while resolving: more than a file may have."""
HINT = "write the value itself, or a parameter with a Default"


class Resolver:
    """Resolves the functions in a template's values, and names those that it cannot.

    `origins` maps values in the result of `properties` to their steps in the template.
    """

    def __init__(self, document: Document, stand_ins: Mapping[str, str], variables: Variables) -> None:
        self._document = document
        self._stand_ins = stand_ins
        self._variables = variables
        self._conditions: dict[str, bool | None] = {}
        self._left = MAX_VALUES
        self._depth = 0
        self.origins: dict[Steps, Steps] = {}

    def properties(self, value: Any, steps: Steps) -> Document:
        """Return the resolved properties at `steps`, as a document."""
        self.origins = {(): steps}
        found = self._value(value, steps, ())
        return self._document.part({} if found is NO_VALUE or found is None else found, self.origins)

    def holds(self, name: Any, steps: Steps) -> bool:
        """Return whether a condition of the template is true."""
        conditions = self._section("Conditions")
        if not isinstance(name, str) or name not in conditions:
            raise self._document.error(
                steps, f"no condition {name!r} in Conditions", hint=_nearest(name, conditions) or "define it"
            )
        if name not in self._conditions:
            self._conditions[name] = None
            self._conditions[name] = self._condition(conditions[name], ("Conditions", name))
        found = self._conditions[name]
        if found is None:
            raise self._document.error(steps, f"condition {name} depends on itself", hint="break the cycle")
        return found

    def _section(self, name: str) -> Mapping[str, Any]:
        data = self._document.data
        found = (data.get(name) if isinstance(data, dict) else None) or {}
        if not isinstance(found, dict):
            raise self._document.error(
                (name,), f"{name} must be an object", hint=f"write names and values below {name}"
            )
        return found

    def _spend(self, amount: int, steps: Steps) -> None:
        self._left -= amount
        if self._left < 0:
            raise self._document.error(
                steps,
                f"functions and variables expand to more than {MAX_VALUES:,} values",
                hint="write the value itself",
            )

    def _value(self, value: Any, steps: Steps, at: Steps | None) -> Any:
        """Resolve a value. `at` is its place in the result; None if it is an argument of a function."""
        self._spend(1, steps)
        if self._depth > DEPTH:
            raise self._document.error(
                steps, "functions or variables are nested too deeply", hint="write the value itself"
            )
        self._depth += 1
        try:
            if isinstance(value, str):
                return self._from_text(value, steps, at)
            if isinstance(value, list):
                return self._list(value, steps, at)
            return self._object(value, steps, at) if isinstance(value, dict) else value
        finally:
            self._depth -= 1

    def _object(self, value: dict[str, Any], steps: Steps, at: Steps | None) -> Any:
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name == "Ref" or name.startswith("Fn::") or (name == "Condition" and isinstance(argument, str)):
                return self._function(name, argument, steps, at)
        found = {}
        for name, entry in value.items():
            one = self._value(entry, (*steps, name), None if at is None else (*at, name))
            if one is not NO_VALUE:
                found[name] = one
        return found

    def _list(self, value: list[Any], steps: Steps, at: Steps | None) -> list[Any]:
        found: list[Any] = []
        for number, entry in enumerate(value):
            here, there = (*steps, number), None if at is None else (*at, len(found))
            if there is not None and len(found) != number:
                self.origins[there] = here
            one = self._value(entry, here, there)
            if one is not NO_VALUE:
                found.append(one)
        return found

    def _from_text(self, text: str, steps: Steps, at: Steps | None) -> Any:
        if "{{resolve:" in text:
            raise self._document.error(steps, "{{resolve:…}} has no value here", hint=HINT)
        found = self._variables.resolve(text, steps)
        if found.value is text:
            return text
        self._spend(len(found.value) if isinstance(found.value, str) else 1, steps)
        if isinstance(found.value, str):
            return found.value
        if at is not None:
            self.origins[at] = found.steps
        return self._value(found.value, found.steps, at)

    def _function(self, name: str, argument: Any, steps: Steps, at: Steps | None) -> Any:
        inside = (*steps, name)
        if name == "Ref":
            return self._reference(self._value(argument, inside, None), steps)
        if name == "Fn::If":
            condition, *branches = self._arguments(argument, inside, "Fn::If", 3)
            chosen = 1 if self.holds(condition, (*inside, 0)) else 2
            if at is not None:
                self.origins[at] = (*inside, chosen)
            return self._value(branches[chosen - 1], (*inside, chosen), at)
        functions: Mapping[str, Callable[[Any, Steps], Any]] = {
            "Fn::Sub": self._substitute,
            "Fn::Join": self._join,
            "Fn::Select": self._select,
            "Fn::Split": self._split,
            "Fn::FindInMap": self._find_in_map,
        }
        if name not in functions:
            raise self._document.error(steps, f"{name} cannot be resolved here", hint=HINT)
        return functions[name](argument, inside)

    def _reference(self, name: Any, steps: Steps) -> Any:
        if not isinstance(name, str):
            raise self._document.error(steps, "Ref takes a name", hint="write it as !Ref Parameter")
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._stand_ins:
            return self._stand_ins[name]
        parameters = self._section("Parameters")
        parameter = parameters.get(name)
        if not isinstance(parameter, dict):
            near = _nearest(name, parameters)
            raise self._document.error(steps, f"{name} is not a parameter and has no value here", hint=near or HINT)
        kind = str(parameter.get("Type", "String"))
        if parameter.get("Default") is None or kind.startswith("AWS::SSM"):
            problem = "is an SSM parameter" if "Default" in parameter else "has no Default"
            raise self._document.error(steps, f"parameter {name} {problem}", hint=HINT)
        default = self._text(parameter["Default"], ("Parameters", name, "Default"))
        self._spend(len(default), steps)
        if kind == "CommaDelimitedList" or kind.startswith("List<"):
            return [part.strip() for part in default.split(",")]
        return default

    def _substitute(self, argument: Any, steps: Steps) -> str:
        text, own, where = argument, {}, steps
        if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], dict):
            text, own, where = argument[0], argument[1], (*steps, 0)
        text = self._variables.resolve(text, where).value if isinstance(text, str) else text
        if not isinstance(text, str):
            raise self._document.error(
                steps, "Fn::Sub takes a string, or a string and an object", hint="write it as !Sub 'name-${Parameter}'"
            )
        values: dict[str, str] = {}

        def value_of(match: re.Match[str]) -> str:
            literal, name = match.groups()
            if literal:
                return f"${{{name}}}"
            if name not in values:
                found = self._value(own[name], (*steps, 1, name), None) if name in own else self._reference(name, where)
                values[name] = self._text(found, (*steps, 1, name) if name in own else where)
            self._spend(len(values[name]), where)
            return values[name]

        return IN_SUB.sub(value_of, text)

    def _join(self, argument: Any, steps: Steps) -> str:
        delimiter, entries = self._arguments(argument, steps, "Fn::Join", 2)
        found = self._value(entries, (*steps, 1), None)
        if not isinstance(delimiter, str) or not isinstance(found, list):
            raise self._document.error(
                steps, "Fn::Join takes a delimiter and a list", hint="write it as !Join ['-', [a, b]]"
            )
        texts = [self._text(entry, (*steps, 1, number)) for number, entry in enumerate(found)]
        self._spend(sum(map(len, texts)) + len(delimiter) * len(texts), steps)
        return delimiter.join(texts)

    def _select(self, argument: Any, steps: Steps) -> Any:
        index, entries = self._arguments(argument, steps, "Fn::Select", 2)
        number = self._text(self._value(index, (*steps, 0), None), (*steps, 0))
        found = self._value(entries, (*steps, 1), None)
        if not isinstance(found, list) or not re.fullmatch(r"\d{1,6}", number) or int(number) >= len(found):
            raise self._document.error(
                steps, f"Fn::Select has no entry {number} in its list", hint="count from 0; give an index and a list"
            )
        return found[int(number)]

    def _split(self, argument: Any, steps: Steps) -> list[str]:
        delimiter, text = self._arguments(argument, steps, "Fn::Split", 2)
        found = self._text(self._value(text, (*steps, 1), None), (*steps, 1))
        if not isinstance(delimiter, str) or not delimiter:
            raise self._document.error(
                steps, "Fn::Split takes a delimiter and a string", hint="write it as !Split ['-', text]"
            )
        return found.split(delimiter)

    def _find_in_map(self, argument: Any, steps: Steps) -> Any:
        if not isinstance(argument, list) or len(argument) not in (3, 4):
            raise self._wrong_arguments(steps, "Fn::FindInMap", 3)
        default = argument[3].get("DefaultValue") if len(argument) == 4 and isinstance(argument[3], dict) else None
        found: Any = self._section("Mappings")
        where: Steps = ("Mappings",)
        for number in range(3):
            name = self._text(self._value(argument[number], (*steps, number), None), (*steps, number))
            if not isinstance(found, dict) or name not in found:
                if default is not None:
                    return self._value(default, (*steps, 3, "DefaultValue"), None)
                inside = "/".join(map(str, where))
                raise self._document.error(
                    (*steps, number), f"no {name!r} in {inside}", hint=_nearest(name, found) or "define it"
                )
            found, where = found[name], (*where, name)
        return self._value(found, where, None)

    def _condition(self, value: Any, steps: Steps) -> bool:
        self._spend(1, steps)
        name, argument = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else ("", None)
        inside = (*steps, name)
        if name == "Condition":
            return self.holds(argument, steps)
        if name == "Fn::Equals":
            left, right = self._arguments(argument, inside, name, 2)
            return bool(self._comparable(left, (*inside, 0)) == self._comparable(right, (*inside, 1)))
        if name == "Fn::Not":
            (inner,) = self._arguments(argument, inside, name, 1)
            return not self._condition(inner, (*inside, 0))
        if name in ("Fn::And", "Fn::Or") and isinstance(argument, list) and argument:
            each = (self._condition(inner, (*inside, number)) for number, inner in enumerate(argument))
            return all(each) if name == "Fn::And" else any(each)
        raise self._document.error(
            steps, "not a condition", hint="use Fn::Equals, Fn::Not, Fn::And, Fn::Or and Condition"
        )

    def _comparable(self, value: Any, steps: Steps) -> Any:
        found = self._value(value, steps, None)
        return found if isinstance(found, list) else self._text(found, steps)

    def _arguments(self, argument: Any, steps: Steps, name: str, count: int) -> list[Any]:
        if not isinstance(argument, list) or len(argument) != count:
            raise self._wrong_arguments(steps, name, count)
        return argument

    def _wrong_arguments(self, steps: Steps, name: str, count: int) -> UsageError:
        hint = "see the function's page in the CloudFormation Template Reference"
        return self._document.error(steps, f"{name} takes a list of {count}", hint=hint)

    def _text(self, value: Any, steps: Steps) -> str:
        """Return a scalar as the string that CloudFormation makes of it."""
        found = text_of(value)
        if found is None:
            raise self._document.error(
                steps, "wanted a string here", hint="write a string, or a function that returns one"
            )
        return found


def text_of(value: Any) -> str | None:
    """Return a scalar as the string that CloudFormation makes of it; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _nearest(name: Any, known: Any) -> str:
    if not isinstance(known, Mapping) or not known:
        return ""
    near = difflib.get_close_matches(str(name), list(map(str, known)), n=1)
    return f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(list(map(str, known))[:20])}"
