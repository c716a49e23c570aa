"""The order of a run: each call after those that it needs, side by side where several are ready."""

from __future__ import annotations

import graphlib
import queue
import threading
from collections.abc import Callable, Sequence

from ._graph import Node


class Scheduler:
    """Hands calls to `perform(node, alone)`, in threads where several are ready at once. Decides nothing else.

    `perform` must not raise, but for KeyboardInterrupt in the thread of the caller.
    """

    def __init__(self, perform: Callable[[Node, bool], None]) -> None:
        self._perform = perform
        self._finished: queue.SimpleQueue[Node] = queue.SimpleQueue()
        self.running = 0

    def run(self, nodes: Sequence[Node], *, is_stopped: Callable[[], bool]) -> None:
        """Perform the calls; once `is_stopped` no other begins, and those that run are waited for."""
        left = {id(node): node for node in nodes}
        sorter = graphlib.TopologicalSorter(
            {key: [id(before) for before in node.before if id(before) in left] for key, node in left.items()}
        )
        sorter.prepare()
        while sorter.is_active():
            ready = [left[key] for key in sorter.get_ready()] if not is_stopped() else []
            self._start(ready)
            if not self.running:
                break
            for node in self._next_finished():
                sorter.done(id(node))
                self.running -= 1

    def _start(self, ready: list[Node]) -> None:
        alone = len(ready) == 1 and not self.running
        self.running += len(ready)
        for node in ready:
            if alone:
                self._work(node, alone=True)
            else:
                threading.Thread(target=self._work, args=(node,), daemon=True).start()

    def _work(self, node: Node, *, alone: bool = False) -> None:
        self._perform(node, alone)
        self._finished.put(node)

    def _next_finished(self) -> list[Node]:
        """Wait for a call to end, and return it with all others that have ended."""
        ended = [self._finished.get()]
        while not self._finished.empty():
            ended.append(self._finished.get())
        return ended
