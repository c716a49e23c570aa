"""Checks of what protects the items: against deletion, against mistakes, and at rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from ..ages import ago
from ..wire import pages
from .finding import Finding, Look


def deletion_protection(look: Look) -> Iterator[Finding]:
    subject = "deletion protection"
    if look.table.get("DeletionProtectionEnabled"):
        yield Finding("ok", subject, "on")
        return
    fix = look.command(f"dynamodb update-table --table-name {look.name} --deletion-protection-enabled")
    yield Finding("problem", subject, "off: one call deletes the table", fix)


def recovery(look: Look) -> Iterator[Finding]:
    """PITR, and the window that it covers now."""
    subject = "point-in-time recovery"
    answer = look.api("dynamodb")("DescribeContinuousBackups", TableName=look.name)["ContinuousBackupsDescription"]
    found = answer.get("PointInTimeRecoveryDescription") or {}
    if found.get("PointInTimeRecoveryStatus") != "ENABLED":
        words = f"dynamodb update-continuous-backups --table-name {look.name} --point-in-time-recovery-specification"
        fix = look.command(f"{words} PointInTimeRecoveryEnabled=true")
        yield Finding("problem", subject, "off: a wrong write cannot be taken back", fix)
        return
    first, last = found.get("EarliestRestorableDateTime"), found.get("LatestRestorableDateTime")
    window = f", from {_minute(first)} to {_minute(last)}" if first and last else ""
    yield Finding("ok", subject, f"on{window}")


def backups(look: Look) -> Iterator[Finding]:
    parameters = {"TableName": look.name, "BackupType": "ALL"}
    token = ("LastEvaluatedBackupArn", "ExclusiveStartBackupArn")
    found = list(pages(look.api("dynamodb"), "ListBackups", "BackupSummaries", token, **parameters))
    if found:
        newest: datetime = max(one["BackupCreationDateTime"] for one in found)
        age_s = (datetime.now(timezone.utc) - newest).total_seconds()
        count = "1 backup" if len(found) == 1 else f"{len(found)} backups"
        yield Finding("ok", "backups", f"{count}, the newest {ago(age_s)}")
        return
    fix = look.command(f"dynamodb create-backup --table-name {look.name} --backup-name {look.name}-1")
    text = "none: point-in-time recovery ends after 35 days, and goes with the account"
    yield Finding("advice", "backups", text, fix)


def encryption(look: Look) -> Iterator[Finding]:
    """Every table is encrypted; the question is whose key it is, and whether the key still works."""
    found = look.table.get("SSEDescription") or {}
    key = found.get("KMSMasterKeyArn")
    if not key:
        yield Finding("ok", "encryption", "with a key that AWS owns: no charge, and no control over the key")
        return
    since = found.get("InaccessibleEncryptionDateTime")
    if since:
        fix = look.command(f"kms describe-key --key-id {key}")
        yield Finding("problem", "encryption", f"its key cannot be used since {_minute(since)}: {key}", fix)
        return
    metadata = look.api("kms")("DescribeKey", KeyId=key)["KeyMetadata"]
    if metadata.get("KeyState", "Enabled") != "Enabled":
        fix = look.command(f"kms enable-key --key-id {key}")
        yield Finding("problem", "encryption", f"its key is {metadata['KeyState']}: {key}", fix)
        return
    whose = "AWS manages in this account" if metadata.get("KeyManager") == "AWS" else "this account manages"
    yield Finding("ok", "encryption", f"with a key that {whose}: {key.rpartition('/')[2]}")


def _minute(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
