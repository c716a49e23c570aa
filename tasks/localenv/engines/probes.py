"""Protocol probes: the least that proves a server speaks its protocol and accepts work. Loads no client library."""

from __future__ import annotations

import socket
import struct
import time
from contextlib import closing

from ..hints import inv
from ..settings.addresses import Endpoint, PostgresAddress

TIMEOUT_S = 2.0
LONGEST_BYTES = 1 << 16
NO_ANSWER = f"it does not answer within {TIMEOUT_S:.0f} s; {inv('env.logs')} shows what it does"


def postgres_accepts(address: PostgresAddress, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Return whether a Postgres server accepts sessions, as pg_isready does.

    If so, it answers the startup packet with R (authentication); a server that starts, stops or recovers answers E
    with 57P03 before authentication. Source: PostgreSQL docs, "Message Formats" and "Start-up".
    """
    pairs = f"user\0{address.user}\0database\0postgres\0\0".encode()
    packet = struct.pack("!II", len(pairs) + 8, 196608) + pairs  # 196608 is protocol 3.0
    answer = _exchange(address.host, address.port, packet, timeout_s)
    return answer[:1] == b"R" or (answer[:1] == b"E" and b"C57P03\0" not in answer)


def dynamodb_answers(endpoint: Endpoint, region: str, *, timeout_s: float = TIMEOUT_S) -> bool:
    """Return whether ListTables is answered."""
    target = "DynamoDB_20120810.ListTables"
    return _aws_answers(endpoint, region, "dynamodb", target, "{}", "1.0", timeout_s, b'"TableNames"')


def cognito_answers(endpoint: Endpoint, region: str) -> bool:
    """Return whether ListUserPools is answered."""
    target = "AWSCognitoIdentityProviderService.ListUserPools"
    return _aws_answers(endpoint, region, "cognito-idp", target, '{"MaxResults":1}', "1.1", TIMEOUT_S, b'"UserPools"')


def _aws_answers(
    endpoint: Endpoint,
    region: str,
    service: str,
    target: str,
    body: str,
    json_version: str,
    timeout_s: float,
    wanted: bytes,
) -> bool:
    # The local engines route by the credential's scope and check no signature.
    credential = f"local/20260101/{region}/{service}/aws4_request"
    request = (
        "POST / HTTP/1.1\r\n"
        f"Host: {endpoint}\r\n"
        f"Content-Type: application/x-amz-json-{json_version}\r\n"
        f"X-Amz-Target: {target}\r\n"
        "X-Amz-Date: 20260101T000000Z\r\n"
        f"Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature=0\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"Connection: close\r\n\r\n{body}"
    )
    answer = _exchange(endpoint.host, endpoint.port, request.encode(), timeout_s, until=wanted)
    return answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")) and wanted in answer


def _exchange(host: str, port: int, request: bytes, timeout_s: float, *, until: bytes = b"") -> bytes:
    """Send a request and return the answer up to `until`; nothing when it does not come in time."""
    end = time.monotonic() + timeout_s
    answer = b""
    try:
        with closing(socket.create_connection((host, port), timeout=timeout_s)) as connection:
            connection.sendall(request)
            while not answer or until not in answer:
                connection.settimeout(max(0.01, end - time.monotonic()))
                more = connection.recv(4096)
                if not more or len(answer) > LONGEST_BYTES:
                    break
                answer += more
    except OSError:
        return b""
    return answer
