"""The security group rule that admits this workspace to the database: read, compared and changed.

Two ids in the settings name the rule, and only that rule is ever changed. It opens the database's port to one address,
never to more.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...aws.wire import Api, AwsApi, AwsError
from ...errors import LocalEnvError, UsageError
from ...hints import Command

if TYPE_CHECKING:
    from ...settings import Settings
    from .address import PublicAddress

POSTGRES_PORT = 5432
DESCRIPTION_PATTERN = r"[A-Za-z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}"
"""Amazon EC2 API reference, IpRange: the characters allowed in a rule's description."""


@dataclass(frozen=True)
class Rule:
    """A rule as DescribeSecurityGroupRules returns it. `source` is an address range, a prefix list or a group."""

    id: str
    group: str
    account: str
    is_egress: bool
    protocol: str
    ports: tuple[int, int]
    source: str
    family: str
    description: str

    def opens(self, address: PublicAddress, port: int) -> bool:
        """Return whether it admits this address to this port."""
        if self.is_egress or not self.family or not self.has_port(port):
            return False
        network = ipaddress.ip_network(self.source)
        return address.ip.version == network.version and address.ip in network

    def has_port(self, port: int) -> bool:
        """Return whether the rule includes the port; protocol -1 includes every port (-1 to -1)."""
        return self.protocol == "-1" or (self.protocol == "tcp" and self.ports[0] <= port <= self.ports[1])

    def __str__(self) -> str:
        first, last = self.ports
        ports = f"{first}" if first == last else f"{first}-{last}"
        what = "every port" if self.protocol == "-1" else f"{self.protocol} {ports}"
        return f"{self.source}, {what}" + (f", {self.description}" if self.description else "")


@dataclass(frozen=True)
class Change:
    """A rule, and its wanted values. Made by `plan_change`, which refuses impossible ones."""

    rule: Rule
    address: PublicAddress
    port: int
    description: str

    @property
    def is_needed(self) -> bool:
        rule = self.rule
        same = (rule.source, rule.protocol, rule.ports) == (self.address.cidr, "tcp", (self.port, self.port))
        return not (same and rule.description == self.description)

    @property
    def wanted(self) -> str:
        return f"{self.address.cidr}, tcp {self.port}" + (f", {self.description}" if self.description else "")

    def line(self) -> str:
        return f"~ {self.rule.id}: {self.rule} → {self.wanted}"

    def as_dict(self) -> dict[str, Any]:
        return {
            "account": self.rule.account,
            "group": self.rule.group,
            "rule": self.rule.id,
            "address": str(self.address.ip),
            "address_source": self.address.source,
            "old": str(self.rule),
            "new": self.wanted,
        }


def database_port(settings: Settings) -> int:
    """Return the port of the production database: PROD_CONNECTION_URL's, else PostgreSQL's default."""
    return settings.prod_postgres.port if settings.prod_postgres else POSTGRES_PORT


def check_description(text: str) -> str:
    """Return the text if EC2 accepts it as a description. Raises UsageError."""
    if not re.fullmatch(DESCRIPTION_PATTERN, text):
        raise UsageError(
            f"--description {text!r} has a character that EC2 refuses, or more than 255 of them",
            hint="use letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*",
        )
    return text


def require_ids(settings: Settings) -> tuple[str, str]:
    """Return the ids of group and rule. Raises UsageError that says how to find a missing one."""
    group, rule = settings.security_group, settings.security_group_rule
    if not group:
        raise UsageError(
            "DB_SG_ID is not set: the security group of the database",
            hint=Command(
                "rds.status", when=f"to see the group of each database in {settings.region}; set its id in .env"
            ),
        )
    if not rule:
        raise UsageError(
            f"DB_SG_RULE_ID is not set: the rule of {group} for this workspace",
            hint=f"{listing(group, settings.region)} lists the rules; set the id of this workspace's own in .env",
        )
    return group, rule


def listing(group: str, region: str) -> str:
    """Return the command that lists the rules of a group."""
    return f"`aws ec2 describe-security-group-rules --region {region} --filters Name=group-id,Values={group}`"


def plan_change(settings: Settings, address: PublicAddress, description: str) -> Change:
    """Fetch the rule and return the change. Calls DescribeSecurityGroupRules; changes nothing.

    Raises LocalEnvError if the rule is missing, another group's, or cannot take the wanted values.
    """
    group, rule_id = require_ids(settings)
    rule = fetch_rule(AwsApi(settings, "ec2"), group, rule_id, see=listing(group, settings.region))
    change = Change(rule, address, database_port(settings), description)
    _refuse_impossible(change, settings.region)
    return change


def fetch_rule(call: Api, group: str, rule_id: str, *, see: str) -> Rule:
    """Fetch a rule. Raises LocalEnvError if it is missing or another group's; `see` is the command that lists rules."""
    try:
        found = call("DescribeSecurityGroupRules", SecurityGroupRuleIds=[rule_id])["SecurityGroupRules"]
    except AwsError as error:
        if not error.aws_code.startswith("InvalidSecurityGroupRuleId"):
            raise
        found = []
    if not found:
        raise LocalEnvError(f"there is no rule {rule_id} (DB_SG_RULE_ID) in this account and region", hint=f"see {see}")
    rule = rule_of(found[0])
    if rule.group != group:
        raise LocalEnvError(
            f"rule {rule_id} (DB_SG_RULE_ID) belongs to group {rule.group}, not to {group} (DB_SG_ID)",
            hint=f"correct one of them in .env; the rules of {group}: {see}",
        )
    return rule


def rule_of(found: dict[str, Any]) -> Rule:
    """Parse EC2's SecurityGroupRule. `family` is empty if the source is no address range."""
    v4, v6 = found.get("CidrIpv4"), found.get("CidrIpv6")
    cidr = str(v4 or v6 or "")
    other = found.get("PrefixListId") or found.get("ReferencedGroupInfo", {}).get("GroupId") or "nobody"
    return Rule(
        id=found["SecurityGroupRuleId"],
        group=found["GroupId"],
        account=str(found.get("GroupOwnerId", "unknown")),
        is_egress=bool(found.get("IsEgress")),
        protocol=str(found.get("IpProtocol", "")),
        ports=(int(found.get("FromPort", -1)), int(found.get("ToPort", -1))),
        source=str(ipaddress.ip_network(cidr, strict=False)) if cidr else other,
        family="IPv4" if v4 else "IPv6" if v6 else "",
        description=found.get("Description") or "",
    )


def apply_change(settings: Settings, change: Change) -> str:
    """Change the rule, and return the old and new values. The only call here that writes to AWS.

    Raises LocalEnvError if another rule of the group is the same already, AwsError where AWS refuses.
    """
    rule, range_name = change.rule, f"Cidr{change.address.family.replace('P', 'p')}"
    wanted = {
        "IpProtocol": "tcp",
        "FromPort": change.port,
        "ToPort": change.port,
        range_name: change.address.cidr,
        "Description": change.description,
    }
    updates = [{"SecurityGroupRuleId": rule.id, "SecurityGroupRule": wanted}]
    try:
        AwsApi(settings, "ec2")("ModifySecurityGroupRules", GroupId=rule.group, SecurityGroupRules=updates)
    except AwsError as error:
        if error.aws_code != "InvalidPermission.Duplicate":
            raise
        raise LocalEnvError(
            f"another rule of {rule.group} opens tcp {change.port} to {change.address.cidr} already",
            hint=f"set DB_SG_RULE_ID to that one: {listing(rule.group, settings.region)}",
        ) from error
    return f"{rule.id} of {rule.group}: {rule} → {change.wanted} ({change.address.source})"


def _refuse_impossible(change: Change, region: str) -> None:
    rule, address = change.rule, change.address
    if rule.is_egress or rule.protocol != "tcp" or not rule.has_port(change.port):
        way = "out of the group" if rule.is_egress else "into the group"
        raise LocalEnvError(
            f"rule {rule.id} is no way to the database on tcp {change.port}: it lets {rule} {way}",
            hint="set DB_SG_RULE_ID to the rule of this workspace, and PROD_CONNECTION_URL where the port is another",
        )
    if rule.family != address.family:
        permission = _permission(change)
        raise LocalEnvError(
            f"rule {rule.id} is for {rule.family or rule.source}, and AWS cannot make it one for {address.family}",
            hint=f"add one with `aws ec2 authorize-security-group-ingress --region {region} --group-id {rule.group} "
            f"--ip-permissions '{permission}'` and set DB_SG_RULE_ID to its id, "
            f"or give an address of the other kind with --address",
        )


def _permission(change: Change) -> str:
    """Return the permission in the AWS CLI's shorthand syntax."""
    six = change.address.family == "IPv6"
    ranges, key = ("Ipv6Ranges", "CidrIpv6") if six else ("IpRanges", "CidrIp")
    said = f",Description={change.description}" if re.fullmatch(r"[\w.-]+", change.description) else ""
    port = f"FromPort={change.port},ToPort={change.port}"
    return f"IpProtocol=tcp,{port},{ranges}=[{{{key}={change.address.cidr}{said}}}]"
