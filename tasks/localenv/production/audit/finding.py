"""What the checks of an audit share: what they look at, and how they say what they found."""

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
    """One thing looked at: how it is, and for all but `ok` what to type. `unknown`: it could not be looked at."""

    level: Level
    subject: str
    evidence: str
    fix: str = ""


@dataclass(frozen=True)
class Look:
    """What every check is given. `described` is DescribeTable's answer, or why there is none."""

    settings: Settings
    name: str
    described: dict[str, Any] | AwsError
    pattern: tuple[str, Path] | None = None

    @property
    def table(self) -> dict[str, Any]:
        """The table as DescribeTable sees it. Raises AwsError where that is not allowed."""
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
        """Give a service's API in the table's region, or in another one."""
        return AwsApi(replace(self.settings, region=region or self.settings.region), service)

    def command(self, words: str, region: str = "") -> str:
        """Write a command of the AWS CLI for the table's region, or for another one."""
        return f"`aws {words} --region {region or self.settings.region}`"
