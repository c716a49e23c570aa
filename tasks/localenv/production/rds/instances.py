"""The DB instances of the account, and whether the production one admits this workspace. Reads only."""

from __future__ import annotations

import difflib
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ...aws.wire import Api, AwsApi, pages
from ...errors import LocalEnvError
from ...hints import Command
from ...machine.parallel import side_by_side
from ...machine.words import counted
from .address import PublicAddress, find_address
from .rule import Rule, database_port, fetch_rule, listing

if TYPE_CHECKING:
    from ...settings import Settings

ANSWERS = (
    *("available", "backing-up", "modifying", "storage-initialization", "storage-optimization"),
    *("configuring-enhanced-monitoring", "configuring-iam-database-auth", "configuring-log-exports"),
)
"""Amazon RDS user guide, "Viewing DB instance status": the states in which it accepts connections."""

STOPPED = ("stopped", "stopping")
UPDATE = Command("rds.update-sg-rule")


@dataclass(frozen=True)
class Instance:
    """A DB instance as DescribeDBInstances returns it. `restarts_at`: when AWS restarts a stopped one by itself."""

    identifier: str
    status: str
    engine: str
    version: str
    instance_class: str
    endpoint: str
    storage: str
    public: bool
    multi_az: bool
    backup_days: int
    deletion_protection: bool
    groups: tuple[str, ...]
    restarts_at: datetime | None = None

    @property
    def host(self) -> str:
        return self.endpoint.rpartition(":")[0]

    @property
    def answers(self) -> bool:
        return self.status in ANSWERS


@dataclass(frozen=True)
class Problem:
    """Something that blocks this workspace's access, or puts the data at risk, with a hint."""

    subject: str
    text: str
    hint: str


@dataclass(frozen=True)
class Report:
    """The observed state. `rule` is None if the settings name none or it is unreadable, `address` if unknown."""

    region: str
    instances: tuple[Instance, ...]
    rule: Rule | None
    address: PublicAddress | None
    problems: tuple[Problem, ...]

    @property
    def is_down(self) -> bool:
        return not self.instances or not all(instance.answers for instance in self.instances)

    def as_dict(self) -> dict[str, Any]:
        return {
            "region": self.region,
            "instances": [{**asdict(one), "restarts_at": _iso(one.restarts_at)} for one in self.instances],
            "rule": asdict(self.rule) if self.rule else None,
            "address": str(self.address.ip) if self.address else None,
            "problems": [asdict(problem) for problem in self.problems],
        }


def examine(settings: Settings, identifier: str = "") -> Report:
    """Fetch the instances, the rule and this workspace's address in parallel.

    The instance is `identifier`, else the one whose endpoint PROD_CONNECTION_URL names, else all of the region.
    Raises LocalEnvError if there is no such instance. An unreadable rule is a problem.
    """
    call = AwsApi(settings, "rds")
    seen: list[Any] = side_by_side(
        [
            lambda: _choose(settings, fetch_instances(call), identifier),
            lambda: _rule(settings),
            lambda: _own_address(settings),
        ]
    )
    instances, rule, address = seen
    problems = [] if identifier else _wrong_endpoint(settings, instances)
    problems += [rule] if isinstance(rule, Problem) else []
    found = rule if isinstance(rule, Rule) else None
    problems += [problem for instance in instances for problem in _problems_of(instance, settings)]
    if found:
        problems += _access_problems(settings, instances, found, address)
    return Report(settings.region, tuple(instances), found, address, tuple(problems))


def fetch_instances(call: Api) -> list[Instance]:
    """Fetch every DB instance of the region, all pages, sorted by identifier."""
    found = pages(call, "DescribeDBInstances", "DBInstances", ("Marker", "Marker"))
    return sorted(map(instance_of, found), key=lambda instance: instance.identifier)


def instance_of(found: dict[str, Any]) -> Instance:
    """Parse RDS's DBInstance; one that is being created has no endpoint yet."""
    endpoint = found.get("Endpoint") or {}
    return Instance(
        identifier=found["DBInstanceIdentifier"],
        status=found.get("DBInstanceStatus", "unknown"),
        engine=found.get("Engine", ""),
        version=found.get("EngineVersion", ""),
        instance_class=found.get("DBInstanceClass", ""),
        endpoint=f"{endpoint['Address']}:{endpoint['Port']}" if endpoint.get("Address") else "",
        storage=f"{found.get('AllocatedStorage', 0)} GiB {found.get('StorageType', '')}".strip(),
        public=bool(found.get("PubliclyAccessible")),
        multi_az=bool(found.get("MultiAZ")),
        backup_days=int(found.get("BackupRetentionPeriod", 0)),
        deletion_protection=bool(found.get("DeletionProtection")),
        groups=tuple(group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", ())),
        restarts_at=found.get("AutomaticRestartTime"),
    )


def describe(instance: Instance) -> list[tuple[str, str]]:
    """Return an instance's properties as pairs of label and value."""
    status = instance.status
    if instance.restarts_at:
        left_s = (instance.restarts_at - datetime.now(timezone.utc)).total_seconds()
        status += f"; AWS starts it again {instance.restarts_at:%Y-%m-%d %H:%M} UTC (in {left_s / 86400:.1f} d)"
    return [
        ("instance", instance.identifier),
        ("status", status),
        ("engine", f"{instance.engine} {instance.version}, {instance.instance_class}, {instance.storage}"),
        ("endpoint", instance.endpoint or "none yet"),
        ("reached from", "the internet, where a rule lets it" if instance.public else "its own network alone"),
        ("multi-AZ", "yes" if instance.multi_az else "no"),
        ("backups", f"kept {counted(instance.backup_days, 'day')}" if instance.backup_days else "off"),
        ("deletion protection", "on" if instance.deletion_protection else "off"),
        ("security groups", ", ".join(instance.groups) or "none"),
    ]


def _choose(settings: Settings, instances: list[Instance], identifier: str) -> list[Instance]:
    if identifier:
        chosen = [instance for instance in instances if instance.identifier == identifier.lower()]
        return chosen or _no_such_instance(settings, instances, f"called {identifier!r}", identifier)
    if not settings.prod_postgres:
        return instances
    host = settings.prod_postgres.host
    return [instance for instance in instances if instance.host == host] or instances


def _wrong_endpoint(settings: Settings, instances: list[Instance]) -> list[Problem]:
    """Return a problem if PROD_CONNECTION_URL names none of the instances; RDS's host names contain the region."""
    host = settings.prod_postgres.host if settings.prod_postgres else ""
    if not host or any(instance.host == host for instance in instances):
        return []
    found = re.search(r"\.([a-z0-9-]+)\.rds\.amazonaws\.com$", host)
    if found and found[1] != settings.region:
        text, hint = f"names a host in {found[1]}, not in {settings.region}", f"set AWS_DEFAULT_REGION={found[1]}"
    else:
        text, hint = f"names {host}, which is no instance's endpoint", "correct it, or name one with --instance"
    return [Problem("PROD_CONNECTION_URL", text, hint)]


def _no_such_instance(settings: Settings, instances: list[Instance], which: str, given: str) -> list[Instance]:
    names = [instance.identifier for instance in instances]
    near = difflib.get_close_matches(given.lower(), names, n=1)
    there = f"there are {', '.join(names)}" if names else "there is none at all; AWS_DEFAULT_REGION names the region"
    raise LocalEnvError(
        f"no DB instance {which} in {settings.region}", hint=f"did you mean {near[0]!r}?" if near else there
    )


def _rule(settings: Settings) -> Rule | Problem | None:
    group, rule_id = settings.security_group, settings.security_group_rule
    if not (group and rule_id):
        return None
    try:
        return fetch_rule(AwsApi(settings, "ec2"), group, rule_id, see=listing(group, settings.region))
    except LocalEnvError as error:
        return Problem(f"rule {rule_id}", error.message, error.hint)


def _own_address(settings: Settings) -> PublicAddress | None:
    if not settings.security_group_rule:
        return None
    try:
        return find_address(settings)
    except LocalEnvError:
        return None


def _problems_of(instance: Instance, settings: Settings) -> list[Problem]:
    subject = f"instance {instance.identifier}"
    options = f"--region {settings.region} --db-instance-identifier {instance.identifier}"
    found = []
    if instance.status in STOPPED:
        found.append(Problem(subject, f"is {instance.status}", f"run `aws rds start-db-instance {options}`"))
    elif not instance.answers:
        found.append(
            Problem(
                subject,
                f"is {instance.status}",
                f"run `aws rds describe-events --duration 1440 "
                f"--source-type db-instance --source-identifier {instance.identifier} --region {settings.region}`",
            )
        )
    if not instance.backup_days:
        fix = f"run `aws rds modify-db-instance {options} --backup-retention-period 7 --apply-immediately`"
        found.append(Problem(subject, "has no backups", fix))
    return found


def _access_problems(
    settings: Settings, instances: list[Instance], rule: Rule, address: PublicAddress | None
) -> list[Problem]:
    subject, port = f"rule {rule.id}", database_port(settings)
    found = []
    if len(instances) == 1 and rule.group not in instances[0].groups:
        text = f"its group {rule.group} is not one of instance {instances[0].identifier}"
        found.append(Problem(subject, text, f"set DB_SG_ID to one of {', '.join(instances[0].groups) or 'its groups'}"))
    if address and not rule.opens(address, port):
        found.append(Problem(subject, f"lets {rule} in, and this workspace is {address.ip} ({address.source})", UPDATE))
    return found


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
