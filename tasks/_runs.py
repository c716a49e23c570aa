"""What there is to see of a whole run: its graph before it, and afterwards which steps it had to wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from . import _output
from ._envelope import Answer
from ._graph import Node
from ._run import Options

WORTH_NAMING_S = 0.05


def show_graph(nodes: Sequence[Node], options: Options) -> None:
    """Print the steps of a run in an order in which they may run, each with those that it waits for."""
    ordered = _ordered(nodes)
    if options.format == "json":
        answer = Answer([replace(node, before=[]) for node in nodes])
        steps = [{"step": node.name, "waitsFor": [each.name for each in node.before]} for node in ordered]
        for node in answer.calls:
            node.record.data = {"graph": steps}
        answer.show()
        return
    rows = [
        (node.name, f"after {', '.join(each.name for each in node.before)}" if node.before else "") for node in ordered
    ]
    _output.show(_output.table(rows))


def chain(nodes: Sequence[Node]) -> list[tuple[str, float]]:
    """Return the steps that took the longest one after the other, with their seconds; short ones are left out."""
    longest: dict[int, tuple[float, list[Node]]] = {}

    def of(node: Node) -> tuple[float, list[Node]]:
        if id(node) not in longest:
            before = max((of(each) for each in node.before), key=lambda found: found[0], default=(0.0, []))
            longest[id(node)] = (before[0] + node.record.seconds, [*before[1], node])
        return longest[id(node)]

    path = max((of(node) for node in nodes), key=lambda found: found[0], default=(0.0, []))[1]
    return [(node.name, node.record.seconds) for node in path if node.record.seconds >= WORTH_NAMING_S]


def _ordered(nodes: Sequence[Node]) -> list[Node]:
    """Put each step behind those that it waits for."""
    found: list[Node] = []

    def add(node: Node) -> None:
        for each in node.before:
            add(each)
        if node not in found:
            found.append(node)

    for node in nodes:
        add(node)
    return found
