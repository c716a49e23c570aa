"""Snapshots of other worktrees of the repository: listed by their files, brought here as a file.

Each worktree has servers of its own, which have its clones: its own `inv` writes that file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..checkout import git
from ..errors import LocalEnvError, UsageError
from ..hints import inv
from ..machine import shell
from ..machine.folders import TOOL
from .manifest import Manifest
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings

Say = Callable[[str], None]
OWN_VARIABLES = ("LOCALENV_APP", "LOCALENV_INV", "LOCALENV_STATE_DIR")


@dataclass(frozen=True)
class Place:
    """Another worktree: the project's folder there, its `inv`, its state folder, and its branch if any."""

    root: Path
    inv: Path
    state_dir: Path
    branch: str

    @property
    def is_up(self) -> bool:
        """Return whether its services were started, and not stopped."""
        return (self.state_dir / "engine").exists()


def others(settings: Settings) -> list[Place]:
    """Return the other worktrees with a state folder; none where the state folder is not in the worktree."""
    top = git.top(settings.root)
    if top is None:
        return []
    here = top.resolve()
    below, state, own_inv = (
        os.path.relpath(path.resolve(), here) for path in (settings.root, settings.state_dir, TOOL / "inv")
    )
    if state.startswith(".."):
        return []
    found = [each for each in git.worktrees(settings.root) if each.path.resolve() != here]
    places = [Place(each.path / below, each.path / own_inv, each.path / state, each.branch) for each in found]
    return [place for place in places if place.state_dir.is_dir()]


def manifests(settings: Settings, place: Place) -> list[Manifest]:
    """Return the snapshots of a worktree, sorted by name; without those that are damaged."""
    shelf, found = Shelf(replace(settings, state_dir=place.state_dir)), []
    for name in shelf.names():
        with suppress(LocalEnvError):
            found.append(shelf.read(name))
    return found


def read(settings: Settings, given: str, name: str) -> Manifest:
    """Read the manifest of a snapshot of a worktree. Raises UsageError for another worktree or snapshot."""
    return Shelf(replace(settings, state_dir=require(settings, given).state_dir)).read(name)


def require(settings: Settings, given: str) -> Place:
    """Return the worktree of this path or branch. Raises UsageError for none."""
    places, path = others(settings), Path(given).expanduser().resolve()
    for place in places:
        if given == place.branch or path == place.root.resolve() or place.root.resolve().is_relative_to(path):
            return place
    known = ", ".join(str(place.root) for place in places)
    hint = f"there are: {known}" if known else f"{inv('snapshot.list')} shows what there is"
    raise UsageError(f"{given!r} is no other worktree of this repository with snapshots", hint=hint)


@contextmanager
def fetched(settings: Settings, given: str, name: str, say: Say) -> Iterator[Path]:
    """Yield a snapshot of a worktree as a file, gone afterwards. Services that had to be started there are stopped."""
    place = require(settings, given)
    was_up = place.is_up
    with tempfile.TemporaryDirectory(prefix="localenv-") as folder:
        file = Path(folder) / f"{name}.tar"
        try:
            _run(place, "snapshot.save", name, "--from-snapshot", "--file", str(file), say=say)
        finally:
            if not was_up and place.is_up:
                _run(place, "env.down", say=say)
        yield file


def _run(place: Place, *words: str, say: Say) -> None:
    """Run a command in a worktree. Raises LocalEnvError where it fails."""
    environ = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
    lines: list[str] = []
    say(f"{place.root}: {words[0]}")
    code = shell.follow([place.inv, *words], on_line=lines.append, env=environ, cwd=place.root)
    if code:
        raise LocalEnvError(
            f"{place.inv} {words[0]} ended with exit code {code}",
            evidence="\n".join(lines[-5:]),
            hint="correct that there",
        )
