"""ddb: the report on a production table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import _output
from .._graph import READS, Exit, StepContext, step
from .._lazy import lazy
from ..localenv.errors import LocalEnvError
from .tables import FORMAT, TABLE, named

if TYPE_CHECKING:
    from ..localenv.production.audit import report
    from ..localenv.production.audit.report import Report
else:
    report = lazy("localenv.production.audit.report")

FINDINGS = 1
STREAM_POLICY = ("ddb", "streams", "policy.json")


@step(effect=READS, help={"table": TABLE, "format": FORMAT})
def audit(c: StepContext, table: str = "", format: str = "text") -> None:
    """Examine the table at AWS: protection, recovery, access, capacity."""
    settings = c.step.settings
    shipped = "/".join(STREAM_POLICY), settings.root.joinpath(*STREAM_POLICY)
    found = report.examine(settings, named(c), pattern=shipped)
    error = _failure(found) if found.problems else None
    if c.step.format == "json":
        _output.show(_output.envelope(c.step.name, found.as_dict(), c.step.effect, error=error))
        if error:
            raise Exit(code=FINDINGS)
        return
    _output.show(_shown(found))
    if error:
        raise error


def _shown(found: Report) -> list[str]:
    rows: list[_output.Row] = []
    for finding in found.findings:
        rows.append((finding.level, finding.subject, finding.evidence))
        rows += [f"         fix: {finding.fix}"] if finding.fix else []
    head = f"table {found.table}, account {found.account}, region {found.region}: {found.summary}"
    return [head, *_output.table(rows)]


def _failure(found: Report) -> Any:
    problems = report.counted(found.problems, "problem")
    return LocalEnvError(f"table {found.table}: {problems}", hint="run the command below each problem")
