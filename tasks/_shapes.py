"""The records in the answers of tasks with --format json, as far as no dataclass of the library is written as it is.

No run loads this: docs/schema is made of it (_schemas.py).
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from .localenv.environment.status import Line
from .localenv.environment.status import Problem as StoreProblem
from .localenv.environment.why import Fact
from .localenv.production.audit.finding import Finding as AuditFinding
from .localenv.production.rds.rule import Rule

Time = Annotated[str, "date-time"]
Effects = Literal["reads", "writes", "replaces", "destroys"]
Lines = list[str]


class Step(TypedDict):
    """A step of the run, in the order of the graph: typed, or needed by one that was."""

    name: str
    status: Literal["ok", "skip", "failed", "not run"]
    seconds: float
    sentence: str


class Error(TypedDict):
    """What ended the run. `code` is the exit code, `commands` are those in the hint, the best one first."""

    code: int
    name: str
    message: str
    hint: str
    commands: Lines
    retryable: bool
    evidence: Lines


class PlannedStep(TypedDict):
    """What a run would do with a step, and why."""

    step: str
    action: Literal["run", "skip"]
    reason: str
    lines: Lines


class Plan(TypedDict):
    """The data under --plan."""

    plan: list[PlannedStep]


class Sentence(TypedDict):
    """What was done, or why there was nothing to do."""

    sentence: str


class Streamed(TypedDict):
    """How many lines came before."""

    count: int


class Service(TypedDict):
    """A service and how it was seen."""

    service: str
    status: Literal["running", "starting", "stopped", "failed", "ended"]
    address: str
    version: str
    detail: str
    holder: str
    since: Time | None


class Status(TypedDict):
    """Services, what is in the stores, and what is wrong. `leftOut` has the reason of each service not used."""

    target: Literal["local", "prod"]
    services: list[Service]
    lines: list[Line]
    problems: list[StoreProblem]
    leftOut: dict[str, str]


class Finding(TypedDict):
    """All cases of one cause, the first ones named, and what repairs them."""

    cause: str
    what: str
    count: int
    subject: str
    text: str
    subjects: Lines
    texts: Lines
    fix: str
    commands: Lines


class Check(TypedDict):
    """What was compared (null: the app has no such thing), and the first findings of `total`."""

    users: int | None
    pool_users: int | None
    items: int | None
    findings: list[Finding]
    total: int
    concerned: int


class Repair(TypedDict):
    """What --repair changed, and why the rest was not."""

    cause: str
    changes: int
    reasons: Lines


Why = TypedDict("Why", {"id": str, "is": Lines, "facts": list[Fact], "agrees": bool, "findings": list[Finding]})


class Address(TypedDict):
    """Where a service answers."""

    service: str
    address: str


class Addresses(TypedDict):
    """Where the services answer."""

    services: list[Address]


class Verdict(TypedDict):
    """The line with which --hook ends."""

    verdict: str


class Executed(TypedDict):
    """The command, and the exit code that it ended with."""

    command: Lines
    exitCode: int


class UndoEntry(TypedDict):
    """What a command replaced or removed, and `undo` brings back."""

    id: str
    created: Time
    command: str
    engine: str
    bytes: int
    bringsBack: Lines
    state: str


class Checkout(TypedDict):
    """The environment of a checkout on this machine."""

    project_id: str
    path: str
    exists: bool
    engine: str
    state: str
    ports: dict[str, int]
    size_bytes: int
    created: Time | None
    used: Time | None
    remove: str


class LogLine(TypedDict):
    """A line that a service wrote, or with `event` one about its state."""

    service: str
    text: str
    event: bool


class GraphStep(TypedDict):
    step: str
    waitsFor: Lines


class Graph(TypedDict):
    graph: list[GraphStep]


class Diff(TypedDict):
    """Whether the database is as its files make it, and the unified diff."""

    alike: bool
    diff: Lines


class NewFile(TypedDict):
    """The file that was written."""

    path: str


class Table(TypedDict):
    """A DynamoDB table."""

    table: str
    status: str
    items: int
    key: str
    indexes: str
    throughput: str
    stream: str


class Conversations(TypedDict):
    """A page of conversations; `next` is the command for the next one, empty on the last."""

    conversations: list[dict[str, str]]
    cursor: str
    next: str
    capacity: dict[str, float]


class Messages(TypedDict):
    """A page of messages, the newest last; `next` is the command for the next one, empty on the last."""

    messages: list[dict[str, str]]
    cursor: str
    next: str
    capacity: dict[str, float]


class Sent(TypedDict):
    """The message as its item, and its group."""

    group: str
    message: dict[str, str]
    is_new_group: bool
    capacity: dict[str, float]


class StreamRecord(TypedDict):
    """What became of a record of the stream: group rows changed, or why they were given up."""

    event: str
    sk: str
    group: str
    changes: int
    error: str


class Audit(TypedDict):
    """A table at AWS against the advice of the field."""

    table: str
    account: str
    region: str
    findings: list[AuditFinding]


class PoolUser(TypedDict):
    """A user of the pool."""

    sub: str
    username: str
    handle: str | None
    name: str | None
    email: str | None
    email_verified: bool
    status: str
    enabled: bool
    person: str
    created: Time | None


class Snapshot(TypedDict):
    """A snapshot of the three stores, or the data of a branch; `created` may be empty where only remains are left.

    `worktree` is the folder of another worktree that has it, empty for one of this checkout.
    """

    name: str
    kind: Literal["snapshot", "branch"]
    worktree: str
    created: str
    state: str
    engine: str
    commit: str
    dirty: bool
    rows: int
    items: int
    users: int
    bytes: int


class RuleChange(TypedDict):
    """The security group's rule, before and after."""

    account: str
    group: str
    rule: str
    address: str
    address_source: str
    old: str
    new: str
    changed: bool


class Instance(TypedDict):
    """A DB instance at AWS. `restarts_at`: when AWS restarts a stopped one by itself."""

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
    groups: Lines
    restarts_at: Time | None


class Problem(TypedDict):
    """Something that is wrong, and its remedy."""

    subject: str
    text: str
    hint: str


class Rds(TypedDict):
    """The production database, the rule that lets in, and this workspace's address."""

    region: str
    instances: list[Instance]
    rule: Rule | None
    address: str | None
    problems: list[Problem]
