"""The user pool's shape from the app's file: what is read of it, what is refused, and what becomes of a pool."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.aws.wire import AwsError, api
from tasks.localenv.cognito import seed, shape
from tasks.localenv.cognito.users import emulated_pools, find_pool
from tasks.localenv.errors import ConfirmationNeeded, UsageError
from tasks.localenv.settings import Settings
from tasks.localenv.settings.people import Person

ANN = Person("ann", "ann", "Ann Ash", "ann@example.com")
BY_NAME = {"AliasAttributes": ["email", "preferred_username"], "AutoVerifiedAttributes": ["email"]}
TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Parameters:
  Length: {Type: Number, Default: 10}
Resources:
  Sender: {Type: AWS::IAM::Role, Properties: {}}
  Pool:
    Type: AWS::Cognito::UserPool
    Properties:
      UserPoolName: cruddur
      UsernameAttributes: [email]
      SmsConfiguration: {SnsCallerArn: !GetAtt Sender.Arn}
      LambdaConfig: {PostConfirmation: !GetAtt Sender.Arn}
      Policies: {PasswordPolicy: {MinimumLength: !Ref Length, RequireSymbols: false}}
      Schema:
        - {Name: email, Required: true}
        - {Name: preferred_username, Required: true}
        - {Name: team, AttributeDataType: String, Mutable: true}
  Client:
    Type: AWS::Cognito::UserPoolClient
    Properties:
      UserPoolId: !Ref Pool
      CallbackURLs: ["http://localhost:5173/"]
"""


@pytest.fixture
def own(live: Settings, tmp_path: Path) -> Settings:
    """`live` for a project of its own, whose root has nothing but what a test writes."""
    (tmp_path / "seeds").mkdir()
    return replace(live, project_id=f"test-{uuid.uuid4().hex[:8]}", root=tmp_path, state_dir=tmp_path / "state")


def write(settings: Settings, content: Any, name: str = "pool.json") -> None:
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    (settings.root / "seeds" / name).write_text(text)


def described(settings: Settings) -> dict[str, Any]:
    return dict(api(settings, "cognito-idp")("DescribeUserPool", UserPoolId=find_pool(settings).id)["UserPool"])


def test_by_default_people_sign_in_by_email_and_have_a_name_and_a_handle(own: Settings) -> None:
    seed.apply(own, [ANN])
    found = described(own)
    assert found["UsernameAttributes"] == ["email"]
    required = {each["Name"] for each in found["SchemaAttributes"] if each["Required"]}
    assert required == {"sub", "email", "name", "preferred_username"}
    (user,) = find_pool(own).users()
    assert (user.username, user.person, str(user)) == (user.sub, "ann", "ann (ann@example.com)")


def test_a_template_says_what_the_pool_is(own: Settings) -> None:
    write(own, TEMPLATE, "pool.yaml")
    seed.apply(own, [ANN])
    found = described(own)
    policy = found["Policies"]["PasswordPolicy"]
    assert (policy["MinimumLength"], policy["RequireSymbols"], found["Name"]) == (10, False, own.project_id)
    names = {each["Name"] for each in found["SchemaAttributes"]}
    assert {"custom:team", "custom:person"} <= names
    pool = find_pool(own)
    client = pool.call("DescribeUserPoolClient", UserPoolId=pool.id, ClientId=seed.find_client(pool))
    assert client["UserPoolClient"]["CallbackURLs"] == ["http://localhost:5173/"]
    assert seed.examine(own, [ANN]).is_complete


def test_what_describe_user_pool_prints_makes_the_same_pool(own: Settings) -> None:
    write(own, TEMPLATE, "pool.yaml")
    seed.apply(own, [ANN])
    first, printed = described(own), {"UserPool": described(own)}
    printed["UserPool"]["OfNextYear"] = "only an existing pool has it"
    other = replace(own, project_id=f"{own.project_id}-2")
    (own.root / "seeds" / "pool.yaml").unlink()
    write(other, json.dumps(printed, default=str))
    seed.apply(other, [ANN])
    second = described(other)
    for name in ("UsernameAttributes", "SchemaAttributes", "Policies"):
        assert second[name] == first[name]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"UsernameAttributes": ["email"],}', "seeds/pool.json:1:"),
        ([], "seeds/pool.json:1:1: a user pool is an object"),
        ({"UsernameAtributes": ["email"]}, "seeds/pool.json:2:23: UsernameAtributes is no property"),
        ({"UsernameAttributes": "email"}, "seeds/pool.json:2:24: Invalid type for parameter UsernameAttributes"),
        ({"Resources": {}}, "seeds/pool.json:2:15: 0 of type AWS::Cognito::UserPool, wanted one"),
        ({"Resources": []}, "seeds/pool.json:2:15: 0 of type"),
        ({"Schema": "x"}, "Invalid type for parameter Schema"),
        ({"Resources": {"P": {"Type": shape.POOL, "Properties": []}}}, "Properties must be an object"),
        ({"UsernameAttributes": ["phone_number"]}, "nobody in the seeds has a telephone number"),
        ({"UserPool": {"SchemaAttributes": 5}}, "seeds/pool.json:3:23: SchemaAttributes must be a list of objects"),
        (
            {"Resources": {"P": {"Type": shape.POOL}, "C": {"Type": shape.CLIENT, "Properties": {"Nope": 1}}}},
            "Nope is no property of AWS::Cognito::UserPoolClient",
        ),
        (
            {"Resources": {"P": {"Type": shape.POOL, "Properties": {"MfaConfiguration": {"Ref": "Nobody"}}}}},
            "Nobody",
        ),
    ],
)
def test_a_file_that_says_nothing_is_refused_with_its_place(own: Settings, content: Any, said: str) -> None:
    write(own, content)
    with pytest.raises(UsageError) as refused:
        seed.examine(own, [ANN])
    assert said in refused.value.message
    assert refused.value.hint


def test_two_files_are_one_too_many(own: Settings) -> None:
    write(own, BY_NAME)
    write(own, TEMPLATE, "pool.yaml")
    with pytest.raises(UsageError, match=r"seeds/pool.json and seeds/pool.yaml both say"):
        shape.read_shape(own)


def test_a_password_policy_that_the_seeds_cannot_meet_is_named(own: Settings) -> None:
    write(own, {"Policies": {"PasswordPolicy": {"MinimumLength": 40}}})
    with pytest.raises(UsageError, match=r"seeds/pool.json: its PasswordPolicy refuses the password of the seeds"):
        seed.apply(own, [ANN])


def test_a_pool_that_cannot_be_made_leaves_the_old_one_with_its_users(own: Settings) -> None:
    seed.apply(own, [ANN])
    before = find_pool(own)
    before.call("AdminCreateUser", UserPoolId=before.id, Username="eve@example.com")
    users = list(before.users())
    write(own, {**BY_NAME, "Policies": {"PasswordPolicy": {"MinimumLength": 40}}})
    with pytest.raises(UsageError, match="PasswordPolicy refuses"):
        seed.apply(own, [ANN], anew=True, yes=True)
    assert emulated_pools(own) == [before.id]
    assert list(find_pool(own).users()) == users


def test_what_a_killed_replacement_has_left_goes_with_the_next_one(own: Settings) -> None:
    seed.apply(own, [ANN])
    first = find_pool(own)
    first.call("CreateUserPool", PoolName=own.project_id)
    assert find_pool(own).id == first.id
    write(own, BY_NAME)
    seed.apply(own, [ANN], anew=True)
    assert emulated_pools(own) == [find_pool(own).id]


def test_a_client_that_changed_is_changed_and_keeps_its_id(own: Settings) -> None:
    write(own, TEMPLATE, "pool.yaml")
    seed.apply(own, [ANN])
    pool = find_pool(own)
    client = seed.find_client(pool)
    write(own, TEMPLATE.replace(":5173/", ":8080/"), "pool.yaml")
    assert seed.examine(own, [ANN]).plan() == ["update user pool: seeds/pool.yaml changed"]
    assert seed.apply(own, [ANN]).endswith("the pool changed as seeds/pool.yaml says")
    found = pool.call("DescribeUserPoolClient", UserPoolId=pool.id, ClientId=client)["UserPoolClient"]
    assert (found["CallbackURLs"], found["ClientName"]) == (["http://localhost:8080/"], "app")
    assert seed.examine(own, [ANN]).is_complete


def test_what_can_be_changed_is_changed_and_users_stay(own: Settings) -> None:
    seed.apply(own, [ANN])
    before = find_pool(own)
    (user,) = before.users()
    policy = {"PasswordPolicy": {"MinimumLength": 9}}
    write(own, {**shape.DEFAULT, "Policies": policy})
    assert seed.examine(own, [ANN]).plan() == ["update user pool: seeds/pool.json changed"]
    seed.apply(own, [ANN])
    assert (find_pool(own).id, list(find_pool(own).users())) == (before.id, [user])
    assert described(own)["Policies"]["PasswordPolicy"]["MinimumLength"] == 9
    assert seed.examine(own, [ANN]).is_complete


def test_what_cannot_be_changed_needs_another_pool_and_nobody_is_lost_unasked(own: Settings) -> None:
    seed.apply(own, [ANN])
    first = find_pool(own)
    write(own, BY_NAME)
    found = seed.examine(own, [ANN])
    assert found.is_complete
    assert "the pool was made before seeds/pool.json said what it is: run `inv cognito.seed --force`" in found.sentence
    attributes = [{"Name": "preferred_username", "Value": "eve"}]
    first.call("AdminCreateUser", UserPoolId=first.id, Username="eve@example.com", UserAttributes=attributes)
    seed.apply(own, [ANN])
    assert find_pool(own).id == first.id
    assert seed.examine(own, [ANN]).plan(anew=True)[1:] == ["remove pool user eve (eve@example.com)"]
    with pytest.raises(ConfirmationNeeded, match="another pool loses 1 user who signed up"):
        seed.apply(own, [ANN], anew=True)
    assert find_pool(own).id == first.id
    seed.apply(own, [ANN], anew=True, yes=True)
    second = find_pool(own)
    assert second.id != first.id
    (user,) = second.users()
    assert (user.username, user.handle, user.person) == ("ann", "ann", "ann")
    assert seed.examine(own, [ANN]).is_complete
    with pytest.raises(AwsError):
        first.call("DescribeUserPool", UserPoolId=first.id)


def test_a_pool_of_an_earlier_version_is_kept_as_it_is(own: Settings) -> None:
    call = api(own, "cognito-idp")
    pool = call("CreateUserPool", PoolName=own.project_id, **BY_NAME)["UserPool"]["Id"]
    attributes = [{"Name": "preferred_username", "Value": "ann"}]
    call("AdminCreateUser", UserPoolId=pool, Username="ann", UserAttributes=attributes)
    assert [str(change) for change in seed.examine(own, [ANN]).changes] == [
        "update user ann: email 'ann@example.com', email_verified 'true', name 'Ann Ash', permanent password"
    ]
    seed.apply(own, [ANN])
    (user,) = find_pool(own).users()
    assert (find_pool(own).id, user.username) == (pool, "ann")
    assert seed.examine(own, [ANN]).is_complete


def test_whoever_signed_up_with_a_persons_address_becomes_that_person(own: Settings) -> None:
    seed.apply(own, [])
    pool = find_pool(own)
    pool.call("AdminCreateUser", UserPoolId=pool.id, Username=ANN.email)
    (before,) = pool.users()
    seed.apply(own, [ANN])
    (after,) = pool.users()
    assert (after.sub, after.person, after.handle) == (before.sub, "ann", "ann")
