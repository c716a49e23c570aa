"""The data of each Git branch: which are to be loaded, and the switch to them."""

from __future__ import annotations

import difflib
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import engines
from ..checkout import git
from ..errors import UsageError
from ..hints import inv
from ..postgres import databases
from . import foresight, loaded, switching, undoing
from .entries import Entries, Found, connected
from .manifest import NAME
from .save import Say, tidy
from .shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings


@dataclass(frozen=True)
class Move:
    """From the data of branch `owner`, empty if not known, to those of `branch`: an entry, None for a copy."""

    owner: str
    branch: str
    target: Found | None


def find_move(settings: Settings, given: str) -> Move | None:
    """Return the switch to the data of a branch, by default the one checked out; None if they are loaded.

    Raises as `require_branch`.
    """
    here, half, branch = git.branch(settings.root), loaded.cut_short(settings), require_branch(settings, given)
    kept = _of_engine(settings)
    owner = loaded.owner(settings) or _guess_owner(settings, branch, here)
    if half and half.entry.branch == branch:
        return Move("", branch, half)
    return None if branch == owner and not half else Move(owner, branch, kept.get(branch))


def require_branch(settings: Settings, given: str) -> str:
    """Return the branch that was given or is checked out. Asks no service.

    Raises UsageError for one that neither Git nor what is kept knows, and where none is checked out.
    """
    here = git.branch(settings.root)
    if not (given or here):
        raise UsageError(_no_branch(settings), hint=f"name one: {inv('snapshot.switch', 'BRANCH')}")
    known = {here, *git.branches(settings.root), *(each.entry.branch for each in Entries(settings).all())} - {""}
    if given and given not in known:
        near = difflib.get_close_matches(given, known, n=1)
        raise UsageError(f"there is no branch {given!r}", hint=f"did you mean {near[0]!r}?" if near else "")
    return given or here


def plan(settings: Settings, given: str) -> list[str]:
    """Return what `switch` would do, one thing a line. Raises as it does."""
    move = find_move(settings, given)
    if move is None:
        return [f"leave all as it is: the data are those of {given or git.branch(settings.root)}"]
    if move.target:
        return undoing.plan(settings, move.target.entry.id)[0]
    whose = f"as the data of {move.owner}" if move.owner else "as what there was"
    name = settings.postgres.database
    with connected(settings) as conn:
        ended = databases.sessions(conn, name) if conn else []
    lines = [f"end the session of {session}" for session in ended]
    return [
        *lines,
        f"keep a copy of all stores {whose}; {move.branch} goes on with what is there",
        *foresight.about_undo(settings),
    ]


def switch(settings: Settings, given: str, say: Say) -> str:
    """Load the data of a branch and park those that are there; return a sentence. All of it or nothing."""
    tidy(settings, Shelf(settings), say)
    with connected(settings) as conn:
        Entries(settings).settle(conn)
    move = find_move(settings, given)
    if move is None:
        return f"the data are those of {given or git.branch(settings.root)} already"
    if move.target:
        return undoing.undo(settings, move.target.entry.id, say)
    return switching.bring_in(settings, move.owner, move.branch, None, say)


def snapshot_name(settings: Settings) -> str:
    """Return the branch that is checked out as the name of a snapshot. Raises UsageError where none is.

    One that is no such name gets a few digits of its hash, so that feature/a and feature-a are two.
    """
    branch = git.branch(settings.root)
    if not branch:
        raise UsageError(_no_branch(settings), hint="give a name instead of --branch")
    if re.fullmatch(NAME, branch):
        return branch
    legible = re.sub(r"[^A-Za-z0-9_-]+", "-", branch).strip("-_")[:33] or "branch"
    return f"{legible}-{hashlib.sha256(branch.encode()).hexdigest()[:6]}"


def why_not(settings: Settings) -> str:
    """Return why a switch to the branch that is checked out is not due, for the hook; empty if it is."""
    if not git.branch(settings.root):
        return _no_branch(settings)
    if not engines.look_if_up(settings):
        return "the services do not run"
    return "" if find_move(settings, "") else "its data are loaded"


def _of_engine(settings: Settings) -> dict[str, Found]:
    """Return the data of branches under the engine in use, the newest of each."""
    engine = engines.choose(settings).engine
    return {each.entry.branch: each for each in reversed(loaded.parked(settings)) if each.entry.engine == engine}


def _guess_owner(settings: Settings, branch: str, here: str) -> str:
    """Return whose the data are where nothing is noted: those of the branch that is, or was, checked out."""
    return here if branch != here else git.previous_branch(settings.root) or branch


def _no_branch(settings: Settings) -> str:
    if not git.top(settings.root):
        return f"{settings.root} is not in a Git repository"
    return "no branch is checked out (detached HEAD)"
