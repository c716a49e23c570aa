"""The hosted login page as far as the emulator gives it: authorization code with PKCE, typed into a real browser."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

import jwt
import pytest

from tasks.localenv.cognito import seed, tokens
from tasks.localenv.cognito.users import find_pool
from tasks.localenv.settings import Settings
from tests.support.browser import Tab, browse, serve
from tests.support.seeded import PEOPLE

VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"

pytestmark = pytest.mark.browser


def test_a_person_signs_in_on_the_page_and_the_app_gets_tokens(live: Settings, tmp_path: Path) -> None:
    seed.apply(live, PEOPLE)
    pool = find_pool(live)
    client, domain = seed.find_client(pool), f"http://{live.cognito}"
    with serve("<!doctype html><title>app</title>back in the app") as port, browse(tmp_path / "profile") as tab:
        callback = f"http://localhost:{port}/"
        pool.call(
            "UpdateUserPoolClient",
            UserPoolId=pool.id,
            ClientId=client,
            CallbackURLs=[callback],
            AllowedOAuthFlows=["code"],
            AllowedOAuthScopes=["openid", "email"],
            AllowedOAuthFlowsUserPoolClient=True,
        )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": callback,
            "scope": "openid email",
            "state": "of-the-app",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        tab.open(f"{domain}/oauth2/authorize?{urlencode(asked)}")
        sign_in(tab, "andrew@example.com", "not-this-one")
        tab.wait("document.body.innerText.includes('ncorrect')")
        sign_in(tab, "andrew@example.com", seed.PASSWORD)
        tab.wait("document.body.innerText.includes('back in the app')")
        came = parse_qs(urlsplit(str(tab.run("location.href"))).query)
        assert came["state"] == ["of-the-app"]
    given = {"grant_type": "authorization_code", "client_id": client, "redirect_uri": callback}
    body = urlencode({**given, "code": came["code"][0], "code_verifier": VERIFIER}).encode()
    with urlopen(Request(f"{domain}/oauth2/token", body)) as answer:
        found = json.load(answer)
    key = jwt.PyJWKClient(tokens.jwks_url(live, pool.id)).get_signing_key_from_jwt(found["id_token"])
    claims = jwt.decode(
        found["id_token"], key.key, algorithms=["RS256"], audience=client, issuer=tokens.issuer(live, pool.id)
    )
    assert claims["email"] == "andrew@example.com"


def sign_in(tab: Tab, email: str, password: str) -> None:
    tab.wait("!!document.querySelector('#username')")
    tab.run(
        f"document.querySelector('#username').value = {json.dumps(email)};"
        f"document.querySelector('#password').value = {json.dumps(password)};"
        "document.querySelector('button[type=submit]').click()"
    )
