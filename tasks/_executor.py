"""The executor: runs `pre` as a graph, side by side where it can, and skips what is done already.

_running.guard has Invoke use it. Under Invoke's own executor the same tasks run one after the other.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from invoke import Executor, Exit, Local, ParserContext, UnexpectedExit

from . import _app
from ._graph import Node, StepContext, check_inputs, collect, is_refused
from ._keeping import Keeping
from ._lazy import lazy
from ._output import Reporter, envelope, printed, show, stream
from ._run import Options, Run
from ._running import running
from ._scheduler import Scheduler
from .localenv.checkout.lock import ProjectLock, command_line
from .localenv.errors import INTERRUPTED, LocalEnvError, UsageError
from .localenv.machine.waiting import speaking

if TYPE_CHECKING:
    from .localenv.machine import uncaught
else:
    uncaught = lazy("localenv.machine.uncaught")


class GraphExecutor(Executor):
    """Runs the requested tasks and what they need."""

    @running()
    def execute(self, *tasks: str | tuple[str, dict[str, Any]] | ParserContext) -> dict[Any, Any]:
        reporter = Reporter()
        try:
            nodes, options = collect(self.collection, self.normalize(tasks), dry=self.config.run.dry)
        except LocalEnvError as error:
            reporter.failed("inv", error)
            raise Exit(code=error.code) from error
        reporter.width = max((len(node.name) for node in nodes), default=0)
        return GraphRun(nodes, options, reporter, self.context_for).go()

    def context_for(self, node: Node, run: Run, *, alone: bool) -> StepContext:
        """Make the context of one call, with a configuration of its own."""
        config = self.config.clone()
        if node.called_as:
            config.load_collection(self.collection.configuration(node.called_as))
        config.load_shell_env()
        if not alone:
            # A child that reads stdin must see its end, and lines of several steps must be told apart.
            prefixed = type("PrefixedLocal", (PrefixedLocal,), {"say": staticmethod(run.say)})
            config.load_overrides({"run": {"in_stream": io.StringIO()}, "runners": {"local": prefixed}})
        return StepContext(config, remainder=self.core.remainder, run=run)


def _lacking(node: Node, c: StepContext) -> str:
    """Return what the app lacks of that which a task is about. Raises UsageError where data of it was asked for."""
    reason = _app.why_absent(node.name, c)
    if reason and node.typed and node.shows:
        raise UsageError(reason)
    return reason


class PrefixedLocal(Local):
    """Runs a child beside other steps: its output goes line by line through the reporter."""

    say: Callable[[str], None]

    def write_our_output(self, stream: Any, string: str) -> None:
        for line in string.splitlines():
            self.say(line)


class StepLock:
    """The project's lock as the steps of one run take it: once, for the first step that needs it, until the last."""

    def __init__(self) -> None:
        self._lock: ProjectLock | None = None
        self._started = time.time()

    @property
    def held(self) -> bool:
        return self._lock is not None and self._lock.held

    @property
    def was_taken(self) -> bool:
        return self._lock is not None

    def take(self, run: Run) -> None:
        """Wait for the lock. Raises TimedOut when another run keeps it."""
        self._lock = ProjectLock(run.settings.state_dir)
        self._lock.acquire(command_line(), run.say)

    def release(self) -> None:
        if self._lock:
            self._lock.release()

    def was_used_by_others(self, run: Run) -> bool:
        """Return whether another run has held the lock since this one began."""
        return ProjectLock(run.settings.state_dir).used_since(self._started)


class GraphRun:
    """One run of the graph: decides for each call in turn whether to skip it, and runs the others.

    The first walk holds no lock: where there is nothing to do, nobody waits for anybody. The first step that has to
    change something stops it; the run waits for the lock, and walks again from the start, since whoever held the lock
    may have changed what any step has seen.
    """

    def __init__(
        self, nodes: list[Node], options: Options, reporter: Reporter, context_for: Callable[..., StepContext]
    ) -> None:
        self.nodes = nodes
        self.options = options
        self.reporter = reporter
        self.context_for = context_for
        self.keeping = Keeping()
        self.shared = Run.shared(options, reporter, self.keeping)
        self.scheduler = Scheduler(self._perform)
        self.lock = StepLock()
        self.outcome: dict[int, str] = {}  # id(node) -> ran | skipped | failed | waits
        self.results: dict[Any, Any] = {}
        self.error: BaseException | None = None
        self.interrupted = False
        self._printed = printed()
        self._waits: Run | None = None  # the step that wants the lock
        self._skipped: list[tuple[str, str]] = []  # not told yet: the second walk may see it otherwise

    def go(self) -> dict[Any, Any]:
        atexit.register(self._leave)  # first of all, so that it is called last: steps clean up at exit too
        try:
            self._ask_inputs()
            self._walk()
            if self._waits:
                self.lock.take(self._waits)
                self._forget()
                self._walk()
            self._tell_skipped()
            self._tell_way_back()
        except KeyboardInterrupt:
            self.interrupted = True
            self._report_rest()
            self.reporter.line("FAIL", "interrupted", "run the same command again to go on")
            raise Exit(code=INTERRUPTED) from None
        except LocalEnvError as error:  # the lock was not to be had
            self._report_failure(self._waits.name if self._waits else "inv", error)
        finally:
            if not self.interrupted:
                atexit.unregister(self._leave)
            if not self.scheduler.running:
                self.lock.release()
        if self.error:
            self._report_rest()
            self._raise(self.error)
        return self.results

    def _tell_way_back(self) -> None:
        """Complete what was kept of that which the run replaced, and say how to go back; after a failure as well."""
        try:
            for line in self.keeping.give_up() if self.error else self.keeping.finish():
                self.reporter.line("", "undo", line)
            if self.lock.held and not self.error:
                self.keeping.settle(self.shared.settings)
        except LocalEnvError as error:
            self.error = self.error or error
            self.reporter.failed("undo", error)

    def _walk(self) -> None:
        """Perform each call that is not done yet, until one fails or wants the lock."""
        left = [node for node in self.nodes if id(node) not in self.outcome]
        self.scheduler.run(left, is_stopped=lambda: bool(self.error or self._waits))

    def _forget(self) -> None:
        """Forget what was seen before the lock was had; what ran, ran."""
        self._waits = None
        self._skipped.clear()
        self.outcome = {key: word for key, word in self.outcome.items() if word == "ran"}

    def _leave(self) -> None:
        """End an interrupted program whose threads still work, without the rest of Python's own way out.

        There a thread may be frozen while it writes a line, and Python then aborts over the lock of stdout: exit code
        134 instead of 130.
        """
        if self.interrupted and threading.active_count() > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(INTERRUPTED)

    def _ask_inputs(self) -> None:
        """Refuse arguments and files that cannot be before anything starts; in a plan those of every step.

        Of several tasks on one line, one may write what another reads: those are asked in their turn, by their bodies.
        """
        if sum(node.typed for node in self.nodes) > 1:
            return
        for node in self.nodes:
            if (node.typed or self.options.plan) and not is_refused(node, self.options) and not self.error:
                try:
                    c = self.context_for(node, self._view(node, interactive=False), alone=False)
                    if not _lacking(node, c):
                        check_inputs(node, c)
                except Exception as error:  # noqa: BLE001 - as in _perform
                    self._fail(node, error)
                    self.outcome = dict.fromkeys(
                        map(id, self.nodes), "failed"
                    )  # of a run that never began, none is left

    def _perform(self, node: Node, alone: bool) -> None:
        run = self._view(node, interactive=alone and not self.options.plan)
        try:
            act = self._plan if self.options.plan else self._run
            with speaking(run.say):
                self.outcome[id(node)] = act(node, run, alone=alone)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which sorts it out
            error = error if isinstance(error, LocalEnvError | Exit | UnexpectedExit) else uncaught.understood(error)
            if self._may_see_it_otherwise(run, error):
                self.outcome[id(node)], self._waits = "waits", run
            else:
                self._fail(node, error)

    def _fail(self, node: Node, error: BaseException) -> None:
        self.outcome[id(node)] = "failed"
        self._report_failure(node.name, error)

    def _run(self, node: Node, run: Run, *, alone: bool) -> str:
        c = self.context_for(node, run, alone=alone)
        reason = self._reason_to_skip(node, c)
        if reason is not None:
            run.require_saved()
            self._skipped.append((node.name, reason))
            if self.lock.held:
                self._tell_skipped()
            return "skipped"
        if node.locks and not self.lock.held:
            self._waits = run
            return "waits"
        self._tell_skipped()
        if not node.locks and alone and all(not other.locks or id(other) in self.outcome for other in self.nodes):
            self.lock.release()
        started = time.monotonic()
        self.results[node.task] = sentence = node.task(c, **node.arguments)
        run.require_saved()
        if not node.shows or isinstance(sentence, str):
            self.reporter.done(node.name, time.monotonic() - started, sentence or "")
        return "ran"

    def _may_see_it_otherwise(self, run: Run, error: BaseException) -> bool:
        """Return whether what failed only looked, beside a run that changed what it looked at.

        Then it is worth another look, once that run has ended. What was printed already is not printed again.
        """
        is_first_walk = not self.lock.was_taken and not self.options.plan
        if not is_first_walk or not isinstance(error, LocalEnvError) or isinstance(error, UsageError):
            return False
        if printed() > self._printed or run.may_write:
            return False
        return self.lock.was_used_by_others(self.shared)

    def _view(self, node: Node, *, interactive: bool) -> Run:
        return self.shared.for_step(
            node.name,
            node.arguments,
            node.effect,
            requested=node.requested,
            typed=node.typed,
            interactive=interactive,
        )

    def _plan(self, node: Node, run: Run, *, alone: bool) -> str:
        c = self.context_for(node, run, alone=False)
        blocked = [b.name for b in node.before if self.outcome.get(id(b)) == "ran"]
        reason = None if blocked else self._reason_to_skip(node, c)
        word, text = ("skip", reason) if reason else ("run", f"after {', '.join(blocked)}" if blocked else "")
        show(f"{word:<4}  {node.name:<{self.reporter.width}}  {text}".rstrip())
        plan = getattr(node.task, "plan", None)
        if plan and not reason and not blocked:
            stream(f"      {line}" for line in plan(c))
        return "skipped" if reason else "ran"

    def _reason_to_skip(self, node: Node, c: StepContext) -> str | None:
        if is_refused(node, self.options):
            return "target prod: only done on local data"
        lacking = _lacking(node, c)
        if lacking:
            return lacking
        if node.check is None or (self.options.force and node.requested):
            return None
        return node.check(c)

    @property
    def _quiet(self) -> bool:
        """Reading tasks print data: what they need and have is not worth a line."""
        return all(node.shows for node in self.nodes if node.requested)

    def _tell_skipped(self) -> None:
        told, self._skipped = self._skipped, []
        for name, reason in told if not self._quiet else []:
            self.reporter.skipped(name, reason)

    def _report_failure(self, name: str, error: BaseException) -> None:
        self._tell_skipped()
        if isinstance(error, LocalEnvError):
            typed = [(node.name, node.arguments) for node in self.nodes if node.typed]
            is_typed = name in (of for of, _ in typed)
            run = replace(self.shared, name=name, arguments=self._arguments_of(name), typed=is_typed)
            error.hint = run.advised(error, typed)
            self.reporter.failed(name, error)
        self.error = self.error or error

    def _arguments_of(self, name: str) -> dict[str, Any]:
        return next((node.arguments for node in self.nodes if node.name == name), {})

    def _report_rest(self) -> None:
        self.reporter.not_run(n.name for n in self.nodes if self.outcome.get(id(n), "waits") == "waits")

    def _raise(self, error: BaseException) -> None:
        if not isinstance(error, LocalEnvError):
            raise error
        for node in self.nodes:
            if node.requested and node.arguments.get("format") == "json":
                show(envelope(node.name, None, node.effect, error=error))
        raise Exit(code=error.code) from error
