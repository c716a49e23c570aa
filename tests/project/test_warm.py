"""Commands that are forked from a process with Python and Invoke loaded do what those of a Python of their own do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.environments import environment, inv


@pytest.mark.parametrize(
    "words", [["##[error]x\x1b[31m"], ["--list"], ["env.status", "--format", "json"], ["doctor"], ["db.query", "--zz"]]
)
def test_a_forked_command_says_what_one_of_its_own_says(words: list[str], tmp_path: Path) -> None:
    environ = {**environment(tmp_path / "state"), "GITHUB_ACTIONS": "true"}
    own = {**environ, "LANG": "C.UTF-8"}
    assert (warm.needs_own_python(environ), warm.needs_own_python(own)) == (False, True)
    forked, plain = inv(*words, environ=environ), inv(*words, environ=own)
    assert (forked.code, _still(forked.stdout), _still(forked.stderr)) == (
        plain.code,
        _still(plain.stdout),
        _still(plain.stderr),
    )


def _still(text: str) -> str:
    """Return the text without the seconds, and the free space on the disk, which other tests change meanwhile."""
    return re.sub(r'[\d.]+ GB free|"seconds": [\d.]+', "", text)
