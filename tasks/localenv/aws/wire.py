"""AWS's JSON protocol as one function, `api(settings, service)`: call the result with an operation and its parameters.

A local engine is called directly over http.client, in 3 ms: loading an SDK takes 260-360 ms, more than a whole run
that changes nothing. AWS itself is called through boto3, which signs. Binary parameters are bytes. Answers are as the
protocol has them: locally binary as base64 text and times as epoch seconds, from boto3 bytes and datetime.
"""

from __future__ import annotations

import base64
import json
import re
import select
import weakref
from collections.abc import Iterator, Mapping
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..checkout import saved
from ..errors import LocalEnvError, ServiceFailed
from ..hints import RESTART, START
from ..machine.answers import LARGEST_BYTES, OPERATIONS, read_json, require, shown
from ..machine.retrying import BROKEN, PATIENCE_S, THROTTLED, Lost, Refused, retry
from ..machine.waiting import AWAY_LOOK_S, at_most, hang_up, is_looking, waiting, within

if TYPE_CHECKING:
    from ..settings import Settings, Target
    from ..settings.addresses import Endpoint
    from ..settings.guard import Permit

Service = Literal["dynamodb", "dynamodbstreams", "cognito-idp"]
TARGETS = {
    "dynamodb": "DynamoDB_20120810",
    "dynamodbstreams": "DynamoDBStreams_20120810",
    "cognito-idp": "AWSCognitoIdentityProviderService",
}
JSON_VERSIONS = {"dynamodb": "1.0", "dynamodbstreams": "1.0", "cognito-idp": "1.1"}
CALL_S = 30.0
"""How long a local engine may take for one call: a page of 1 MB at most, never a whole table."""
READING = re.compile(r"(Admin|Batch|Transact)?(Describe|Get|List|Lookup|Query|Scan|Simulate)|InitiateAuth$")
"""Prefixes of the operations that change nothing, in every service called from here."""
SELECT = re.compile(r"(\s|--[^\n]*\n|/\*.*?\*/)*SELECT\b", re.IGNORECASE | re.DOTALL)


class AwsError(Refused):
    """An AWS API refused a call. `aws_code` is its error code: ResourceNotFoundException and so on.

    `permission` is the operation's name in a policy: dynamodb:DescribeTable. `response` is the refusal in the shape of
    botocore's errors, for the app's own functions, which accept either client.
    """

    def __init__(
        self, subject: str, aws_code: str, text: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{subject}: {aws_code}: {text}", hint=hint)
        self.aws_code = aws_code
        self.permission = subject.replace(" ", ":")
        self.response: dict[str, Any] = {**(details or {}), "Error": {"Code": aws_code, "Message": text}}


class Api(Protocol):
    """A function that calls an operation of one AWS service. Thread-safe."""

    def __call__(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Return the body of the answer.

        Retries where that is safe (retrying.py). Raises AwsError when the service refuses, ServiceFailed when nothing
        answers or the answer is not this service's, TimedOut when none comes.
        """
        ...


def api(settings: Settings, service: Service) -> Api:
    """Return the API of the target: the local engine's if there is one, else AWS's own.

    Operations that write need settings with the guard's permit for that target.
    """
    endpoint = settings.cognito if service == "cognito-idp" else settings.dynamodb
    if endpoint:
        return LocalApi(endpoint, settings.region, service, permit=settings.permit)
    return AwsApi(settings, service)


def require_permit(permit: Permit | None, target: Target, operation: str, parameters: Mapping[str, Any]) -> None:
    """Raise TypeError for an operation that may write, without the guard's permit."""
    if READING.match(operation) or (permit and permit.target == target):
        return
    if operation == "ExecuteStatement" and SELECT.match(str(parameters.get("Statement", ""))):
        return
    raise TypeError(f"{operation} may change {target} data, and the guard was not asked")


def _base64(value: Any) -> str:
    """Return binary as base64 text, as the protocol has it."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is nothing that AWS's JSON protocol carries")
    return base64.b64encode(value).decode()


def pages(call: Api, operation: str, listed: str, token: tuple[str, str], **parameters: Any) -> Iterator[Any]:
    """Yield the elements of an operation's list `listed`, from all pages.

    `token` names the continuation token: in the answer, and as a parameter.
    """
    returned, parameter = token
    while True:
        answer = call(operation, **parameters)
        yield from answer.get(listed) or ()
        if not answer.get(returned):
            return
        parameters[parameter] = answer[returned]


class LocalApi:
    """The API of a local engine, over connections that are reused."""

    def __init__(
        self,
        endpoint: Endpoint,
        region: str,
        service: Service,
        *,
        permit: Permit | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._endpoint = endpoint
        self._permit = permit
        self._service = service
        self._patience_s = patience_s
        # The engines route by the credential's scope and check no signature; DynamoDB Local requires the fields.
        signed_for = "dynamodb" if service == "dynamodbstreams" else service
        scope = f"local/20260101/{region}/{signed_for}/aws4_request"
        self._headers = {
            "Content-Type": f"application/x-amz-json-{JSON_VERSIONS[service]}",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0",
        }
        self._idle: list[HTTPConnection] = []
        # Not by __del__: as parts of a cycle the sockets would be thrown away first, and complain.
        weakref.finalize(self, _close_all, self._idle).atexit = False

    def __call__(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        require_permit(self._permit, "local", operation, parameters)
        body = json.dumps(parameters, default=_base64).encode()
        subject = f"{self._service} {operation}"
        return retry(
            lambda: self._ask(operation, subject, body),
            operation,
            parameters,
            subject=subject,
            patience_s=self._patience_s,
        )

    def _ask(self, operation: str, subject: str, body: bytes) -> dict[str, Any]:
        status, text = self._exchange(operation, body)
        where = f"{self._service} at {self._endpoint}: {operation} was answered {status}"
        if str(status) in (*BROKEN, *THROTTLED) and not text.lstrip().startswith(b"{"):
            raise _broken(where, status, text)
        answer = require(read_json(text, where, hint=RESTART), dict, where, hint=RESTART)
        if status != 200:
            raise self._refusal(answer, status, subject, where)
        found: dict[str, Any] = require(answer, OPERATIONS.get(operation, {}), where, hint=RESTART)
        return found

    def _refusal(self, answer: dict[str, Any], status: int, subject: str, where: str) -> LocalEnvError:
        code, detail = answer.get("__type"), answer.get("message") or answer.get("Message") or ""
        if not isinstance(code, str) and status < 500 and status != 429:
            return ServiceFailed(f"{where}: no AWS error", hint=RESTART, evidence=shown(json.dumps(answer)))
        return AwsError(subject, str(code or status).rpartition("#")[2], str(detail), details=answer)

    def _exchange(self, operation: str, body: bytes) -> tuple[int, bytes]:
        connection = self._connection()
        try:
            answer, text = self._answer(connection, operation, body)
        except BaseException:
            connection.close()
            raise
        if answer.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer.status, text

    def _answer(self, connection: HTTPConnection, operation: str, body: bytes) -> tuple[HTTPResponse, bytes]:
        headers = {**self._headers, "X-Amz-Target": f"{TARGETS[self._service]}.{operation}"}
        what = f"{self._service} at {self._endpoint.url} ({operation})"
        with waiting(what, CALL_S, port=self._endpoint.port, cut=lambda: hang_up(connection.sock)) as wait:
            try:
                if connection.sock is None:
                    connection.connect()
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise wait.error(RESTART) from error
                raise ServiceFailed(
                    f"{self._service}: nothing answers at {self._endpoint.url} ({error})", hint=START
                ) from error
            try:
                connection.request("POST", "/", body, headers)
                with connection.getresponse() as answer:
                    text = _whole(answer)
                saved.note(self._endpoint, answer)
            except (OSError, HTTPException, ValueError) as error:
                if wait.is_over or isinstance(error, TimeoutError):
                    raise wait.error(RESTART) from error
                raise Lost(
                    f"{self._service} at {self._endpoint}: the connection was lost over {operation} ({_reason(error)})",
                    hint=RESTART,
                ) from error
        return answer, text

    def _connection(self) -> HTTPConnection:
        """Return an idle connection that the engine has not closed, or a new one."""
        while self._idle:
            kept = self._idle.pop()
            if kept.sock is not None and not select.select([kept.sock], [], [], 0)[0]:
                kept.sock.settimeout(at_most(CALL_S))
                return kept
            kept.close()
        return HTTPConnection(self._endpoint.host, self._endpoint.port, timeout=at_most(CALL_S))


def _close_all(connections: list[HTTPConnection]) -> None:
    while connections:
        connections.pop().close()


def _whole(answer: HTTPResponse) -> bytes:
    """Read an answer to its end. Raises HTTPException where it ends early, or has no end."""
    text = answer.read(LARGEST_BYTES + 1)
    if len(text) > LARGEST_BYTES:
        raise HTTPException(f"an answer of more than {LARGEST_BYTES // 1024**2} MB")
    if answer.length:
        raise HTTPException(f"{answer.length} bytes of the answer are missing")
    if not text and answer.length is None and not answer.chunked:
        raise HTTPException("the answer ends in its head")
    return text


def _broken(where: str, status: int, text: bytes) -> AwsError:
    error = AwsError(where, str(status), "")
    error.message, error.evidence = f"{where}: no JSON", shown(text.decode(errors="replace"))
    return error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class AwsApi:
    """The API of any service of AWS itself, through a boto3 client. `service` is boto3's name for it."""

    def __init__(self, settings: Settings, service: str) -> None:
        from .boto import client

        # The overloads need a literal; here the service is a value.
        make: Any = client
        self._client: Any = make(settings, service)
        self._service = service
        self._permit = settings.permit

    def __call__(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        require_permit(self._permit, "prod", operation, parameters)
        subject = f"{self._service} {operation}"
        with waiting(f"AWS ({subject})"):  # botocore itself retries (client.py)
            ask = partial(self._bounded, operation, subject, parameters)
            return retry(ask, operation, parameters, subject=subject, patience_s=0)

    def _bounded(self, operation: str, subject: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Call once: boto3 cannot be interrupted, so within `looking` a call that takes too long is abandoned."""
        if not is_looking():
            return self._ask(operation, subject, parameters)
        return within(AWAY_LOOK_S, subject, lambda: self._ask(operation, subject, parameters), hint="check the network")

    def _ask(self, operation: str, subject: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        from botocore import xform_name
        from botocore.exceptions import ClientError

        from .boto import CREDENTIAL_CODES, aws_errors, error_code, error_text, hint_for, is_of_credentials

        with aws_errors(subject):
            try:
                answer = getattr(self._client, xform_name(operation))(**parameters)
            except ClientError as error:
                code = error_code(error) or "error"
                if code in CREDENTIAL_CODES or is_of_credentials(error):
                    raise
                text = error_text(error)
                hint = hint_for(code, subject.replace(" ", ":"), text)
                raise AwsError(subject, code, text, hint=hint, details=error.response) from error
        found: dict[str, Any] = require(answer, OPERATIONS.get(operation, {}), subject, hint="run the command again")
        return found
