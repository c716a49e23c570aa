"""Everything that this project uses of ministack's internals, and nothing else: the file to change for a new release.

ministack has no interface for serving, saving and restoring it; this file uses its private names, which may change with
any release. tests/engines/test_ministack_inside.py has a test for each, and says what breaks without it.

To upgrade:

1. Set the version in pyproject.toml and update the locks (`./inv lint` names stale ones).
2. Run `./inv test -- tests/engines/test_ministack_inside.py`. Each failing test names a piece: fix it in this file.
3. Run `./inv test -- tests/engines`, which uses it as commands do, and start it once on a copy of an old state folder:
   the saved data must be there.
"""

from __future__ import annotations

import copy
import functools
import importlib
import json
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any, cast

Scope = MutableMapping[str, Any]
Confirmed = Callable[[dict[str, Any]], str]
"""Called with the event of a user who is confirmed now; returns the error of whoever was called, or nothing."""

PACKAGE = "ministack"
FORMAT, PAYLOAD = "__ministack_format__", "payload"
"""The wrapper of a saved state: the version of its format, and the contents."""

STATES = {
    "DynamoDB": "dynamodb",
    "DynamoDBStreams": "dynamodb",
    "AWSCognitoIdentityProviderService": "cognito",
}
"""The service in X-Amz-Target, without version, and the module whose state it changes. Without a target it is S3."""
READING = ("Get", "List", "Describe", "Query", "Scan", "BatchGet", "TransactGet")
SIGN_IN = ("/oauth2/", "/login", "/logout", "/signup", "/confirm", "/forgot", "/reset")
"""Paths of Cognito's sign-in pages, which have no target."""
CONFIRMING = {
    "ConfirmSignUp": "PostConfirmation_ConfirmSignUp",
    "AdminConfirmSignUp": "PostConfirmation_ConfirmSignUp",
    "ConfirmForgotPassword": "PostConfirmation_ConfirmForgotPassword",
}
"""The calls after which AWS runs the post confirmation function, and how its event names them."""
OWN_PATHS = "/_"
"""Prefix of its administration paths, through which any local program could wipe everything."""


def settings(state: Path, apis: str, port: str) -> dict[str, str]:
    """Return the variables that it reads on import. Its own persistence stays off: see saving.py."""
    return {
        "SERVICES": apis,
        "GATEWAY_PORT": port,  # a part of the issuer in Cognito's tokens
        "STATE_DIR": str(state),  # where it keeps the keys that sign tokens
        "PERSIST_STATE": "0",
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "LOG_LEVEL": "WARNING",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent/the-emulator-uses-no-docker",
    }


def application() -> Any:
    """Return its ASGI application. Its lifespan is not used: it searches for Docker and runs scripts under /etc."""
    return importlib.import_module(f"{PACKAGE}.app").app


def changed_state(scope: Scope) -> str:
    """Return the name of the state that a request may change; empty for a request that reads."""
    target = next((value for name, value in scope["headers"] if name.lower() == b"x-amz-target"), b"").decode("latin-1")
    service, _, operation = target.partition(".")
    if operation:
        return "" if operation.startswith(READING) else STATES.get(service.split("_")[0], "")
    if scope["path"].startswith(SIGN_IN):
        return "cognito"
    return "" if scope["method"] in ("GET", "HEAD", "OPTIONS") else "s3"


def parse_once() -> None:
    """Cache its parsing of expressions, which it repeats per item: a query of 100,000 takes 0.4 s instead of 2.5."""
    dynamodb = _module("dynamodb")
    for name in ("_tokenize", "_condition_syntax_error"):  # text in, tokens out, which are never modified
        setattr(dynamodb, name, functools.lru_cache(maxsize=1024)(getattr(dynamodb, name)))


def as_aws(confirmed: Confirmed) -> None:
    """Refuse what AWS refuses and ministack lets pass, and call `confirmed` where AWS runs the function of that name.

    ministack's own checks of secrets, tokens and codes are off: its switch for them wants signed requests too.
    Source: Amazon Cognito API reference, and Developer Guide, "Post confirmation Lambda trigger".
    """
    cognito = _module("cognito")
    one_at_a_time = threading.Lock()  # its handlers look through all users, in threads, while others add some

    def run(handler: Callable[[Any], Any], action: str, data: dict[str, Any]) -> Any:
        if action in cognito._UNSIGNED_IDP_ACTIONS:
            cognito._pin_unsigned_idp_scope(data)
        refused = (
            cognito._validate_client_secret_hash(action, data)
            or cognito._auth_flow_error(action, data)
            or cognito._access_token_error(data)
            or cognito._confirmation_code_error(action, data)
            or _why_refused(cognito, action, data)
        )
        with one_at_a_time:
            answer = refused or handler(data)
        if answer[0] == 200 and action in CONFIRMING:
            error = confirmed(_confirmation(cognito, action, data))
            if error:  # the user stays confirmed, at AWS too
                return cognito.error_response_json("UserLambdaValidationException", error, 400)
        return answer

    cognito._run_idp_handler = run


def _why_refused(cognito: Any, action: str, data: dict[str, Any]) -> Any:
    """Return the answer that refuses attributes or a second confirmation, or None."""
    given = cognito._attr_list_to_dict(data.get("UserAttributes") or [])
    if action in ("SignUp", "UpdateUserAttributes") and {"email_verified", "phone_number_verified"} & given.keys():
        said = "A client attempted to write unauthorized attribute"
        return cognito.error_response_json("NotAuthorizedException", said, 400)
    if action == "AdminConfirmSignUp":
        user = _user(cognito, action, data)[1]
        if user and user.get("UserStatus") != "UNCONFIRMED":
            said = f"User cannot be confirmed. Current status is {user.get('UserStatus')}"
            return cognito.error_response_json("NotAuthorizedException", said, 400)
    if action == "SignUp" and (pool := cognito._pool_for_client(data.get("ClientId"))[0]):
        given.setdefault(cognito._username_alias_attribute(pool, data.get("Username") or "") or "", "given")
        wanted = [each["Name"] for each in pool.get("SchemaAttributes", ()) if each.get("Required")]
        lacks = [name for name in wanted if name != "sub" and not given.get(name)]
        if lacks:
            said = "".join(f"{name}: The attribute {name} is required\n" for name in lacks)
            said = f"Attributes did not conform to the schema: {said}"
            return cognito.error_response_json("InvalidParameterException", said, 400)
    return None


def _user(cognito: Any, action: str, data: dict[str, Any]) -> tuple[Any, Any]:
    """Return the pool that a call is about, and the user; None for what does not exist."""
    if action.startswith("Admin"):
        pool = cognito._resolve_pool(data.get("UserPoolId"))[0]
    else:
        pool = cognito._pool_for_client(data.get("ClientId"))[0]
    return pool, cognito._resolve_user(pool, data.get("Username"))[0] if pool else None


def _confirmation(cognito: Any, action: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the event for a user who is confirmed now. A code that came by e-mail proves the address."""
    pool, user = _user(cognito, action, data)
    attributes = cognito._attr_list_to_dict(user.get("Attributes", []))
    if not action.startswith("Admin") and "email" in pool.get("AutoVerifiedAttributes", ()) and "email" in attributes:
        attributes["email_verified"] = "true"
        user["Attributes"] = cognito._dict_to_attr_list(attributes)
    metadata = {"clientMetadata": data["ClientMetadata"]} if data.get("ClientMetadata") else {}
    return {
        "version": "1",
        "triggerSource": CONFIRMING[action],
        "region": cognito._pool_region(pool["Id"]),
        "userPoolId": pool["Id"],
        "userName": user["Username"],
        "callerContext": {"awsSdkVersion": "aws-sdk-unknown-unknown", "clientId": data.get("ClientId", "")},
        "request": {"userAttributes": {**attributes, "cognito:user_status": user["UserStatus"]}, **metadata},
        "response": {},
    }


def dump(name: str) -> bytes:
    """Return the state of a module as it would write it to a file itself."""
    persistence = _persistence()
    state = {FORMAT: persistence._state_format_version(name), PAYLOAD: _module(name).get_state()}
    # json.dumps has an encoder in C; json.dump, which ministack uses, has none.
    return json.dumps(state, default=persistence._json_default).encode()


def parse(name: str, text: bytes) -> Any:
    """Parse what `dump` wrote, in this release or an earlier one. Raises ValueError for anything else."""
    persistence = _persistence()
    try:
        wrapped = json.loads(text, object_hook=persistence._json_object_hook)
        version, state = wrapped[FORMAT], wrapped[PAYLOAD]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a state of {name}") from error
    if not isinstance(version, int) or version > persistence._state_format_version(name):
        raise ValueError(f"written in format {version}, which this emulator does not know")
    if not isinstance(state, dict):
        raise ValueError(f"not a state of {name}")
    return state


def restore(name: str, text: bytes) -> None:
    """Load a saved state into a module that has none yet. Raises ValueError for an invalid one."""
    state = parse(name, text)
    try:
        _module(name).load_persisted_state(state)
    except Exception as error:  # whatever is wrong with it, the caller sets it aside
        raise ValueError(f"{type(error).__name__}: {error}") from error


def load() -> None:
    """Import the modules that are otherwise imported at the first request."""
    for name in sorted({*STATES.values()}):
        _module(name)


def replace_cognito(text: bytes) -> None:
    """Replace the state of Cognito, all or nothing. Raises ValueError with the reason."""
    wanted, before = parse("cognito", text), _module("cognito").get_state()
    if wanted.keys() != before.keys():
        raise ValueError("it has other parts than this emulator's state of Cognito")
    try:
        _put_cognito(wanted)
    except Exception as error:  # whatever is wrong with it, the old state is restored
        _put_cognito(before)
        raise ValueError(f"{type(error).__name__}: {error}") from error


TABLE_PARTS: tuple[str, ...] = (
    "tables",
    "tags",
    "ttl_settings",
    "pitr_settings",
    "kinesis_destinations",
    "contributor_insights",
    "resource_policies",
)
"""The parts of DynamoDB's state that say something of a table: by its name, its ARN, or the name of an index of it."""


def dump_table(region: str, name: str) -> bytes:
    """Return all that belongs to a table, as `dump` writes it."""
    persistence, dynamodb = _persistence(), _module("dynamodb")
    state = {}
    for part in TABLE_PARTS:
        held = getattr(dynamodb, f"_{part}")
        state[part] = type(held)()
        for (account, where, key), value in list(held._data.items()):
            if where == region and _is_of_table(key, name):
                if part == "tables":
                    value = {each: held for each, held in value.items() if each != dynamodb._INDEX_MEMBERS}
                state[part].set_scoped(account, where, key, value)
    wrapped = {FORMAT: persistence._state_format_version("dynamodb"), PAYLOAD: state}
    return json.dumps(wrapped, default=persistence._json_default).encode()


def require_table(region: str, name: str) -> int:
    """Return the number of a table's items. Raises KeyError where there is none."""
    found = [
        table
        for (_, where, key), table in list(_module("dynamodb")._tables._data.items())
        if (where, key) == (region, name)
    ]
    if not found:
        raise KeyError(name)
    return sum(map(len, found[0]["items"].values()))


def replace_table(region: str, name: str, text: bytes) -> int:
    """Replace a table by one that `dump_table` wrote, or create it; return the number of its items.

    The stream of one that had another is closed, as if it had been deleted. Raises ValueError, with nothing changed,
    for anything else than that table.
    """
    dynamodb, state = _module("dynamodb"), parse("dynamodb", text)
    if set(state) != set(TABLE_PARTS) or not all(hasattr(part, "_data") for part in state.values()):
        raise ValueError("not the state of a table")
    keys = [key for part in state.values() for key in part._data]
    tables = list(state["tables"]._data.items())
    if not tables or not all(where == region and _is_of_table(key, name) for _, where, key in keys):
        raise ValueError(f"not the state of table {name} in {region}")
    items = sum(len(found) for _, table in tables for found in table["items"].values())
    responses = importlib.import_module(f"{PACKAGE}.core.responses")
    for (account, where, key), table in tables:
        responses.set_request_account_id(account)
        responses.set_request_region(where)
        former = dynamodb._tables.get(key)
        if former and former.get("LatestStreamArn") != table.get("LatestStreamArn"):
            dynamodb.drop_stream_records(key, former)
    for part in TABLE_PARTS:
        held = getattr(dynamodb, f"_{part}")
        for scoped in [key for key in held._data if key[1] == region and _is_of_table(key[2], name)]:
            del held._data[scoped]
    dynamodb.load_persisted_state(state)
    return items


def _is_of_table(key: str, name: str) -> bool:
    own = key.rpartition(":table/")[2] if key.startswith("arn:") else key
    return own == name or own.startswith(f"{name}/index/")


def copy_nothing() -> None:
    """Disable deep copies in a process that only saves and exits: it halves the time of a dump."""
    module: Any = copy
    module.deepcopy = lambda value, *_: value


def write_objects() -> bool:
    """Write the S3 objects that could not be written on arrival; return whether all are on disk.

    ministack writes each on arrival; for one that it cannot write it logs a line and keeps the body.
    """
    s3 = _module("s3")
    responses = importlib.import_module(f"{PACKAGE}.core.responses")
    good = True
    for (account, bucket), held in list(s3._buckets._data.items()):
        for key, found in list(held.get("objects", {}).items()):
            if isinstance(found, dict) and found.get("body") is not None:
                responses.set_request_account_id(account)
                s3._persist_object(bucket, key, found)
                good = good and found.get("body") is None
    return good


def _put_cognito(state: dict[str, Any]) -> None:
    cognito = _module("cognito")
    for name in state:
        held = getattr(cognito, f"_{name}")
        getattr(held, "_data", held).clear()  # the scoped containers would clear only one account and region
    cognito.load_persisted_state(state)


def _module(name: str) -> Any:
    """Import one of its services, the same module that its application uses."""
    return importlib.import_module(f"{PACKAGE}.services.{name}")


def _persistence() -> Any:
    return cast("Any", importlib.import_module(f"{PACKAGE}.core.persistence"))
