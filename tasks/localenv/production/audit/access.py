"""Access checks: the policies of users, groups and roles, and the table's own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...aws.wire import AwsError
from .finding import Finding, Level, Look
from .policy import Grant, Table, grant_of, statements

OF_AWS = ":iam::aws:policy/"
SERVICE_ROLES = "/aws-service-role/"
"""The path of service-linked roles, which AWS defines and manages."""

LISTS = {"user": "UserDetailList", "group": "GroupDetailList", "role": "RoleDetailList"}


@dataclass(frozen=True)
class Policy:
    """A policy and its document; an inline one has no `arn`."""

    name: str
    arn: str
    document: dict[str, Any]


@dataclass(frozen=True)
class Held:
    """A policy of a user, group or role, and what it allows on the table; an inline one has no `arn`."""

    kind: str
    holder: str
    policy: str
    arn: str
    grant: Grant

    @property
    def who(self) -> str:
        return f"{self.kind} {self.holder}"

    @property
    def fix(self) -> str:
        """How to narrow it: a policy managed by AWS can only be detached."""
        who, better = f"--{self.kind}-name {self.holder}", "name actions and table"
        if OF_AWS in self.arn:
            detach = f"`aws iam detach-{self.kind}-policy {who} --policy-arn {self.arn}`"
            return f"{better} in a policy of its own, then {detach}"
        if self.arn:
            new = "--set-as-default --policy-document file://policy.json"
            return f"{better}: `aws iam create-policy-version --policy-arn {self.arn} {new}`"
        named = f"--policy-name {self.policy} --policy-document file://policy.json"
        return f"{better}: `aws iam put-{self.kind}-policy {who} {named}`"


def principals(look: Look) -> Iterator[Finding]:
    """Yield who has access by an IAM policy, and whose policy is wider than necessary."""
    shipped = _shipped(look)
    everybody = _held(look)
    wide = [held for held in everybody if _level(held.grant) != "ok"]
    for held in wide:
        if not held.grant.is_everything:
            text = f"{held.who} by {held.policy}: {held.grant}"
            yield Finding(_level(held.grant), "access", text, held.fix)
    admins = sorted({held.who for held in wide if held.grant.is_everything})
    if admins:
        fix = "`aws iam generate-service-last-accessed-details --arn ARN` tells what each of them uses"
        yield Finding("advice", "access", f"may do everything in the account: {', '.join(admins)}", fix)
    narrow = [held for held in everybody if held not in wide]
    for held in narrow:
        like = f" (as {look.pattern[0]})" if look.pattern and held.grant == shipped else ""
        yield Finding("ok", "access", f"{held.who} by {held.policy}: {held.grant}{like}")
    if not everybody:
        yield Finding("ok", "access", "no user, group or role has any by a policy of IAM")


def resource_policy(look: Look) -> Iterator[Finding]:
    arn = look.arn
    try:
        document = json.loads(look.api("dynamodb")("GetResourcePolicy", ResourceArn=arn)["Policy"])
    except AwsError as error:
        if error.aws_code != "PolicyNotFoundException":
            raise
        yield Finding("ok", "resource policy", "none")
        return
    fix = look.command(f"dynamodb delete-resource-policy --resource-arn {arn}")
    allowed = [one for one in statements(document) if one.allows]
    if any("*" in one.principals and not one.has_condition for one in allowed):
        yield Finding("problem", "resource policy", "open to everyone: its principal is *", fix)
        return
    named = sorted({principal for one in allowed for principal in one.principals})
    outside = [principal for principal in named if look.account not in principal and not principal.endswith(".com")]
    if outside:
        yield Finding("advice", "resource policy", f"admits principals of other accounts: {', '.join(outside)}", fix)
    else:
        yield Finding("ok", "resource policy", f"lets {', '.join(named) or 'nobody'} in")


def _level(grant: Grant) -> Level:
    if grant.is_everything:
        return "advice"
    if grant.is_any_action or grant.writes_everywhere:
        return "problem"
    return "advice" if grant.everywhere else "ok"


def _held(look: Look) -> list[Held]:
    """Fetch every policy that allows something on the table, sorted by the kind and name of the holder."""
    call, table = look.api("iam"), _table(look)
    documents: dict[str, dict[str, Any]] = {}
    holders: list[tuple[str, dict[str, Any]]] = []
    asked: dict[str, Any] = {}
    while True:
        answer = call("GetAccountAuthorizationDetails", **asked)
        documents.update(_defaults(answer.get("Policies") or ()))
        for kind, listed in LISTS.items():
            holders += [(kind, holder) for holder in answer.get(listed) or ()]
        if not answer.get("IsTruncated"):
            break
        asked = {"Marker": answer["Marker"]}
    groups = {holder["GroupName"]: _policies("group", holder, documents) for kind, holder in holders if kind == "group"}
    found = [
        Held(kind, holder[f"{kind.capitalize()}Name"], policy.name, policy.arn, grant)
        for kind, holder in holders
        for policy, grant in _grants(_policies(kind, holder, documents), _of_groups(holder, groups), table)
    ]
    return sorted(found, key=lambda held: (list(LISTS).index(held.kind), held.holder, held.policy))


def _defaults(policies: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for policy in policies:
        for version in policy.get("PolicyVersionList") or ():
            if version.get("IsDefaultVersion"):
                yield policy["Arn"], version["Document"]


def _policies(kind: str, holder: dict[str, Any], documents: dict[str, dict[str, Any]]) -> list[Policy]:
    """Return the policies of a user, group or role, without those of a user's groups; none for service-linked roles."""
    if str(holder.get("Path", "")).startswith(SERVICE_ROLES):
        return []
    inline = holder.get(f"{kind.capitalize()}PolicyList") or ()
    attached = holder.get("AttachedManagedPolicies") or ()
    return [
        *(Policy(one["PolicyName"], "", one["PolicyDocument"]) for one in inline),
        *(Policy(one["PolicyName"], one["PolicyArn"], documents.get(one["PolicyArn"], {})) for one in attached),
    ]


def _of_groups(holder: dict[str, Any], groups: dict[str, list[Policy]]) -> list[Policy]:
    return [policy for name in holder.get("GroupList") or () for policy in groups.get(name, ())]


def _grants(own: list[Policy], others: list[Policy], table: Table) -> Iterator[tuple[Policy, Grant]]:
    """Yield what each policy of a holder allows, except what one of them or of the `others` denies."""
    every = [policy.document for policy in (*own, *others)]
    for policy in own:
        grant = grant_of(policy.document, table, every)
        if grant:
            yield policy, grant


def _shipped(look: Look) -> Grant | None:
    """Return what the policy shipped with the code allows; None if there is none for this table."""
    if look.pattern is None or not look.pattern[1].is_file():
        return None
    return grant_of(json.loads(look.pattern[1].read_text()), _table(look))


def _table(look: Look) -> Table:
    indexes = [*look.table.get("GlobalSecondaryIndexes", ()), *look.table.get("LocalSecondaryIndexes", ())]
    return Table(look.arn, tuple(index["IndexName"] for index in indexes), look.table.get("LatestStreamLabel", ""))
