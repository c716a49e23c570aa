"""Adds the row of a user who has just confirmed their address. The user pool's post confirmation function.

The folder is deployed alone (template.yaml); it needs psycopg. Locally the pool runs this same file. Cognito waits 5 s
and comes again, three times in all: a row that is there already is not an error, a handle of somebody else is one.
Source: Amazon Cognito Developer Guide, "Post confirmation Lambda trigger".
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg

CREATE = Path(__file__).with_name("create_user.sql")
OF_SUB = "SELECT EXISTS (SELECT FROM public.users WHERE cognito_user_id = %s)"
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('sign-up'))"
"""Of two who take the same handle at once, the second has to see the first: a table need not have a constraint."""


class HandleTaken(Exception):
    """The handle that a user chose is another's."""


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Add the row for a confirmed sign-up; a confirmed new password, which comes here too, needs none."""
    if event["triggerSource"] == "PostConfirmation_ConfirmSignUp":
        with psycopg.connect(_connection_url(), connect_timeout=3, options="-c statement_timeout=4s") as connection:
            create_user(connection, event["request"]["userAttributes"])
    return event


def create_user(connection: psycopg.Connection[Any], attributes: Mapping[str, str]) -> None:
    """Add the row of a user with these attributes, unless it is there. Raises HandleTaken."""
    sub, handle = attributes["sub"], attributes.get("preferred_username", "")
    if not handle:
        raise ValueError("the user has no preferred_username, which is their handle")
    values = {
        "display_name": attributes.get("name") or handle,
        "handle": handle,
        "email": attributes.get("email", ""),
        "cognito_user_id": sub,
    }
    connection.execute(ONE_AT_A_TIME)
    try:
        with connection.transaction():
            created = connection.execute(CREATE.read_bytes(), values).fetchone()
    except psycopg.errors.UniqueViolation:
        created = None
    if created is None and not (connection.execute(OF_SUB, [sub]).fetchone() or [False])[0]:
        raise HandleTaken(f"the handle {handle!r} is taken")


def _connection_url() -> str:
    """Return where the database is: CONNECTION_URL, or what the secret CONNECTION_SECRET_ARN holds."""
    if url := os.environ.get("CONNECTION_URL"):
        return url
    import boto3

    secret = boto3.client("secretsmanager").get_secret_value(SecretId=os.environ["CONNECTION_SECRET_ARN"])[
        "SecretString"
    ]
    return str(json.loads(secret)["CONNECTION_URL"]) if secret.lstrip().startswith("{") else secret
