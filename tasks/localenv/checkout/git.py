"""What Git says of this checkout: its branch, its worktrees and its hooks. Only reads; empty outside a repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalEnvError
from ..machine import shell

HEADS = "refs/heads/"
TIMEOUT_S = 10


@dataclass(frozen=True)
class Worktree:
    """A worktree of the repository; `branch` is empty for a detached HEAD."""

    path: Path
    branch: str


def branch(root: Path) -> str:
    """Return the branch that is checked out; empty for a detached HEAD."""
    return _ask(root, "symbolic-ref", "--quiet", "HEAD").removeprefix(HEADS)


def previous_branch(root: Path) -> str:
    """Return the branch that was checked out before; empty for none, or a detached HEAD."""
    found = _ask(root, "rev-parse", "--symbolic-full-name", "@{-1}")
    return found.removeprefix(HEADS) if found.startswith(HEADS) else ""


def branches(root: Path) -> list[str]:
    """Return the local branches."""
    return [line.removeprefix(HEADS) for line in _ask(root, "for-each-ref", "--format=%(refname)", HEADS).splitlines()]


def top(root: Path) -> Path | None:
    """Return the top folder of the worktree."""
    found = _ask(root, "rev-parse", "--show-toplevel")
    return Path(found) if found else None


def hooks_folder(top: Path) -> Path:
    """Return the folder of the hooks, by core.hooksPath or that of the repository, which all worktrees share."""
    return top / _ask(top, "rev-parse", "--git-path", "hooks")


def worktrees(root: Path) -> list[Worktree]:
    """Return the worktrees of the repository, the main one first."""
    found = []
    for block in _ask(root, "worktree", "list", "--porcelain").split("\n\n"):
        told = dict(line.partition(" ")[::2] for line in block.splitlines())
        if "worktree" in told and "bare" not in told:
            found.append(Worktree(Path(told["worktree"]), told.get("branch", "").removeprefix(HEADS)))
    return found


def _ask(root: Path, *words: str) -> str:
    try:
        done = shell.run(["git", "-C", root, *words], timeout_s=TIMEOUT_S)
    except LocalEnvError:
        return ""
    return done.stdout.strip() if done.code == 0 else ""
