"""A headless Chromium for tests: pages from a server of our own, under any name, and what became of them."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions", "--no-proxy-server"),
)


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
