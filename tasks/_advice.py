"""Makes a hint fit the command that ran and the state that is found: the one place where nobody is sent in a circle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from .localenv.errors import LocalEnvError, ServiceFailed, TimedOut
from .localenv.hints import DOCTOR, LOGS, Command, commands_of, either, parts_of


@dataclass(frozen=True)
class Situation:
    """What a hint has to fit: the commands that ran with their arguments, the options, and what runs.

    `not_for_prod` names the tasks that do not exist for --target prod. `all_run` looks at the services.
    """

    ran: tuple[tuple[str, tuple[str, ...]], ...]
    target: str = "local"
    engine: str = ""
    not_for_prod: Callable[[], Collection[str]] = lambda: ()
    all_run: Callable[[], bool] = lambda: False

    def is_tried(self, command: Command) -> bool:
        """Return whether this very command ran already, and nothing has to be done before it helps."""
        name, *rest = command.words
        return not command.first and any(name == task and set(rest) <= set(given) for task, given in self.ran)

    def refuses(self, command: Command) -> bool:
        name = command.words[0]
        return self.target == "prod" and (name.startswith("env.") or name in self.not_for_prod())

    def options(self, words: Collection[str]) -> Iterable[str]:
        """Return the options of the run that a command needs too."""
        given = {"--target": "" if self.target == "local" else self.target, "--engine": self.engine}
        return (word for name, value in given.items() if value and name not in words for word in (name, value))


def fitting(hint: str, now: Situation) -> str:
    """Return the hint without what does not help now; each command with the options of the run."""
    return either(*(_fitting(part, now) for part in parts_of(hint))) if commands_of(hint) else hint


def _fitting(part: str, now: Situation) -> str:
    if not isinstance(part, Command):
        return part
    if part.words == ("env.up",) and not part.first and now.all_run():
        part = Command("env.restart")
    if now.refuses(part) or now.is_tried(part):
        return ""
    calls = _calls(part.words)
    return part.replaced([word for call in calls for word in (*call, *now.options(call))])


def _calls(words: Sequence[str]) -> list[list[str]]:
    """Part the words of a command that calls one task several times: each call has options of its own."""
    starts = [at for at, word in enumerate(words) if word == words[0]]
    return [list(words[start:end]) for start, end in zip(starts, [*starts[1:], len(words)], strict=True)]


def advised(error: LocalEnvError, now: Situation) -> str:
    """Return the hint of an error as it fits; where nothing of it does, where to look for the cause."""
    hint = fitting(error.hint, now)
    if hint or not error.hint:
        return hint
    is_of_service = isinstance(error, ServiceFailed | TimedOut)
    ways = [_fitting(way, now) for way in ((LOGS, DOCTOR) if is_of_service else (DOCTOR,))]
    return next(filter(None, ways), "")
