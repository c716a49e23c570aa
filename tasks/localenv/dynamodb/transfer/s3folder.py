"""Reads and writes folders of items in the format of AWS's export to S3 and import from S3. Connects to nothing.

    manifest-summary.json   one object: version, itemCount, outputFormat, exportType …
    manifest-files.json     an object a line: itemCount, md5Checksum, dataFileS3Key of each data file
    data/*.json.gz          the items, {"Item": …} a line

Source: Amazon DynamoDB Developer Guide, "DynamoDB table export output format" and "Amazon S3 import formats".
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...aws.templates.jsonfile import read_json
from ...errors import UsageError
from ...machine.disk import disk_errors
from ...machine.reading import json_of, lines, opened, unreadable
from ...machine.wholefile import require_folder
from ...machine.words import counted
from .itemfile import write_lines
from .typed import Item

SUMMARY, FILES, REQUEST = "manifest-summary.json", "manifest-files.json", "import-table.json"
ITEMS_A_FILE = 250_000
SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv")


@dataclass(frozen=True)
class Part:
    """A file of items. `items` and `md5` are those in its manifest; None and empty without one."""

    path: Path
    shown: str
    items: int | None = None
    md5: str = ""


def find_parts(folder: Path, shown: str) -> list[Part]:
    """Return the files of items in a folder: those of its manifest, or else those with a known suffix, by name.

    The manifest may be a level or two below, where AWS puts it: AWSDynamoDB/<export>/. Raises UsageError if there are
    several, or if it is of another kind or does not match its files.
    """
    found = sorted(path for depth in ("", "*/", "AWSDynamoDB/*/") for path in folder.glob(f"{depth}{SUMMARY}"))
    if len(found) > 1:
        names = ", ".join(str(path.parent.relative_to(folder)) for path in found)
        raise UsageError(f"{shown}: {len(found)} exports in this folder: {names}", hint="name one of them")
    if found:
        inner = found[0].parent
        return _parts_of_manifest(inner, str(Path(shown) / inner.relative_to(folder)))
    try:
        parts = [Part(path, f"{shown}/{path.name}") for path in sorted(folder.iterdir()) if _holds_items(path)]
    except OSError as error:
        raise unreadable(shown, error) from error
    if not parts:
        hint = f"name an S3 export, or a folder with *{', *'.join(SUFFIXES)}, compressed as *.gz or not"
        raise UsageError(f"{shown}: no files of items in this folder", hint=hint)
    return parts


def check_part(part: Part) -> None:
    """Raise UsageError if the MD5 of a file is not the one in its manifest."""
    if not part.md5:
        return
    digest = hashlib.md5(usedforsecurity=False)
    with opened(part.path, part.shown) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    found = base64.b64encode(digest.digest()).decode()
    if found != part.md5:
        raise UsageError(
            f"{part.shown}: its MD5 is {found}, but {FILES} says {part.md5}", hint="fetch the file from S3 again"
        )


def write_folder(folder: Path, name: str, items: Iterable[Item], description: dict[str, Any]) -> tuple[int, int]:
    """Write items as a folder for AWS's import from S3 and for ddb.import; return their number and bytes.

    Beside the manifests is the request to import them as table `name`, made from DescribeTable's `description`.
    A new folder appears when it is complete; in an empty one the summary, which marks an export, is written last.
    Raises UsageError if the folder is not empty.
    """
    target = folder.resolve()  # "." has no name, and a link must stay one
    require_folder(target.parent)
    exists = target.exists()
    if exists and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{folder} already exists and is not empty", hint="name a new folder, or remove this one")
    part = (target if exists else target.parent) / f".{target.name}.{os.getpid()}.part"
    try:
        with disk_errors(target.parent):
            part.mkdir()
            (part / "data").mkdir()
            counts = _write_parts(part, items)
            (part / REQUEST).write_text(_pretty(import_request(name, description)))
            if exists:
                for entry in ("data", FILES, REQUEST, SUMMARY):
                    (part / entry).rename(target / entry)
                part.rmdir()
            else:
                part.rename(target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return counts


def import_request(name: str, description: dict[str, Any]) -> dict[str, Any]:
    """Return ImportTable's request for a table, from DescribeTable's `description`, with a placeholder bucket."""
    capacity = _capacity(description)
    indexes = [
        {
            **{field: index[field] for field in ("IndexName", "KeySchema", "Projection")},
            **({} if "BillingMode" in capacity else _capacity(index)),
        }
        for index in description.get("GlobalSecondaryIndexes") or ()
    ]
    # ImportTable takes no local indexes, and refuses attributes that are not in any key.
    keyed = {entry["AttributeName"] for table in (description, *indexes) for entry in table["KeySchema"]}
    wanted = {
        "TableName": name,
        "AttributeDefinitions": [
            each for each in description["AttributeDefinitions"] if each["AttributeName"] in keyed
        ],
        "KeySchema": description["KeySchema"],
        **capacity,
    }
    return {
        "S3BucketSource": {"S3Bucket": "YOUR-BUCKET", "S3KeyPrefix": f"{name}/data/"},
        "InputFormat": "DYNAMODB_JSON",
        "InputCompressionType": "GZIP",
        "TableCreationParameters": {**wanted, **({"GlobalSecondaryIndexes": indexes} if indexes else {})},
    }


def _capacity(description: dict[str, Any]) -> dict[str, Any]:
    throughput = description.get("ProvisionedThroughput") or {}
    units = {field: throughput.get(field) or 0 for field in ("ReadCapacityUnits", "WriteCapacityUnits")}
    return {"ProvisionedThroughput": units} if all(units.values()) else {"BillingMode": "PAY_PER_REQUEST"}


def _write_parts(folder: Path, items: Iterable[Item]) -> tuple[int, int]:
    source = iter(items)
    lines, count, size_bytes = [], 0, 0
    for number in itertools.count():
        path = folder / "data" / f"{number:05}.json.gz"
        written = write_lines(path, itertools.islice(source, ITEMS_A_FILE))
        if number and not written.items:
            path.unlink()
            break
        count, size_bytes = count + written.items, size_bytes + written.size_bytes
        md5 = base64.b64encode(written.md5).decode()
        lines.append({"itemCount": written.items, "md5Checksum": md5, "dataFileS3Key": f"data/{path.name}"})
        if written.items < ITEMS_A_FILE:
            break
    (folder / FILES).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    summary = {
        "version": "2020-06-30",
        "manifestFilesS3Key": FILES,
        "itemCount": count,
        "outputFormat": "DYNAMODB_JSON",
        "exportType": "FULL_EXPORT",
    }
    (folder / SUMMARY).write_text(_pretty(summary))
    return count, size_bytes


def _parts_of_manifest(folder: Path, shown: str) -> list[Part]:
    summary = read_json(folder / SUMMARY, f"{shown}/{SUMMARY}").data
    if not isinstance(summary, dict) or summary.get("outputFormat") != "DYNAMODB_JSON":
        found = summary.get("outputFormat", "no outputFormat") if isinstance(summary, dict) else "no object"
        raise UsageError(f"{shown}/{SUMMARY}: {found}, wanted DYNAMODB_JSON", hint="export with that output format")
    if summary.get("exportType", "FULL_EXPORT") != "FULL_EXPORT":
        raise UsageError(f"{shown}/{SUMMARY}: {summary['exportType']} holds changes, not items", hint=FULL)
    parts = list(_read_manifest(folder, shown))
    count = sum(part.items or 0 for part in parts)
    if count != summary.get("itemCount"):
        raise UsageError(f"{shown}: {counted(count, 'item')} in {FILES}, but {summary.get('itemCount')} in {SUMMARY}")
    return parts


FULL = "use a full export"


def _read_manifest(folder: Path, shown: str) -> Iterator[Part]:
    with opened(folder / FILES, f"{shown}/{FILES}") as file:
        for number, line in lines(file, f"{shown}/{FILES}"):
            if line.strip():
                yield _part(folder, shown, number, line)


def _part(folder: Path, shown: str, number: int, line: bytes) -> Part:
    """Read a line of the manifest. The file is taken from the folder `data`, whatever its key in S3 was."""
    place = f"{shown}/{FILES}:{number}"
    try:
        entry = json_of(line, place)
        name, count, md5 = PurePosixPath(entry["dataFileS3Key"]).name, int(entry["itemCount"]), entry["md5Checksum"]
    except (UsageError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{place}: wanted itemCount, md5Checksum, dataFileS3Key") from error
    try:
        exists = (folder / "data" / name).is_file()
    except OSError:  # the name is too long
        exists = False
    if not exists:
        raise UsageError(f"{shown}/data/{name[:80]}: missing, but {FILES}:{number} names it", hint="fetch it from S3")
    return Part(folder / "data" / name, f"{shown}/data/{name}", count, md5)


def _holds_items(path: Path) -> bool:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    named = bool(suffixes) and suffixes[-1] in SUFFIXES
    return named and path.is_file() and not path.name.startswith((".", "manifest-", REQUEST))


def _pretty(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
