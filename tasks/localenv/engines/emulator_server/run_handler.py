"""Runs the function `handler` of a file with the event on stdin, as Lambda would. Its own program, without ours.

Exits with 1 and the error's message as the last line of stdout where the function raises.
"""

import importlib.util
import json
import sys
import traceback
from pathlib import Path


def main(path: str) -> None:
    event = json.load(sys.stdin)
    sys.path[0] = str(Path(path).parent)  # not this folder: its names are not the function's business
    out, sys.stdout = sys.stdout, sys.stderr  # what the function prints belongs into the log
    try:
        spec = importlib.util.spec_from_file_location("function", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python module")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        module.handler(event, None)
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        traceback.print_exc()
        print(" ".join(str(error).split()) or type(error).__name__, file=out, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
