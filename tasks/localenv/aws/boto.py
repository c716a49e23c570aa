"""botocore clients for AWS itself, whatever endpoints are configured, and botocore's errors as ours."""

from __future__ import annotations

import os
import re
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from traceback import walk_tb
from typing import TYPE_CHECKING, Any, Literal, overload

from ..errors import LocalEnvError, ServiceFailed, UsageError

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sts import STSClient

    from ..settings import Settings

LOCAL_KEY = "local"
"""Key and secret for the local engines: DynamoDB Local accepts only letters and digits, and has a store per key."""

CREDENTIAL_CODES = (
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "RequestTimeTooSkewed",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "IncompleteSignature",
)
SKEWED = re.compile(r"Signature (expired|not yet current)|too skewed", re.IGNORECASE)
"""What AWS says of a request whose time is not AWS's own, which the signature covers."""
CREDENTIAL_HINT = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where they are temporary)"
EXPIRED_HINT = (
    "run `aws sso login` or `aws login`, or set new keys (with AWS_SESSION_TOKEN), and then the same command again"
)
DENIED_CODES = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
THROTTLED_CODES = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException")

REFUSAL = re.compile(r"not authorized to perform: ([\w-]+:\w+)(?: on resource: (\S+))?")
"""IAM User Guide, "Troubleshoot access denied error messages": action and resource in AWS's text."""
CREDENTIAL_MODULES = ("botocore.credentials", "botocore.tokens")
CREDENTIAL_SOURCES = ("credential_process", "sso_session", "sso_start_url", "login_session", "role_arn")

NETWORK_HINT = "check the network and AWS_DEFAULT_REGION, and run the same command again"

_clients: dict[tuple[Any, ...], Any] = {}
_making = threading.Lock()


@overload
def client(settings: Settings, service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def client(settings: Settings, service: Literal["cognito-idp"]) -> CognitoIdentityProviderClient: ...
@overload
def client(settings: Settings, service: Literal["sts"]) -> STSClient: ...
def client(settings: Settings, service: str) -> Any:
    """Return the process's client for a service of AWS itself.

    One client per service serves every thread (boto3 docs: clients are thread-safe) and costs its 40 ms once.
    Raises UsageError where the prod target meets a configured endpoint override, or credentials are incomplete. The
    local target's only service at AWS, a real user pool, is called whatever endpoints the app is configured with.
    """
    if {"dynamodb": settings.dynamodb, "cognito-idp": settings.cognito}.get(service):
        raise TypeError(f"{service} is a local engine: call it through wire.LocalApi")
    if not settings.is_local:
        refuse_endpoint_overrides()
    key = (service, settings.region, settings.access_key, settings.secret_key, settings.session_token)
    with _making, aws_errors(service):
        if key not in _clients:
            _clients[key] = _make(settings, service)
        return _clients[key]


def _make(settings: Settings, service: str) -> Any:
    """Create a client with the keys of the settings, or else AWS's own credential chain."""
    import botocore.session
    from botocore.config import Config

    config = Config(  # type: ignore[call-arg]  # the stubs lag behind botocore 1.31
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=3,
        read_timeout=20,  # with all attempts and pauses a silent AWS takes a minute and a half, announced after 3 s
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
    """Raise UsageError when the environment redirects calls for AWS.

    AWS SDK reference, "Service-specific endpoints": AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>.
    """
    found = sorted(name for name in os.environ if name.startswith("AWS_ENDPOINT_URL") and os.environ[name])
    if found:
        raise UsageError(
            f"{found[0]} is set in the environment: a call meant for AWS would go to {os.environ[found[0]]}",
            hint=f"unset {' '.join(found)}",
        )


def error_code(error: Exception) -> str:
    """Return the AWS error code of a botocore ClientError, or an empty string."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def error_text(error: Exception) -> str:
    """Return AWS's message of a botocore ClientError, without the encoded policy that EC2 adds to a refusal."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    text = str(response.get("Error", {}).get("Message", error))
    return text.partition(" Encoded authorization failure message:")[0]


def hint_for(code: str, permission: str = "", text: str = "") -> str:
    """Return a hint for an AWS error code, where that does not depend on the call; else an empty string.

    `permission` is what the call needs, such as ec2:DescribeSecurityGroupRules, unless AWS's `text` names it.
    """
    if code in DENIED_CODES:
        found = REFUSAL.search(text)
        wanted = " on ".join(part.rstrip(".,") for part in found.groups() if part) if found else permission
        if "explicit deny" in text:
            return f"ask for the deny of {wanted or 'this call'} to be lifted, or use another AWS_PROFILE"
        return f"have {wanted or 'the permission'} added to this user's policy, or use another AWS_PROFILE"
    return "wait a minute and run the same command again" if code in THROTTLED_CODES else ""


def _credential_hint(code: str, text: str) -> str:
    """Return the hint for one of CREDENTIAL_CODES."""
    if code == "RequestTimeTooSkewed" or SKEWED.search(text):
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        return f"set this machine's clock, which says {now} UTC, and run the same command again"
    return EXPIRED_HINT if "Expired" in code else CREDENTIAL_HINT


def profile() -> tuple[str, dict[str, Any]]:
    """Return the name and the settings of the AWS profile in use; no settings where they cannot be read."""
    import botocore.session
    from botocore.exceptions import BotoCoreError

    session: Any = botocore.session.Session()
    name = str(session.get_config_variable("profile") or "default")
    try:
        return name, session.get_scoped_config()
    except BotoCoreError:
        return name, {}


def _profile_hint() -> str:
    """Return the hint to mend what the profile in use takes its credentials from."""
    name, known = profile()
    source = next((key for key in CREDENTIAL_SOURCES if key in known), "settings")
    return f"correct the {source} of AWS profile {name}, or set AWS_PROFILE to another"


def _at_profile(command: str, end: str = "") -> str:
    return f"run `{command} --profile {shlex.quote(profile()[0])}{end}`, and then the same command again"


def is_of_credentials(error: Exception) -> bool:
    """Return whether botocore failed while it looked for credentials: some of that is not in its own exceptions."""
    return any(frame.f_globals.get("__name__") in CREDENTIAL_MODULES for frame, _ in walk_tb(error.__traceback__))


def _refused(subject: str, error: Exception) -> LocalEnvError:
    """Return our error for a ClientError."""
    code, text = error_code(error), error_text(error)
    message = f"{subject}: {code or 'error'}: {text}"
    if code in CREDENTIAL_CODES:
        return UsageError(message, hint=_credential_hint(code, text))
    if is_of_credentials(error):
        return UsageError(message, hint=_profile_hint())
    return LocalEnvError(message, hint=hint_for(code, text=text))


def _unreachable(subject: str, error: Any) -> ServiceFailed:
    """Return our error for an address that has no host, or whose host does not answer."""
    where = error.kwargs["endpoint_url"]
    if type(error.kwargs.get("error")).__name__ == "NameResolutionError":
        return ServiceFailed(f"{subject}: the name in {where} does not resolve", hint=NETWORK_HINT)
    return ServiceFailed(f"{subject}: nothing answers at {where}", hint=NETWORK_HINT)


@contextmanager
def aws_errors(subject: str) -> Iterator[None]:
    """Turn botocore's exceptions into ours; `subject` starts the message ("table orders")."""
    from botocore import exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        raise _refused(subject, error) from error
    except (aws.EndpointConnectionError, aws.ConnectTimeoutError) as error:
        raise _unreachable(subject, error) from error
    except (aws.NoCredentialsError, aws.PartialCredentialsError) as error:
        raise UsageError(f"{subject}: no complete AWS credentials found", hint=CREDENTIAL_HINT) from error
    except (aws.SSOError, aws.TokenRetrievalError) as error:
        raise UsageError(f"{subject}: {error}", hint=_at_profile("aws sso login")) from error
    except aws.LoginInsufficientPermissions as error:
        raise UsageError(f"{subject}: {error}", hint=hint_for("AccessDenied", "signin:CreateOAuth2Token")) from error
    except aws.LoginError as error:
        raise UsageError(f"{subject}: {error}", hint=_at_profile("aws login")) from error
    except aws.RefreshWithMFAUnsupportedError as error:
        raise UsageError(f"{subject}: {error}", hint=EXPIRED_HINT) from error
    except aws.CredentialRetrievalError as error:
        raise UsageError(f"{subject}: {' '.join(str(error).split())}", hint=_profile_hint()) from error
    except aws.ProfileNotFound as error:
        raise UsageError(f"{subject}: {error}", hint="correct or unset AWS_PROFILE") from error
    except (aws.InvalidRegionError, aws.NoRegionError) as error:
        raise UsageError(f"{subject}: {error}", hint="correct AWS_DEFAULT_REGION, such as us-east-1") from error
    except aws.MissingDependencyException as error:  # of `aws login`, whose keys the CLI can hand on
        hint = _at_profile('eval "$(aws configure export-credentials', ' --format env)"')
        raise UsageError(f"{subject}: {error}", hint=hint) from error
    except aws.InvalidConfigError as error:
        raise UsageError(f"{subject}: {error}", hint=_profile_hint()) from error
    except (aws.ConnectionClosedError, aws.HTTPClientError) as error:
        raise ServiceFailed(f"{subject}: {error}", hint=NETWORK_HINT) from error
    except aws.BotoCoreError as error:
        raise UsageError(
            f"{subject}: {error}", hint="correct the AWS settings, profile or parameter named here"
        ) from error
    except Exception as error:
        if not is_of_credentials(error):
            raise
        raise UsageError(f"{subject}: no AWS credentials can be read: {error}", hint=_profile_hint()) from error
