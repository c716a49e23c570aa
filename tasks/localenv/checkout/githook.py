"""The post-checkout hook that switches to a branch's data: a marked block in a shell script."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..machine.disk import disk_errors
from ..machine.folders import TOOL
from . import git

if TYPE_CHECKING:
    from ..settings import Settings

NAME = "post-checkout"
SHELL = "#!/bin/sh\n"
BEGIN, END = "# data of branches (inv snapshot.hook): begin", "# data of branches (inv snapshot.hook): end"
BLOCK = f"""\
{BEGIN}
localenv_status=$?
if [ "$3" = 1 ] && [ -f {{engine}} ] && [ -x {{inv}} ] &&
	[ ! -d "$(git rev-parse --git-path rebase-merge)" ] && [ ! -d "$(git rev-parse --git-path rebase-apply)" ] &&
	[ ! -f "$(git rev-parse --git-path BISECT_LOG)" ]; then
	(unset $(git rev-parse --local-env-vars) && exec {{inv}} snapshot.switch --if-running </dev/null) || :
fi
(exit $localenv_status)
{END}
"""
"""Git calls it in the worktree's top folder with the old HEAD, the new one, and 1 where it is not about files.

Its exit code becomes that of `git checkout`. Without the note of the engine nothing runs, so a fresh worktree makes no
.venv. Git sets GIT_DIR, which does not hold for a project below the top.
"""
_BLOCK = re.compile(rf"\n?{re.escape(BEGIN)}\n.*?{re.escape(END)}\n", re.DOTALL)
_SHELL = re.compile(r"#!.*\b(sh|bash|dash|ash|ksh|zsh)\b")
_ENDS_EARLY = re.compile(r"^(exit|exec)\b", re.MULTILINE)


@dataclass(frozen=True)
class Hook:
    """The file of the hook, and its text before and after the change; empty where there is no file."""

    path: Path
    before: str
    after: str


def plan(settings: Settings, *, remove: bool) -> Hook:
    """Return what `write` would do. Raises UsageError for a hook that is not ours to change, with the lines to add."""
    top = git.top(settings.root)
    if top is None:
        raise UsageError(f"{settings.root} is not in a Git repository")
    path, block = git.hooks_folder(top) / NAME, _block(settings, top)
    with disk_errors(path):
        before = path.read_text(errors="surrogateescape") if os.path.lexists(path) else ""
    rest = _BLOCK.sub("", before)
    if remove:
        return Hook(path, before, "" if rest == SHELL.rstrip() or rest == SHELL else rest)
    if rest and (why := _why_not(path, rest)):
        raise UsageError(f"{path} {why}, so it stays as it is", hint=f"add these lines to it:\n{block}")
    return Hook(path, before, f"{rest.rstrip()}\n\n{block}" if rest else f"{SHELL}{block}")


def write(hook: Hook) -> None:
    """Write the file, with the rights that it has, or remove one that would be empty."""
    with disk_errors(hook.path):
        if not hook.after:
            hook.path.unlink(missing_ok=True)
            return
        hook.path.parent.mkdir(parents=True, exist_ok=True)
        mode = hook.path.stat().st_mode if hook.before else 0o755
        fresh = hook.path.with_name(f".{NAME}.{os.getpid()}.new")
        fresh.write_text(hook.after, errors="surrogateescape")
        fresh.chmod(mode | 0o100)
        fresh.replace(hook.path)


def _block(settings: Settings, top: Path) -> str:
    return BLOCK.format(engine=_seen_from(top, settings.state_dir / "engine"), inv=_seen_from(top, TOOL / "inv"))


def _seen_from(top: Path, path: Path) -> str:
    """Return a path for the script: relative where it is in the worktree, so that each worktree has its own."""
    inside = os.path.relpath(path.resolve(), top.resolve())
    return shlex.quote(str(path) if inside.startswith("..") else f"./{inside}")


def _why_not(path: Path, text: str) -> str:
    if path.is_symlink():
        return "is a link"
    if not _SHELL.match(text):
        return "is not a shell script"
    return "ends before its last line" if _ENDS_EARLY.search(text) else ""
