"""Safety checks: protection against deletion and mistakes, and encryption at rest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from ...aws.wire import AwsError, pages
from ...machine.ages import ago
from .finding import Finding, Look

USABLE = ("Enabled", "Updating")
"""KMS developer guide, "Key states": those in which a key encrypts and decrypts."""


def deletion_protection(look: Look) -> Iterator[Finding]:
    subject = "deletion protection"
    if look.table.get("DeletionProtectionEnabled"):
        yield Finding("ok", subject, "on")
        return
    fix = look.command(f"dynamodb update-table --table-name {look.name} --deletion-protection-enabled")
    yield Finding("problem", subject, "off: one call deletes the table", fix)


def recovery(look: Look) -> Iterator[Finding]:
    """Check point-in-time recovery, and the window that it covers."""
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
    """Check the encryption key: every table is encrypted, but who manages the key, and does it still work?"""
    found = look.table.get("SSEDescription") or {}
    key = found.get("KMSMasterKeyArn")
    if not key:
        yield Finding("ok", "encryption", "with a key that AWS owns: no charge, and no control over the key")
        return
    since = found.get("InaccessibleEncryptionDateTime")
    lost = f"cannot be used since {_minute(since)}" if since else ""
    try:
        metadata = look.api("kms")("DescribeKey", KeyId=key)["KeyMetadata"]
    except AwsError:
        if not lost:
            raise
        yield Finding(
            "problem", "encryption", f"its key {lost}: {key}", look.command(f"kms describe-key --key-id {key}")
        )
    else:
        yield _key(look, key, metadata, lost)


def _key(look: Look, key: str, metadata: dict[str, Any], lost: str) -> Finding:
    """Return the finding for a key, from KMS's state and DynamoDB's: `lost` says since when that cannot use it."""
    if metadata.get("KeyState", "Enabled") not in USABLE:
        text = " and ".join(filter(None, [_state(metadata), lost]))
        return Finding("problem", "encryption", f"its key {text}: {key}", _mend(look, key, metadata))
    if lost:
        policy = look.command(f"kms get-key-policy --key-id {key} --policy-name default")
        return Finding("problem", "encryption", f"its key {lost}: {key}", f"let DynamoDB use it: {policy}")
    whose = "AWS manages in this account" if metadata.get("KeyManager") == "AWS" else "this account manages"
    return Finding("ok", "encryption", f"with a key that {whose}: {key.rpartition('/')[2]}")


def _state(metadata: dict[str, Any]) -> str:
    until = metadata.get("DeletionDate")
    return f"is {metadata['KeyState']}" + (f" (it will be deleted on {_minute(until)})" if until else "")


def _mend(look: Look, key: str, metadata: dict[str, Any]) -> str:
    """Return the command that makes a key usable again, by its state."""
    enable = look.command(f"kms enable-key --key-id {key}")
    store = f"--custom-key-store-id {metadata.get('CustomKeyStoreId', 'ID')}"
    cancel = f"{look.command(f'kms cancel-key-deletion --key-id {key}')}, then {enable}"
    wrapping = "--wrapping-algorithm RSAES_OAEP_SHA_256 --wrapping-key-spec RSA_4096"
    imported = look.command(f"kms get-parameters-for-import --key-id {key} {wrapping}")
    return {
        "Disabled": enable,
        "PendingDeletion": cancel,
        "PendingReplicaDeletion": cancel,
        "PendingImport": f"{imported}, then import-key-material",
        "Unavailable": look.command(f"kms connect-custom-key-store {store}"),
    }.get(metadata["KeyState"], look.command(f"kms describe-key --key-id {key}"))


def _minute(at: datetime) -> str:
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
