"""An app in the old one's shape lives on the environment: its own backend, the stock library for Cognito, a browser.

backend.py and page.html in chat/ know nothing of this tool; whoever uses them signs up, posts, writes, comes back.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv.machine.folders import TOOL
from tests.support.browser import Tab, browse
from tests.support.environments import KEPT, Finished, environment, inv, reachable, wait_until
from tests.support.npm import fetch
from tests.support.ports import find_free

CHAT = Path(__file__).parent / "chat"
IDENTITY = (
    "amazon-cognito-identity-js@6.3.21",
    "dist/amazon-cognito-identity.min.js",
    "amazon-cognito-identity-6.3.21.js",
)
"""The library under Amplify 4 and 5, whose sign-in is SRP."""
EMAIL, PASSWORD = "ada@new.example.com", "My-own-pass-7"

pytestmark = [pytest.mark.browser, pytest.mark.npm]


@dataclass(frozen=True)
class App:
    """An environment, and the port of the app's backend."""

    environ: dict[str, str]
    port: int

    def run(self, *words: str) -> Finished:
        done = inv(*words, environ=self.environ)
        assert done.code == 0, f"{words}: {done.stdout}{done.stderr}"
        return done

    @contextmanager
    def backend(self) -> Iterator[None]:
        """Run the backend as a developer does: `inv exec` brings up what it needs and gives it the variables."""
        identity = fetch(*IDENTITY)
        assert isinstance(identity, Path), identity
        given = {"APP_SQL": str(TOOL / "sql"), "APP_IDENTITY_JS": str(identity), "PORT": str(self.port)}
        kept = {name: os.environ[name] for name in KEPT if name in os.environ}
        words = ["-m", "invoke", "--search-root", str(TOOL), "exec", "--", sys.executable, str(CHAT / "backend.py")]
        with subprocess.Popen(
            [sys.executable, *words], env={**kept, **self.environ, **given}, start_new_session=True
        ) as child:
            try:
                yield
            finally:
                os.killpg(child.pid, signal.SIGTERM)


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.docker)])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    state = reachable(tmp_path) / "state"
    environ = {**environment(state), "LOCALENV_ENGINE": request.param}
    found = App(environ, find_free())
    found.run("initial-setup")
    yield found
    inv("env.destroy", "--confirm", "cruddur", environ=environ)


class Page:
    """The app's page in a browser: fill in, click, and see what it says."""

    def __init__(self, tab: Tab, port: int) -> None:
        self._tab, self._address = tab, f"http://localhost:{port}/"
        wait_until(self._opens)
        tab.wait("window.AmazonCognitoIdentity && document.readyState == 'complete'")

    def _opens(self) -> bool:
        try:
            self._tab.open(self._address)
        except AssertionError:  # the backend is still starting
            return False
        return True

    def click(self, button: str, **fields: str) -> list[Any]:
        for name, value in fields.items():
            self._tab.run(f"document.getElementById({name!r}).value = {json.dumps(value)}")
        self._tab.run(f"document.getElementById({button!r}).click()")
        text = self._tab.wait(
            "document.getElementById('said').textContent.length > 2 && document.getElementById('said').textContent"
        )
        found: list[Any] = json.loads(str(text))
        return found


def test_a_newcomer_signs_up_writes_and_comes_back(app: App, tmp_path: Path) -> None:
    with browse(tmp_path / "profile") as tab:
        with app.backend():
            page = Page(tab, app.port)
            who = {"email": EMAIL, "name": "Ada Lovelace", "handle": "ada", "password": PASSWORD}
            assert page.click("sign-up", **who) == ["signed up", False]
            assert page.click("sign-in")[:2] == ["signed in", "UserNotConfirmedException"]
            assert page.click("confirm", code="999999")[:2] == ["confirmed", "CodeMismatchException"]
            assert page.click("confirm", code="123456") == ["confirmed", "SUCCESS"]
            assert page.click("sign-in", password="wrong")[:2] == ["signed in", "NotAuthorizedException"]
            assert page.click("sign-in", password=PASSWORD) == ["signed in"]
            _, status, posted = page.click("post", message="Hello from the engine")
            assert (status, posted["handle"], posted["message"]) == (200, "ada", "Hello from the engine")
            _, status, first = page.click("send", to="bayko", message="Good morning")
            assert status == 200
            group = first["message_group_uuid"]
            assert page.click("send", group=group, message="and good night")[1] == 200
            app.run("ddb.stream", "--once")  # what the table's function does at AWS
            looked = page.click("look")
            assert looked == [
                "looked",
                [200, [{"uuid": group, "handle": "bayko", "message": "and good night"}]],
                [200, ["and good night", "Good morning"]],
                [{"handle": "ada", "message": "Hello from the engine"}, looked[3][1]],
            ]
        app.run("env.down")
        for words in (("initial-setup",), ("check",), ("status",)):
            app.run(*words)
        with app.backend():
            page = Page(tab, app.port)
            assert page.click("look", group=group)[1][0] == 401
            assert page.click("sign-in", email=EMAIL, password=PASSWORD) == ["signed in"]
            assert page.click("look", group=group) == looked
            other = {"email": "andrew@example.com", "password": "Local-pass-1"}
            assert page.click("sign-in", **other) == ["signed in"]
            assert page.click("send", group="5ae290ed-55d1-47a0-bc6d-fe2bc2700399", message="Still there?")[1] == 200
            app.run("ddb.stream", "--once")
            groups = page.click("look")[1][1]
            assert (groups[0]["handle"], groups[0]["message"]) == ("bayko", "Still there?")
    shown = app.run("ddb.list-conversations", "--as", "ada").stdout
    assert "and good night" in shown
    app.run("check")
