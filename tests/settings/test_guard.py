"""The production guard, and clients that cannot be sent astray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore import exceptions
from moto import mock_aws

from tasks._output import Reporter
from tasks._run import Options, Run, _Once
from tasks.localenv.aws import boto as aws
from tasks.localenv.errors import ConfirmationNeeded, LocalEnvError, UsageError
from tasks.localenv.production import caller as production
from tasks.localenv.settings import Settings, guard, read_settings
from tests.support.boto import forget_clients
from tests.support.ports import find_free

PROD_URL = "postgresql://cruddurroot:s3cret@db.abc.us-east-1.rds.amazonaws.com:5432/cruddur"
KEYS = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hush-hush",
    "AWS_SESSION_TOKEN": "token-hush",
}
SIGN_IN = "run `aws sso login --profile default`, and then the same command again"
SHOWN = [
    "target prod: account 123456789012 (arn:aws:sts::123456789012:user/moto), region us-east-1",
    "hosts: dynamodb.us-east-1.amazonaws.com, postgres db.abc.us-east-1.rds.amazonaws.com:5432/cruddur",
]


@pytest.fixture
def prod() -> Iterator[Settings]:
    """Settings of the prod target, with AWS played by moto in this process."""
    with mock_aws():
        forget_clients()
        yield read_settings(target="prod", environ={"PROD_CONNECTION_URL": PROD_URL, **KEYS})
    forget_clients()


@pytest.fixture
def local() -> Settings:
    return read_settings(environ={"AWS_ENDPOINT_URL_DYNAMODB": f"http://localhost:{find_free()}"})


def run_of(
    settings: Settings, said: list[str], *, answer: str | None = None, effect: guard.Effect = guard.WRITES
) -> Run:
    """A step that may ask where there is an `answer`, and that hears what it says in `said`."""

    class Heard(Reporter):
        def progress(self, name: str, text: str) -> None:
            said.append(text)

    def ask(question: str) -> str:
        said.append(question)
        return str(answer).strip()

    run = Run("db.seed", Options(target=settings.target), Heard(), effect=effect, interactive=answer is not None)
    run._settings = _Once(run.options, settings)
    run._ask = ask  # type: ignore[method-assign]
    return run


def test_the_local_target_may_be_written_to_without_a_word(local: Settings) -> None:
    said: list[str] = []
    permit = run_of(local, said).writable("cruddur-messages").permit
    assert permit and (permit.target, permit.effect, permit.observed.name) == (
        "local",
        guard.WRITES,
        "cruddur-messages",
    )
    assert said == []


def test_a_step_that_reads_gets_no_permit(local: Settings) -> None:
    with pytest.raises(TypeError, match="a step that reads asks to change cruddur"):
        run_of(local, [], effect=guard.READS).writable("cruddur")


def test_nobody_but_the_guard_makes_a_permit() -> None:
    with pytest.raises(TypeError, match="only the guard makes permits"):
        guard.Permit("prod", guard.WRITES, guard.Observed("cruddur"), object())


@pytest.mark.parametrize(
    ("observed", "consent", "yes", "message"),
    [
        (guard.Observed("cruddur"), "", False, ""),
        (guard.Observed("cruddur", owner="me"), "", False, ""),
        (guard.Observed("cruddur", owner="me", holds="2 tables"), "", False, ""),
        (guard.Observed("cruddur", owner="other"), "", False, ""),
        (guard.Observed("cruddur", owner="other", holds="2 tables"), "cruddur", False, ""),
        (guard.Observed("cruddur", owner="other", holds="2 tables"), "", True, ""),
        (
            guard.Observed("cruddur", owner="other", holds="2 tables"),
            "",
            False,
            "database cruddur belongs to project other, not to me",
        ),
        (
            guard.Observed("cruddur", holds="2 tables"),
            "",
            False,
            "database cruddur holds 2 tables that this project did not make",
        ),
        (
            guard.Observed("cruddur", owner="me", holds="2 tables"),
            "prod",
            False,
            "--confirm 'prod' is not the name of what would change: cruddur",
        ),
    ],
)
def test_the_marker_of_a_local_database_decides(
    local: Settings, observed: guard.Observed, consent: str, yes: bool, message: str
) -> None:
    settings = replace(local, project_id="me")
    if not message:
        assert guard.decide(settings, guard.WRITES, observed, consent=consent, yes=yes).observed == observed
        return
    with pytest.raises(LocalEnvError) as caught:
        guard.decide(settings, guard.WRITES, observed, consent=consent, yes=yes)
    assert caught.value.message == message


def test_account_region_and_hosts_are_shown_before_the_question(prod: Settings) -> None:
    said: list[str] = []
    permit = run_of(prod, said, answer=" cruddur \n").writable_database().permit
    assert permit and (permit.target, permit.observed.account) == ("prod", "123456789012")
    assert said == [*SHOWN, "Type cruddur to change this production data: "]


def test_the_name_as_confirm_is_enough(prod: Settings) -> None:
    said: list[str] = []
    run_of(prod, said).writable_database("cruddur")
    assert said == SHOWN


@pytest.mark.parametrize("given", ["yes", "nonprod", "Cruddur", "cruddur-messages"])
def test_any_other_confirm_is_refused(prod: Settings, given: str) -> None:
    with pytest.raises(ConfirmationNeeded) as caught:
        run_of(prod, [], answer="cruddur").writable_database(given)
    assert (caught.value.message, caught.value.hint, caught.value.code) == (
        f"nothing was changed: {given!r} is not cruddur",
        "run the same command with --confirm cruddur",
        3,
    )


@pytest.mark.parametrize("answer", ["y", "", "prod"])
def test_any_other_answer_is_refused(prod: Settings, answer: str) -> None:
    with pytest.raises(ConfirmationNeeded, match="nothing was changed"):
        run_of(prod, [], answer=answer).writable("cruddur")


def test_without_anybody_to_ask_prod_is_refused(prod: Settings) -> None:
    with pytest.raises(ConfirmationNeeded) as caught:
        run_of(prod, []).writable("cruddur")
    assert caught.value.message == "cruddur is production data, and nobody is here to confirm"


@pytest.mark.parametrize("of", ["the prod target", "AWS"])
def test_another_account_than_the_one_of_production_is_refused(prod: Settings, of: str) -> None:
    def permit(account: str) -> object:
        run = run_of(replace(prod, prod_account=account), [])
        return (run.writable_database("cruddur") if of == "the prod target" else run.writable_at_aws("sgr-1")).permit

    with pytest.raises(UsageError, match=r"those of account 123456789012.*, and PROD_AWS_ACCOUNT_ID is 210987654321"):
        permit("210987654321")
    assert permit("123456789012")


def test_no_secret_is_shown(prod: Settings) -> None:
    shown = "\n".join(production.describe(prod))
    assert [secret for secret in ("s3cret", "hush-hush", "token-hush") if secret in shown] == []


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_STS"])
def test_prod_refuses_an_endpoint_override(monkeypatch: pytest.MonkeyPatch, prod: Settings, name: str) -> None:
    monkeypatch.setenv(name, "http://localhost:8000")
    with pytest.raises(UsageError) as caught:
        run_of(prod, []).writable("cruddur", "cruddur")
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
        production.describe(settings)


def test_a_local_engine_is_never_called_through_boto3(local: Settings) -> None:
    with pytest.raises(TypeError, match="dynamodb is a local engine"):
        aws.client(local, "dynamodb")


def test_one_client_serves_the_whole_process(prod: Settings) -> None:
    assert aws.client(prod, "dynamodb") is aws.client(prod, "dynamodb")


def test_an_aws_error_keeps_its_code(prod: Settings) -> None:
    with pytest.raises(LocalEnvError) as caught, aws.aws_errors("table nosuch"):
        aws.client(prod, "dynamodb").describe_table(TableName="nosuch")
    assert caught.value.message == (
        "table nosuch: ResourceNotFoundException: Requested resource not found: Table: nosuch not found"
    )


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (exceptions.UnauthorizedSSOTokenError(), SIGN_IN),
        (exceptions.TokenRetrievalError(provider="sso", error_msg="Token has expired"), SIGN_IN),
        (exceptions.LoginRefreshRequired(), SIGN_IN.replace("sso login", "login")),
        (exceptions.EndpointConnectionError(endpoint_url="https://sts.amazonaws.com"), aws.NETWORK_HINT),
        (exceptions.ReadTimeoutError(endpoint_url="https://sts.amazonaws.com"), aws.NETWORK_HINT),
    ],
)
def test_a_sign_in_that_has_expired_and_a_network_that_fails_are_told_apart(error: Exception, hint: str) -> None:
    with pytest.raises(LocalEnvError) as caught, aws.aws_errors("AWS account"):
        raise error
    assert caught.value.hint == hint
