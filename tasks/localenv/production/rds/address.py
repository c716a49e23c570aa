"""This workspace's public address: given, from GITPOD_IP, or from a service; checked before it is sent to AWS."""

from __future__ import annotations

import ipaddress
import queue
import threading
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...errors import LocalEnvError, ServiceFailed, TimedOut, UsageError
from ...hints import inv
from ...settings.variables import checked

if TYPE_CHECKING:
    from ...settings import Settings

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
DEADLINE_S = 5.0
LONGEST_ANSWER_BYTES = 200
GIVE_IT = f"give it: {inv('rds.update-sg-rule', '--address', 'A')}"
CARRIER = ipaddress.ip_network("100.64.0.0/10")


@dataclass(frozen=True)
class PublicAddress:
    """A globally unique address, and the source that says it is this workspace's."""

    ip: IpAddress
    source: str

    @property
    def cidr(self) -> str:
        """The address as a range of one, in EC2's notation."""
        return f"{self.ip}/{self.ip.max_prefixlen}"

    @property
    def family(self) -> str:
        return f"IPv{self.ip.version}"


def find_address(settings: Settings, given: str = "") -> PublicAddress:
    """Return this workspace's address: `given`, else GITPOD_IP, else the answer of LOCALENV_CHECKIP_URL.

    Raises UsageError unless it is a public address, ServiceFailed or TimedOut if the service does not answer with one.
    """
    if given.strip():
        return PublicAddress(checked("--address", given, parse_address), "--address")
    if settings.workspace_ip:
        return PublicAddress(checked("GITPOD_IP", settings.workspace_ip, parse_address), "GITPOD_IP")
    return PublicAddress(ask(settings.checkip_url), f"asked of {urlsplit(settings.checkip_url).hostname}")


def parse_address(text: str) -> IpAddress:
    """Parse an address, or a range of one (1.2.3.4/32). Raises UsageError with the reason if it is not public."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
        if "%" in text:  # a zone, which has a meaning only on its own machine
            raise ValueError(text)
    except ValueError:
        raise UsageError(f"{text.strip()[:60]!r} is not an IPv4 or IPv6 address", hint=GIVE_IT) from None
    if network.prefixlen != network.max_prefixlen:
        raise UsageError(f"{text.strip()} is a range of addresses: the rule is for one workspace alone", hint=GIVE_IT)
    ip = network.network_address
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    reason = why_not_public(ip)
    if reason:
        raise UsageError(
            f"{ip} is {reason}, not an address that AWS sees", hint="give the public one, as a web page shows it"
        )
    return ip


def why_not_public(ip: IpAddress) -> str:
    """Return the kind of an address that is not public; empty for a public one.

    Source: IANA's registries of special-purpose addresses, as the ipaddress module has them.
    """
    if ip.version == 4 and ip in CARRIER:
        return "of a provider's shared network (RFC 6598)"
    kinds = (
        ("unspecified", ip.is_unspecified),
        ("a loopback address", ip.is_loopback),
        ("link-local", ip.is_link_local),
        ("a multicast address", ip.is_multicast),
        ("private, or for documentation", ip.is_private and not ip.is_reserved),
        ("reserved", ip.is_reserved or not ip.is_global),
    )
    return next((word for word, holds in kinds if holds), "")


@cache
def ask(url: str, deadline_s: float = DEADLINE_S) -> IpAddress:
    """Fetch our public address from a service: directly, without a proxy, once per process.

    The deadline covers all of it, including name resolution. Raises ServiceFailed or TimedOut.
    """
    answers: queue.SimpleQueue[str | LocalEnvError] = queue.SimpleQueue()
    late = TimedOut(f"{url} did not say this workspace's address within {deadline_s:g} s", hint=GIVE_IT)

    def work() -> None:
        try:
            answers.put(_fetch(url, deadline_s))
        except TimeoutError:
            answers.put(late)
        except (OSError, HTTPException, UnicodeError) as error:
            answers.put(ServiceFailed(f"{url} does not answer: {error or type(error).__name__}", hint=GIVE_IT))
        except ServiceFailed as error:
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=deadline_s)
    except queue.Empty:
        raise late from None
    if isinstance(answer, LocalEnvError):
        raise answer
    try:
        return parse_address(answer)
    except UsageError as error:
        raise ServiceFailed(f"{url} answered no public address: {error.message}", hint=GIVE_IT) from error


def _fetch(url: str, timeout_s: float) -> str:
    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    with closing(kind(parts.hostname or "", parts.port, timeout=timeout_s)) as connection:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        text = answer.read(LONGEST_ANSWER_BYTES).decode("ascii", errors="replace")
    if answer.status != 200:
        raise ServiceFailed(f"{url} answered {answer.status} {answer.reason}", hint=GIVE_IT)
    return text
