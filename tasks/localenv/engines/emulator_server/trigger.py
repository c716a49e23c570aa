"""The function that AWS runs once a user is confirmed: the app's own, as a child process of this server.

Source: Amazon Cognito Developer Guide, "Customizing user pool workflows with Lambda triggers": 5 s, three tries.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .saving import log

ANSWER_S = 5.0
TRIES = 3
RUNNER = Path(__file__).with_name("run_handler.py")


@dataclass
class Trigger:
    """A file with the function `handler`, and the variables that it gets. Without a file: nothing."""

    file: Path
    variables: dict[str, str]

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the variables, for whoever wants to know whether they are still right."""
        return hashlib.sha256(json.dumps(self.variables, sort_keys=True).encode()).hexdigest()

    def __call__(self, event: dict[str, Any]) -> str:
        """Run the function with an event; return its error as AWS words it, or nothing."""
        if not self.file.is_file():
            return ""
        for attempt in range(1, TRIES + 1):
            try:
                error = self._run(json.dumps(event))
            except subprocess.TimeoutExpired:
                log(f"{self.file}: no answer in {ANSWER_S:.0f} s, attempt {attempt} of {TRIES}")
                continue
            except OSError as problem:
                error = f"it cannot be started: {problem.strerror or problem}"
            if error:
                log(f"{self.file}: {error}")
            return f"PostConfirmation failed with error {error}." if error else ""
        return f"PostConfirmation invocation failed due to error Socket timeout: no answer in {ANSWER_S:.0f} s."

    def _run(self, event: str) -> str:
        child = subprocess.Popen(
            [sys.executable, RUNNER, self.file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self.variables},
            cwd=self.file.parent,
            start_new_session=True,
        )
        try:
            said, _ = child.communicate(event.encode(), timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):  # it has ended just now
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            raise
        lines = said.decode(errors="replace").splitlines()
        if child.returncode == 0:
            return ""
        return lines[-1] if lines else f"it ended with exit code {child.returncode}"
