"""Starts the server from this folder's path without making the folder's modules top-level ones."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    sys.path[0] = str(folder.parent)
    server = importlib.import_module(f"{folder.name}.server")
    del sys.path[0]
    server.main()
