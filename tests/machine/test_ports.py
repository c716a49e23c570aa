"""Ports: free or taken, and by whom."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tasks.localenv.errors import PreflightFailed
from tasks.localenv.machine.ports import Holder, command_of, find_holder, is_free, require_free
from tests.support.ports import find_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def taken_by_another() -> Iterator[tuple[int, int]]:
    """A port, and the pid of the process that listens on it on all addresses of both families."""
    program = (
        "import socket, sys\n"
        "s = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)\n"
        "print(s.getsockname()[1], flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout
        yield int(other.stdout.readline()), other.pid
        other.kill()


def test_a_port_that_the_system_gave_is_free() -> None:
    assert is_free("127.0.0.1", find_free())


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not is_free("127.0.0.1", taken)


def test_a_listener_on_all_addresses_takes_the_loopback_port_too(taken_by_another: tuple[int, int]) -> None:
    assert not is_free("127.0.0.1", taken_by_another[0])


def test_the_holder_is_named_by_pid_and_command(taken: int) -> None:
    holder = find_holder(taken)
    assert (holder.pid, holder.container) == (os.getpid(), "")
    assert holder.command.startswith(command_of(os.getpid())[:50])


def test_a_holder_on_the_other_family_is_found(taken_by_another: tuple[int, int]) -> None:
    port, pid = taken_by_another
    assert find_holder(port).pid == pid


def test_a_free_port_has_no_holder() -> None:
    assert find_holder(find_free()) == Holder()


def test_a_taken_port_is_refused_with_its_holder_and_the_way_out(taken: int) -> None:
    with pytest.raises(PreflightFailed) as caught:
        require_free("127.0.0.1", taken, service="Postgres", variable="CONNECTION_URL")
    assert caught.value.message.startswith(f"port {taken}, wanted for Postgres, is taken by pid {os.getpid()} (")
    assert caught.value.hint == "stop it, or give CONNECTION_URL another port in .env"


def test_holders_are_written_for_people() -> None:
    assert [
        str(Holder(container="shop-db-1", project="shop")),
        str(Holder(container="other")),
        str(Holder(4711, "postgres -D /data")),
        str(Holder(4711)),
        str(Holder()),
    ] == [
        "container shop-db-1 of Compose project shop",
        "container other",
        "pid 4711 (postgres -D /data)",
        "pid 4711",
        "a process of another user",
    ]


def test_a_process_that_is_gone_has_no_command_line() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    assert command_of(gone.pid) == ""
