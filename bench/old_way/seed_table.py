"""Step 7: look the two users up, then one PutItem an item, for every shipped conversation."""

import os
import re
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psycopg
from common import TABLE, dynamodb

SEEDS = Path(__file__).resolve().parents[2] / "seeds" / "conversations"
client = dynamodb()


def put(**values: str) -> None:
    client.put_item(TableName=TABLE, Item={name: {"S": value} for name, value in values.items()})


def user_of(handle: str) -> dict[str, str]:
    with psycopg.connect(os.environ["CONNECTION_URL"]) as connection:
        row = connection.execute(
            "SELECT uuid::text, display_name, handle FROM public.users WHERE handle = %s", (handle,)
        ).fetchone()
    if row is None:
        raise SystemExit(f"nobody is called {handle}")
    return {"user_uuid": row[0], "user_display_name": row[1], "user_handle": row[2]}


def seed(text: str) -> None:
    one, two = (re.search(rf"^# Person {n}: *(\S+)", text, re.M)[1] for n in (1, 2))  # type: ignore[index]
    group = str(uuid.uuid4())
    people = {"Person 1": user_of(one), "Person 2": user_of(two)}
    now = datetime.now(timezone.utc)
    ids = {name: person["user_uuid"] for name, person in people.items()}
    for mine, other in (("Person 1", "Person 2"), ("Person 2", "Person 1")):
        put(pk=f"GRP#{ids[mine]}", sk=now.isoformat(), message_group_uuid=group, message="…", **people[other])
    lines = [line for line in text.splitlines() if line.startswith("Person ")]
    for number, line in enumerate(lines):
        name, _, message = line.partition(": ")
        at = (now - timedelta(minutes=len(lines) - number)).isoformat()
        put(pk=f"MSG#{group}", sk=at, message_uuid=str(uuid.uuid4()), message=message, **people[name])


for file in sorted(SEEDS.glob("*.txt")):
    seed(file.read_text())
