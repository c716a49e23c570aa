"""What fails at AWS itself: credentials that a real config file does not give, refusals, clocks and names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, NoRegionError
from moto import mock_aws

from tasks.localenv.aws import boto as aws
from tasks.localenv.dynamodb.client import TableMissing, connect
from tasks.localenv.dynamodb.schema.existing import fetch_table, require_table
from tasks.localenv.errors import LocalEnvError, ServiceFailed, UsageError
from tasks.localenv.production.caller import fetch_caller
from tasks.localenv.settings import read_settings
from tests.support.boto import forget_clients

PROD_URL = "postgresql://cruddurroot:s3cret@db.abc.us-east-1.rds.amazonaws.com:5432/cruddur"
ROLE = "sso_session = corp\nsso_account_id = 123456789012\nsso_role_name = dev\n"
SESSION = "[sso-session corp]\nsso_region = us-east-1\nsso_start_url = https://corp.awsapps.com/start\n"
KEYS = "aws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = secret\n"
SIGN_IN = "run `aws sso login --profile default`, and then the same command again"
PROCESS = "correct the credential_process of AWS profile default, or set AWS_PROFILE to another"
EXPIRED = '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b","SessionToken":"c","Expiration":"2020-01-01T00:00:00Z"}'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without AWS credentials, in which the tests write the config file."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", *(f"AWS_{key}" for key in ("ACCESS_KEY_ID", "SESSION_TOKEN"))):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    forget_clients()
    yield tmp_path
    forget_clients()


def failure(home: Path, config: str, region: str = "us-east-1") -> LocalEnvError:
    (home / "config").write_text(config)
    environ = {"PROD_CONNECTION_URL": PROD_URL, "AWS_DEFAULT_REGION": region, "LOCALENV_DOTENV": "/dev/null"}
    with pytest.raises(LocalEnvError) as caught:
        fetch_caller(read_settings(target="prod", environ=environ))
    assert "\n" not in caught.value.message
    return caught.value


def process(command: str) -> str:
    return f"[default]\ncredential_process = {command}\n"


@pytest.mark.parametrize(
    ("config", "said", "hint"),
    [
        ("", "no complete AWS credentials found", aws.CREDENTIAL_HINT),
        ("[default]\naws_access_key_id = A\n", "no complete AWS credentials found", aws.CREDENTIAL_HINT),
        (f"[default]\n{ROLE}{SESSION}", "Error loading SSO Token", SIGN_IN),
        (f"[default]\n{ROLE}", "does not exist", PROCESS.replace("credential_process", "sso_session")),
        (process("sh -c 'echo no vault >&2; exit 1'"), "no vault", PROCESS),
        (process("echo hello"), "no AWS credentials can be read", PROCESS),
        (process("echo '[]'"), "no AWS credentials can be read", PROCESS),
        (process("printf '\\377'"), "no AWS credentials can be read", PROCESS),
        (process("echo '{\"Version\":1}'"), "Missing required key in response", PROCESS),
        (process("echo 'open"), "no AWS credentials can be read", PROCESS),
        (process("/nonexistent/vault get"), "No such file or directory", PROCESS),
        (process(f"echo '{EXPIRED}'"), "still expired", PROCESS),
        (
            "[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = nosuch\n",
            "does not exist",
            PROCESS.replace("credential_process", "role_arn"),
        ),
    ],
)
def test_credentials_that_a_config_file_does_not_give(home: Path, config: str, said: str, hint: str) -> None:
    error = failure(home, config)
    assert (type(error), error.code, error.hint) == (UsageError, 2, hint)
    assert said in error.message


def test_a_sign_in_that_has_expired(home: Path) -> None:
    cache = home / ".aws/sso/cache" / f"{hashlib.sha1(b'corp').hexdigest()}.json"
    cache.parent.mkdir(parents=True)
    token = {"startUrl": "https://corp.awsapps.com/start", "region": "us-east-1", "accessToken": "hush"}
    cache.write_text(json.dumps({**token, "expiresAt": "2020-01-01T00:00:00Z"}))
    error = failure(home, f"[default]\n{ROLE}sso_registration_scopes = sso:account:access\n{SESSION}")
    assert (error.code, error.hint) == (2, SIGN_IN)


def test_a_profile_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nosuch")
    error = failure(home, "")
    assert (error.code, "nosuch" in error.message, error.hint) == (2, True, "correct or unset AWS_PROFILE")


def test_a_name_that_does_not_resolve(home: Path) -> None:
    error = failure(home, f"[default]\n{KEYS}", region="us-nowhere-1")
    assert (type(error), error.code, error.hint) == (ServiceFailed, 4, aws.NETWORK_HINT)
    assert error.message == "AWS account: the name in https://sts.us-nowhere-1.amazonaws.com/ does not resolve"


USER = "User: arn:aws:iam::1:user/ada is not authorized to perform: dynamodb:Query"
TABLE = "arn:aws:dynamodb:us-east-1:1:table/x"


@pytest.mark.parametrize(
    ("code", "text", "exit_code", "hint"),
    [
        ("ExpiredTokenException", "The security token included in the request is expired", 2, aws.EXPIRED_HINT),
        ("InvalidClientTokenId", "The security token included in the request is invalid", 2, aws.CREDENTIAL_HINT),
        ("MissingAuthenticationToken", "Missing Authentication Token", 2, aws.CREDENTIAL_HINT),
        ("InvalidSignatureException", "Signature expired: 20260101T000000Z is now earlier than", 2, "clock"),
        ("SignatureDoesNotMatch", "Signature not yet current: 20260101T000000Z is still later than", 2, "clock"),
        ("RequestTimeTooSkewed", "The difference between the request time and", 2, "clock"),
        ("SignatureDoesNotMatch", "The request signature we calculated does not match", 2, aws.CREDENTIAL_HINT),
        (
            "AccessDeniedException",
            f"{USER} on resource: {TABLE} because no identity-based policy allows the dynamodb:Query action",
            1,
            f"have dynamodb:Query on {TABLE} added to this user's policy, or use another AWS_PROFILE",
        ),
        (
            "AccessDenied",
            f"{USER} on resource: {TABLE} with an explicit deny in a service control policy",
            1,
            f"ask for the deny of dynamodb:Query on {TABLE} to be lifted, or use another AWS_PROFILE",
        ),
    ],
)
def test_what_aws_refuses(code: str, text: str, exit_code: int, hint: str) -> None:
    with pytest.raises(LocalEnvError) as caught, aws.aws_errors("table x"):
        raise ClientError({"Error": {"Code": code, "Message": text}}, "Query")
    assert (caught.value.message, caught.value.code) == (f"table x: {code}: {text}", exit_code)
    assert hint in caught.value.hint


def test_a_region_is_named_where_none_is_set_and_our_own_mistakes_stay_as_they_are() -> None:
    with pytest.raises(UsageError) as caught, aws.aws_errors("table x"):
        raise NoRegionError
    assert "AWS_DEFAULT_REGION" in caught.value.hint
    with pytest.raises(KeyError), aws.aws_errors("table x"):
        raise KeyError("a mistake")


@pytest.mark.parametrize(("config", "hinted"), [("[default]\nregion = eu-west-1\n", True), ("", False)])
def test_a_table_that_is_not_there_names_the_region_and_that_of_the_profile(
    home: Path, config: str, hinted: bool
) -> None:
    (home / "config").write_text(config)
    environ = {"PROD_CONNECTION_URL": PROD_URL, "AWS_DEFAULT_REGION": "us-east-1", "LOCALENV_DOTENV": "/dev/null"}
    keys = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
    with mock_aws():
        client = connect(read_settings(target="prod", environ={**environ, **keys}))
        assert fetch_table(client, "orders") is None
        with pytest.raises(TableMissing) as caught:
            require_table(client, "orders")
    assert caught.value.message == "table orders does not exist in region us-east-1"
    assert ("set AWS_DEFAULT_REGION=eu-west-1, the region of AWS profile default" in caught.value.hint) is hinted
