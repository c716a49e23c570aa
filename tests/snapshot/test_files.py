"""Snapshots as files, without any server: what is no snapshot, or not whole, is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.errors import UsageError
from tasks.localenv.snapshot import portable
from tasks.localenv.snapshot.manifest import (
    POOL_FILE,
    POSTGRES_FILE,
    Database,
    Manifest,
    Origin,
    Table,
    Users,
    checked_name,
    read_manifest,
    table_files,
)
from tasks.localenv.snapshot.save import describe
from tests.support.snapshots import Edit, flipped, repacked

ORIGIN = Origin("shop-abcdef", "docker", "us-east-1", {"postgres": "PostgreSQL 17.6"}, "0.1.0", "c0ffee", dirty=False)
PROPERTIES: dict[str, Any] = {
    "owner": "postgres",
    "comment": None,
    "connection_limit": -1,
    "settings": [],
    "grants": None,
}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """A snapshot whose parts lie in `tmp_path`."""
    for name in (POSTGRES_FILE, *table_files(0), POOL_FILE):
        (tmp_path / name).write_text(f"{name} " * 5000)
    definition, content = (describe(tmp_path / name) for name in table_files(0))
    return Manifest(
        "a",
        "0123abcd",
        "2026-11-21T10:00:00+00:00",
        ORIGIN,
        Database("shop", 0, 2, 25, "0" * 64, PROPERTIES, describe(tmp_path / POSTGRES_FILE)),
        (Table("orders", 124, "1" * 64, definition, content),),
        Users("us-east-1_AbCdEfGhI", 6, describe(tmp_path / POOL_FILE)),
    )


@pytest.fixture
def file(tmp_path: Path, manifest: Manifest) -> Path:
    path = tmp_path / "a.tar.gz"
    portable.pack(tmp_path, manifest, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "unpacked"
    made.mkdir()
    return made


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar"])
def test_what_was_packed_is_unpacked(tmp_path: Path, manifest: Manifest, folder: Path, name: str) -> None:
    portable.pack(tmp_path, manifest, tmp_path / name)
    assert portable.read(tmp_path / name) == manifest
    assert portable.unpack(tmp_path / name, folder) == manifest
    assert [describe(path) for path in sorted(folder.iterdir())] == sorted(manifest.files(), key=lambda each: each.name)
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda parts: parts[1:], "not a snapshot"),
        (lambda parts: parts[:-1], "it ends before pool.json"),
        (lambda parts: [*parts[:2], ("../../x", b"evil"), *parts[2:]], "'../../x' does not match the manifest"),
        (lambda parts: [*parts, ("/etc/x", b"evil")], "'/etc/x' does not match the manifest"),
        (lambda parts: [*parts[:-1], flipped(parts[-1])], "pool.json is damaged"),
        (lambda parts: [*parts[:-1], ("pool.json", parts[-1][1] + b" ")], "'pool.json' does not match the manifest"),
        (lambda parts: [("manifest.json", b"[]"), *parts[1:]], "not the manifest of a snapshot"),
        (lambda parts: [("manifest.json", b'{"schemaVersion": 9}')], "manifest of version 9, and this tool knows 2"),
        (
            lambda parts: [("manifest.json", parts[0][1].replace(b"pool.json", b"../pool")), *parts[1:]],
            "it names other files than a snapshot has",
        ),
    ],
)
def test_a_bad_file_is_refused(file: Path, folder: Path, edit: Edit, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        portable.unpack(repacked(file, edit), folder)
    assert message in caught.value.message and str(file) in caught.value.message
    assert not (folder.parents[1] / "x").exists()


@pytest.mark.parametrize("kept", [0, 1, 30, 200, 500])
def test_a_file_cut_short_is_refused(file: Path, folder: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UsageError, match="not a snapshot, or cut short"):
        portable.unpack(file, folder)


def test_a_link_in_a_file_is_refused(file: Path, folder: Path) -> None:
    import io
    import tarfile

    manifest = portable.read(file).as_json().encode()
    with tarfile.open(file, "w:gz") as tar:
        about = tarfile.TarInfo("manifest.json")
        about.size = len(manifest)
        tar.addfile(about, io.BytesIO(manifest))
        link = tarfile.TarInfo(POSTGRES_FILE)
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UsageError, match=r"'postgres.sql' does not match the manifest"):
        portable.unpack(file, folder)
    assert list(folder.iterdir()) == []


def test_a_manifest_is_read_as_it_was_written(manifest: Manifest) -> None:
    assert read_manifest(manifest.as_json(), "it") == manifest
    assert manifest.sentence == "25 rows, 124 items in 1 table, 6 pool users"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"0123abcd"', '"../../x"'),
        ('"2026-11-21T10:00:00+00:00"', '"yesterday"'),
        ('"2026-11-21T10:00:00+00:00"', '"2026-11-21T10:00:00"'),
        ('"name": "a"', '"name": "../a"'),
        ('"tables": [', '"tables": 3, "x": ['),
        ('"dirty": false', '"soiled": false'),
        ('"dirty": false', '"dirty": "no"'),
        ('"users": 6', '"users": "six"'),
        ('"rows": 25', '"rows": "a"'),
        ('"items": 124', '"items": null'),
        ('"postgres": "PostgreSQL 17.6"', '"postgres": 17'),
        ('"owner": "postgres"', '"user": "postgres"'),
        ('"settings": []', '"settings": [{"role": 1, "name": "a", "value": "b"}]'),
        ('"cognito": {', '"cognito": 0, "x": {'),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_refused(manifest: Manifest, old: str, new: str) -> None:
    assert old in manifest.as_json()
    with pytest.raises(UsageError):
        read_manifest(manifest.as_json().replace(old, new, 1), "it")


def test_a_folder_or_anything_else_that_is_no_file_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    with pytest.raises(UsageError, match="not a regular file"):
        portable.check_path(tmp_path / "a.tar")


def test_what_a_file_replaces_is_said(file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.tar").write_text("my thesis")
    assert portable.replaced(tmp_path / "new.tar") == ""
    assert portable.replaced(tmp_path / "mine.tar").endswith("mine.tar, which is not a snapshot that can be read")
    assert portable.replaced(file).startswith(f"replace {file}, snapshot a made ")


@pytest.mark.parametrize("name", ["", "-x", "--help", "a/b", "../a", "a b", "a%", "_a", "ä", "a" * 41, "a.tar.gz"])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)
