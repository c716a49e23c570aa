"""rds: the production database at AWS. Let this workspace in, and see how it is.

These tasks are about AWS whatever --target is. The one that writes changes a single rule, named by two settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _output
from ._graph import READS, WRITES, Found, StepContext, step
from ._lazy import lazy
from .localenv.errors import ServiceFailed

if TYPE_CHECKING:
    from .localenv.production.rds import address as addresses
    from .localenv.production.rds import instances, rule
    from .localenv.production.rds.instances import Report
    from .localenv.production.rds.rule import Change
else:
    addresses = lazy("localenv.production.rds.address")
    instances = lazy("localenv.production.rds.instances")
    rule = lazy("localenv.production.rds.rule")


def _change(c: StepContext) -> Change:
    settings, arguments = c.step.settings, c.step.arguments
    description = rule.check_description(arguments["description"])
    rule.require_ids(settings)
    return rule.plan_change(settings, addresses.find_address(settings, arguments["address"]), description)


def _is_open(c: StepContext) -> str | None:
    change = _change(c)
    if change.is_needed or c.step.as_json:
        return None
    return f"{change.rule.id} of {change.rule.group}: {change.wanted} already ({change.address.source})"


def _plan_change(c: StepContext) -> list[str]:
    change = _change(c)
    return [_where(c, change), change.line()]


def _where(c: StepContext, change: Change) -> str:
    return f"account {change.rule.account}, region {c.step.settings.region}, security group {change.rule.group}"


@step(
    example="inv rds.update-sg-rule --plan",
    effect=WRITES,
    lock=False,
    check=_is_open,
    plan=_plan_change,
    help={
        "address": "this workspace's public address (default: GITPOD_IP, or else asked of LOCALENV_CHECKIP_URL)",
        "description": "what the rule is to say of itself",
    },
)
def update_sg_rule(c: StepContext, address: str = "", description: str = "GITPOD") -> str:
    """Let this workspace's address through to the production database."""
    change = _change(c)
    c.step.say(_where(c, change))
    is_due = change.is_needed or c.step.force
    sentence = f"{change.rule.id}: {change.wanted} already"
    if is_due:
        sentence = rule.apply_change(c.step.writable_at_aws(change.rule.id), change)
    c.step.emit({**change.as_dict(), "changed": is_due})
    return sentence


@step(
    example="inv rds.status",
    effect=READS,
    help={"instance": "its identifier (default: the one of PROD_CONNECTION_URL, or else all)"},
)
def status(c: StepContext, instance: str = "") -> None:
    """Show the production database at AWS; exit 4 when it is not up."""
    found = instances.examine(c.step.settings, instance)
    c.step.emit(found.as_dict(), lambda: _shown(found))
    if found.is_down:
        names = [one.identifier for one in found.instances if not one.answers]
        raise Found(
            ServiceFailed(f"{', '.join(names)} not in service" if names else f"no DB instance in {found.region}")
        )


def _shown(found: Report) -> list[str]:
    parts = [_output.table(instances.describe(instance)) for instance in found.instances]
    parts = parts or [[f"no DB instance in {found.region}; AWS_DEFAULT_REGION names the region"]]
    if found.rule:
        mine = f"{found.address.ip} ({found.address.source})" if found.address else "not known"
        parts.append(_output.table([(f"rule {found.rule.id}", str(found.rule)), ("this workspace", mine)]))
    parts += [[f"{problem.subject} {problem.text}", f"  hint: {problem.hint}"] for problem in found.problems]
    return _output.parted(parts)
