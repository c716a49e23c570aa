"""`check --repair CAUSE` as typed: what the finding's own command does, what it tells, and what it refuses."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ddb import messages
from tasks.localenv.dynamodb.client import connect
from tasks.localenv.dynamodb.itemwriter import puts, write
from tasks.localenv.dynamodb.scan import scan
from tasks.localenv.environment.repairing import Outcome
from tasks.localenv.settings import Settings
from tests.conftest import Cli
from tests.support.chats import GROUP, dump


@pytest.fixture
def where(cli: Cli, database: Settings, fresh: Settings) -> dict[str, str]:
    """The variables that lead to an environment of its own, as initial-setup leaves it."""
    named = {"CONNECTION_URL": database.postgres.url(masked=False), "DDB_MESSAGE_TABLE": fresh.message_table}
    assert cli("initial-setup", **named).code == 0
    return named


def put(settings: Settings, *items: Any) -> None:
    write(connect(settings), settings.message_table, puts(items))


def findings(cli: Cli, where: dict[str, str], *words: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    data = json.loads(cli("check", "--format", "json", *words, **where).stdout)["data"]
    return data["findings"], data


def test_an_old_seed_is_one_finding_and_its_command_repairs_all(
    cli: Cli, where: dict[str, str], fresh: Settings
) -> None:
    message = next(item for item in scan(connect(fresh), fresh.message_table) if item["pk"]["S"] == f"MSG#{GROUP}")
    now = datetime.now(timezone.utc)
    old = [{**message, "sk": {"S": messages.format_time(now + timedelta(minutes=n))}} for n in range(1, 104)]
    strays = [{"pk": {"S": f"X#{number}"}, "sk": {"S": "1"}} for number in range(5)]
    put(fresh, *old, *strays)
    found, data = findings(cli, where)
    told = {one["cause"]: (one["count"], len(one["subjects"]), one["commands"]) for one in found}
    assert told == {
        "future": (103, 1, ["inv check --repair future"]),
        "strays": (5, 3, ["inv check --repair strays"]),
        "rows": (2, 2, ["inv ddb.stream --once"]),
    }
    assert (data["total"], data["concerned"]) == (3, 110)
    assert len(findings(cli, where, "--limit", "4")[0][0]["subjects"]) == 4
    assert len(findings(cli, where, "--limit", "1")[0]) == 1
    text = cli("check", **where).stderr
    assert "3 findings (110 items): users, user pool and items do not belong together" in text
    assert "5 items that are neither message nor group row" in text
    assert "  and 2 more" in text
    before = dump(fresh)
    planned = cli("check", "--repair", "strays", "--plan", **where)
    assert (planned.code, planned.stdout.count("- item X#"), dump(fresh)) == (0, 5, before)
    for cause in ("future", "strays"):
        done = cli("check", "--repair", cause, **where)
        assert (done.code, f"made for {cause}" in done.stderr) == (0, True)
        assert "nothing to repair" in cli("check", "--repair", cause, **where).stderr
    assert cli("check", **where).code == 0
    assert {item["message"] for item in before if "message" in item} == {
        item["message"] for item in dump(fresh) if "message" in item
    }
    assert cli("ddb.seed", **where).code == cli("check", **where).code == 0


def test_why_tells_of_the_cause_with_its_command(cli: Cli, where: dict[str, str], fresh: Settings) -> None:
    message = next(item for item in scan(connect(fresh), fresh.message_table) if item["pk"]["S"] == f"MSG#{GROUP}")
    put(fresh, {**message, "sk": {"S": "2999-01-01T00:00:00.000000+00:00"}})
    (first, *_) = json.loads(cli("why", GROUP, "--format", "json", **where).stdout)["data"]["findings"]
    assert (first["cause"], first["count"], first["commands"]) == ("future", 1, ["inv check --repair future"])


def test_what_was_repaired_is_told_as_json(cli: Cli, where: dict[str, str], fresh: Settings) -> None:
    put(fresh, {"pk": {"S": "X"}, "sk": {"S": "1"}})
    done = json.loads(cli("check", "--repair", "strays", "--format", "json", **where).stdout)
    assert (done["status"], done["data"]) == ("ok", {"cause": "strays", "changes": 1, "reasons": []})


def test_an_unknown_cause_and_a_limit_that_cannot_be_are_refused(cli: Cli) -> None:
    wrong = cli("check", "--repair", "futur")
    assert (wrong.code, "did you mean 'future'?" in wrong.stderr) == (2, True)
    other = cli("check", "--repair", "unlinked")
    assert (other.code, "it is one of rows, future, offset" in other.stderr) == (2, True)
    assert cli("check", "--limit", "-1").code == 2


def test_what_is_left_is_told_with_its_reasons_and_the_same_command() -> None:
    error = Outcome("strays", 3, ["1 item changed meanwhile, and left as found"]).failure()
    assert error is not None
    assert (error.message, error.hint) == (
        "3 changes made for strays, 1 not repaired",
        "wait a moment, then run `inv check --repair strays`",
    )
    assert Outcome("strays", 3).failure() is None
