"""`./inv` itself in a bare environment, as a shell calls it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tasks.localenv.machine.folders import TOOL
from tests.support.environments import PATIENCE_S, Finished


def script(*words: str, home: Path, **environ: str) -> Finished:
    """Run ./inv with a home of its own, and a state folder in it."""
    given = {"PATH": os.environ["PATH"], "HOME": str(home), "LOCALENV_STATE_DIR": str(home / "state"), **environ}
    command = [str(TOOL / "inv"), *words]
    done = subprocess.run(command, env=given, cwd=TOOL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return Finished(done.returncode, done.stdout, done.stderr)
