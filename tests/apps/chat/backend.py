"""A backend in the old app's shape: a pool of connections, boto3, tokens verified by hand, its routes.

Knows nothing of the tool: it reads the variables that the app has at AWS too. Serves its page on PORT.
"""

from __future__ import annotations

import os
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import boto3
import jwt
from flask import Flask, Response, jsonify, request
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

SQL = Path(os.environ["APP_SQL"])
TABLE = "cruddur-messages"
KEYS = jwt.PyJWKClient(os.environ["AWS_COGNITO_JWKS_URL"])
"""The one line that differs from AWS: there the address was written out."""

app = Flask(__name__)
pool: ConnectionPool[Any] = ConnectionPool(os.environ["CONNECTION_URL"], open=True, kwargs={"row_factory": dict_row})
dynamodb = boto3.client("dynamodb")


def rows(name: str, **parameters: Any) -> list[dict[str, Any]]:
    """Run one of the app's queries."""
    with pool.connection() as connection:
        return list(connection.execute((SQL / f"{name}.sql").read_bytes(), parameters))


def signed_in() -> str:
    """Return the sub of whoever asks. Raises jwt.InvalidTokenError."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    claims = jwt.decode(
        token,
        KEYS.get_signing_key_from_jwt(token).key,
        algorithms=["RS256"],
        issuer=os.environ["AWS_COGNITO_ISSUER"],
    )
    if claims["token_use"] != "access" or claims["client_id"] != os.environ["AWS_COGNITO_USER_POOL_CLIENT_ID"]:
        raise jwt.InvalidTokenError("not an access token of this app")
    return str(claims["sub"])


@app.errorhandler(jwt.InvalidTokenError)
def unauthorized(error: Exception) -> tuple[Response, int]:
    return jsonify({"error": str(error)}), 401


@app.get("/")
def page() -> Response:
    text = Path(__file__).with_name("page.html").read_text()
    for name in ("AWS_COGNITO_USER_POOL_ID", "AWS_COGNITO_USER_POOL_CLIENT_ID"):
        text = text.replace(f"%{name}%", os.environ[name])
    return Response(text.replace("%ENDPOINT%", os.environ["AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER"]))


@app.get("/identity.js")
def identity() -> Response:
    return Response(Path(os.environ["APP_IDENTITY_JS"]).read_text(), mimetype="text/javascript")


@app.get("/api/activities/home")
def home() -> Response:
    return jsonify([{"handle": row["handle"], "message": row["message"]} for row in rows("activities/home")])


@app.post("/api/activities")
def create_activity() -> Response:
    (user,) = rows("users/uuid_from_cognito_user_id", cognito_user_id=signed_in())
    with pool.connection() as connection:
        handle = connection.execute("SELECT handle FROM users WHERE uuid = %s", [user["uuid"]]).fetchone()
    expires_at = datetime.now(timezone.utc) + timedelta(days=7)
    message = request.get_json()["message"]
    (made,) = rows("activities/create", handle=(handle or {})["handle"], message=message, expires_at=expires_at)
    return jsonify({key: str(value) for key, value in rows("activities/object", uuid=made["uuid"])[0].items()})


@app.get("/api/message_groups")
def message_groups() -> Response:
    (user,) = rows("users/uuid_from_cognito_user_id", cognito_user_id=signed_in())
    return jsonify(
        [
            {
                "uuid": item["message_group_uuid"]["S"],
                "handle": item["user_handle"]["S"],
                "message": item["message"]["S"],
            }
            for item in query(f"GRP#{user['uuid']}")
        ]
    )


@app.get("/api/messages/<group>")
def messages(group: str) -> Response:
    (user,) = rows("users/uuid_from_cognito_user_id", cognito_user_id=signed_in())
    assert user
    return jsonify([item["message"]["S"] for item in query(f"MSG#{group}")])


@app.post("/api/messages")
def create_message() -> Response:
    given = request.get_json()
    sub, receiver = signed_in(), given.get("handle", "")
    people = rows("users/create_message_users", cognito_user_id=sub, user_receiver_handle=receiver)
    by_kind = {row["kind"]: row for row in people}
    group = given.get("message_group_uuid") or str(uuid.uuid4())
    now = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    me, puts = by_kind["sender"], []
    if not given.get("message_group_uuid"):
        other = by_kind["recv"]
        puts = [group_row(me, other, group, now, given["message"]), group_row(other, me, group, now, given["message"])]
    puts.append(
        {
            "pk": f"MSG#{group}",
            "sk": now,
            "message": given["message"],
            "message_uuid": str(uuid.uuid4()),
            **person(me),
        }
    )
    items = [{"PutRequest": {"Item": {name: {"S": value} for name, value in put.items()}}} for put in puts]
    dynamodb.batch_write_item(RequestItems={TABLE: items})  # type: ignore[dict-item]
    return jsonify({"message_group_uuid": group})


def group_row(owner: dict[str, Any], other: dict[str, Any], group: str, now: str, message: str) -> dict[str, str]:
    row = {"pk": f"GRP#{owner['uuid']}", "sk": now, "message_group_uuid": group, "message": message}
    return {**row, **person(other)}


def person(user: dict[str, Any]) -> dict[str, str]:
    named = {"user_uuid": user["uuid"], "user_display_name": user["display_name"], "user_handle": user["handle"]}
    return {name: str(value) for name, value in named.items()}


def query(pk: str) -> list[dict[str, Any]]:
    """Read the newest 20 of this year, as the old app does."""
    found = dynamodb.query(
        TableName=TABLE,
        ScanIndexForward=False,
        Limit=20,
        KeyConditionExpression="pk = :pk AND begins_with(sk, :year)",
        ExpressionAttributeValues={":pk": {"S": pk}, ":year": {"S": str(datetime.now(timezone.utc).year)}},
    )
    return list(found["Items"])


if __name__ == "__main__":
    app.run(port=int(os.environ["PORT"]))
