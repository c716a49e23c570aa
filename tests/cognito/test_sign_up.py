"""Signing up as the app does it: through the pool alone, whose function adds the row; refused where AWS refuses."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tasks.localenv.aws.emulatordoor import door_to, function_variables
from tasks.localenv.checkout import saved
from tasks.localenv.cognito import seed
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.engines.emulator_server.trigger import Trigger
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import Finished, environment, inv, permitted, reachable

CODE = "123456"
PASSWORD = "My-own-pass-7"
SIGN_UP = TOOL / "sql" / "sign_up"


@dataclass(frozen=True)
class App:
    """An environment that is set up, and what the app's frontend has of it: a client of the pool."""

    environ: dict[str, str]
    settings: Settings
    client: Any
    client_id: str

    def run(self, *words: str) -> Finished:
        return inv(*words, environ=self.environ)

    def sign_up(self, handle: str, *, name: str = "", email: str = "") -> str:
        """Sign somebody up; return their Username."""
        email = email or f"{handle}@new.example.com"
        given = {"email": email, "name": name or handle.title(), "preferred_username": handle}
        attributes = [{"Name": key, "Value": value} for key, value in given.items()]
        answer = self.client.sign_up(
            ClientId=self.client_id, Username=email, Password=PASSWORD, UserAttributes=attributes
        )
        assert answer["UserConfirmed"] is False
        return email

    def confirm(self, email: str, code: str = CODE) -> None:
        self.client.confirm_sign_up(ClientId=self.client_id, Username=email, ConfirmationCode=code)

    def rows(self, handle: str) -> list[tuple[Any, ...]]:
        with connect(self.settings.postgres) as connection:
            query = "SELECT display_name, email, cognito_user_id FROM public.users WHERE handle = %s"
            return connection.execute(query, [handle]).fetchall()

    def sub(self, email: str) -> str:
        return next(user.sub for user in find_pool(self.settings).users() if user.email == email)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    environ = environment(reachable(tmp_path_factory.mktemp("sign-up")) / "state")
    assert (done := inv("initial-setup", environ=environ)).code == 0, done.stderr
    settings = permitted(read_settings(environ=environ))
    assert settings.cognito
    client = boto3.client(
        "cognito-idp",
        endpoint_url=settings.cognito.url,
        region_name=settings.region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    yield App(environ, settings, client, seed.find_client(find_pool(settings)))
    inv("env.destroy", "--confirm", "cruddur", environ=environ)
    saved.forget()  # of this process, which has asked that emulator too


def refusal(caught: pytest.ExceptionInfo[ClientError]) -> tuple[str, str]:
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_whoever_signs_up_has_a_row_and_the_environment_stays_green(app: App) -> None:
    email = app.sign_up("ada", name="Ada Lovelace")
    assert app.rows("ada") == []
    app.confirm(email)
    assert app.rows("ada") == [("Ada Lovelace", email, app.sub(email))]
    signed_in = app.client.initiate_auth(
        ClientId=app.client_id,
        AuthFlow="USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": email, "PASSWORD": PASSWORD},
    )
    user = app.client.get_user(AccessToken=signed_in["AuthenticationResult"]["AccessToken"])
    assert {"Name": "email_verified", "Value": "true"} in user["UserAttributes"]
    for words in (("check",), ("initial-setup",), ("initial-setup", "--hook"), ("status",)):
        done = app.run(*words)
        assert done.code == 0, done.stderr
    assert app.rows("ada") == [("Ada Lovelace", email, app.sub(email))]
    assert "ada" in app.run("why", "ada").stdout


def test_an_administrator_confirms_too(app: App) -> None:
    email, pool = app.sign_up("grace"), find_pool(app.settings).id
    app.client.admin_confirm_sign_up(UserPoolId=pool, Username=email)
    assert len(app.rows("grace")) == 1
    with pytest.raises(ClientError) as again:
        app.client.admin_confirm_sign_up(UserPoolId=pool, Username=email)
    assert refusal(again) == ("NotAuthorizedException", "User cannot be confirmed. Current status is CONFIRMED")


def test_a_wrong_code_and_a_second_confirmation_are_refused(app: App) -> None:
    email = app.sign_up("edsger")
    with pytest.raises(ClientError) as unconfirmed:
        app.client.initiate_auth(
            ClientId=app.client_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": email, "PASSWORD": PASSWORD},
        )
    assert refusal(unconfirmed)[0] == "UserNotConfirmedException"
    with pytest.raises(ClientError) as wrong:
        app.confirm(email, "000000")
    assert refusal(wrong)[0] == "CodeMismatchException"
    assert app.rows("edsger") == []
    app.client.resend_confirmation_code(ClientId=app.client_id, Username=email)
    app.confirm(email)
    with pytest.raises(ClientError) as again:
        app.confirm(email)
    assert refusal(again) == ("NotAuthorizedException", "User cannot be confirmed. Current status is CONFIRMED")
    assert len(app.rows("edsger")) == 1


@pytest.mark.parametrize(
    ("attributes", "code", "said"),
    [
        ({"name": "No Handle"}, "InvalidParameterException", "preferred_username: The attribute"),
        ({"preferred_username": "noname"}, "InvalidParameterException", "name: The attribute"),
        (
            {"name": "A", "preferred_username": "a", "email_verified": "true"},
            "NotAuthorizedException",
            "unauthorized attribute",
        ),
    ],
)
def test_attributes_that_aws_refuses_are_refused(app: App, attributes: dict[str, str], code: str, said: str) -> None:
    listed = [{"Name": name, "Value": value} for name, value in attributes.items()]
    with pytest.raises(ClientError) as refused:
        app.client.sign_up(
            ClientId=app.client_id, Username="refused@example.com", Password=PASSWORD, UserAttributes=listed
        )
    assert refusal(refused)[0] == code
    assert said in refusal(refused)[1]
    with pytest.raises(ClientError) as weak:
        app.client.sign_up(ClientId=app.client_id, Username="refused@example.com", Password="short")
    assert refusal(weak)[0] in ("InvalidPasswordException", "InvalidParameterException")


def test_a_new_password_asks_for_its_code_and_adds_no_row(app: App) -> None:
    email = app.sign_up("alan")
    app.confirm(email)
    app.client.forgot_password(ClientId=app.client_id, Username=email)
    new = {"ClientId": app.client_id, "Username": email, "Password": "Another-pass-8"}
    with pytest.raises(ClientError) as wrong:
        app.client.confirm_forgot_password(**new, ConfirmationCode="111111")
    assert refusal(wrong)[0] == "CodeMismatchException"
    app.client.confirm_forgot_password(**new, ConfirmationCode="654321")
    assert len(app.rows("alan")) == 1


def test_a_taken_handle_is_told_and_the_environment_stays_green(app: App) -> None:
    email = app.sign_up("bayko", email="other@new.example.com")
    before = app.rows("bayko")
    with pytest.raises(ClientError) as taken:
        app.confirm(email)
    assert refusal(taken) == (
        "UserLambdaValidationException",
        "PostConfirmation failed with error the handle 'bayko' is taken.",
    )
    (user,) = [user for user in find_pool(app.settings).users() if user.email == email]
    assert (user.status, app.rows("bayko")) == ("CONFIRMED", before)
    for words in (("cognito.sync-ids",), ("initial-setup",), ("check",)):
        done = app.run(*words)
        assert done.code == 0, done.stdout + done.stderr
    assert "other@new.example.com" in app.run("cognito.sync-ids").stderr
    assert app.rows("bayko") == before


def test_of_two_who_take_a_handle_at_once_one_gets_it(app: App) -> None:
    emails = [app.sign_up("highlander", email=f"h{n}@new.example.com") for n in range(4)]

    def confirm(email: str) -> str:
        try:
            app.confirm(email)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "confirmed"

    with ThreadPoolExecutor(4) as threads:
        done = sorted(threads.map(confirm, emails))
    assert done == ["UserLambdaValidationException"] * 3 + ["confirmed"]
    assert len(app.rows("highlander")) == 1


def test_a_database_that_is_away_fails_the_function_and_sync_ids_repairs(app: App) -> None:
    email = app.sign_up("linus")
    door_to(app.settings).tell({"CONNECTION_URL": "postgresql://postgres@127.0.0.1:1/none"})
    with pytest.raises(ClientError) as away:
        app.confirm(email)
    assert refusal(away)[0] == "UserLambdaValidationException"
    assert "PostConfirmation failed with error" in refusal(away)[1]
    assert app.rows("linus") == []
    found = app.run("check")
    assert "inv cognito.sync-ids" in found.stdout + found.stderr
    assert "tell the pool's function where the database is" in app.run("cognito.seed", "--plan").stdout
    assert app.run("cognito.seed").code == 0
    planned = app.run("cognito.sync-ids", "--plan")
    assert "add a row for pool user linus" in planned.stdout + planned.stderr
    assert app.rows("linus") == []
    done = app.run("initial-setup")
    assert done.code == 0, done.stderr
    assert "added a row for pool user linus (linus@new.example.com), handle linus" in done.stderr + done.stdout
    assert app.rows("linus") == [("Linus", email, app.sub(email))]
    assert door_to(app.settings).knows(function_variables(app.settings))
    assert app.run("check").code == 0


def test_a_rebuild_keeps_the_seeded_users_their_ids_and_brings_every_row_back(app: App) -> None:
    """Also beside somebody who asked for a handle of the seeds, and somebody who took one in another case."""
    taken, other_case = app.sign_up("runa", email="r1@new.example.com"), app.sign_up("RUNA", email="r2@new.example.com")
    with pytest.raises(ClientError):
        app.confirm(taken)
    app.confirm(other_case)
    (before, added) = app.rows("runa"), app.rows("RUNA")
    assert app.run("db.setup", "--force").code == 0
    for words in (("cognito.sync-ids",), ("check",)):
        done = app.run(*words)
        assert done.code == 0, done.stdout + done.stderr
    assert (app.rows("runa"), app.rows("RUNA")) == (before, added)


def test_who_cannot_have_a_row_does_not_stop_the_others(app: App) -> None:
    broken = app.sign_up("nul\0l", email="n0@new.example.com")
    with pytest.raises(ClientError):
        app.confirm(broken)
    app.confirm(app.sign_up("barbara"))
    assert app.run("db.setup", "--force").code == 0
    done = app.run("cognito.sync-ids")
    assert done.code == 0, done.stderr
    assert "the database refuses it (PostgreSQL text fields cannot contain NUL (0x00) bytes), no row" in done.stderr
    assert len(app.rows("barbara")) == 1
    app.client.admin_delete_user(UserPoolId=find_pool(app.settings).id, Username=broken)
    assert app.run("check").code == 0


def test_a_restart_and_a_reset_keep_the_pool_and_its_function(app: App) -> None:
    pool = find_pool(app.settings).id
    assert app.run("env.restart").code == 0
    app.confirm(app.sign_up("ken"))
    assert len(app.rows("ken")) == 1
    assert find_pool(app.settings).id == pool


def function(folder: Path, text: str) -> Trigger:
    file = folder / "post_confirmation.py"
    file.write_text(text)
    return Trigger(file, {})


def test_a_function_that_hangs_is_ended_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tasks.localenv.engines.emulator_server.trigger.ANSWER_S", 0.5)
    text = "import os, time\ndef handler(event, context):\n    open('tries', 'a').write('x')\n    time.sleep(600)\n"
    said = function(tmp_path, text)({})
    assert said.startswith("PostConfirmation invocation failed due to error Socket timeout")
    assert (tmp_path / "tries").read_text() == "xxx"
    assert "attempt 3 of 3" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def handler(event, context):\n    return event\n", ""),
        ("def handler(event, context):\n    print('to the log')\n", ""),
        ("def handler(event, context):\n    raise ValueError('a\\nb')\n", "PostConfirmation failed with error a b."),
        ("syntax error", "PostConfirmation failed with error invalid syntax"),
        ("import os\ndef handler(event, context):\n    os._exit(7)\n", "it ended with exit code 7"),
        ("x = 1\n", "has no attribute 'handler'"),
        ("import gate\ndef handler(event, context): pass\n", "No module named 'gate'"),
    ],
)
def test_what_a_function_does_is_its_answer(tmp_path: Path, text: str, said: str) -> None:
    found = function(tmp_path, text)({"triggerSource": "x"})
    assert said in found
    assert bool(found) == bool(said)
    assert Trigger(tmp_path / "none.py", {})({}) == ""


def test_the_folder_deploys_alone(tmp_path: Path) -> None:
    """It names nothing of this project: copied elsewhere it is the whole function."""
    shutil.copytree(SIGN_UP, tmp_path / "function")
    variables = {"CONNECTION_URL": "postgresql://127.0.0.1:1/none"}
    trigger = Trigger(tmp_path / "function" / "post_confirmation.py", variables)
    event = {"triggerSource": "PostConfirmation_ConfirmForgotPassword", "request": {"userAttributes": {}}}
    assert trigger(event) == ""
    event["triggerSource"] = "PostConfirmation_ConfirmSignUp"
    assert "connection" in trigger({**event, "request": {"userAttributes": {"sub": "s"}}})


def test_the_template_is_sound_and_allows_what_the_policy_names() -> None:
    program = Path(sys.executable).with_name("cfn-lint")
    done = subprocess.run([program, SIGN_UP / "template.yaml"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    policy = json.loads((SIGN_UP / "policy.json").read_text())
    text = (SIGN_UP / "template.yaml").read_text()
    assert policy["Statement"][0]["Action"] in text
    assert f"Handler: {SIGN_UP.joinpath('post_confirmation.py').stem}.handler" in text


@pytest.mark.parametrize(
    "kept", ["postgresql://at-aws/cruddur", json.dumps({"CONNECTION_URL": "postgresql://at-aws/cruddur"})]
)
def test_at_aws_the_address_comes_from_a_secret(kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("post_confirmation", SIGN_UP / "post_confirmation.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("CONNECTION_URL", raising=False)
    with mock_aws():
        client = boto3.client("secretsmanager", region_name="us-east-1")
        monkeypatch.setenv("CONNECTION_SECRET_ARN", client.create_secret(Name="url", SecretString=kept)["ARN"])
        assert module._connection_url() == "postgresql://at-aws/cruddur"
