"""Free TCP ports for the servers of tests."""

from __future__ import annotations

import itertools
import os

from tasks.localenv.machine.ports import is_free

_picked = itertools.count()


def find_free() -> int:
    """Return a TCP port of 127.0.0.1 that is free now, and that this process has not returned before.

    Below the range for outgoing connections, and from another start in each process, so that two processes that ask at
    the same time do not get the same one.
    """
    while True:
        port = 20000 + (os.getpid() * 97 + next(_picked)) % 12000
        if is_free("127.0.0.1", port):
            return port
