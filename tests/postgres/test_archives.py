"""Dumps in every form that pg_dump and its users make: what they are, that they load as SQL does, and the way out."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.errors import LocalEnvError
from tasks.localenv.machine.wheel import installed_programs
from tasks.localenv.postgres import archives, ledger, load
from tasks.localenv.postgres.connection import client_environment
from tasks.localenv.postgres.scripts import read_schema, read_seeds
from tasks.localenv.settings import Settings
from tests.support.projects import build, rows, run_sql, silent

ODD = "insert into posts values (7); create table odd (a text, b text); insert into odd values (E'a\\tb\\\\', null)"
WHAT = "select (select array_agg(id order by id)::text from posts), (select a || coalesce(b, '-') from odd)"


def dump(settings: Settings, path: Path, *words: str) -> Path:
    command = [str(installed_programs() / "bin" / "pg_dump"), *words, f"--file={path}"]
    subprocess.run(command, env=client_environment(settings.postgres), check=True)
    return path


@pytest.fixture
def target(project: Settings) -> Settings:
    """A project that is built, with rows and a table of its own, and the settings of an empty database beside it."""
    build(project)
    run_sql(project, ODD)
    empty = replace(project, postgres=replace(project.postgres, database=f"{project.postgres.database}_target"))
    load.create(empty)
    return empty


FORMS = {
    "custom": ("-Fc",),
    "tar": ("-Ft",),
    "directory": ("-Fd",),
    "custom, not compressed": ("-Fc", "-Z0"),
    "gzip": ("-Fp", "-Z", "gzip"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_dump_loads_in_one_transaction_with_its_row_of_the_ledger(
    form: str, project: Settings, target: Settings, tmp_path: Path
) -> None:
    path = dump(project, tmp_path / "all.dump", *FORMS[form], *(["-N", "localenv"] if form == "gzip" else []))
    said = load.apply_schema(target, str(path), silent)
    assert said.startswith("applied all.dump (")
    assert rows(target, WHAT) == [("{1,2,7}", "a\tb\\-")] == rows(project, WHAT)
    assert load.check_schema(target, str(path), typed=True)
    entries = {entry.path: entry.sha256 for entry in (script.entry for script in read_schema(target, str(path)))}
    assert entries.keys() == {"all.dump"}
    if path.is_file():
        assert entries["all.dump"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert "all.dump" in str(ledger.observe(target.postgres))


@pytest.mark.parametrize("form", FORMS)
def test_a_dump_that_fails_leaves_nothing(form: str, project: Settings, target: Settings, tmp_path: Path) -> None:
    path = dump(project, tmp_path / "rows.dump", *FORMS[form], "--data-only", "-t", "posts", "-t", "odd")
    run_sql(target, "create table posts (id int); create table odd (a text)")
    with pytest.raises(LocalEnvError, match=r'column "b" of relation "odd" does not exist') as caught:
        load.apply_seeds(target, str(path), silent, yes=True)
    assert "is unchanged" in caught.value.evidence
    assert rows(target, "select * from posts") == []


def test_an_archive_within_gzip_is_read_as_well(project: Settings, target: Settings, tmp_path: Path) -> None:
    path = tmp_path / "all.dump.gz"
    path.write_bytes(gzip.compress(dump(project, tmp_path / "all.dump", "-Fc").read_bytes()))
    load.apply_schema(target, str(path), silent)
    assert rows(target, WHAT) == rows(project, WHAT)


@pytest.mark.parametrize(
    ("content", "message", "hint"),
    [
        (b"PK\x03\x04....", "a zip archive, not SQL", "unzip a.sql"),
        ("select 1;".encode("utf-16"), "UTF-16, wanted UTF-8", "iconv -f UTF-16 -t UTF-8 a.sql"),
        ("select 1;".encode("utf-32"), "UTF-32, wanted UTF-8", "iconv -f UTF-32"),
        (b"\x04\x22\x4d\x18....", "compressed by lz4, not SQL", "lz4 -d a.sql"),
        (b"\x28\xb5\x2f\xfd....", "compressed by zstd, not SQL", "zstd -d a.sql"),
        (b"\xfd7zXZ\0....", "compressed by xz, not SQL", "xz -dc a.sql"),
        (b"BZh9....", "compressed by bzip2, not SQL", "bunzip2 -c a.sql"),
        (b"SQLite format 3\0....", "an SQLite database, not SQL", "sqlite3 a.sql .dump"),
        (gzip.compress(b"PK\x03\x04....", mtime=0), "a zip archive, not SQL", "unzip a.sql"),
        (gzip.compress(b"select 1;", mtime=0)[:-6], "the compressed data is damaged or cut short", ""),
        (b"PGDMP\x01\x0f", "pg_restore:", "damaged or cut short"),
        (b"toc.dat\0" + b"\0" * 504, "pg_restore:", "damaged or cut short"),
    ],
)
def test_what_is_not_read_is_named_with_the_way_out(
    tmp_path: Path, project: Settings, content: bytes, message: str, hint: str
) -> None:
    (tmp_path / "a.sql").write_bytes(content)
    with pytest.raises(LocalEnvError) as caught:
        read_seeds(project, str(tmp_path / "a.sql"))
    assert caught.value.code == 2
    assert caught.value.message.startswith(f"a.sql: {message}")
    assert hint in caught.value.hint


@pytest.mark.parametrize(("algorithm", "word"), [(2, "lz4"), (3, "zstd")])
def test_an_archive_whose_compression_pg_restore_lacks_is_named(
    algorithm: int, word: str, project: Settings, target: Settings, tmp_path: Path
) -> None:
    content = bytearray(dump(project, tmp_path / "all.dump", "-Fc").read_bytes())
    content[11] = algorithm
    (tmp_path / "all.dump").write_bytes(content)
    with pytest.raises(LocalEnvError, match="pg_restore: ") as caught:
        read_schema(target, str(tmp_path / "all.dump"))
    assert "pg_dump --compress=gzip" in caught.value.hint, (word, caught.value.message)


def test_what_expands_without_end_is_refused(
    project: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "SQL_BYTES", 1 << 20)
    (tmp_path / "a.sql.gz").write_bytes(gzip.compress(b"\n" * (4 << 20)))
    with pytest.raises(LocalEnvError, match="it expands to more than 1,048,576 bytes") as caught:
        read_seeds(project, str(tmp_path / "a.sql.gz"))
    assert caught.value.code == 2


def test_a_changed_dump_is_another_file(project: Settings, target: Settings, tmp_path: Path) -> None:
    path = dump(project, tmp_path / "folder", "-Fd")
    first = read_schema(target, str(path))[0].entry.sha256
    assert read_schema(target, str(path))[0].entry.sha256 == first
    shutil.rmtree(path)
    run_sql(project, "insert into posts values (8)")
    assert read_schema(target, str(dump(project, path, "-Fd")))[0].entry.sha256 != first
