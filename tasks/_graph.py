"""The executor: runs `pre` as a graph, side by side where it can, and skips what is done already.

A step is an Invoke task with `check=`: a function that returns why there is nothing to do, or None.
Without the line in invoke.yaml the same tasks run one after the other under Invoke's own executor.
"""

from __future__ import annotations

import atexit
import copy
import graphlib
import io
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast, overload

from invoke import Call, Context, Executor, Exit, Local, ParserContext, Task, UnexpectedExit
from invoke.parser import Argument

from ._output import Reporter, envelope
from ._run import Options, Run
from .localenv.errors import INTERRUPTED, LocalEnvError, UsageError
from .localenv.lock import ProjectLock, command_line

OPTION_HELP = {
    "target": "whose data: local or prod, as an exact word (default: local)",
    "engine": "what runs the local services: auto, docker or embedded",
    "plan": "show what would be done and why, and change nothing",
    "force": "do it even where the check says that it is done",
}


class Option(Argument):
    """An option that every step has."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Option:
        """Copy the surface alone: Invoke copies every argument of every task at each start, most of them these."""
        return copy.copy(self)


class Step(Task[Any]):
    """A task that takes part in the graph.

    `check(c)` returns a reason to skip, or None; it only reads. `plan(c)` returns lines that say what the body
    would change. `reads` marks a task that changes nothing: it takes no lock. `aggregate` marks a task that stands
    for its `pre`: --force means them too. `local_only` refuses --target prod, and is
    skipped there as the `pre` of others. `after` names steps that it waits for where they are part of the run,
    without needing them.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        check: Callable[[Any], str | None] | None = None,
        plan: Callable[[Any], Iterable[str]] | None = None,
        reads: bool = False,
        aggregate: bool = False,
        local_only: bool = False,
        after: Sequence[Task[Any]] = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("auto_shortflags", False)
        super().__init__(body, **kwargs)
        self.check = check
        self.plan = plan
        self.reads = reads
        self.aggregate = aggregate
        self.local_only = local_only
        self.after = tuple(after)

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        common = [
            Option(names=(name,), kind=bool if name in ("plan", "force") else str, help=text)
            for name, text in OPTION_HELP.items()
        ]
        return super().get_arguments(ignore_unknown_help) + common

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body alone. Under Invoke's own executor the common options arrive here."""
        c = args[0]
        if not isinstance(c, StepContext):
            options, kwargs = split_options(kwargs)
            c = StepContext(c.config, run=Run(self.name, options, Reporter(), kwargs))
        return super().__call__(c, *args[1:], **kwargs)


class StepContext(Context):
    """Invoke's context, and the run that the step belongs to as `c.step`."""

    step: Run

    def __init__(self, config: Any = None, remainder: str = "", *, run: Run) -> None:
        super().__init__(config=config, remainder=remainder)
        self._set(step=run)


@overload
def step(body: Callable[..., Any], /) -> Step: ...
@overload
def step(**kwargs: Any) -> Callable[[Callable[..., Any]], Step]: ...
def step(*args: Any, **kwargs: Any) -> Any:
    """Mark a function as a step: `@step`, or `@step(pre=[…], check=…)`."""
    if args and callable(args[0]) and not kwargs:
        return Step(args[0])
    return lambda body: Step(body, **kwargs)


def split_options(kwargs: dict[str, Any]) -> tuple[Options, dict[str, Any]]:
    """Part the options that every step has from the arguments of the body."""
    own = {name: value for name, value in kwargs.items() if name not in OPTION_HELP}
    given = {name: value for name, value in kwargs.items() if name in OPTION_HELP and value is not None}
    return Options(**given), own


@dataclass
class Node:
    """One call in the graph."""

    task: Task[Any]
    name: str
    arguments: dict[str, Any]
    requested: bool
    typed: bool = False
    called_as: str | None = None
    before: list[Node] = field(default_factory=list)

    @property
    def reads(self) -> bool:
        return getattr(self.task, "reads", False)

    @property
    def check(self) -> Callable[[Any], str | None] | None:
        return getattr(self.task, "check", None)


class GraphExecutor(Executor):
    """Runs the requested tasks and what they need. Named in invoke.yaml."""

    def execute(self, *tasks: str | tuple[str, dict[str, Any]] | ParserContext) -> dict[Any, Any]:
        reporter = Reporter()
        try:
            nodes, options = self._collect(self.normalize(tasks))
        except LocalEnvError as error:
            reporter.failed("inv", error)
            raise Exit(code=error.code) from error
        if self.config.run.dry:
            options = options.with_plan()
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

    def _collect(self, calls: list[Call]) -> tuple[list[Node], Options]:
        names = {self.collection[name]: name for name in self.collection.task_names}
        nodes: dict[tuple[str, str], Node] = {}
        options = [split_options(call.kwargs)[0] for call in calls]
        if any(given != options[0] for given in options):
            raise UsageError(
                "the tasks on this command line have different options",
                hint="give --target, --engine, --plan and --force to each of them, or run them one by one",
            )

        def add(call: Call, *, requested: bool) -> Node:
            arguments = bind(call.task, split_options(call.kwargs)[1])
            name = names.get(call.task, call.task.name)
            key = (name, repr(sorted(arguments.items())))
            if key not in nodes:
                node = Node(call.task, name, arguments, requested, called_as=call.called_as or name)
                through = requested and getattr(call.task, "aggregate", False)
                node.before = [
                    add(pre if isinstance(pre, Call) else Call(pre), requested=through)
                    for pre in cast("list[Any]", call.task.pre)
                ]
                nodes[key] = node
            nodes[key].requested |= requested
            return nodes[key]

        previous: Node | None = None
        for call in calls:
            known = set(nodes)
            node = add(call, requested=True)
            node.typed = True
            # The order of the command line is a wish too: what this call brings waits for the call before it.
            for new in [node, *(nodes[key] for key in nodes.keys() - known)]:
                if previous is not None and new is not previous and not reaches(previous, new):
                    new.before.append(previous)
            previous = node
        found, chosen = list(nodes.values()), options[0] if options else Options()
        order_by_wish(found)
        for node in found:
            if node.typed and is_refused(node, chosen):
                raise UsageError(f"{node.name} does not exist for --target prod", hint="run it without --target")
        return found, chosen


class PrefixedLocal(Local):
    """Runs a child beside other steps: its output goes line by line through the reporter."""

    say: Callable[[str], None]

    def write_our_output(self, stream: Any, string: str) -> None:
        for line in string.splitlines():
            self.say(line)


def bind(task: Task[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Fill in the defaults, so that equal calls compare equal."""
    defaults = {p.name: p.default for p in task.argspec(task.body).parameters.values()}
    return {**defaults, **kwargs}


def order_by_wish(nodes: Iterable[Node]) -> None:
    """Let each task come after those that it names as `after`, where they are here and do not need it themselves."""
    nodes = list(nodes)
    for node in nodes:
        wished = getattr(node.task, "after", ())
        node.before += [other for other in nodes if other.task in wished and not reaches(other, node)]


def is_refused(node: Node, options: Options) -> bool:
    """Tell whether the target is not one for this task."""
    return options.target == "prod" and getattr(node.task, "local_only", False)


def reaches(start: Node, goal: Node) -> bool:
    """Tell whether `goal` comes before `start`."""
    return any(node is goal or reaches(node, goal) for node in start.before)


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

    def _perform(self, node: Node, *, alone: bool = False) -> None:
        try:
            self.outcome[id(node)] = self._plan(node) if self.options.plan else self._run(node, alone=alone)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - carried to the main thread, which sorts it out
            self.outcome[id(node)] = "failed"
            if isinstance(error, LocalEnvError):
                self.reporter.failed(node.name, error)
            self.error = self.error or error
        self.finished.put(node)

    def _run(self, node: Node, *, alone: bool) -> str:
        run = self._view(node, interactive=alone)
        c = self.context_for(node, run, alone=alone)
        reason = self._reason_to_skip(node, c)
        if reason is None and not node.reads and self._take_lock(run):
            reason = self._reason_to_skip(node, c)  # the run that held the lock may have done it
        if reason is not None:
            if not self._quiet:
                self.reporter.skipped(node.name, reason)
            return "skipped"
        if node.reads and alone and all(other.reads or id(other) in self.outcome for other in self.nodes):
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
        print(f"{word:<4}  {node.name:<{self.reporter.width}}  {text}".rstrip())
        plan = getattr(node.task, "plan", None)
        if plan and not reason and not blocked:
            for line in plan(c):
                print(f"      {line}")
        sys.stdout.flush()
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

    def _take_lock(self, run: Run) -> bool:
        with self._locking:
            self._lock = self._lock or ProjectLock(run.settings.state_dir)
            return self._lock.acquire(command_line(), run.say)

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
                print(envelope(node.name, None, error=error))
        raise Exit(code=error.code) from error


__all__ = ["Exit", "GraphExecutor", "Step", "StepContext", "UnexpectedExit", "step"]
