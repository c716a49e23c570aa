"""The user pool's shape, from the app's file: how users sign in, which attributes they must have, what a password is.

Source: AWS CloudFormation Template Reference, AWS::Cognito::UserPool and AWS::Cognito::UserPoolClient, whose properties
are the parameters of CreateUserPool and CreateUserPoolClient but for the name.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..aws.templates.document import Document
from ..aws.templates.functions import STAND_INS, Resolver
from ..aws.templates.interpolation import Variables
from ..aws.templates.jsonfile import read_json
from ..aws.templates.yamlfile import read_yaml
from ..errors import UsageError

if TYPE_CHECKING:
    from ..settings import Settings

FILES = ("seeds/pool.json", "seeds/pool.yaml", "seeds/pool.yml")
POOL, CLIENT = "AWS::Cognito::UserPool", "AWS::Cognito::UserPoolClient"
MARK = "person"
"""A custom attribute of our own, the person in the seeds: where e-mail signs in, Username is the sub."""
SHAPE_TAG = "localenv-shape"
"""The tag that holds the fingerprint of the shape that a pool was made in."""
FIXED = ("UsernameAttributes", "AliasAttributes", "UsernameConfiguration", "Schema")
"""What no call changes in a pool that exists."""
FIXED_OF_CLIENT = ("GenerateSecret",)
AT_AWS = (
    *("DeletionProtection", "EmailAuthenticationMessage", "EmailAuthenticationSubject", "EmailConfiguration"),
    *("EnabledMfas", "LambdaConfig", "SmsConfiguration", "UserPoolTags", "WebAuthnRelyingPartyID"),
    *("WebAuthnUserVerification", "WebAuthnFactorConfiguration", "UserPoolName", "PoolName", "ClientName"),
    *("UserPoolId", "AnalyticsConfiguration"),
)
"""What of a pool means nothing here: names, and what it has to do with other services at AWS."""

DEFAULT: Mapping[str, Any] = {
    "UsernameAttributes": ["email"],
    "AutoVerifiedAttributes": ["email"],
    "Schema": [{"Name": name, "Required": True} for name in ("email", "name", "preferred_username")],
}
DEFAULT_CLIENT: Mapping[str, Any] = {
    "GenerateSecret": False,
    "ExplicitAuthFlows": ["ALLOW_USER_PASSWORD_AUTH", "ALLOW_USER_SRP_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"],
    "AllowedOAuthFlowsUserPoolClient": True,
    "AllowedOAuthFlows": ["code"],
    "AllowedOAuthScopes": ["openid", "email", "profile"],
    "SupportedIdentityProviders": ["COGNITO"],
    "CallbackURLs": ["http://localhost:3000/"],
    "LogoutURLs": ["http://localhost:3000/"],
}


@dataclass(frozen=True)
class Shape:
    """The parameters of CreateUserPool and CreateUserPoolClient, without names. `document`: the pool in the file.

    `is_described`: it is what describe-user-pool prints, with what only an existing pool has.
    """

    pool: Mapping[str, Any]
    client: Mapping[str, Any]
    document: Document | None = None
    is_described: bool = False

    @property
    def shown(self) -> str:
        return self.document.shown if self.document else ""

    @property
    def fixed_fingerprint(self) -> str:
        """Return the fingerprint of what cannot be changed later."""
        return _digest({name: self.pool[name] for name in FIXED if name in self.pool})

    @property
    def fingerprint(self) -> str:
        """Return that of the whole, after that of what cannot be changed later."""
        return f"{self.fixed_fingerprint}-{_digest({'pool': self.pool, 'client': self.client})}"

    @property
    def signs_in_by_email(self) -> bool:
        """Return whether an e-mail address is given as Username, which AWS then replaces by the sub."""
        return "email" in self.pool.get("UsernameAttributes", ())

    def checked(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters of both calls, each value of the type that AWS wants, as CloudFormation converts them.

        Raises UsageError with the place of a property that AWS does not know, or of a value of another type.
        """
        if self.document is None:
            return dict(self.pool), dict(self.client)
        known = input_of("CreateUserPool").members
        given = {name: value for name, value in self.pool.items() if name in known or not self.is_described}
        pool = _checked(self.document, "CreateUserPool", given)
        if self.pool.get("UsernameAttributes") and not self.signs_in_by_email:
            raise self.document.error(
                ("UsernameAttributes",),
                "nobody in the seeds has a telephone number to sign in with",
                hint="add email here: this file is that of the emulated pool alone",
            )
        return pool, _checked(self.document, "CreateUserPoolClient", self.client)


def read_shape(settings: Settings) -> Shape:
    """Read the pool's shape: seeds/pool.json or .yaml, else sign-in by e-mail with name and preferred_username.

    The file is a template with one AWS::Cognito::UserPool, the bare properties, or what describe-user-pool prints.
    Raises UsageError with path:line:column.
    """
    found = [name for name in FILES if (settings.root / name).is_file()]
    if not found:
        return Shape(_marked(DEFAULT), DEFAULT_CLIENT)
    if len(found) > 1:
        raise UsageError(f"{found[0]} and {found[1]} both say what the user pool is", hint="remove one of the two")
    document = _read(settings.root / found[0], found[0])
    pool, client = _parts(document)
    return Shape(_marked(pool.data), {**DEFAULT_CLIENT, **client}, pool, _is_described(document))


def _read(path: Path, shown: str) -> Document:
    document = read_json(path, shown) if path.suffix == ".json" else read_yaml(path, shown)
    if not isinstance(document.data, dict):
        raise document.error((), "a user pool is an object", hint=f"write the properties of an {POOL}")
    return document


def _parts(document: Document) -> tuple[Document, dict[str, Any]]:
    """Return the pool's properties and the client's."""
    data = document.data
    if _is_described(document):
        return _described(document), {}
    if "Resources" not in data:
        return document.with_data(_without(data, AT_AWS)), {}
    resources = data["Resources"] if isinstance(data["Resources"], dict) else {}
    pools = [name for name, each in resources.items() if isinstance(each, dict) and each.get("Type") == POOL]
    if len(pools) != 1:
        raise document.error(("Resources",), f"{len(pools)} of type {POOL}, wanted one", hint="keep the app's own")
    clients = [name for name, each in resources.items() if isinstance(each, dict) and each.get("Type") == CLIENT]
    client = _resolved(document, clients[0]).data if clients else {}
    return _resolved(document, pools[0]), _without(client, AT_AWS)


def _resolved(document: Document, name: str) -> Document:
    """Return a resource's properties without those that mean nothing here, and may name what is only at AWS."""
    properties = document.data["Resources"][name].get("Properties", {})
    steps = ("Resources", name, "Properties")
    if not isinstance(properties, dict):
        raise document.error(steps, "Properties must be an object", hint="write names and values")
    return Resolver(document, STAND_INS, Variables(document, STAND_INS)).properties(_without(properties, AT_AWS), steps)


def _is_described(document: Document) -> bool:
    return isinstance(document.data.get("UserPool"), dict)


def _described(document: Document) -> Document:
    """Return what describe-user-pool shows as what made the pool: of the attributes, those that are not standard."""
    data = {
        name: value for name, value in _without(document.data["UserPool"], AT_AWS).items() if value not in ("", {}, [])
    }
    attributes = data.pop("SchemaAttributes", [])
    if not isinstance(attributes, list) or not all(isinstance(each, dict) for each in attributes):
        raise document.error(
            ("UserPool", "SchemaAttributes"), "SchemaAttributes must be a list of objects", hint="print the pool again"
        )
    known = [(str(each.get("Name")), each) for each in attributes]
    data["Schema"] = [
        {**each, "Name": name.removeprefix("custom:")}
        for name, each in known
        if name != "sub" and (each.get("Required") or name.startswith("custom:"))
    ]
    return document.with_data(data)


def _marked(pool: Mapping[str, Any]) -> dict[str, Any]:
    """Add our own attribute to the schema."""
    schema = pool.get("Schema", [])
    mark = {"Name": MARK, "AttributeDataType": "String", "Mutable": True}
    has_mark = isinstance(schema, list) and any(isinstance(each, dict) and each.get("Name") == MARK for each in schema)
    return {**pool, "Schema": schema if has_mark or not isinstance(schema, list) else [*schema, mark]}


@functools.cache
def input_of(operation: str) -> Any:
    """Return the parameters of a call of Cognito as botocore's model has them. Read once, since it is a large file."""
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model("cognito-idp", "service-2")).operation_model(operation).input_shape


def _checked(document: Document, operation: str, given: Mapping[str, Any]) -> dict[str, Any]:
    from botocore.validate import ParamValidator

    model = input_of(operation)
    for name in given:
        if name not in model.members:
            steps, kind = ((name,), POOL) if operation == "CreateUserPool" else ((), CLIENT)
            raise document.error(steps, f"{name} is no property of {kind}", hint="remove it, or correct its name")
    typed: dict[str, Any] = _typed(given, model)
    names: dict[str, Any] = {
        name: "eu-west-1_Example" for name in ("PoolName", "ClientName", "UserPoolId") if name in model.members
    }
    report = ParamValidator().validate({**typed, **names}, model)
    if report.has_errors():
        first = re.sub(r"<class '(\w+)'>", r"\1", report.generate_report().splitlines()[0])
        raise document.error(_steps_in(first, given), first, hint=f"the parameters are those of {operation}")
    return typed


def _typed(value: Any, shape: Any) -> Any:
    """Return a value with its numbers and truth values as such: a template may have them as texts."""
    if shape.type_name == "structure" and isinstance(value, Mapping):
        members = shape.members
        return {name: _typed(each, members[name]) if name in members else each for name, each in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_typed(each, shape.member) for each in value]
    if shape.type_name in ("integer", "long") and isinstance(value, str) and value.isdecimal():
        return int(value)
    if shape.type_name == "boolean" and value in ("true", "false"):
        return value == "true"
    return value


def _steps_in(message: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    return next(((name,) for name in given if f" {name}" in message or f".{name}" in message), ())


def _without(data: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name not in names}


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
