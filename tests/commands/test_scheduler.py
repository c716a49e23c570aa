"""The order of a run, without any task: what waits for what, what runs side by side, and what a stop leaves."""

from __future__ import annotations

import threading
from typing import Any

from invoke import Task

from tasks._graph import Node
from tasks._scheduler import Scheduler

nothing: Task[Any] = Task(lambda c: None, name="nothing")


def node(name: str, *before: Node) -> Node:
    return Node(nothing, name, {}, requested=True, before=list(before))


def test_each_call_comes_after_those_that_it_needs() -> None:
    a = node("a")
    b, c = node("b", a), node("c", a)
    d = node("d", b, c)
    order: list[str] = []
    Scheduler(lambda one, alone: order.append(one.name)).run([d, c, b, a], is_stopped=lambda: False)
    assert (order[0], set(order[1:3]), order[3]) == ("a", {"b", "c"}, "d")


def test_what_is_ready_together_runs_side_by_side_and_one_alone_in_this_thread() -> None:
    meeting = threading.Barrier(2, timeout=60)
    where: dict[str, bool] = {}

    def perform(one: Node, alone: bool) -> None:
        where[one.name] = threading.current_thread() is threading.main_thread()
        assert alone is where[one.name]
        if not alone:
            meeting.wait()

    a = node("a")
    Scheduler(perform).run([a, node("b", a), node("c", a)], is_stopped=lambda: False)
    assert where == {"a": True, "b": False, "c": False}


def test_once_stopped_nothing_else_begins() -> None:
    done: list[str] = []
    a = node("a")
    scheduler = Scheduler(lambda one, alone: done.append(one.name))
    scheduler.run([a, node("b", a)], is_stopped=lambda: bool(done))
    assert (done, scheduler.running) == (["a"], 0)


def test_what_a_call_needs_and_is_not_asked_for_is_done_already() -> None:
    done: list[str] = []
    Scheduler(lambda one, alone: done.append(one.name)).run([node("b", node("a"))], is_stopped=lambda: False)
    assert done == ["b"]
