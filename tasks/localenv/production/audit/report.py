"""The report: the checks, run in parallel, and their findings.

A check that the caller has no permission for becomes a finding with the missing permission; the others still run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...aws.boto import DENIED_CODES
from ...aws.wire import AwsApi, AwsError
from ...errors import LocalEnvError
from ...hints import Command, either
from ...machine.parallel import side_by_side
from . import access, capacity, network, safety, table, trails
from .finding import LEVELS, Finding, Look

if TYPE_CHECKING:
    from ...settings import Settings

Check = Callable[[Look], Iterator[Finding]]

CHECKS: tuple[tuple[str, Check], ...] = (
    ("deletion protection", safety.deletion_protection),
    ("point-in-time recovery", safety.recovery),
    ("backups", safety.backups),
    ("encryption", safety.encryption),
    ("access", access.principals),
    ("resource policy", access.resource_policy),
    ("VPC endpoint", network.vpc_endpoint),
    ("CloudTrail", trails.cloudtrail),
    ("capacity", capacity.capacity),
    ("time to live", table.time_to_live),
    ("stream", table.stream),
    ("tags", table.tags),
)


@dataclass(frozen=True)
class Report:
    """The audited table, and every finding in the order of the checks."""

    table: str
    account: str
    region: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> int:
        return sum(finding.level == "problem" for finding in self.findings)

    @property
    def summary(self) -> str:
        """Count the findings by level: 1 problem, 2 advice, 5 ok."""
        counts = [(sum(finding.level == level for finding in self.findings), level) for level in LEVELS]
        return ", ".join(counted(count, level) for count, level in counts if count)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "findings": [asdict(finding) for finding in self.findings]}


def counted(count: int, level: str) -> str:
    """Return the number of findings of a level in words."""
    return f"{count} {level}s" if level == "problem" and count != 1 else f"{count} {level}"


def examine(settings: Settings, name: str, *, pattern: tuple[str, Path] | None = None) -> Report:
    """Audit a table at AWS, whatever the target. `pattern` is a shipped IAM policy: its name and its path.

    Raises LocalEnvError if there is no such table or AWS cannot be called at all.
    """
    settings = replace(settings, dynamodb=None)
    look = Look(settings, name, _describe(settings, name), pattern)
    found = side_by_side([_guarded(subject, check, look) for subject, check in CHECKS])
    return Report(name, look.account, settings.region, tuple(finding for findings in found for finding in findings))


def _describe(settings: Settings, name: str) -> dict[str, Any] | AwsError:
    try:
        described: dict[str, Any] = AwsApi(settings, "dynamodb")("DescribeTable", TableName=name)["Table"]
    except AwsError as error:
        if error.aws_code in DENIED_CODES:
            return error
        if error.aws_code != "ResourceNotFoundException":
            raise
        raise LocalEnvError(
            f"there is no table {name} at AWS in {settings.region}",
            hint=either(
                Command("ddb.list-tables", "--target", "prod", when="to see those of the region"),
                "name another with --table, or another region with AWS_DEFAULT_REGION",
            ),
        ) from error
    return described


def _guarded(subject: str, check: Check, look: Look) -> Callable[[], list[Finding]]:
    def job() -> list[Finding]:
        found: list[Finding] = []
        try:
            found.extend(check(look))
        except AwsError as error:
            denied = error.aws_code in DENIED_CODES
            text = f"this user may not call {error.permission}" if denied else error.message
            found.append(Finding("unknown", subject, text, error.hint or "run the same command again"))
        except LocalEnvError as error:
            found.append(Finding("unknown", subject, error.message, error.hint))
        return found

    return job
