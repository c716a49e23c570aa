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

from . import _app, _progress, _runs
from ._envelope import Answer, Found, ending, show_failure
from ._graph import Node, StepContext, check_inputs, collect, is_refused
from ._keeping import Keeping
from ._lazy import lazy
from ._output import Reporter, as_typed, printed, show, stream
from ._run import FORMATS, Options, Run
from ._running import running
from ._scheduler import Scheduler
from ._steplock import StepLock
from .localenv.errors import INTERRUPTED, Interrupted, LocalEnvError, UsageError
from .localenv.machine.progress import displaying
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
        calls = self.normalize(tasks)
        try:
            nodes, options = collect(self.collection, calls, dry=self.config.run.dry)
        except LocalEnvError as error:
            reporter.failed("inv", error)
            if any(call.kwargs.get("format") == "json" for call in calls):
                show_failure(" ".join(call.called_as or call.task.name for call in calls), error)
            raise Exit(code=error.code) from error
        reporter.width = max((len(node.name) for node in nodes), default=0)
        if options.graph:
            _runs.show_graph(nodes, options)
            return {}
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
        self._printed, self._began = printed(), time.monotonic()
        self._waits: Run | None = None  # the step that wants the lock
        self.answer = Answer(nodes, reporter.warnings, {} if options.plan else None)
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
            _progress.end()
            self._report_rest()
            self.reporter.line("FAIL", "interrupted", "run the same command again to go on")
            self._show_answer(Interrupted("interrupted", hint="run the same command again to go on"))
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
        elif not self._quiet and not self.options.plan:
            self.reporter.total(_runs.chain(self.nodes), time.monotonic() - self._began)
        self._show_answer(ending(self.error) if self.error else None)
        if self.error:
            self._raise(self.error)
        return self.results

    def _show_answer(self, error: LocalEnvError | None) -> None:
        if self.options.format == "json":
            self.answer.show(error)

    def _tell_way_back(self) -> None:
        """Complete what was kept of that which the run replaced, and say how to go back; after a failure as well."""
        try:
            for line in self.keeping.give_up() if self.error else self.keeping.finish():
                self.reporter.line("", "undo", line)
                self.answer.undo.append(line)
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
        for node in self.nodes:
            if node.typed and not self.error:
                try:
                    self._view(node, interactive=False).format  # noqa: B018 - checked as it is read
                except UsageError as error:
                    self._never_began(node, error)
        if sum(node.typed for node in self.nodes) > 1:
            return
        for node in self.nodes:
            if (node.typed or self.options.plan) and not is_refused(node, self.options) and not self.error:
                try:
                    c = self.context_for(node, self._view(node, interactive=False), alone=False)
                    if not _lacking(node, c):
                        check_inputs(node, c)
                except Exception as error:  # noqa: BLE001 - as in _perform
                    self._never_began(node, error)

    def _never_began(self, node: Node, error: BaseException) -> None:
        self._fail(node, error)
        self.outcome = dict.fromkeys(map(id, self.nodes), "failed")  # of a run that never began, none is left

    def _perform(self, node: Node, alone: bool) -> None:
        run = self._view(node, interactive=alone and not self.options.plan)
        started = time.monotonic()
        try:
            act = self._plan if self.options.plan else self._run
            with speaking(run.say), displaying(run.show_progress):
                self.outcome[id(node)] = act(node, run, alone=alone)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which sorts it out
            error = error if isinstance(error, LocalEnvError | Exit | UnexpectedExit) else uncaught.understood(error)
            if self._may_see_it_otherwise(run, error):
                self.outcome[id(node)], self._waits = "waits", run
            else:
                self._fail(node, error, time.monotonic() - started)

    def _fail(self, node: Node, error: BaseException, seconds: float = 0) -> None:
        self.outcome[id(node)] = "failed"
        self._report_failure(node.name, error)
        told = ending(error)
        node.record.ended("failed" if told else "ok", told.message if told else "", seconds)

    def _run(self, node: Node, run: Run, *, alone: bool) -> str:
        c = self.context_for(node, run, alone=alone)
        reason = self._reason_to_skip(node, c)
        if reason is not None:
            run.require_saved()
            node.record.ended("skip", reason)
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
        node.record.ended("ok", sentence, time.monotonic() - started)
        if not node.shows or isinstance(sentence, str):
            self.reporter.done(node.name, node.record.seconds, sentence or "")
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
        run = self.shared.for_step(
            name=node.name,
            options=replace(self.options, format=self.options.format or node.format),
            arguments=node.arguments,
            effect=node.effect,
            formats=getattr(node.task, "formats", FORMATS),
            requested=node.requested,
            typed=node.typed,
            interactive=interactive,
        )
        node.record = run.record
        return run

    def _plan(self, node: Node, run: Run, *, alone: bool) -> str:
        c = self.context_for(node, run, alone=False)
        blocked = [b.name for b in node.before if self.outcome.get(id(b)) == "ran"]
        reason = None if blocked else self._reason_to_skip(node, c)
        word, text = ("skip", reason) if reason else ("run", f"after {', '.join(blocked)}" if blocked else "")
        planned: dict[str, Any] = {"step": node.name, "action": word, "reason": as_typed(text), "lines": []}
        if self.answer.plan is not None:
            self.answer.plan[id(node)] = planned
        if not run.as_json:
            show(f"{word:<4}  {node.name:<{self.reporter.width}}  {text}".rstrip())
        plan = getattr(node.task, "plan", None)
        lines = plan(c) if plan and not reason and not blocked else ()
        if run.as_json:
            planned["lines"].extend(map(as_typed, lines))
        else:
            stream(f"      {line}" for line in lines)
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
        told = error.error if isinstance(error, Found) else error
        if isinstance(told, LocalEnvError):
            typed = [(node.name, node.arguments) for node in self.nodes if node.typed]
            is_typed = name in (of for of, _ in typed)
            run = replace(self.shared, name=name, arguments=self._arguments_of(name), typed=is_typed)
            told.hint = run.advised(told, typed)
            if told is error:
                self.reporter.failed(name, told)
        self.error = self.error or error

    def _arguments_of(self, name: str) -> dict[str, Any]:
        return next((node.arguments for node in self.nodes if node.name == name), {})

    def _report_rest(self) -> None:
        self.reporter.not_run(n.name for n in self.nodes if self.outcome.get(id(n), "waits") == "waits")

    def _raise(self, error: BaseException) -> None:
        if not isinstance(error, LocalEnvError):
            raise error
        raise Exit(code=error.code) from error
