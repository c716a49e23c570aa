"""What the checks of an audit share: their input and their findings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...aws.wire import Api, AwsApi, AwsError

if TYPE_CHECKING:
    from ...settings import Settings

Level = Literal["problem", "advice", "unknown", "ok"]
LEVELS: tuple[Level, ...] = ("problem", "advice", "unknown", "ok")


@dataclass(frozen=True)
class Finding:
    """The result of a check, and for all but `ok` what to type. `unknown`: it could not be checked."""

    level: Level
    subject: str
    evidence: str
    fix: str = ""


@dataclass(frozen=True)
class Look:
    """The input of every check. `described` is DescribeTable's answer, or its refusal."""

    settings: Settings
    name: str
    described: dict[str, Any] | AwsError
    pattern: tuple[str, Path] | None = None

    @property
    def table(self) -> dict[str, Any]:
        """The table as DescribeTable returns it. Raises AwsError where that was refused."""
        if isinstance(self.described, AwsError):
            raise self.described
        return self.described

    @property
    def arn(self) -> str:
        return str(self.table["TableArn"])

    @property
    def account(self) -> str:
        return "unknown" if isinstance(self.described, AwsError) else self.arn.split(":")[4]

    def api(self, service: str, region: str = "") -> Api:
        """Return a service's API in the table's region, or in another one."""
        return AwsApi(replace(self.settings, region=region or self.settings.region), service)

    def command(self, words: str, region: str = "") -> str:
        """Return a command of the AWS CLI for the table's region, or for another one."""
        return f"`aws {words} --region {region or self.settings.region}`"
