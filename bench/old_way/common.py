"""What each of the old scripts did first: read the environment and make its clients."""

import os
from typing import Any

import boto3

TABLE = os.environ["DDB_MESSAGE_TABLE"]


def client(service: str, endpoint_variable: str) -> Any:
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=os.environ[endpoint_variable],
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )


def dynamodb() -> Any:
    return client("dynamodb", "AWS_ENDPOINT_URL_DYNAMODB")
