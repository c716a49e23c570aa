"""A headless Chromium for tests: pages from a server of our own, under any name, and what became of them."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--no-proxy-server"),
)
AT_3_AND_4 = """
import fcntl, os, sys
for place, end in enumerate([fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]], 3):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""A program that starts another one with the ends of two pipes where Chromium wants them."""


@functools.cache
def find_browser() -> str:
    """Return the path of Chromium, empty where there is none."""
    return next(filter(None, map(shutil.which, NAMES)), "")


@contextmanager
def serve(page: str) -> Iterator[int]:
    """Answer every request with the page; give the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def visit(url: str, profile: Path, *options: str) -> str:
    """Open a page in a browser of its own, let its scripts end, and return its document as HTML."""
    command = [
        find_browser(),
        *QUIET,
        f"--user-data-dir={profile}",
        *options,
        "--virtual-time-budget=15000",
        "--dump-dom",
    ]
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Tab:
    """One page of a browser, driven over the DevTools protocol's pipe. Source: Chromium, "--remote-debugging-pipe"."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._rest, self._number = write, read, b"", 0
        target = self._call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self._call("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = str(attached["sessionId"])

    def open(self, url: str) -> None:
        """Go to a page."""
        done = self._call("Page.navigate", {"url": url}, self._session)
        assert not done.get("errorText"), f"{url}: {done['errorText']}"

    def run(self, script: str) -> Any:
        """Run a script in the page and return what it gives, a promise's result too."""
        wanted = {"expression": script, "awaitPromise": True, "returnByValue": True}
        done = self._call("Runtime.evaluate", wanted, self._session)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, condition: str, *, patience_s: float = 60) -> Any:
        """Wait until a script gives something true, over pages that come and go; return it."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end:
            try:
                if found := self.run(condition):
                    return found
            except AssertionError:  # the page is just being replaced
                pass
            time.sleep(0.05)
        raise AssertionError(f"{condition}: never; the page has {self.run('document.body.innerText')!r}")

    def _call(self, method: str, parameters: dict[str, Any], session: str = "") -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        text = json.dumps({**message, **({"sessionId": session} if session else {})})
        os.write(self._write, text.encode() + b"\0")
        while True:
            answer = json.loads(self._next())
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])

    def _next(self) -> bytes:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 16)
            assert more, "the browser has ended"
            self._rest += more
        found, _, self._rest = self._rest.partition(b"\0")
        return found


@contextmanager
def browse(profile: Path, *options: str) -> Iterator[Tab]:
    """Start a browser of its own and give a page in it to drive."""
    to_read, write = os.pipe()
    read, to_write = os.pipe()
    here = [sys.executable, "-c", AT_3_AND_4, str(to_read), str(to_write)]
    command = [find_browser(), *QUIET, f"--user-data-dir={profile}", *options, "--remote-debugging-pipe"]
    with subprocess.Popen(
        [*here, *command], pass_fds=(to_read, to_write), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as child:
        os.close(to_read)
        os.close(to_write)
        try:
            yield Tab(write, read)
        finally:
            os.close(write)  # which ends it
            os.close(read)
            child.terminate()
