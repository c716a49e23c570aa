"""Replaces {{…}} in the values of a seed: a person, or a time relative to now. Connects to nothing.

{{person.ada}}                          the person's uuid
{{person.ada.handle}}                   or .email, .display_name
{{now}}, {{now-5m}}, {{now+3d}}                 ISO 8601 with +00:00; s, m, h, d, w
{{epoch-1h}}                                    seconds since 1970, a number if it is the whole value
{{{{                                            two literal braces
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..aws.templates.document import Steps
from ..settings.people import PEOPLE, Person, nearest
from .transfer.typed import Misfit, shorten

BRACES = re.compile(r"\{\{(?:(\{\{)|([^{}]*)\}\})?")
TIME = re.compile(r"(now|epoch)\s*(?:([+-])\s*(\d{1,9})\s*([a-z]+))?")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
FIELDS = ("handle", "email", "display_name")
USAGE = "use {{now-5m}}, {{epoch-1h}} or {{person.NAME}}; {{{{ stands for two braces"
WRITTEN_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00|(?<!\d)\d{9,11}(?!\d))")
"""A time as it is written, in either format. Texts are split at it."""


@dataclass(frozen=True)
class Filler:
    """Replaces the placeholders of a line with their values. `now` is timezone-aware."""

    people: Sequence[Person]
    now: datetime

    def __call__(self, data: Any, steps: Steps, is_plain: bool) -> Any:
        """Fill in the data of a JSON line. Raises Misfit. `is_plain`: a value that is only a time may be a number."""
        if isinstance(data, str):
            return self._text(data, steps, is_plain)
        if isinstance(data, list):
            return [self(entry, (*steps, number), is_plain) for number, entry in enumerate(data)]
        if not isinstance(data, dict):
            return data
        found: dict[str, Any] = {}
        for name, value in data.items():
            inner = str(self._text(name, (*steps, name), False))
            if inner in found:
                raise Misfit((*steps, name), f"{shorten(inner)!r} is in one object twice", hint="remove one of the two")
            found[inner] = self(value, (*steps, name), is_plain)
        return found

    def _text(self, text: str, steps: Steps, is_plain: bool) -> str | int:
        if "{{" not in text:
            return text
        whole = BRACES.fullmatch(text)
        if whole and whole[2] is not None:
            found = self._value(whole[2].strip(), steps)
            return found if is_plain else str(found)
        return BRACES.sub(lambda match: "{{" if match[1] else str(self._value_of(match, text, steps)), text)

    def _value_of(self, match: re.Match[str], text: str, steps: Steps) -> str | int:
        if match[2] is None:
            raise Misfit(steps, f"{shorten(text[match.start() :])} is not closed", hint="close it with }}; " + USAGE)
        return self._value(match[2].strip(), steps)

    def _value(self, words: str, steps: Steps) -> str | int:
        if words.startswith("person."):
            return self._person(words.removeprefix("person."), steps)
        time = TIME.fullmatch(words)
        if not time:
            near = difflib.get_close_matches(re.split(r"[^a-z]", words)[0], ("now", "epoch", "person"), n=1)
            hint = f"did you mean {near[0]!r}? {USAGE}" if near else USAGE
            raise Misfit(steps, f"{{{{{shorten(words)}}}}} is not a placeholder", hint=hint)
        at = self.now + self._offset(time, steps)
        return int(at.timestamp()) if time[1] == "epoch" else at.isoformat(timespec="microseconds")

    def _offset(self, time: re.Match[str], steps: Steps) -> timedelta:
        _, sign, number, unit = time.groups()
        if not unit:
            return timedelta()
        if unit not in UNITS:
            known = ", ".join(f"{short} ({word})" for short, word in UNITS.items())
            raise Misfit(steps, f"{{{{{time[0]}}}}}: {unit!r} is not a unit of time", hint=f"use one of {known}")
        try:
            offset = timedelta(**{UNITS[unit]: int(f"{sign}{number}")})
            _ = self.now + offset
        except OverflowError:
            raise Misfit(steps, f"{{{{{time[0]}}}}} is out of range", hint="use a smaller number") from None
        return offset

    def _person(self, words: str, steps: Steps) -> str:
        name, _, field = words.partition(".")
        by_name = {known: person for person in self.people for known in (person.handle, person.person)}
        person = by_name.get(words)  # a handle may contain a dot
        if person is None and words.rpartition(".")[0] in by_name:
            name, _, field = words.rpartition(".")
            person = by_name[name]
            if field not in FIELDS:
                near = difflib.get_close_matches(field, FIELDS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(FIELDS)}"
                raise Misfit(steps, f"a person has no {field!r}", hint=hint)
            return str(getattr(person, field))
        if person is None:
            name = words.rpartition(".")[0] if field in FIELDS or words.rpartition(".")[2] in FIELDS else words
            raise Misfit(steps, f"nobody in {PEOPLE} is called {name!r}", hint=nearest(self.people, name))
        return str(person.uuid)
