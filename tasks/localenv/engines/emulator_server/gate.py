"""Which requests are allowed: the host must be this machine, and a web page's origin must be allowed.

Any page open in a browser on this machine can send requests to its ports, directly (CORS, a form) or under a name that
resolves to this machine (DNS rebinding). Host and Origin are what it cannot forge. Pure decisions on an ASGI scope;
they hold for every port, since all ports serve the same application.

Sources: Fetch standard ("CORS protocol", "Sec-Fetch-Site"), RFC 9112 3.2, ASGI specification.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Headers = list[tuple[bytes, bytes]]

LOOPBACK = "loopback"
"""As an allowed origin: every http and https origin on this machine, at any port."""
METHODS = "GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"
AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?")
ORIGIN = re.compile(r"https?://(.+)")
HEADER_NAMES = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(\s*,\s*[a-z0-9!#$%&'*+.^_`|~-]+)*")
OUR_HEADERS = "x-localenv-"


@dataclass(frozen=True)
class Refusal:
    """A request that is not served: the status of the answer, and why."""

    status: int
    text: str


@dataclass(frozen=True)
class Gate:
    """The rules. `hosts` are names besides loopback ones, in lower case; `origins` in browsers' notation."""

    hosts: Collection[str]
    origins: Collection[str]

    def refuse(self, scope: Scope) -> Refusal | None:
        """Return why a request is refused, None if it is allowed. Web sockets never are: no API here uses them."""
        if scope["type"] != "http":
            return Refusal(403, "there are no web sockets here")
        if not scope.get("raw_path", b"/").startswith(b"/") and (scope["method"], scope["raw_path"]) != (
            "OPTIONS",
            b"*",
        ):
            return Refusal(400, "the request target is not a path")
        hosts = values(scope, b"host")
        if len(hosts) != 1 or not self._is_here(hosts[0]):
            return Refusal(421, f"host {_shown(hosts)} is not this machine")
        return self._refuse_page(scope, f"http://{hosts[0].lower()}")

    def preflight(self, scope: Scope) -> Headers | None:
        """Return the headers that answer a preflight; None for any other request. `refuse` comes first."""
        if scope["method"] != "OPTIONS" or not values(scope, b"origin"):
            return None
        if not values(scope, b"access-control-request-method"):
            return None
        wanted = ", ".join(values(scope, b"access-control-request-headers")).lower()
        names = re.split(r"\s*,\s*", wanted) if HEADER_NAMES.fullmatch(wanted) else []
        allowed = ", ".join(name for name in names if not name.startswith(OUR_HEADERS))
        return self.mark(scope, [
            (b"access-control-allow-methods", METHODS.encode()),
            (b"access-control-allow-headers", allowed.encode()),
            (b"access-control-allow-private-network", b"true"),
            (b"access-control-max-age", b"600"),
            (b"vary", b"Access-Control-Request-Method, Access-Control-Request-Headers"),
        ], own=True)  # fmt: skip

    def mark(self, scope: Scope, headers: Iterable[tuple[bytes, bytes]], *, own: bool = False) -> Headers:
        """Return an answer's headers with those that let only an allowed origin's page read it.

        ministack's CORS headers (any origin may read) are dropped; `own` keeps the gate's own.
        """
        kept = [(name.lower(), value) for name, value in headers]
        kept = [(name, value) for name, value in kept if own or not name.startswith(b"access-control-")]
        vary = [value for name, value in kept if name == b"vary"]
        kept = [(name, value) for name, value in kept if name != b"vary"]
        kept.append((b"vary", b", ".join([*vary, b"Origin"])))
        for origin in values(scope, b"origin"):
            readable = sorted({name for name, _ in kept if name.startswith(b"x-amz") or name == b"etag"})
            kept.append((b"access-control-allow-origin", origin.encode("latin-1")))
            kept += [(b"access-control-expose-headers", b", ".join(readable))] if readable else []
        return kept

    def _refuse_page(self, scope: Scope, own: str) -> Refusal | None:
        """Return why a page is refused. Browsers send Origin except with plain GETs, and then Sec-Fetch-Site."""
        origins = values(scope, b"origin")
        if origins:
            if len(origins) == 1 and (origins[0] == own or self._is_allowed(origins[0])):
                return None
            return Refusal(403, f"origin {_shown(origins)} is not allowed; LOCALENV_CORS_ORIGINS names those that are")
        sites = {site.lower() for site in values(scope, b"sec-fetch-site")}
        if sites - {"same-origin", "same-site", "none"}:
            return Refusal(403, "a page of another site is not allowed; LOCALENV_CORS_ORIGINS names those that are")
        return None

    def _is_here(self, host: str) -> bool:
        name = _host_of(host.lower())
        return name in self.hosts or _is_loopback(name)

    def _is_allowed(self, origin: str) -> bool:
        if origin in self.origins:
            return True
        found = ORIGIN.fullmatch(origin) if LOOPBACK in self.origins else None
        return bool(found) and _is_loopback(_host_of(found[1]) if found else "")


def is_from_browser(scope: Scope) -> bool:
    """Return whether a web page sent the request: our own endpoints are for programs."""
    return any(name.lower() == b"origin" or name.lower().startswith(b"sec-fetch-") for name, _ in scope["headers"])


def values(scope: Scope, name: bytes) -> list[str]:
    """List the values of a header, one per occurrence."""
    return [value.strip(b" \t").decode("latin-1") for given, value in scope["headers"] if given.lower() == name]


def _host_of(authority: str) -> str:
    """Return the name or address in host[:port]; empty for anything else."""
    found = AUTHORITY.fullmatch(authority)
    return found[1] if found else ""


def _is_loopback(host: str) -> bool:
    """Return whether a host is surely this machine; so is any name under localhost (RFC 6761 6.3)."""
    if re.fullmatch(r"([a-z0-9_-]+\.)*localhost", host):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return host.startswith("[") and address == ipaddress.IPv6Address("::1")
    return not host.startswith("[") and address.is_loopback


def _shown(given: list[str]) -> str:
    return " and ".join(repr(value[:100]) for value in given) or "(none)"
