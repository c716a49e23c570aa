"""A copy of this project in a Git repository of its own, whose `inv` is the interpreter of the tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import KEPT, PATIENCE_S, Finished, permitted

LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".local", ".env", "tests", "*cache*", "node_modules", "docs")
INV = f"""#!/bin/sh
here=$(CDPATH='' cd -P -- "$(dirname "$0")" && pwd)
exec {sys.executable} -I -S "$here/tasks/_start.py" --search-root "$here" "$@"
"""
"""Without .venv: nothing is installed, whatever lock a copy has."""


@dataclass(frozen=True)
class Project:
    """A worktree of the copy, and the variables that its commands get."""

    root: Path
    environ: dict[str, str]

    @classmethod
    def make(cls, root: Path, environ: dict[str, str]) -> Project:
        """Copy this project into a repository with the branch `main`."""
        shutil.copytree(TOOL, root, ignore=LEFT_OUT, symlinks=True)
        root.chmod(0o711)
        (root / "inv").write_text(INV)
        made = cls(root, environ)
        for words in (
            ["init", "-q", "-b", "main"],
            ["config", "user.email", "ann@example.com"],
            ["config", "user.name", "Ann"],
            ["add", "-A"],
            ["commit", "-q", "-m", "first"],
        ):
            made.git(*words)
        return made

    @property
    def variables(self) -> dict[str, str]:
        return {**{name: os.environ[name] for name in KEPT if name in os.environ}, "NO_COLOR": "1", **self.environ}

    @property
    def settings(self) -> Settings:
        """The settings of this worktree, with the permit to change what is in its stores."""
        return permitted(read_settings(environ=self.environ, root=self.root))

    def run(self, *words: str, cwd: Path | None = None) -> Finished:
        done = subprocess.run(
            words,
            cwd=cwd or self.root,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def git(self, *words: str, code: int = 0) -> Finished:
        done = self.run("git", *words)
        assert done.code == code, done.stderr
        return done

    def inv(self, *words: str, code: int = 0) -> Finished:
        done = self.run(str(self.root / "inv"), *words)
        assert done.code == code, done.stderr
        return done
