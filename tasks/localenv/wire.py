"""AWS's JSON protocol as one function, `api(settings, service)`: call it with an operation and its parameters.

A local engine is called straight over http.client: loading an SDK costs more than a whole run that changes nothing.
AWS itself is called through boto3, which signs. Parameters hold binary as bytes. Answers are what the protocol
carries: binary as base64 text and times as epoch seconds locally, bytes and datetime from boto3.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any, Literal, Protocol

from . import saved
from .errors import LocalEnvError, ServiceFailed

if TYPE_CHECKING:
    from .addresses import Endpoint
    from .settings import Settings

Service = Literal["dynamodb", "dynamodbstreams", "cognito-idp"]
TARGETS = {
    "dynamodb": "DynamoDB_20120810",
    "dynamodbstreams": "DynamoDBStreams_20120810",
    "cognito-idp": "AWSCognitoIdentityProviderService",
}
JSON_VERSIONS = {"dynamodb": "1.0", "dynamodbstreams": "1.0", "cognito-idp": "1.1"}
TIMEOUT_S = 60.0


class AwsError(LocalEnvError):
    """An AWS API refused a call. `aws_code` is its name for the reason: ResourceNotFoundException and so on.

    `permission` is what a policy calls the operation: dynamodb:DescribeTable. `response` is the refusal in the shape
    of botocore's errors, for the app's own functions, which take either client.
    """

    def __init__(
        self, subject: str, aws_code: str, text: str, *, hint: str = "", details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(f"{subject}: {aws_code}: {text}", hint=hint)
        self.aws_code = aws_code
        self.permission = subject.replace(" ", ":")
        self.response: dict[str, Any] = {**(details or {}), "Error": {"Code": aws_code, "Message": text}}


class Api(Protocol):
    """Calls one operation of one AWS service. Safe to share among threads."""

    def __call__(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        """Return the answer's body.

        Raises AwsError when the service refuses, ServiceFailed when nobody answers.
        """
        ...


def api(settings: Settings, service: Service) -> Api:
    """Give the API of the target: the local engine's where there is one, else AWS's own."""
    endpoint = settings.cognito if service == "cognito-idp" else settings.dynamodb
    return LocalApi(endpoint, settings.region, service) if endpoint else AwsApi(settings, service)


def _base64(value: Any) -> str:
    """Write binary as the protocol has it."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is nothing that AWS's JSON protocol carries")
    return base64.b64encode(value).decode()


def pages(call: Api, operation: str, listed: str, token: tuple[str, str], **parameters: Any) -> Iterator[Any]:
    """Give what an operation lists under the key `listed`, from all pages.

    `token` is what the operation calls the place to go on from: in its answer, and as its parameter.
    """
    told, asked = token
    while True:
        answer = call(operation, **parameters)
        yield from answer.get(listed) or ()
        if not answer.get(told):
            return
        parameters[asked] = answer[told]


class LocalApi:
    """The API of a local engine, over connections that are kept for the next call."""

    def __init__(self, endpoint: Endpoint, region: str, service: Service) -> None:
        self._endpoint = endpoint
        self._service = service
        # The engines route by the credential's scope and check no signature; DynamoDB Local wants the fields there.
        signed_for = "dynamodb" if service == "dynamodbstreams" else service
        scope = f"local/20260101/{region}/{signed_for}/aws4_request"
        self._headers = {
            "Content-Type": f"application/x-amz-json-{JSON_VERSIONS[service]}",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=0",
        }
        self._idle: list[HTTPConnection] = []

    def __del__(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def __call__(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        status, text = self._exchange(operation, json.dumps(parameters, default=_base64).encode())
        try:
            body: dict[str, Any] = json.loads(text or b"{}")
        except ValueError as error:
            raise ServiceFailed(
                f"{self._service} at {self._endpoint}: {operation} was answered {status} and no JSON",
                hint="run `inv env.status` to see who listens there",
                evidence=text[:400].decode(errors="replace"),
            ) from error
        if status != 200:
            code = str(body.get("__type", status)).rpartition("#")[2]
            detail = body.get("message") or body.get("Message") or ""
            raise AwsError(f"{self._service} {operation}", code, detail, details=body)
        return body

    def _exchange(self, operation: str, body: bytes) -> tuple[int, bytes]:
        headers = {**self._headers, "X-Amz-Target": f"{TARGETS[self._service]}.{operation}"}
        try:
            kept = self._idle.pop()
        except IndexError:
            return self._send(self._open(), headers, body)
        try:
            return self._send(kept, headers, body)
        except ServiceFailed:  # the engine closes a connection that was idle for long
            return self._send(self._open(), headers, body)

    def _open(self) -> HTTPConnection:
        return HTTPConnection(self._endpoint.host, self._endpoint.port, timeout=TIMEOUT_S)

    def _send(self, connection: HTTPConnection, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        try:
            connection.request("POST", "/", body, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.getheader(saved.HEADER):
                saved.note(self._endpoint)
        except (OSError, HTTPException) as error:
            connection.close()
            raise ServiceFailed(
                f"{self._service}: nothing answers at {self._endpoint.url} ({error or type(error).__name__})",
                hint="run `inv env.up`",
            ) from error
        if answer.will_close:
            connection.close()
        else:
            self._idle.append(connection)
        return answer.status, text


class AwsApi:
    """The API of any service of AWS itself, through a boto3 client. `service` is boto3's name for it."""

    def __init__(self, settings: Settings, service: str) -> None:
        from .aws import client

        # One overload a service is for callers that know which; here it is a value.
        make: Any = client
        self._client: Any = make(settings, service)
        self._service = service

    def __call__(self, operation: str, /, **parameters: Any) -> dict[str, Any]:
        from botocore import xform_name
        from botocore.exceptions import ClientError

        from .aws import CREDENTIAL_CODES, aws_errors, error_code, error_text, hint_for

        subject = f"{self._service} {operation}"
        with aws_errors(subject):
            try:
                answer: dict[str, Any] = getattr(self._client, xform_name(operation))(**parameters)
            except ClientError as error:
                code = error_code(error) or "error"
                if code in CREDENTIAL_CODES:
                    raise
                hint = hint_for(code, subject.replace(" ", ":"))
                raise AwsError(subject, code, error_text(error), hint=hint, details=error.response) from error
        return answer
