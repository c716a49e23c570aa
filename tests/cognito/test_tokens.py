"""Tokens of the emulated pool, verified as a backend does: against the keys that the pool serves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import jwt
import pytest

from tasks.localenv.cognito import seed, tokens
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.errors import LocalEnvError, UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import Settings
from tests.support.environments import Finished, environment, inv
from tests.support.seeded import PEOPLE


@pytest.fixture
def pool(live: Settings) -> Settings:
    """An environment whose pool has the people of the seeds."""
    seed.apply(live, PEOPLE)
    return live


def verified(settings: Settings, token: str) -> dict[str, object]:
    """Give a token's claims, verified: its signature by the pool's keys, its issuer, its time."""
    pool_id = find_pool(settings).id
    key = jwt.PyJWKClient(tokens.jwks_url(settings, pool_id)).get_signing_key_from_jwt(token)
    issuer = tokens.issuer(settings, pool_id)
    return dict(jwt.decode(token, key.key, algorithms=["RS256"], issuer=issuer, options={"verify_aud": False}))


def test_a_backend_accepts_both_tokens_and_refuses_what_was_tampered_with(pool: Settings) -> None:
    found = tokens.sign_in(pool, "andrewbrown")
    access, identity = verified(pool, found.access_token), verified(pool, found.id_token)
    client = seed.find_client(find_pool(pool))
    (user,) = [user for user in find_pool(pool).users() if user.handle == "andrewbrown"]
    assert (access["token_use"], access["sub"], access["client_id"]) == ("access", user.sub, client)
    assert (identity["token_use"], identity["sub"], identity["aud"]) == ("id", user.sub, client)
    assert str(access["iss"]).startswith("https://cognito-idp.us-east-1.amazonaws.com/us-east-1_")
    head, claims, signature = found.access_token.split(".")
    swapped = {"A": "B"}.get(claims[20], "A")
    for forged in (
        f"{head}.{claims[:20]}{swapped}{claims[21:]}.{signature}",
        f"{head}.{claims}.{signature[:-8]}AAAAAAAA",
    ):
        with pytest.raises(jwt.InvalidTokenError):
            verified(pool, forged)


def test_whoever_the_app_installs_this_for_signs_tokens_too() -> None:
    """ministack signs where it finds cryptography: it is in the lock of those who only run this."""
    assert re.search(r"(?m)^cryptography==", (TOOL / "requirements.txt").read_text())


def test_a_real_pools_users_sign_in_elsewhere(pool: Settings) -> None:
    real = replace(pool, cognito=None, user_pool_id="eu-west-1_Real")
    with pytest.raises(UsageError, match="for the emulated user pool alone"):
        tokens.sign_in(real, "bayko")
    url = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Real/.well-known/jwks.json"
    assert tokens.jwks_url(real, "eu-west-1_Real") == url


def test_nobody_and_a_wrong_password_are_told(pool: Settings) -> None:
    with pytest.raises(UsageError) as unknown:
        tokens.sign_in(pool, "andrewbrow")
    assert (unknown.value.message, unknown.value.hint) == (
        "nobody in the pool is called 'andrewbrow'",
        "did you mean 'andrewbrown'?",
    )
    assert tokens.set_password(pool, "bayko", "Another-1-pass") == "bayko signs in with the password given"
    with pytest.raises(LocalEnvError, match="the pool refuses bayko"):
        tokens.sign_in(pool, "bayko")
    (bayko,) = [user for user in find_pool(pool).users() if user.handle == "bayko"]
    assert tokens.sign_in(pool, "bayko", "Another-1-pass").username == bayko.username == bayko.sub
    assert tokens.set_password(pool, "bayko") == f"bayko signs in with {seed.PASSWORD}"
    assert tokens.sign_in(pool, "bayko").username == bayko.username
    with pytest.raises(UsageError, match="--password: Password did not conform with policy"):
        tokens.set_password(pool, "bayko", "short")


@pytest.fixture
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Finished]]:
    environ = environment(tmp_path_factory.mktemp("tokens") / "state")
    yield lambda *words: inv(*words, environ=environ)
    inv("env.destroy", "--confirm", "cruddur", environ=environ)


def test_the_command_prints_them_and_they_survive_a_restart_and_a_reset(command: Callable[..., Finished]) -> None:
    assert command("initial-setup").code == 0
    lines = command("cognito.token", "bayko").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["access", "id", "refresh"]
    header = command("cognito.token", "bayko", "--format", "header").stdout
    token = header.removeprefix("Authorization: Bearer ").strip()
    keys = command("env.export", "--format", "json").stdout
    values = json.loads(keys)["data"]
    for words in (["env.restart"], ["reset", "--yes"], ["initial-setup"]):
        assert command(*words).code == 0
        assert json.loads(command("env.export", "--format", "json").stdout)["data"] == values
        key = jwt.PyJWKClient(values["AWS_COGNITO_JWKS_URL"]).get_signing_key_from_jwt(token)
        assert (
            jwt.decode(token, key.key, algorithms=["RS256"], issuer=values["AWS_COGNITO_ISSUER"])["token_use"]
            == "access"
        )
    data = json.loads(command("cognito.token", "bayko", "--format", "json").stdout)["data"]
    assert jwt.decode(data["id_token"], options={"verify_signature": False})["preferred_username"] == "bayko"
    for options, message in (
        ([], "cognito.token wants a handle"),
        (["bayko", "--format", "yaml"], "--format 'yaml' is not one of text, json, header"),
    ):
        refused = command("cognito.token", *options)
        assert (refused.code, message in refused.stderr) == (2, True), refused
