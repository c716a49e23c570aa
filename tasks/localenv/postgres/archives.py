"""Dumps that are not plain SQL, read as SQL: pg_dump's archives by pg_restore, and gzip. Connects to nothing."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

from ..errors import LocalEnvError, PreflightFailed, UsageError
from ..machine import shell
from ..machine.disk import disk_errors
from ..machine.progress import BYTES, Progress, progress
from ..machine.reading import is_folder, is_stream, opened, plain
from ..machine.wheel import installed_programs
from .dumpforms import GZIP, HEAD_BYTES, is_archive
from .sqlfile import SqlFile, checked, display_name, read_sql, text_of

SQL_BYTES = 16 << 30
"""The most SQL that an archive or a gzip file may expand to. gzip also has the limit of its ratio."""
CHUNK_BYTES = 1 << 20
OPTIONS = ("--no-owner", "--no-privileges", "--exclude-schema=localenv", "--file=-")
"""Owners and privileges name roles that the server may lack; the database that it is loaded into has its own ledger."""
CONTENTS = "toc.dat"
"""The file of a dump by `pg_dump -Fd` that says what it holds."""
_LEDGER = re.compile(rb"\d+; \d+ \d+ (SCHEMA - localenv|(ACL|COMMENT) - SCHEMA localenv) ")
_PACKING = re.compile(r"compress", re.IGNORECASE)
_last: dict[str, SqlFile] = {}
"""The dump that was converted last, by the digest of its bytes: a run reads a file for each of its looks."""


def read_source(path: Path, root: Path) -> SqlFile:
    """Return an SQL file, or a dump as the SQL that it holds, whose digest is of the dump's own bytes.

    Raises UsageError for a file that is neither, for a damaged one, and for one that expands to more than SQL_BYTES.
    """
    name = display_name(path, root)
    if is_folder(path) and (path / CONTENTS).is_file():
        return _converted(path, name, _digest_of_folder(path))
    if is_folder(path) or is_stream(path) or not path.exists():
        return read_sql(path, root)
    with opened(path, name) as given:
        head = given.read(HEAD_BYTES)
        if not is_archive(head) and not head.startswith(GZIP):
            return read_sql(path, root)
        digest = hashlib.sha256(head)
        while chunk := given.read(CHUNK_BYTES):
            digest.update(chunk)
    return _converted(path, name, digest.hexdigest())


def _converted(path: Path, name: str, digest: str) -> SqlFile:
    if digest not in _last:
        made = _convert(path, name)
        _last.clear()
        _last[digest] = replace(made, digest=digest)
    return replace(_last[digest], name=name)


def _digest_of_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        with opened(path, str(path)) as file:
            digest.update(f"{path.name} {path.stat().st_size}\n".encode())
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def _convert(path: Path, name: str) -> SqlFile:
    """Return what pg_restore writes of an archive, or what is in a gzip file: SQL, or an archive."""
    with ExitStack() as kept, progress(name, None, BYTES) as done:
        source = path
        if not is_folder(path):
            file = kept.enter_context(opened(path, name))
            if not is_archive(_head(file)):
                unpacked = kept.enter_context(_temporary())
                with plain(file, name) as stream:
                    _copy(iter(lambda: stream.read(CHUNK_BYTES), b""), unpacked, name, done)
                if not is_archive(_head(unpacked)):
                    return _checked(unpacked, name)
                source = Path(unpacked.name)
        output = kept.enter_context(_temporary())
        _restore(source, output, name, done)
        return _checked(output, name)


def _checked(file: IO[bytes], name: str) -> SqlFile:
    file.seek(0)
    return checked(SqlFile(name, text_of(file, name, is_file=True)))


def _head(file: IO[bytes]) -> bytes:
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    with disk_errors(Path(tempfile.gettempdir())), tempfile.NamedTemporaryFile(prefix="localenv-") as file:
        yield file


def _copy(chunks: Iterator[bytes], to: IO[bytes], name: str, done: Progress) -> None:
    for chunk in chunks:
        to.write(chunk)
        done.add(len(chunk))
        if to.tell() > SQL_BYTES:
            problem = f"it expands to more than {SQL_BYTES:,} bytes, the most that is read"
            raise UsageError(f"{name}: {problem}", hint="look at what is in it, and load it in parts")
    to.flush()


def _restore(source: Path, to: IO[bytes], name: str, done: Progress) -> None:
    """Write an archive as SQL, without the ledger that it may hold."""
    program = _program()
    with _temporary() as listed:
        _run([program, "--list", source], listed, name, done)
        listed.seek(0)
        entries = [line for line in listed if line[:1] != b";"]
        wanted = [line for line in entries if not _LEDGER.match(line)]
        with _temporary() as chosen:
            chosen.writelines(wanted)
            chosen.flush()
            only = [f"--use-list={chosen.name}"] if wanted != entries else []
            _run([program, *OPTIONS, *only, source], to, name, done)


def _run(command: list[str | Path], to: IO[bytes], name: str, done: Progress) -> None:
    with _temporary() as errors:
        with shell.piped(command, errors) as process:
            output = process.stdout
            assert output
            _copy(iter(lambda: output.read(CHUNK_BYTES), b""), to, name, done)
        errors.seek(0)
        said = errors.read(CHUNK_BYTES).decode(errors="replace").strip()
    if process.returncode or _PACKING.search(said):  # of an archive whose rows it cannot read, it writes the rest
        raise _failure(said, name)


def _failure(said: str, name: str) -> LocalEnvError:
    problem = said.splitlines()[0].removeprefix("pg_restore: ").removeprefix("error: ") if said else "no reason given"
    hint = "make the dump again: it is damaged or cut short"
    if _PACKING.search(said):
        hint = "make the dump again with `pg_dump --compress=gzip`, or as SQL by a pg_restore that has this compression"
    elif "unsupported version" in said:
        hint = "convert it by the pg_restore of the release that made it: `pg_restore --no-owner --file=dump.sql FILE`"
    return UsageError(f"{name}: pg_restore: {problem}", hint=hint, evidence="\n".join(said.splitlines()[-5:]))


def _program() -> Path:
    """Return pg_restore: the one of the wheel, else the one on the PATH."""
    try:
        return installed_programs() / "bin" / "pg_restore"
    except PreflightFailed:
        found = shutil.which("pg_restore")
        if found is None:
            raise PreflightFailed(
                "pg_restore is not installed, and an archive is read by it",
                hint="install PostgreSQL's client programs, or make the dump as SQL: `pg_dump --format=plain`",
            ) from None
        return Path(found)
