"""What a file is by its first bytes, where it is not SQL, and the way out. Reads nothing and runs nothing."""

from __future__ import annotations

import shlex

from ..errors import UsageError

HEAD_BYTES = 512
CUSTOM, GZIP = b"PGDMP", b"\x1f\x8b"
TAR_MEMBER = b"toc.dat\0"
"""The first member of a dump by `pg_dump -Ft`."""
TEXTS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
PACKED = {
    b"\x04\x22\x4d\x18": ("compressed by lz4", "unpack it: `lz4 -d {file} dump.sql`"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it: `zstd -d {file} -o dump.sql`"),
    b"\xfd7zXZ\0": ("compressed by xz", "unpack it: `xz -dc {file} > dump.sql`"),
    b"BZh": ("compressed by bzip2", "unpack it: `bunzip2 -c {file} > dump.sql`"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "unpack it: `7z x {file}`, and name the file in it"),
    b"PK\x03\x04": ("a zip archive", "unpack it: `unzip {file}`, and name the file in it"),
    b"PK\x05\x06": ("an empty zip archive", "name another file"),
    b"SQLite format 3\0": (
        "an SQLite database",
        "write it as SQL: `sqlite3 {file} .dump`, then adapt that",
    ),
}
"""How else a file begins, what that is, and what makes text of it."""


def is_archive(head: bytes) -> bool:
    """Return whether a file that begins so is one by `pg_dump -Fc` or `-Ft`."""
    return head.startswith((CUSTOM, TAR_MEMBER))


def require_text(head: bytes, shown: str, *, wanted: str = "SQL") -> None:
    """Raise UsageError for the beginning of a file that is not text in UTF-8, with what makes it so."""
    file = shlex.quote(shown)
    if is_archive(head):
        hint = f"convert it to SQL first: `pg_restore --file=dump.sql {file}`"
        raise UsageError(f"{shown}: a pg_dump archive, not {wanted}", hint=hint)
    if head.startswith(GZIP):
        hint = f"unpack it: `gunzip -c {file} > dump.sql`"
        raise UsageError(f"{shown}: compressed by gzip, not {wanted}", hint=hint)
    if head[257:262] == b"ustar":
        raise UsageError(f"{shown}: a tar archive, not {wanted}", hint=f"unpack it: `tar -xf {file}`")
    for start, encoding in TEXTS.items():
        if head.startswith(start):
            hint = f"convert it: `iconv -f {encoding} -t UTF-8 {file} > utf8.sql`"
            raise UsageError(f"{shown}: {encoding}, wanted UTF-8", hint=hint)
    for start, (what, way_out) in PACKED.items():
        if head.startswith(start):
            raise UsageError(f"{shown}: {what}, not {wanted}", hint=way_out.format(file=file))
