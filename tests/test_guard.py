"""The production guard, and clients that cannot be sent astray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from moto import mock_aws

from tasks.localenv import aws, guard
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError, ServiceFailed, UsageError
from tasks.localenv.ports import find_free
from tasks.localenv.settings import Settings, read_settings

PROD_URL = "postgresql://cruddurroot:s3cret@db.abc.us-east-1.rds.amazonaws.com:5432/cruddur"
KEYS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hush-hush",
    "AWS_SESSION_TOKEN": "token-hush",
}
SHOWN = [
    "target prod: account 123456789012 (arn:aws:sts::123456789012:user/moto), region us-east-1",
    "hosts: dynamodb.us-east-1.amazonaws.com, postgres db.abc.us-east-1.rds.amazonaws.com:5432/cruddur",
]


@pytest.fixture
def prod() -> Iterator[Settings]:
    """Settings of the prod target, with AWS played by moto in this process."""
    with mock_aws():
        aws.forget_clients()
        yield read_settings(target="prod", environ={"PROD_CONNECTION_URL": PROD_URL, **KEYS})
    aws.forget_clients()


@pytest.fixture
def local() -> Settings:
    return read_settings(environ={"AWS_ENDPOINT_URL_DYNAMODB": f"http://localhost:{find_free()}"})


def answering(text: str) -> Callable[[str], str]:
    return lambda question: text


def test_the_local_target_may_always_be_written_to(local: Settings) -> None:
    said: list[str] = []
    guard.allow_write(local, name="cruddur", say=said.append)
    assert said == []


def test_confirm_without_the_prod_target_is_a_misunderstanding(local: Settings) -> None:
    with pytest.raises(UsageError, match="--confirm is for --target prod"):
        guard.allow_write(local, name="cruddur", confirm="cruddur", say=print)


def test_account_region_and_hosts_are_shown_before_the_question(prod: Settings) -> None:
    happened: list[str] = []

    def ask(question: str) -> str:
        happened.append(question)
        return "cruddur"

    guard.allow_write(prod, name="cruddur", ask=ask, say=happened.append)
    assert happened == [*SHOWN, "Type cruddur to change this production data: "]


def test_the_name_as_confirm_is_enough(prod: Settings) -> None:
    said: list[str] = []
    guard.allow_write(prod, name="cruddur", confirm="cruddur", say=said.append)
    assert said == SHOWN


@pytest.mark.parametrize("given", ["yes", "nonprod", "Cruddur", "cruddur-messages"])
def test_any_other_confirm_is_refused(prod: Settings, given: str) -> None:
    with pytest.raises(ConfirmationNeeded) as caught:
        guard.allow_write(prod, name="cruddur", confirm=given, ask=answering("cruddur"), say=print)
    assert (caught.value.message, caught.value.hint, caught.value.code) == (
        f"--confirm {given!r} is not the name of what would change: cruddur",
        "run the same command with --confirm cruddur",
        3,
    )


@pytest.mark.parametrize("answer", ["y", "", "prod"])
def test_any_other_answer_is_refused(prod: Settings, answer: str) -> None:
    with pytest.raises(ConfirmationNeeded, match="nothing was changed"):
        guard.allow_write(prod, name="cruddur", ask=answering(answer), say=print)


def test_an_answer_is_taken_without_the_spaces_around_it(prod: Settings) -> None:
    said: list[str] = []
    guard.allow_write(prod, name="cruddur", ask=answering(" cruddur \n"), say=said.append)
    assert len(said) == 2


def test_without_anybody_to_ask_prod_is_refused(prod: Settings) -> None:
    with pytest.raises(ConfirmationNeeded) as caught:
        guard.allow_write(prod, name="cruddur", say=print)
    assert caught.value.message == "cruddur is production data, and nobody is here to confirm"


def test_another_account_than_the_one_of_production_is_refused(prod: Settings) -> None:
    with pytest.raises(UsageError, match=r"those of account 123456789012 .*, and PROD_AWS_ACCOUNT_ID is 210987654321"):
        guard.allow_write(replace(prod, prod_account="210987654321"), name="cruddur", confirm="cruddur", say=print)
    guard.allow_write(replace(prod, prod_account="123456789012"), name="cruddur", confirm="cruddur", say=print)


def test_no_secret_is_shown(prod: Settings) -> None:
    shown = "\n".join(guard.whereabouts(prod))
    assert [secret for secret in ("s3cret", "hush-hush", "token-hush") if secret in shown] == []


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_STS"])
def test_prod_refuses_an_endpoint_override(monkeypatch: pytest.MonkeyPatch, prod: Settings, name: str) -> None:
    monkeypatch.setenv(name, "http://localhost:8000")
    with pytest.raises(UsageError) as caught:
        guard.allow_write(prod, name="cruddur", confirm="cruddur", say=print)
    assert (caught.value.message, caught.value.hint) == (
        f"{name} is set in the environment: a call meant for AWS would go to http://localhost:8000",
        f"unset {name}",
    )


def test_prod_ignores_an_endpoint_of_the_aws_config_file(
    monkeypatch: pytest.MonkeyPatch, prod: Settings, tmp_path: Any
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nendpoint_url = http://localhost:8000\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert aws.client(prod, "dynamodb").meta.endpoint_url == "https://dynamodb.us-east-1.amazonaws.com"


def test_a_profile_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch, prod: Settings) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    with pytest.raises(UsageError) as caught:
        aws.client(prod, "sts")
    assert (caught.value.message, caught.value.hint) == (
        "sts: The config profile (nosuch) could not be found",
        "correct or unset AWS_PROFILE",
    )


def test_half_of_the_credentials_is_said(prod: Settings) -> None:
    settings = read_settings(
        target="prod",
        environ={"PROD_CONNECTION_URL": PROD_URL, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIA"},
    )
    with pytest.raises(UsageError, match="no complete AWS credentials found"):
        guard.whereabouts(settings)


def test_the_local_client_reads_nothing_of_the_users_aws_setup(
    monkeypatch: pytest.MonkeyPatch, local: Settings, tmp_path: Any
) -> None:
    for name, value in {
        "AWS_PROFILE": "nosuch",
        "AWS_ENDPOINT_URL": "http://localhost:1",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "HTTP_PROXY": "http://localhost:1",
        "http_proxy": "http://localhost:1",
    }.items():
        monkeypatch.setenv(name, value)
    assert local.dynamodb is not None
    client = aws.client(local, "dynamodb")
    assert client.meta.endpoint_url == local.dynamodb.url
    with (
        pytest.raises(ServiceFailed, match=f"tables: nothing answers at {local.dynamodb.url}"),
        aws.aws_errors("tables"),
    ):
        client.list_tables()


def test_one_client_serves_the_whole_process(local: Settings) -> None:
    assert aws.client(local, "dynamodb") is aws.client(local, "dynamodb")


def test_an_aws_error_keeps_its_code(prod: Settings) -> None:
    with pytest.raises(LocalEnvError) as caught, aws.aws_errors("table nosuch"):
        aws.client(prod, "dynamodb").describe_table(TableName="nosuch")
    assert caught.value.message == (
        "table nosuch: ResourceNotFoundException: Requested resource not found: Table: nosuch not found"
    )
