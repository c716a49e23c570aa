"""Ports of this machine: whether one is free, and if not, who holds it. Reads only; stops nothing."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import LocalEnvError, PreflightFailed
from . import shell

LISTEN = "0A"
"""Linux, include/net/tcp_states.h: TCP_LISTEN, as /proc/net/tcp writes it."""

UNKNOWN = "a process of another user"


@dataclass(frozen=True)
class Holder:
    """Who listens on a port: a process, or a container that publishes it. Empty fields are unknown."""

    pid: int = 0
    command: str = ""
    container: str = ""
    project: str = ""
    folder: str = ""

    def __str__(self) -> str:
        if self.container:
            where = f" in {self.folder}" if self.folder else ""
            project = f" of Compose project {self.project}{where}" if self.project else ""
            return f"container {self.container}{project}"
        if self.pid:
            return f"pid {self.pid}" + (f" ({self.command})" if self.command else "")
        return UNKNOWN


def is_free(host: str, port: int) -> bool:
    """Return whether a server could listen there: by binding, and by connecting.

    Both, because macOS lets one bind an address while another process listens on all addresses.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except PermissionError as error:
            raise PreflightFailed(
                f"port {port} may not be used by this user", hint="choose a port above 1023 in .env"
            ) from error
        except OSError:
            return False
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) != 0


@dataclass(frozen=True)
class Taken:
    """A port that a service needs and another program holds; `variable` is the setting that names it."""

    port: int
    service: str
    variable: str
    holder: Holder

    def __str__(self) -> str:
        return f"port {self.port}, wanted for {self.service}, is taken by {self.holder}"


class PortsTaken(PreflightFailed):
    """Ports that services need are taken: each with its holder, and what to do about it."""

    def __init__(self, *taken: Taken) -> None:
        several = len(taken) > 1
        stop = [f"`docker stop {one.holder.container}`" for one in taken if one.holder.container]
        stop += [] if len(stop) == len(taken) else ["stop them" if len(taken) - len(stop) > 1 else "stop it"]
        super().__init__(
            f"{len(taken)} ports are taken" if several else str(taken[0]),
            evidence=list(map(str, taken)) if several else "",
            hint=f"{' and '.join(dict.fromkeys(stop))}, or give {_listed(one.variable for one in taken)} "
            f"{'other ports' if several else 'another port'} in .env",
        )
        self.taken = taken


def find_taker(host: str, port: int) -> Holder | None:
    """Return who holds a port; None when it is free."""
    holder = Holder()
    for _ in range(10):
        if is_free(host, port):
            return None
        holder = find_holder(port)
        if str(holder) != UNKNOWN:
            break
        time.sleep(0.1)  # an ending program still holds its port, but has no name any more
    return holder


def find_taken(host: str, port: int, *, service: str, variable: str) -> list[Taken]:
    """Return the port with its holder if it is taken; an empty list when it is free."""
    holder = find_taker(host, port)
    return [Taken(port, service, variable, holder)] if holder else []


def require_free(host: str, port: int, *, service: str, variable: str) -> None:
    """Raise PortsTaken, with the port's holder and what to do, when the port is taken.

    `variable` is the setting that holds the port.
    """
    taken = find_taken(host, port, service=service, variable=variable)
    if taken:
        raise PortsTaken(*taken)


def find_holder(port: int) -> Holder:
    """Return the process that listens on a port, or the container that publishes it."""
    holder = _from_proc(port) if Path("/proc/net/tcp").exists() else _from_lsof(port)
    if not holder.pid or "docker" in holder.command or "rootlessport" in holder.command:
        return _container(port) or holder
    return holder


def command_of(pid: int) -> str:
    """Return the command line of a process, or an empty string when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        pass
    if Path("/proc/self/cmdline").exists():
        return ""
    return shell.run(["ps", "-o", "command=", "-p", str(pid)], timeout_s=5).stdout.strip()


def paused_behind(port: int) -> str:
    """Describe which of a port's listener and its children are paused (SIGSTOP); empty when none is."""
    pid = find_listener(port)
    paused = paused_among(pid) if pid else []
    return f"{paused_text(paused)}: `kill -CONT {' '.join(map(str, paused))}` resumes it" if paused else ""


def paused_text(pids: Sequence[int]) -> str:
    """Describe paused processes in a message."""
    named = [f"pid {pid} ({_shortened(command_of(pid), 60)})" for pid in pids[:3]]
    more = f" and {len(pids) - 3} more" if len(pids) > 3 else ""
    return f"{', '.join(named)}{more} {'is' if len(pids) == 1 else 'are'} paused"


def paused_among(pid: int) -> list[int]:
    """List which of a process and its children a signal has stopped, in the order of their ids."""
    family = [pid, *_children(pid)]
    if Path("/proc/self/stat").exists():
        return sorted(one for one in family if _state(one) == "T")
    done = shell.run(["ps", "-o", "pid=,state=", "-p", ",".join(map(str, family))], timeout_s=5)
    rows = (line.split() for line in done.stdout.splitlines())
    return sorted(int(row[0]) for row in rows if len(row) == 2 and row[1].startswith("T"))


def _children(pid: int) -> list[int]:
    """List the children of a process. Source: proc(5), /proc/PID/task/TID/children."""
    try:
        return [
            int(child)
            for task in os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - names only
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        ]
    except OSError:
        if Path("/proc/self/stat").exists():
            return []
    done = shell.run(["ps", "-A", "-o", "pid=,ppid="], timeout_s=5)
    rows = (line.split() for line in done.stdout.splitlines())
    return [int(child) for child, parent in rows if int(parent) == pid]


def _state(pid: int) -> str:
    """Return the letter of a process's state: T is stopped by a signal (proc(5)); t, by a debugger, does not count."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def find_listener(port: int) -> int:
    """Return the id of the process that listens on a port, 0 where unknown. Asks no container engine."""
    return (_from_proc(port) if Path("/proc/net/tcp").exists() else _from_lsof(port)).pid


def commands() -> dict[int, str]:
    """Return the command line of every process visible to this user, by its id."""
    if Path("/proc/self/cmdline").exists():
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names, and fast
        return {pid: command for pid in pids if (command := command_of(pid))}
    listed = shell.run(["ps", "-axww", "-o", "pid=,command="], timeout_s=5).stdout.splitlines()
    pairs = (line.strip().partition(" ") for line in listed)
    return {int(pid): command.strip() for pid, _, command in pairs if pid.isdigit()}


def _from_proc(port: int) -> Holder:
    sockets = _listening_sockets(port)
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - names, and fast
    holders = [pid for pid in pids if any(link in sockets for link in _open_files(pid))]
    for pid in holders:
        if _parent(pid) not in holders:  # a child that is just starting shares its parent's sockets
            return Holder(pid, _shortened(command_of(pid)))
    return Holder()


def _parent(pid: int) -> int:
    """Return the id of a process's parent, 0 where it is gone. Source: proc(5), /proc/PID/stat, the fourth field."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _listening_sockets(port: int) -> set[str]:
    """Collect the sockets that listen on a port, as the links of /proc/PID/fd show them. Source: proc(5)."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found


def _open_files(pid: int) -> list[str]:
    folder = f"/proc/{pid}/fd"
    links = []
    try:
        for name in os.listdir(folder):  # noqa: PTH208 - thousands of them
            links.append(os.readlink(f"{folder}/{name}"))  # noqa: PTH115
    except OSError:
        pass
    return links


def _from_lsof(port: int) -> Holder:
    if not shutil.which("lsof"):
        return Holder()
    found = shell.run(["lsof", "-nP", "-t", f"-iTCP:{port}", "-sTCP:LISTEN"], timeout_s=5).stdout.split()
    return Holder(int(found[0]), _shortened(command_of(int(found[0])))) if found else Holder()


def _container(port: int) -> Holder | None:
    if not shutil.which("docker"):
        return None
    label = '{{.Label "com.docker.compose.project"}}'
    row = "\t".join(["{{.Names}}", label, label.replace("project", "project.working_dir")])
    try:
        done = shell.run(["docker", "ps", "--filter", f"publish={port}", "--format", row], timeout_s=2)
    except LocalEnvError:
        return None
    if done.code or not done.stdout.strip():
        return None
    name, project, folder = done.stdout.splitlines()[0].split("\t")
    return Holder(container=name, project=project, folder=folder)


def _listed(names: Iterable[str]) -> str:
    *some, last = dict.fromkeys(names)
    return f"{', '.join(some)} and {last}" if some else last


def _shortened(command: str, width: int = 100) -> str:
    return command if len(command) <= width else f"{command[: width - 3]}..."
