"""boto3 clients whose endpoint is always explicit, and botocore's errors as ours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, overload

from .errors import LocalEnvError, ServiceFailed, UsageError

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient

    from .settings import Settings

LOCAL_KEY = "local"
"""Key and secret for the local engines: DynamoDB Local takes letters and digits only and keeps a store a key."""


@overload
def client(settings: Settings, service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(settings: Settings, service: Literal["cognito-idp"]) -> CognitoIdentityProviderClient: ...
@overload
def client(settings: Settings, service: Literal["sts"]) -> STSClient: ...
def client(settings: Settings, service: str) -> Any:
    """Make a client for the target's own endpoint; share one among threads (boto3 docs: clients are thread-safe).

    Raises UsageError where the prod target meets a configured endpoint override.
    """
    import boto3
    from botocore.config import Config

    endpoint = {"dynamodb": settings.dynamodb, "cognito-idp": settings.cognito}.get(service)
    if endpoint is None:
        refuse_endpoint_overrides()
    # botocore's stubs lag behind: ignore_configured_endpoint_urls is in botocore 1.31 and later.
    config = Config(  # type: ignore[call-arg]
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=3,
        read_timeout=60,
        max_pool_connections=10,
        ignore_configured_endpoint_urls=True,
    )
    key, secret = (LOCAL_KEY, LOCAL_KEY) if endpoint else (settings.access_key, settings.secret_key)
    session = boto3.session.Session(
        aws_access_key_id=key or None, aws_secret_access_key=secret or None, region_name=settings.region
    )
    # boto3's stubs have one overload a service; the names here are checked by our own overloads.
    make: Any = session.client
    return make(service, endpoint_url=endpoint.url if endpoint else None, config=config)


def refuse_endpoint_overrides() -> None:
    """Raise UsageError when the environment would send calls for AWS somewhere else.

    AWS SDK reference, "Service-specific endpoints": AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>.
    """
    found = sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL") and os.environ[name])
    if found:
        raise UsageError(
            f"{found[0]} is set in the environment: a call meant for AWS would go to {os.environ[found[0]]}",
            hint=f"unset {' '.join(found)}",
        )


@contextmanager
def aws_errors(subject: str) -> Iterator[None]:
    """Turn botocore's exceptions into ours; `subject` starts the message ("table cruddur-messages")."""
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        detail = error.response.get("Error", {})
        raise LocalEnvError(f"{subject}: {detail.get('Code', 'error')}: {detail.get('Message', error)}") from error
    except EndpointConnectionError as error:
        raise ServiceFailed(
            f"{subject}: nothing answers at {error.kwargs['endpoint_url']}", hint="run `inv env.up`"
        ) from error
    except NoCredentialsError as error:
        raise UsageError(
            f"{subject}: no AWS credentials found", hint="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from error
    except BotoCoreError as error:
        raise ServiceFailed(f"{subject}: {error}", hint="run `inv status`") from error
