"""The executor: runs `pre` as a graph, side by side where it can, and skips what is done already.

Named in invoke.yaml. Without that line the same tasks run one after the other under Invoke's own executor.
"""

from __future__ import annotations

import atexit
import graphlib
import io
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from invoke import Executor, Exit, Local, ParserContext

from ._graph import Node, StepContext, check_inputs, collect, is_refused
from ._output import Reporter, envelope, show, stream
from ._run import Options, Run
from .localenv.errors import INTERRUPTED, LocalEnvError
from .localenv.lock import ProjectLock, command_line


class GraphExecutor(Executor):
    """Runs the requested tasks and what they need. Named in invoke.yaml."""

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


class PrefixedLocal(Local):
    """Runs a child beside other steps: its output goes line by line through the reporter."""

    say: Callable[[str], None]

    def write_our_output(self, stream: Any, string: str) -> None:
        for line in string.splitlines():
            self.say(line)


class GraphRun:
    """One run of the graph: decides for each call in turn whether to skip it, and runs the others."""

    def __init__(
        self, nodes: list[Node], options: Options, reporter: Reporter, context_for: Callable[..., StepContext]
    ) -> None:
        self.nodes = nodes
        self.options = options
        self.reporter = reporter
        self.context_for = context_for
        self.shared = Run.shared(options, reporter)
        self.outcome: dict[int, str] = {}  # id(node) -> ran | skipped | failed
        self.results: dict[Any, Any] = {}
        self.error: BaseException | None = None
        self.finished: queue.SimpleQueue[Node] = queue.SimpleQueue()
        self.interrupted = False
        self._lock: ProjectLock | None = None
        self._locking = threading.Lock()

    def go(self) -> dict[Any, Any]:
        sorter = graphlib.TopologicalSorter({id(node): [id(b) for b in node.before] for node in self.nodes})
        by_id = {id(node): node for node in self.nodes}
        sorter.prepare()
        running = 0
        atexit.register(self._leave)  # first of all, so that it is called last: steps clean up at exit too
        try:
            self._ask_inputs()
            while sorter.is_active():
                ready = [by_id[key] for key in sorter.get_ready()] if not self.error else []
                if len(ready) == 1 and not running:
                    self._perform(ready[0], alone=True)
                else:
                    for node in ready:
                        threading.Thread(target=self._perform, args=(node,), daemon=True).start()
                running += len(ready)
                if not running:
                    break
                sorter.done(id(self.finished.get()))
                running -= 1
                while not self.finished.empty():
                    sorter.done(id(self.finished.get()))
                    running -= 1
        except KeyboardInterrupt:
            self._report_rest()
            self.reporter.line("FAIL", "interrupted", "run the same command again to go on")
            self.interrupted = True
            raise Exit(code=INTERRUPTED) from None
        finally:
            if not self.interrupted:
                atexit.unregister(self._leave)
            if self._lock and not running:
                self._lock.release()
        if self.error:
            self._report_rest()
            self._raise(self.error)
        return self.results

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
                    check_inputs(node, self.context_for(node, self._view(node, interactive=False), alone=False))
                except Exception as error:  # noqa: BLE001 - as in _perform
                    self._fail(node, error)
                    self.outcome = dict.fromkeys(
                        map(id, self.nodes), "failed"
                    )  # of a run that never began, none is left

    def _perform(self, node: Node, *, alone: bool = False) -> None:
        try:
            self.outcome[id(node)] = self._plan(node) if self.options.plan else self._run(node, alone=alone)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which sorts it out
            self._fail(node, error)
        self.finished.put(node)

    def _fail(self, node: Node, error: BaseException) -> None:
        self.outcome[id(node)] = "failed"
        if isinstance(error, LocalEnvError):
            self.reporter.failed(node.name, error)
        self.error = self.error or error

    def _run(self, node: Node, *, alone: bool) -> str:
        run = self._view(node, interactive=alone)
        c = self.context_for(node, run, alone=alone)
        holds_lock = self._lock is not None and self._lock.held
        reason = self._reason_to_skip(node, c)
        if reason is None and node.locks:
            self._take_lock(run)
            if not holds_lock:
                reason = self._reason_to_skip(node, c)  # a run that held the lock meanwhile may have done it
        if reason is not None:
            if not self._quiet:
                self.reporter.skipped(node.name, reason)
            return "skipped"
        if not node.locks and alone and all(not other.locks or id(other) in self.outcome for other in self.nodes):
            self._release_lock()
        started = time.monotonic()
        self.results[node.task] = sentence = node.task(c, **node.arguments)
        if not node.reads or isinstance(sentence, str):
            self.reporter.done(node.name, time.monotonic() - started, sentence or "")
        return "ran"

    def _view(self, node: Node, *, interactive: bool) -> Run:
        return self.shared.for_step(
            node.name, node.arguments, requested=node.requested, typed=node.typed, interactive=interactive
        )

    def _plan(self, node: Node) -> str:
        run = self._view(node, interactive=False)
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
        if node.check is None or (self.options.force and node.requested):
            return None
        return node.check(c)

    @property
    def _quiet(self) -> bool:
        """Reading tasks print data: what they need and have is not worth a line."""
        return all(node.reads for node in self.nodes if node.requested)

    def _take_lock(self, run: Run) -> None:
        with self._locking:
            self._lock = self._lock or ProjectLock(run.settings.state_dir)
            self._lock.acquire(command_line(), run.say)

    def _release_lock(self) -> None:
        if self._lock:
            self._lock.release()

    def _report_rest(self) -> None:
        self.reporter.not_run(node.name for node in self.nodes if id(node) not in self.outcome)

    def _raise(self, error: BaseException) -> None:
        if not isinstance(error, LocalEnvError):
            raise error
        for node in self.nodes:
            if node.requested and node.arguments.get("format") == "json":
                show(envelope(node.name, None, error=error))
        raise Exit(code=error.code) from error
