"""The locks against pyproject.toml: made from it, hashed, for any index, and the developers' one holds the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.txt")


def pins(text: str) -> set[tuple[str, str]]:
    """Find `name==version` at the start of a line or of a quoted string; extras and case are left out."""
    found = re.findall(r'^\s*"?([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;"]+)', text, re.MULTILINE)
    return {(name.lower(), version) for name, version in found}


def entries(lock: str) -> list[str]:
    return re.split(r"\n(?=[A-Za-z0-9])", (ROOT / lock).read_text().strip())


def test_every_direct_dependency_is_locked_at_its_version() -> None:
    before, _, after = (ROOT / "pyproject.toml").read_text().partition("[dependency-groups]")
    assert len(pins(before)) == 10
    assert pins(before) <= pins((ROOT / LOCKS[0]).read_text())
    assert pins(after) <= pins((ROOT / LOCKS[1]).read_text())


def test_the_developers_lock_holds_the_users_lock() -> None:
    assert pins((ROOT / LOCKS[0]).read_text()) < pins((ROOT / LOCKS[1]).read_text())


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_has_hashes(lock: str) -> None:
    assert [entry.split("\n")[0] for entry in entries(lock) if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_names_an_index(lock: str) -> None:
    assert re.findall(r"https?://\S*|--(?:extra-)?index-url\S*|--find-links\S*", (ROOT / lock).read_text()) == []
