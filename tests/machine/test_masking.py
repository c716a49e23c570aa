"""Secrets in texts: however they are spelled, they become ***; words that only look like one stay."""

from __future__ import annotations

import base64
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest

from tasks.localenv.machine.masking import Secrets, _is_secret, masked
from tasks.localenv.settings.variables import VARIABLES

pytestmark = pytest.mark.reliability("secrets")

PASSWORD = "it's\"Qx7\\né&z+ /k#9"
SPELLINGS = {
    "raw": PASSWORD,
    "percent": quote(PASSWORD, safe=""),
    "percent, slashes kept": quote(PASSWORD),
    "percent, lower case": quote(PASSWORD, safe="").lower(),
    "plus": quote_plus(PASSWORD),
    "percent twice": quote(quote(PASSWORD, safe=""), safe=""),
    "JSON": json.dumps(PASSWORD),
    "JSON as it is": json.dumps(PASSWORD, ensure_ascii=False),
    "JSON in JSON": json.dumps(json.dumps(PASSWORD)),
    "repr": repr(PASSWORD),
    "shell": shlex.quote(PASSWORD),
    "SQL": PASSWORD.replace("'", "''"),
    "HTML": PASSWORD.replace("&", "&amp;").replace('"', "&quot;").replace("'", "&#39;"),
    "base64": base64.b64encode(PASSWORD.encode()).decode(),
    "base64 behind a user": base64.b64encode(f"me:{PASSWORD}".encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=list(SPELLINGS))
def test_a_secret_is_hidden_however_it_is_spelled(spelling: str) -> None:
    secrets = Secrets.of({"PGPASSWORD": PASSWORD}, "")
    shown = secrets.hide(f"before <{spelling}> after")
    assert (shown[:8], shown[-7:], "***" in shown) == ("before <", "> after", True)
    for part in ("Qx7", "qx7", "z+", "z%2b", "k#9", "k%239"):
        assert part not in shown.lower()


@pytest.mark.parametrize(
    "echo",
    [
        "Port could not be cast to integer value as 'Kq7Vx'",
        "Port could not be cast to integer value as 'Kq'",
        "netloc 'me:Kq7Vx' contains invalid characters",
        'could not translate host name "d2@db.example.com" to address',
        'invalid integer value "Lm3Np?Bd5Hs@d2" for connection option "port"',
        "host 'kq7vx' is not this machine",
        "no database Zw9Rt#Lm3Np?Bd5Hs@d2@db.example.com/cruddur",
    ],
)
def test_the_pieces_that_a_parser_makes_of_an_unescaped_password_are_hidden(echo: str) -> None:
    shown = echo
    for password in ("Kq7Vx/Zw9Rt#Lm3Np?Bd5Hs@d2", "Kq/Zw9Rt#Lm3Np?Bd5Hs"):
        url = f"postgresql://me:{password}@db.example.com:5432/cruddur"
        shown = Secrets.of({"PROD_CONNECTION_URL": url}, "").hide(shown)
    found = [part for part in ("Kq", "Zw9Rt", "Lm3Np", "Bd5Hs", "d2@") if part.lower() in shown.lower()]
    assert (found, "***" in shown) == ([], True)


@pytest.mark.parametrize(
    "value",
    [
        "postgresql://me:Kq7Vx9@db/cruddur",
        "postgres:/me:Kq7Vx9@db/cruddur",
        "postgresql://me:Kq7Vx9",
        "me:Kq7Vx9@db:5432/cruddur",
        "host=db user=me password=Kq7Vx9",
        "host=db password='Kq7Vx9' user=me",
        "postgresql://me@db/cruddur?password=Kq7Vx9&sslmode=require",
        "Kq7Vx9",
    ],
)
def test_it_is_found_in_a_setting_of_whatever_form(value: str) -> None:
    lines = (
        f"PROD_CONNECTION_URL={value}",
        f'export PROD_CONNECTION_URL="{value}"',
        f"PROD_CONNECTION_URL='{value}' # production",
        f"PROD_CONNECTION_URL: {value}",
        f'# first\n  PROD_CONNECTION_URL = "{value}\nNEXT=1',
    )
    assert Secrets.of({"PROD_CONNECTION_URL": value}, "").hide("said kq7vx9.") == "said ***."
    for text in lines:
        assert Secrets.of({}, text).hide("said Kq7Vx9.") == "said ***.", text


def test_what_stands_before_the_host_of_a_url_is_hidden_whoever_wrote_it() -> None:
    assert [
        masked(text)
        for text in (
            "postgresql://postgres:password@localhost:5432/cruddur",
            "GET http://a-token@127.0.0.1:8000/path, then http://me:pw@[::1]:9229/",
            "postgresql://me:pa/ss@db/x and postgresql://me@db/x?user=me&password=abc&sslmode=require",
            "http://localhost:8000/what@ever",
        )
    ] == [
        "postgresql://postgres:***@localhost:5432/cruddur",
        "GET http://***@127.0.0.1:8000/path, then http://***@[::1]:9229/",
        "postgresql://me:***@db/x and postgresql://me@db/x?user=me&password=***&sslmode=require",
        "http://localhost:8000/what@ever",
    ]


def test_a_password_that_is_a_word_is_hidden_in_urls_alone() -> None:
    secrets = Secrets.of({"CONNECTION_URL": "postgresql://postgres:password@localhost:5432/cruddur"}, "")
    said = 'password authentication failed for user "postgres"'
    assert secrets.hide(said) == said
    assert secrets.hide("postgres%3Apassword%40localhost") == "postgres%3A***%40localhost"
    assert Secrets.of({"AWS_SECRET_ACCESS_KEY": "local"}, "").hide("a local engine") == "a local engine"


def test_texts_without_a_secret_stay_as_they_are() -> None:
    secrets = Secrets.of({"PGPASSWORD": PASSWORD, "AWS_SESSION_TOKEN": "Kq7Vx9Zw"}, "")
    for text in (
        "",
        "100% of \\n 'it' & \"that\" %zz \\u12",
        json.dumps({"a": "é\u2028", "b": 'c"d\\'}),
        "%41%42\\x41",
    ):
        assert (secrets.hide(text), masked(text)) == (text, text)


def test_every_variable_that_the_table_calls_secret_is_one() -> None:
    assert [variable.name for variable in VARIABLES if variable.secret and not _is_secret(variable.name)] == []
