"""Steps, and the graph that the calls on a command line make with all that they need.

A step is an Invoke task with `check=`: a function that returns why there is nothing to do, or None.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from invoke import Call, Collection, Context, Exit, Task, UnexpectedExit
from invoke.parser import Argument

from ._envelope import Answer, Found, Record, Refused
from ._output import Reporter
from ._run import FORMATS, Options, Run
from ._usage import Misuse
from .localenv.errors import UsageError
from .localenv.settings.guard import DESTROYS, READS, REPLACES, WRITES, Effect

OPTION_HELP = {
    "target": "whose data: local or prod, as an exact word (default: local)",
    "engine": "what runs the local services: auto, docker or embedded",
    "plan": "show what would be done and why, and change nothing",
    "force": "do it even where the check says that it is done",
    "format": "text, or json: all of the answer as one object, a stream as JSON lines",
    "graph": "show the steps of the run and what each waits for, and run nothing",
}


FLAGS = ("plan", "force", "graph")
VALUES = {
    "engine": "engines",
    "target": "targets",
    "handle": "handles",
    "as_": "handles",
    "with_": "handles",
    "to": "handles",
    "table": "tables",
    "service": "services",
    "file": "files",
    "s3": "files",
}
"""Where the values of an argument come from that is called so."""


class Option(Argument):
    """An argument of a step. What should be a whole number and is none is a usage error.

    `is_hidden` is one that the step takes like every other, and that makes no difference there.
    """

    is_hidden = False

    def __deepcopy__(self, memo: dict[int, Any]) -> Option:
        """Copy the surface alone: Invoke copies every argument of every task at each start."""
        return copy.copy(self)

    def set_value(self, value: Any, cast: bool = True) -> None:
        try:
            super().set_value(value, cast)
        except ValueError:
            raise Misuse(f"--{self.name}: {value!r} is not a whole number") from None


class Step(Task[Any]):
    """A task that takes part in the graph.

    `effect` is what the body does to data, and `effects` what it does instead with an option set: {"write": WRITES}.
    `shows` marks one that prints data, as those do that read: what it needs and has is not worth a line. `check(c)`
    returns a reason to skip, or None; it only reads. `plan(c)` returns lines that say what the body would change, and
    raises where the body would refuse. `inputs(c)` raises what is wrong with the arguments and with the files that they
    name; it asks no service, so that nothing is started for what cannot be. A task that reads takes no lock. Nor does
    one with `lock` False: it writes, but is safe beside any other run. `aggregate` marks a task that stands for its
    `pre`: --force means them too. `alone` names a flag with which the body needs none of its `pre`; an
    aggregate, which then has them run by another command, plans them all the same. `local_only` refuses --target prod,
    and is skipped there as the `pre` of others. `after` names steps that it waits for where they are part of the run,
    without needing them. `formats` are the values of --format where they are others than text and json, the default
    first, and `format_help` explains them. `example` is a command line; `values` names where those of arguments come
    from that are not called as in VALUES; `codes` are exit codes that mean something of their own.
    """

    def __init__(
        self,
        body: Callable[..., Any],
        *,
        effect: Effect,
        effects: Mapping[str, Effect] | None = None,
        shows: bool | None = None,
        check: Callable[[Any], str | None] | None = None,
        plan: Callable[[Any], Iterable[str]] | None = None,
        inputs: Callable[[Any], object] | None = None,
        lock: bool = True,
        aggregate: bool = False,
        alone: str = "",
        local_only: bool = False,
        example: str = "",
        values: Mapping[str, str] | None = None,
        codes: Mapping[int, str] | None = None,
        formats: tuple[str, ...] = FORMATS,
        format_help: str = OPTION_HELP["format"],
        after: Sequence[Task[Any]] = (),
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("auto_shortflags", False)
        super().__init__(body, **kwargs)
        said = [f"It {effect.sentence}."]
        said += [f"With --{option.replace('_', '-')} it {other.sentence}." for option, other in (effects or {}).items()]
        self.__doc__ = f"{inspect.cleandoc(self.__doc__ or '')}\n\n{' '.join(said)}".replace("`", "")
        self.check = check
        self.plan = plan
        self.inputs = inputs
        self.effect = effect
        self.effects = dict(effects or {})
        self.shows = effect.reads if shows is None else shows
        self.lock = lock
        self.aggregate = aggregate
        self.alone = alone
        self.local_only = local_only
        self.example = example
        self.values = {**VALUES, **(values or {})}
        self.codes = dict(codes or {})
        self.formats = formats
        self.format_help = format_help
        self.after = tuple(after)

    @property
    def has_force(self) -> bool:
        """Return whether --force makes a difference: there is a check to pass over, of its own or of its parts."""
        return self.check is not None or self.aggregate

    def effect_of(self, arguments: Mapping[str, Any]) -> Effect:
        """Return what the body does to data when it is called with these arguments."""
        return next((effect for option, effect in self.effects.items() if arguments.get(option)), self.effect)

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return the arguments of the body, and the options that every step has."""
        arguments = super().get_arguments(ignore_unknown_help)
        for argument in arguments:
            argument.__class__ = Option  # they come ready made from Invoke
        for name, text in {**OPTION_HELP, "format": self.format_help}.items():
            option = Option(names=(name,), kind=bool if name in FLAGS else str, help=text)
            option.is_hidden = (name == "target" and self.local_only) or (name == "force" and not self.has_force)
            arguments.append(option)
        return arguments

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body alone. Under Invoke's own executor the common options arrive here."""
        c = args[0]
        if not isinstance(c, StepContext):
            options, kwargs = split_options(kwargs)
            run = Run(self.name, options, Reporter(), kwargs, effect=self.effect_of(kwargs), formats=self.formats)
            result = super().__call__(StepContext(c.config, run=run), *args[1:], **kwargs)
            if run.as_json:
                run.record.ended("ok", result)
                Answer([Refused(self.name, run.effect, record=run.record)]).show()
            return result
        return super().__call__(c, *args[1:], **kwargs)


class StepContext(Context):
    """Invoke's context, and the run that the step belongs to as `c.step`."""

    step: Run

    def __init__(self, config: Any = None, remainder: str = "", *, run: Run) -> None:
        super().__init__(config=config, remainder=remainder)
        self._set(step=run)


def step(*, effect: Effect, **kwargs: Any) -> Callable[[Callable[..., Any]], Step]:
    """Mark a function as a step: `@step(effect=WRITES, pre=[…], check=…)`."""
    return lambda body: Step(body, effect=effect, **kwargs)


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
    format: str = ""
    record: Record = field(default_factory=Record)
    before: list[Node] = field(default_factory=list)

    @property
    def effect(self) -> Effect:
        return self.task.effect_of(self.arguments) if isinstance(self.task, Step) else READS

    @property
    def shows(self) -> bool:
        """Return whether the call prints data: by what the task is, or by an option with which it only reads."""
        task = self.task
        return not isinstance(task, Step) or task.shows or (task.effect != self.effect and self.effect.reads)

    @property
    def locks(self) -> bool:
        return not self.effect.reads and getattr(self.task, "lock", True)

    @property
    def needs_pre(self) -> bool:
        return not self.arguments.get(getattr(self.task, "alone", ""))

    @property
    def check(self) -> Callable[[Any], str | None] | None:
        return getattr(self.task, "check", None)


def collect(collection: Collection, calls: list[Call], *, dry: bool = False) -> tuple[list[Node], Options]:
    """Make the graph of these calls and of all that they need; give the options too. `dry` means --plan.

    Raises UsageError where the calls do not agree on the options, or a task does not exist for the target.
    """
    names = {collection[name]: name for name in collection.task_names}
    nodes: dict[tuple[str, str], Node] = {}
    options = [split_options(call.kwargs)[0] for call in calls if isinstance(call.task, Step)] or [Options()]
    options = [given.with_plan() for given in options] if dry else options
    if any(given != options[0] for given in options):
        raise UsageError(
            "the tasks on this command line have different options",
            hint="give --target, --engine, --plan and --force to each of them, or run them one by one",
        )

    def add(call: Call, *, requested: bool) -> Node:
        given, own = split_options(call.kwargs)
        arguments = bind(call.task, own)
        name = names.get(call.task, call.task.name)
        key = (name, repr(sorted(arguments.items())))
        if key not in nodes:
            node = Node(call.task, name, arguments, requested, called_as=call.called_as or name)
            is_aggregate = getattr(call.task, "aggregate", False)
            through = requested and is_aggregate
            node.before = [
                add(pre if isinstance(pre, Call) else Call(pre), requested=through)
                for pre in cast("list[Any]", call.task.pre)
                if node.needs_pre or (options[0].plan and is_aggregate)
            ]
            nodes[key] = node
        nodes[key].format = nodes[key].format or given.format
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
    found, chosen = list(nodes.values()), replace(options[0], format=_format_of_run(options))
    order_by_wish(found)
    for node in found:
        if node.typed and is_refused(node, chosen):
            raise UsageError(f"{node.name} does not exist for --target prod", hint="run it without --target")
    return found, chosen


def _format_of_run(options: Iterable[Options]) -> str:
    """Return json where a task on the command line has it: it holds for all of the run. Raises UsageError."""
    formats = {given.format for given in options} - {""}
    if "json" in formats and len(formats) > 1:
        other = max(formats - {"json"})
        raise UsageError(f"one answer as JSON, and another one as {other}", hint="run the tasks one by one")
    return "json" if "json" in formats else ""


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
    """Return whether the target is not one for this task."""
    return options.target == "prod" and getattr(node.task, "local_only", False)


def check_inputs(node: Node, c: StepContext) -> None:
    """Raise what is wrong with the arguments of a call and the files that they name. A pipe is left to the body."""
    inputs = getattr(node.task, "inputs", None)
    if inputs and not any(map(_is_pipe, node.arguments.values())):
        inputs(c)


def _is_pipe(value: object) -> bool:
    """Return whether an argument names what can be read once only: stdin, or a pipe such as <(…)."""
    return value == "-" or (isinstance(value, str) and value.startswith("/") and Path(value).is_fifo())


def reaches(start: Node, goal: Node) -> bool:
    """Return whether `goal` comes before `start`."""
    return any(node is goal or reaches(node, goal) for node in start.before)


__all__ = ["DESTROYS", "READS", "REPLACES", "WRITES", "Exit", "Found", "Step", "StepContext", "UnexpectedExit", "step"]
