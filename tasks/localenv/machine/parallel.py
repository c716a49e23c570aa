"""Independent work in parallel, in daemon threads, so that Ctrl-C ends the program at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def side_by_side(jobs: Sequence[Callable[[], T]], *, at_once: int = 8) -> list[T]:
    """Run every job and return the results in the order of the jobs.

    At most `at_once` run at a time. After a failure no further job starts, the running ones finish,
    and the first error is raised. The jobs inherit the caller's context (its voice, its time limits).
    """
    if len(jobs) == 1:
        return [jobs[0]()]
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(jobs)):
        waiting.put(index)
    results: dict[int, T] = {}
    errors: list[BaseException] = []
    finished: queue.SimpleQueue[None] = queue.SimpleQueue()

    def work() -> None:
        try:
            while not errors:
                try:
                    index = waiting.get_nowait()
                except queue.Empty:
                    return
                results[index] = jobs[index]()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, whatever it is
            errors.append(error)
        finally:
            finished.put(None)

    workers = 0
    try:
        for _ in range(min(at_once, len(jobs))):
            threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
            workers += 1
    except RuntimeError:  # no further thread to be had: this one and those already running do all the work
        work()
        workers += 1
    for _ in range(workers):
        finished.get()
    if errors:
        raise errors[0]
    return [results[index] for index in range(len(jobs))]
