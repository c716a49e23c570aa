"""ddb: the report on a production table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _output
from .._graph import READS, StepContext, step
from .._lazy import lazy
from ..localenv.errors import LocalEnvError
from .tables import TABLE, named

if TYPE_CHECKING:
    from ..localenv.production.audit import report
    from ..localenv.production.audit.report import Report
else:
    report = lazy("localenv.production.audit.report")

STREAM_POLICY = ("ddb", "streams", "policy.json")


@step(example="inv ddb.audit --target prod", effect=READS, help={"table": TABLE})
def audit(c: StepContext, table: str = "") -> None:
    """Examine the table at AWS: protection, recovery, access, capacity."""
    settings = c.step.settings
    shipped = "/".join(STREAM_POLICY), settings.root.joinpath(*STREAM_POLICY)
    found = report.examine(settings, named(c), pattern=shipped)
    c.step.emit(found.as_dict(), lambda: _shown(found))
    if found.problems:
        raise _failure(found)


def _shown(found: Report) -> list[str]:
    rows: list[_output.Row] = []
    for finding in found.findings:
        rows.append((finding.level, finding.subject, finding.evidence))
        rows += [f"         fix: {finding.fix}"] if finding.fix else []
    head = f"table {found.table}, account {found.account}, region {found.region}: {found.summary}"
    return [head, *_output.table(rows)]


def _failure(found: Report) -> LocalEnvError:
    problems = report.counted(found.problems, "problem")
    return LocalEnvError(f"table {found.table}: {problems}", hint="run the command below each problem")
