"""Independent work side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tasks.localenv.machine.parallel import side_by_side
from tests.support.environments import PATIENCE_S


def constant(value: int) -> Callable[[], int]:
    return lambda: value


def test_results_come_in_the_order_of_the_jobs() -> None:
    assert side_by_side([constant(n) for n in range(50)], at_once=4) == list(range(50))


def test_no_jobs_give_no_results() -> None:
    assert side_by_side([]) == []


def test_jobs_run_at_the_same_time() -> None:
    meeting = threading.Barrier(3, timeout=PATIENCE_S)
    assert len(side_by_side([meeting.wait] * 3)) == 3


def test_no_more_than_the_allowed_number_run_at_once() -> None:
    running, most, lock = 0, 0, threading.Lock()
    pair = threading.Barrier(2, timeout=PATIENCE_S)

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pair.wait()
        with lock:
            running -= 1

    side_by_side([job] * 6, at_once=2)
    assert most == 2


def test_after_a_failure_the_running_jobs_end_and_no_other_starts() -> None:
    done: list[str] = []
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise ValueError("the first")

    def slow() -> None:
        failed.wait(PATIENCE_S)
        done.append("slow")

    with pytest.raises(ValueError, match="the first"):
        side_by_side([slow, fail, lambda: done.append("late")], at_once=2)
    assert "slow" in done


def test_where_no_further_thread_is_to_be_had_the_work_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start
    started: list[threading.Thread] = []

    def no_more_than_one(self: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", no_more_than_one)
    assert side_by_side([constant(n) for n in range(9)], at_once=4) == list(range(9))
