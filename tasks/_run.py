"""What a task body knows about the run it is part of: options, settings, and a voice."""

from __future__ import annotations

import difflib
import shlex
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from ._advice import Situation, advised, fitting
from ._envelope import Record, entry
from ._lazy import lazy
from ._output import Data, Line, Lines, Reporter, as_typed, harmless_line, show, show_exactly, stream
from ._progress import without_bars
from .localenv.errors import ConfirmationNeeded, LocalEnvError, UsageError
from .localenv.hints import Command, words_of
from .localenv.settings import guard, read_settings
from .localenv.settings.guard import READS, Effect, Permit

if TYPE_CHECKING:
    from ._keeping import Keeping
    from .localenv import engines
    from .localenv.checkout import saved
    from .localenv.machine.progress import Progress
    from .localenv.postgres import ledger
    from .localenv.production import caller as callers
    from .localenv.settings import Settings
else:
    saved = lazy("localenv.checkout.saved")
    engines = lazy("localenv.engines")
    ledger = lazy("localenv.postgres.ledger")
    callers = lazy("localenv.production.caller")

FORMATS = ("text", "json")
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Options:
    """The options that every step has; they hold for the whole run, but for the format that other steps do not have."""

    target: str = "local"
    engine: str = ""
    plan: bool = False
    force: bool = False
    graph: bool = False
    format: str = field(default="", compare=False)

    def with_plan(self) -> Options:
        return replace(self, plan=True)


@dataclass
class _Once:
    """Settings are read when first asked for, once a run."""

    options: Options
    value: Settings | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, reporter: Reporter) -> Settings:
        with self.lock:
            if self.value is None:
                self.value = read_settings(target=self.options.target, engine=self.options.engine)
                for warning in self.value.warnings:
                    reporter.warn("settings", warning)
            return self.value


@dataclass
class Run:
    """One step's view of the run, given to its body and check as `c.step`.

    `typed` is True for a task that the user named on the command line, `requested` also for one that a typed
    aggregate stands for. `interactive` is True when the step has the terminal to itself and may ask. `effect` is what
    the step does to data. `formats` are the values of --format, the default first. `record` is what the run's answer
    tells of the step. `may_write` is True once the guard has let the step write: until then it only looks.
    """

    name: str
    options: Options
    reporter: Reporter
    arguments: dict[str, Any] = field(default_factory=dict)
    requested: bool = True
    typed: bool = True
    interactive: bool = True
    effect: Effect = READS
    formats: tuple[str, ...] = FORMATS
    record: Record = field(default_factory=Record)
    may_write: bool = False
    _settings: _Once | None = None
    _keeping: Keeping | None = None

    @classmethod
    def shared(cls, options: Options, reporter: Reporter, keeping: Keeping | None = None) -> Run:
        return cls("", options, reporter, _settings=_Once(options), _keeping=keeping)

    def for_step(self, *, interactive: bool, **of_step: Any) -> Run:
        """Return the view of one step: its name, arguments, effect, formats, and whether it was typed or requested."""
        may_ask = interactive and sys.stdin is not None and sys.stdin.isatty()
        return replace(self, interactive=may_ask, record=Record(), **of_step)

    @property
    def settings(self) -> Settings:
        """Read and checked settings. Raises UsageError or NotLocal the first time, where they are wrong."""
        if self._settings is None:
            self._settings = _Once(self.options)
        return self._settings.get(self.reporter)

    def reread_settings(self) -> None:
        """Read the settings anew for this step and all that come after it: ports were picked or given back."""
        if self._settings is not None:
            self._settings.value = read_settings(target=self.options.target, engine=self.options.engine)

    @property
    def force(self) -> bool:
        return self.options.force and self.requested

    def fitting(self, hint: str) -> str:
        """Return a hint as it fits this run: nothing that was just tried, and with the options that it needs."""
        return fitting(hint, self._situation())

    def advised(self, error: LocalEnvError, typed: Iterable[tuple[str, Mapping[str, Any]]] = ()) -> str:
        """Return the hint of an error as it fits this step and the tasks that were `typed`."""
        waits_to_be_typed = isinstance(error, ConfirmationNeeded) and not self.typed
        return advised(error, self._situation(typed, mine=not waits_to_be_typed))

    def _situation(self, typed: Iterable[tuple[str, Mapping[str, Any]]] = (), *, mine: bool = True) -> Situation:
        calls = [*([(self.name, self.arguments)] if mine else []), *typed]
        ran = tuple((name, tuple(words_of(given))) for name, given in calls)
        return Situation(ran, self.options.target, self.options.engine, _not_for_prod, self._do_all_run)

    def _do_all_run(self) -> bool:
        try:
            return self.settings.is_local and bool(engines.look_if_up(self.settings))
        except LocalEnvError:
            return False

    def say(self, text: str) -> None:
        """Write one line of progress to stderr, under the step's name."""
        self.reporter.progress(self.name, text)

    def show_progress(self, progress: Progress) -> None:
        """Show how far the step has come; an answer in JSON has no use for it."""
        if not self.as_json:
            self.reporter.show_progress(self.name, progress)

    def require_yes(self, will: Iterable[str], *, yes: bool) -> None:
        """Show what the step will do, and go on after `yes` (the value of --yes) or a typed yes.

        Raises ConfirmationNeeded where the answer is another one, or nobody is there to ask.
        """
        for line in will:
            self.say(f"will {line}")
        if not yes and not (self.interactive and self._ask("Go on? Type yes: ").lower() in ("y", "yes")):
            hint = Command(self.name, *words_of({**self.arguments, "yes": True}))
            raise ConfirmationNeeded("nothing was changed: the answer was not yes", hint=hint)

    def require_name(self, will: Iterable[str], name: str, *, confirm: str) -> None:
        """Show what the step will remove for good, and go on after its name: the value of --confirm, or typed.

        Raises ConfirmationNeeded for another answer, or where nobody is there to ask.
        """
        for line in will:
            self.say(f"will {line}")
        self.check_confirm(name)
        question = f"Nothing brings that back. Type {name} to go on: "
        given = confirm or (self._ask(question) if self.interactive else "")
        if given != name:
            hint = Command(self.name, *words_of({**self.arguments, "yes": False, "confirm": name}))
            why = (
                f"{given!r} is not {name}" if given else f"nothing brings that back, and --confirm {name} was not given"
            )
            raise ConfirmationNeeded(f"nothing was changed: {why}", hint=hint)

    def check_confirm(self, name: str) -> None:
        """Raise UsageError where --confirm has another name."""
        given = self.arguments.get("confirm")
        if given and given != name:
            raise UsageError(
                f"--confirm {given!r} is not the name of what would change: {name}",
                hint="correct --confirm, or leave it out",
            )

    def writable_database(self, confirm: str = "", *, yes: bool = False) -> Settings:
        """Return settings that open the stores for writing, once the guard has let this step change the database.

        `confirm` is the value of --confirm, and `yes` that of a --yes which takes over a database of somebody else's.
        Raises ConfirmationNeeded where neither says what is needed, and nobody is there to ask.
        """
        settings, name = self.settings, self.settings.postgres.database
        if "postgres" not in settings.services:
            return self.writable("the stores", confirm)
        if not settings.is_local:
            return self._writable_production(name, confirm)
        observed = ledger.observe(settings.postgres).for_guard(name)
        accepts = f"--confirm {shlex.quote(name)}" if "confirm" in self.arguments else "--yes"
        return self._opened(guard.decide(settings, self.effect, observed, consent=confirm, yes=yes, accepts=accepts))

    def require_database(self) -> None:
        """Raise what `writable_database` would raise for a local database: a plan says what the run refuses."""
        if self.settings.is_local:
            self.writable_database(str(self.arguments.get("confirm") or ""))

    def writable(self, name: str, confirm: str = "") -> Settings:
        """Return settings that open the stores for writing, once the guard has let this step change what is called so.

        For production its account, region and hosts are shown, and the name is asked for; local tables and pools are
        the project's own. Raises ConfirmationNeeded where the name is not given, and nobody is there to ask.
        """
        if not self.settings.is_local:
            return self._writable_production(name, confirm)
        observed = guard.Observed(name)
        return self._opened(guard.decide(self.settings, self.effect, observed, consent=confirm))

    def writable_at_aws(self, name: str) -> Settings:
        """Return settings that open AWS for a change to what is called so, in the account that is production's."""
        observed = guard.Observed(name, account=callers.fetch_caller(self.settings)[0])
        return self._opened(guard.decide_at_aws(self.settings, self.effect, observed))

    def _opened(self, permit: Permit) -> Settings:
        self.may_write = True
        return guard.permitted(self.settings, permit, self._keeping.keeper_for if self._keeping else None)

    def _writable_production(self, name: str, confirm: str) -> Settings:
        """Show whose data it is, and ask for its name. A step that runs for another one may not ask."""
        if not self.typed:
            first = Command(self.name, "--target", "prod", "--confirm", name, when="first")
            raise ConfirmationNeeded(f"{self.name} would write to production", hint=first)
        caller = callers.fetch_caller(self.settings)
        guard.require_account(self.settings, *caller)
        for line in callers.whereabouts(self.settings, caller):
            self.say(line)
        question = f"Type {name} to change this production data: "
        consent = confirm or (self._ask(question) if self.interactive else None)
        observed = guard.Observed(name, account=caller[0])
        return self._opened(guard.decide(self.settings, self.effect, observed, consent=consent))

    @staticmethod
    def _ask(question: str) -> str:
        """Ask on the terminal; an ended input (Ctrl-D) is an empty answer."""
        try:
            with without_bars():
                return input(harmless_line(question)).strip()
        except EOFError:
            return ""

    def require_saved(self) -> None:
        """Raise where the step wrote something and the emulator cannot save it; before its result is shown."""
        if not self.effect.reads:
            saved.require_saved()

    def emit(self, data: Any, text: Lines | Callable[[], Lines] = ()) -> None:
        """Give the step's result: `data` for --format json, else the line or lines of `text` on stdout."""
        self.require_saved()
        self.record.data = data
        if not self.as_json:
            shown = text() if callable(text) else text
            if shown:
                show(as_typed(shown) if isinstance(shown, str) else shown)

    def emit_exactly(self, data: Any, text: str) -> None:
        """Give a result that holds secrets by purpose, as `emit` does."""
        self.record.data, self.record.exact = data, True
        if not self.as_json:
            show_exactly(text)

    def note(self, **values: Any) -> None:
        """Add to the step's data for --format json what its sentence says too: counts, names."""
        self.record.notes.update(values)

    def stream(
        self,
        kind: str,
        entries: Iterable[Entry],
        as_text: Callable[[Iterable[Entry]], Iterable[Line | Data | list[str]]],
        as_value: Callable[[Entry], Any] = lambda entry: entry,
    ) -> int | None:
        """Print entries as they come and count them; None when the reader had enough.

        With --format json each is a line of its own, `{kind: value}`; without a `kind` its text is JSON already.
        """
        self.record.count = 0
        counted = self._counted(entries)
        lines = (entry(kind, as_value(one)) for one in counted) if self.as_json and kind else as_text(counted)
        return None if stream(lines) is None else self.record.count

    def _counted(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for self.record.count, one in enumerate(entries, 1):
            yield one

    @property
    def as_json(self) -> bool:
        return self.format == "json"

    @property
    def format(self) -> str:
        """The value of --format, checked."""
        given = self.options.format or self.formats[0]
        if given not in self.formats:
            near = difflib.get_close_matches(given, self.formats, n=1, cutoff=0.3)
            raise UsageError(
                f"--format {given!r} is not one of {', '.join(self.formats)}",
                hint=f"did you mean {near[0]!r}?" if near else "",
            )
        return given


def _not_for_prod() -> set[str]:
    """Name the tasks that there are for local data alone."""
    from . import ns

    return {name for name in ns.task_names if getattr(ns[name], "local_only", False)}
