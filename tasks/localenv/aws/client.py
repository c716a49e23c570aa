"""botocore clients whose endpoint is always explicit, and botocore's errors as ours."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, overload

from ..errors import LocalEnvError, ServiceFailed, UsageError
from ..hints import START

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient

    from ..settings import Settings
    from ..settings.addresses import Endpoint

LOCAL_KEY = "local"
"""Key and secret for the local engines: DynamoDB Local takes letters and digits only and keeps a store a key."""

CREDENTIAL_CODES = (
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
)
CREDENTIAL_HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where they are temporary)"
EXPIRED_HINT = (
    "run `aws sso login` or `aws login`, or set new keys (with AWS_SESSION_TOKEN), and then the same command again"
)
DENIED_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
THROTTLED_CODES = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException")

NETWORK_HINT = "look at the network and at AWS_DEFAULT_REGION, and run the same command again"

_clients: dict[tuple[Any, ...], Any] = {}
_making = threading.Lock()


@overload
def client(settings: Settings, service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(settings: Settings, service: Literal["cognito-idp"]) -> CognitoIdentityProviderClient: ...
@overload
def client(settings: Settings, service: Literal["sts"]) -> STSClient: ...
def client(settings: Settings, service: str) -> Any:
    """Give the process's client for a service at the target's own endpoint.

    One client a service serves every thread (boto3 docs: clients are thread-safe) and costs its 40 ms once.
    Raises UsageError where the prod target meets a configured endpoint override, or credentials are half there. The
    local target's one service of AWS, a real user pool, is reached whatever endpoints the app is configured with.
    """
    endpoint = {"dynamodb": settings.dynamodb, "cognito-idp": settings.cognito}.get(service)
    if endpoint is None and not settings.is_local:
        refuse_endpoint_overrides()
    key = (service, endpoint, settings.region, settings.access_key, settings.secret_key, settings.session_token)
    with _making, aws_errors(service):
        if key not in _clients:
            _clients[key] = _local_client(endpoint, service, settings.region) if endpoint else _aws(settings, service)
        return _clients[key]


def forget_clients() -> None:
    """Let the next call make new clients: for tests that swap the world behind them."""
    with _making:
        _clients.clear()


def _local_client(endpoint: Endpoint, service: str, region: str) -> Any:
    """Make a client that reads nothing of the user's AWS set-up: no profile, no proxy, no FIPS switch."""
    import botocore.session
    from botocore.config import Config

    config = Config(  # type: ignore[call-arg]  # the stubs lag behind botocore 1.31
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=3,
        read_timeout=60,
        ignore_configured_endpoint_urls=True,
        use_fips_endpoint=False,
        use_dualstack_endpoint=False,
        proxies={},
    )
    # A profile named by AWS_PROFILE must exist to botocore; here there is none, and no file to look for it.
    nothing_of_the_user: Any = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    session: Any = botocore.session.Session(session_vars=nothing_of_the_user)
    session.register_component("data_loader", _local_loader(region))
    return session.create_client(
        service,
        region_name=region,
        aws_access_key_id=LOCAL_KEY,
        aws_secret_access_key=LOCAL_KEY,
        endpoint_url=endpoint.url,
        config=config,
    )


def _local_loader(region: str) -> Any:
    """Make botocore's loader of service descriptions without what an explicit endpoint does not need.

    The stock one lists 400 folders and parses the table of every AWS endpoint: 33 of a client's 45 ms.
    """
    from botocore.loaders import Loader

    defaults = {"hostname": "localhost", "protocols": ["http"], "signatureVersions": ["v4"]}
    endpoints = {
        "partitions": [
            {
                "partition": "aws",
                "dnsSuffix": "localhost",
                "defaults": defaults,
                "regions": {region: {}},
                "services": {},
            }
        ]
    }

    class LocalLoader(Loader):
        def list_available_services(self, type_name: str) -> list[str]:
            return ["cognito-idp", "dynamodb", "dynamodbstreams", "sts"]

        def load_data_with_path(self, name: str) -> Any:
            return (endpoints, "") if name == "endpoints" else super().load_data_with_path(name)

    return LocalLoader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)


def _aws(settings: Settings, service: str) -> Any:
    """Make a client for AWS itself, with the keys of the settings or else AWS's own chain of credentials."""
    import botocore.session
    from botocore.config import Config

    config = Config(  # type: ignore[call-arg]  # the stubs lag behind botocore 1.31
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=3,
        read_timeout=20,  # with all attempts and pauses a silent AWS takes a minute and a half, told after 3 s
        ignore_configured_endpoint_urls=True,
    )
    session: Any = botocore.session.Session()
    return session.create_client(
        service,
        region_name=settings.region,
        aws_access_key_id=settings.access_key or None,
        aws_secret_access_key=settings.secret_key or None,
        aws_session_token=settings.session_token or None,
        config=config,
    )


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


def error_code(error: Exception) -> str:
    """Give the AWS error code of a botocore ClientError, or an empty string."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def error_text(error: Exception) -> str:
    """Give AWS's words for a botocore ClientError, without the encoded policy that EC2 adds to a refusal."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    text = str(response.get("Error", {}).get("Message", error))
    return text.partition(" Encoded authorization failure message:")[0]


def hint_for(code: str, permission: str = "") -> str:
    """Say what to do about an AWS error code, where that does not depend on the call; else an empty string.

    `permission` is what the call needs, such as ec2:DescribeSecurityGroupRules.
    """
    if code in DENIED_CODES:
        return f"have {permission or 'the permission'} added to this user's policy, or use another AWS_PROFILE"
    return "wait a minute and run the same command again" if code in THROTTLED_CODES else ""


@contextmanager
def aws_errors(subject: str) -> Iterator[None]:
    """Turn botocore's exceptions into ours; `subject` starts the message ("table orders")."""
    from botocore import exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        code, detail = error_code(error), error_text(error)
        if code in CREDENTIAL_CODES:
            hint = EXPIRED_HINT if "Expired" in code else CREDENTIAL_HINT
            raise UsageError(f"{subject}: {code}: {detail}", hint=hint) from error
        raise LocalEnvError(f"{subject}: {code or 'error'}: {detail}", hint=hint_for(code)) from error
    except (aws.EndpointConnectionError, aws.ConnectTimeoutError) as error:
        where = str(error.kwargs["endpoint_url"])
        hint = NETWORK_HINT if where.startswith("https:") else START
        raise ServiceFailed(f"{subject}: nothing answers at {where}", hint=hint) from error
    except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
        raise UsageError(f"{subject}: no complete AWS credentials found", hint=CREDENTIAL_HINT) from error
    except (aws.SSOError, aws.TokenRetrievalError, aws.LoginError, aws.RefreshWithMFAUnsupportedError) as error:
        raise UsageError(f"{subject}: {error}", hint=EXPIRED_HINT) from error
    except aws.CredentialRetrievalError as error:
        raise UsageError(f"{subject}: {error}", hint=f"{CREDENTIAL_HINT}, or mend the profile in use") from error
    except aws.ProfileNotFound as error:
        raise UsageError(f"{subject}: {error}", hint="correct or unset AWS_PROFILE") from error
    except (aws.ConnectionClosedError, aws.HTTPClientError) as error:
        raise ServiceFailed(f"{subject}: {error}", hint=NETWORK_HINT) from error
    except aws.BotoCoreError as error:
        raise UsageError(
            f"{subject}: {error}", hint="correct the AWS settings, profile or parameter named here"
        ) from error
