"""Time what DSLR does on the server, for copies.py: run by the Python that has DSLR.

`python dslr_part.py URL`: for each word on stdin, `snapshot` or `restore`, print the seconds of it.
"""

import sys
import time

from dslr import operations  # type: ignore[import-not-found]
from dslr.config import settings  # type: ignore[import-not-found]

NAME = "theirs"

settings.initialize(url=sys.argv[1], debug=False)
for line in sys.stdin:
    if line.strip() == "snapshot":
        for found in operations.get_snapshots():
            operations.delete_snapshot(found)
    started = time.perf_counter()
    if line.strip() == "snapshot":
        operations.create_snapshot(NAME)
    else:
        operations.restore_snapshot(operations.find_snapshot(NAME))
    print(time.perf_counter() - started, flush=True)
