"""boto3 clients of tests: the app's own way to the local engines, beside this project's."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, overload

from tasks.localenv.aws import boto as aws
from tasks.localenv.aws.wire import AwsApi
from tasks.localenv.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_cognito_idp import CognitoIdentityProviderClient
    from mypy_boto3_dynamodb import DynamoDBClient


def forget_clients() -> None:
    """Make the next command create new clients: for tests that swap the world behind them."""
    aws._clients.clear()


@overload
def local_client(settings: Settings, service: Literal["dynamodb"]) -> DynamoDBClient: ...
@overload
def local_client(settings: Settings, service: Literal["cognito-idp"]) -> CognitoIdentityProviderClient: ...
def local_client(settings: Settings, service: str) -> Any:
    """Return a client for a local engine, the same one for the same address."""
    endpoint = {"dynamodb": settings.dynamodb, "cognito-idp": settings.cognito}[service]
    assert endpoint, f"{service} is not local"
    return _client(endpoint.url, service, settings.region)


def boto3_api(settings: Settings, service: Literal["dynamodb", "cognito-idp"]) -> AwsApi:
    """Return AWS's API as commands use it for AWS itself, but of a local engine."""
    at_aws = replace(settings, dynamodb=None, cognito=None, access_key="AKIDEXAMPLE", secret_key="secret")
    api = AwsApi(at_aws, service)
    api._client = local_client(settings, service)
    return api


@cache
def _client(url: str, service: str, region: str) -> Any:
    """Create a client that reads nothing of the user's AWS setup: no profile, no proxy, no FIPS switch."""
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
    # botocore requires that a profile named by AWS_PROFILE exists; here there is none, and no file to look for it.
    nothing_of_the_user: Any = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    session: Any = botocore.session.Session(session_vars=nothing_of_the_user)
    session.register_component("data_loader", _loader(region))
    return session.create_client(
        service,
        region_name=region,
        aws_access_key_id=aws.LOCAL_KEY,
        aws_secret_access_key=aws.LOCAL_KEY,
        endpoint_url=url,
        config=config,
    )


def _loader(region: str) -> Any:
    """Return botocore's loader of service descriptions without what an explicit endpoint does not need.

    The stock one lists 400 folders and parses the table of every AWS endpoint: 33 of a client's 45 ms.
    """
    from botocore.loaders import Loader

    defaults = {"hostname": "localhost", "protocols": ["http"], "signatureVersions": ["v4"]}
    partition = {
        "partition": "aws",
        "dnsSuffix": "localhost",
        "defaults": defaults,
        "regions": {region: {}},
        "services": {},
    }

    class LocalLoader(Loader):
        def list_available_services(self, type_name: str) -> list[str]:
            return ["cognito-idp", "dynamodb", "dynamodbstreams", "sts"]

        def load_data_with_path(self, name: str) -> Any:
            return ({"partitions": [partition]}, "") if name == "endpoints" else super().load_data_with_path(name)

    return LocalLoader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
