"""Drives the real `inv` on a checkout of its own through orders of commands, kills and pauses that nobody thought of.

    python -m tests.support.machine --seconds 60 --seed 7

Each example takes one seed: the next number. A failure names its seed, and `--seed N --examples 1` plays it again.
After each step what is seen must be what the model (orders.py) holds possible, `check` must say so too, and no process
and no file may be left. Where the system permits it, all of it happens in a pid and network namespace of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tasks.localenv.engines.embedded.home import OUTSIDE
from tasks.localenv.settings.kept import kept_project
from tests.support import orders
from tests.support.orders import Command, Database, Entry, Table, World

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = (
    "tasks",
    "tasks.py",
    "inv",
    "ddb",
    "sql",
    "seeds",
    "docker-compose.yml",
    "pyproject.toml",
    "requirements.txt",
    "requirements-dev.txt",
)
SERVERS = ("postgres", "emulator")
STEPS = 10
COMMAND_S = 150
VERSIONS = ("", "\nCREATE TABLE public.model_one (id int);\n", "\nCREATE TABLE public.model_two (id int);\n")
"""What a version of sql/schema.sql has more than the one that is shipped."""
NAMESPACES = (
    ("unshare", "--pid", "--net", "--mount-proc", "--fork"),
    ("unshare", "--user", "--map-current-user", "--keep-caps", "--pid", "--net", "--mount-proc", "--fork"),
)


class TimeIsUp(BaseException):
    """The seconds are over. Not an Exception: Hypothesis would take it for a failure, and try it again."""


class Broken(BaseException):
    """Something is not as the model has it. Not an Exception either: the first sight of it is what counts."""


@dataclass(frozen=True)
class Ended:
    """What became of a command."""

    code: int
    text: str


@dataclass
class Checkout:
    """A checkout of its own, where files may be edited, and what runs out of it."""

    root: Path
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    ports: dict[str, int] = field(default_factory=dict)
    outside: Path | None = None
    """As root, where the data of Postgres lie."""

    @classmethod
    def make(cls, folder: Path) -> Checkout:
        """Copy the project, set it up once, and keep the state folder for every example to begin with."""
        made = cls(
            folder / "checkout", ports=dict(zip(("postgres", "dynamodb", "cognito"), free_ports(3), strict=True))
        )
        made.root.mkdir()
        for name in SHIPPED:
            subprocess.run(["cp", "-a", str(ROOT / name), str(made.root)], check=True)
        (made.root / ".venv").symlink_to((ROOT / ".venv").resolve())
        made.tmp.mkdir()
        for line in ("initial-setup", "env.down"):
            ended = made.run(line)
            if ended.code:
                raise Broken(f"{line}: exit code {ended.code}\n{ended.text}")
        project = kept_project(made.state)
        made.outside = OUTSIDE / project if project and (OUTSIDE / project).is_dir() else None
        for folder, kept in made.folders:
            subprocess.run(["cp", "-a", str(folder), str(kept)], check=True)
        return made

    @property
    def state(self) -> Path:
        return self.root / ".local"

    @property
    def folders(self) -> list[tuple[Path, Path]]:
        """List where the data are, each with the copy that an example begins with."""
        folders = [self.state, *([self.outside] if self.outside else [])]
        return [(folder, self.root.parent / f"baseline-{number}") for number, folder in enumerate(folders)]

    @property
    def tmp(self) -> Path:
        return self.root.parent / "tmp"

    @property
    def environ(self) -> dict[str, str]:
        ports = self.ports
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root.parent),
            "TMPDIR": str(self.tmp),
            "NO_COLOR": "1",
            "LOCALENV_MODEL": self.token,
            "LOCALENV_ENGINE": "embedded",
            "CONNECTION_URL": f"postgresql://postgres:password@localhost:{ports['postgres']}/cruddur",
            "AWS_ENDPOINT_URL_DYNAMODB": f"http://localhost:{ports['dynamodb']}",
            "AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER": f"http://localhost:{ports['cognito']}",
        }

    def begin(self) -> None:
        """Bring the checkout back to what initial-setup and env.down left."""
        self.end()
        for folder, kept in self.folders:
            if folder.exists():
                shutil.rmtree(folder)
            subprocess.run(["cp", "-a", str(kept), str(folder)], check=True)
        self.edit(0)

    def end(self) -> None:
        """Kill whatever still runs out of this checkout."""
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def edit(self, version: int) -> None:
        shipped = (ROOT / "sql" / "schema.sql").read_text()
        (self.root / "sql" / "schema.sql").write_text(shipped + VERSIONS[version])

    def start(self, line: str) -> subprocess.Popen[str]:
        """Start a command as the leader of a process group of its own."""
        return subprocess.Popen(
            [str(self.root / "inv"), *shlex.split(line)],
            cwd=self.root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, line: str) -> Ended:
        return self.finish(self.start(line), line)

    def finish(self, process: subprocess.Popen[str], line: str) -> Ended:
        try:
            text, _ = process.communicate(timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            kill_group(process)
            raise Broken(f"{line}: not ended after {COMMAND_S} s\n{process.communicate()[0]}") from None
        if "Traceback" in text:
            raise Broken(f"{line}: a traceback\n{text}")
        return Ended(process.returncode, text)

    def processes(self) -> dict[int, str]:
        """Find what runs out of this checkout: pid → command line.

        A variable that every child inherits tells them, and for the children of Postgres, which write their titles
        over their variables, the folder that they run in.
        """
        found = {}
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdigit() and self.is_ours(folder):
                    words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    found[int(folder.name)] = words
        return found

    def is_ours(self, process: Path) -> bool:
        if f"LOCALENV_MODEL={self.token}".encode() in (process / "environ").read_bytes():
            return True
        inside = str((process / "cwd").readlink())
        return any(inside.startswith(str(folder)) for folder, _ in self.folders)

    def answering(self) -> set[str]:
        """Return the services whose ports take a connection."""
        found = set()
        for service, port in self.ports.items():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                found.add(service)
        return found

    def server_pids(self, server: str) -> list[int]:
        wanted = "/bin/postgres " if server == "postgres" else "emulator_server"
        return [pid for pid, words in self.processes().items() if wanted in words]

    def snapshots(self) -> set[str]:
        folder = self.state / "snapshots"
        return {path.name for path in folder.iterdir() if path.name[0] != "."} if folder.is_dir() else set()

    def leftovers(self) -> list[str]:
        """Name the files that no finished command may leave."""
        known = {*SHIPPED, ".venv", ".local"}
        found = [path for path in self.root.iterdir() if path.name not in known]
        found += self.tmp.iterdir()
        for pattern in (".new-*", ".old-*", "*.part", "*.tmp", "*.partial"):
            found += self.state.rglob(pattern) if self.state.is_dir() else ()
        return [str(path.relative_to(self.root.parent)) for path in found]


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


def kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True)
class SeenEntry:
    """An entry of undo: the names of its parts ("no table" for one that was not there), and its database."""

    parts: frozenset[str]
    database: Database | None
    is_open: bool
    follows_half: bool
    kept: str

    def fits(self, entry: Entry) -> bool:
        """Compare with the model's; what follows a half was kept of a state that the model does not know."""
        if (bool(entry.cut), entry.follows_half) != (self.is_open, self.follows_half):
            return False
        if entry.follows_half:
            return {name for name, _ in entry.parts} == {name.removeprefix("no ") for name in self.parts}
        parts = {name if held is not None else f"no {name}" for name, held in entry.parts}
        return parts == self.parts and alike(dict(entry.parts).get("database"), self.database)


@dataclass(frozen=True)
class Seen:
    """What the stores hold, read without the program under test."""

    database: Database | None
    undo: tuple[SeenEntry, ...]
    table: Table | None
    databases: frozenset[str]

    def fits(self, world: World) -> bool:
        return (
            alike(world.database, self.database)
            and world.table == self.table
            and len(world.undo) == len(self.undo)
            and all(seen.fits(entry) for seen, entry in zip(self.undo, world.undo, strict=True))
        )


def alike(held: Database | None, seen: Database | None) -> bool:
    """Compare a database of the model with one that was seen, which shows whether it is linked, not to which pool."""
    if held is None or seen is None:
        return held is seen
    return replace(held, linked=bool(held.linked)) == replace(seen, linked=bool(seen.linked))


def see(checkout: Checkout) -> Seen:
    import psycopg

    address = f"postgresql://postgres:password@127.0.0.1:{checkout.ports['postgres']}"
    with psycopg.connect(f"{address}/postgres", autocommit=True) as conn:
        names = frozenset(name for (name,) in conn.execute("SELECT datname::text FROM pg_database").fetchall())
    database = see_database(f"{address}/cruddur") if "cruddur" in names else None
    undo = see_undo(checkout.state / "undo", address, names)
    return Seen(database, undo, see_table(checkout.ports["dynamodb"]), names)


def see_undo(folder: Path, address: str, names: frozenset[str]) -> tuple[SeenEntry, ...]:
    """Read the entries of undo, newest first. A database that was not put aside in the end is no part of one."""
    notes = [(json.loads(path.read_bytes()), path) for path in folder.glob("*/entry.json")]
    found = []
    for note, path in sorted(notes, key=lambda each: (each[0]["created"], each[0]["id"]), reverse=True):
        kept = note["database"] and note["database"]["kept"]
        parts = {*(["table"] if note["tables"] else []), *(["no table"] if note["absent"] else [])}
        parts |= {"pool"} if note["cognito"] else set()
        parts |= {"database"} if kept in names else {"no database"} if kept == "" else set()
        held = see_database(f"{address}/{kept}") if kept in names else None
        found.append(SeenEntry(frozenset(parts), held, path.parent.suffix == ".open", note["follows_half"], kept or ""))
    return tuple(found)


def see_database(url: str) -> Database:
    import psycopg

    with psycopg.connect(url, autocommit=True) as conn:
        extra = conn.execute(
            "SELECT to_regclass('model_one') IS NOT NULL, to_regclass('model_two') IS NOT NULL"
        ).fetchone()
        posts = conn.execute("SELECT message FROM activities WHERE message LIKE 'model-%'").fetchall()
        mock = conn.execute("SELECT count(*) FROM users WHERE cognito_user_id = 'MOCK'").fetchone()
    assert extra and mock
    return Database(1 if extra[0] else 2 if extra[1] else 0, frozenset(text for (text,) in posts), int(mock[0] == 0))


def see_table(port: int) -> Table | None:
    import boto3

    client = boto3.client(
        "dynamodb",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
    )
    names = client.list_tables()["TableNames"]
    if not names:
        return None
    assert names == ["cruddur-messages"], names
    pages = client.get_paginator("scan").paginate(TableName="cruddur-messages")
    items = [item for page in pages for item in page["Items"] if item["pk"]["S"].startswith("MSG#")]
    ours = {item["message"]["S"] for item in items if item["message"]["S"].startswith("model-")}
    return Table(len(items) - len(ours) >= SEEDED_MESSAGES, frozenset(ours))


SEEDED_MESSAGES = 120


class Orders(RuleBasedStateMachine):
    """Any order of commands. The first example of a seed is Hypothesis's simplest one: it is left out."""

    checkout: Checkout
    until = 0.0
    examples = 0
    steps = 0
    without: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        cls = type(self)
        self.idle = cls.examples % 2 == 0
        cls.examples += 1
        self.worlds: set[World] = {orders.SET_UP}
        self.count = 0
        self.trace: list[str] = []
        if not self.idle:
            self.checkout.begin()

    @rule(command=st.sampled_from(orders.COMMANDS))
    def run(self, command: Command) -> None:
        """One command, from its start to its end."""
        if not self.begin_step("run"):
            return
        line, text = self.told(command)
        expected = orders.codes(self.worlds, command, text)
        ended = self.checkout.run(line)
        self.note(f"inv {line}  → {ended.code}")
        self.expect(ended, expected, line)
        self.worlds = orders.run(self.worlds, command, text, ended.code)
        self.look(ended.text)

    @rule(version=st.integers(0, len(VERSIONS) - 1))
    def change_schema(self, version: int) -> None:
        """The developer edits sql/schema.sql."""
        if not self.begin_step("edit"):
            return
        self.note(f"# sql/schema.sql is version {version}")
        self.checkout.edit(version)
        self.worlds = {replace(world, files=version) for world in self.worlds}

    @rule(command=st.sampled_from(orders.LOCKING), ms=st.integers(0, 2500))
    def kill(self, command: Command, ms: int) -> None:
        """A command and its whole process group are killed; the same command again puts it right."""
        if not self.begin_step("kill"):
            return
        line, text = self.told(command)
        process = self.checkout.start(line)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(ms / 1000)  # not a wait for anything: the moment of the kill
        kill_group(process)
        process.communicate()
        self.note(f"inv {line}  ✗ killed after {ms} ms ({process.returncode})")
        self.worlds = orders.cut_short(self.worlds, command, text)
        self.again(command, line, text)

    @rule(first=st.sampled_from(orders.LOCKING), second=st.sampled_from(orders.LOCKING))
    def at_once(self, first: Command, second: Command) -> None:
        """Two commands start at once, and end as if one had come after the other."""
        if not self.begin_step("crowd"):
            return
        lines = (self.told(first)[0], self.told(second)[0])
        started = [self.checkout.start(line) for line in lines]
        ended = [self.checkout.finish(process, line) for process, line in zip(started, lines, strict=True)]
        codes = (ended[0].code, ended[1].code)
        self.note(f"inv {lines[0]} & inv {lines[1]}  → {codes[0]}, {codes[1]}")
        worlds = orders.at_once(self.worlds, first, second, codes)
        if not worlds:
            self.fail("neither order explains these exit codes", "\n".join(one.text for one in ended))
        self.worlds = worlds
        self.look("\n".join(one.text for one in ended))

    @rule(server=st.sampled_from(SERVERS), command=st.sampled_from(orders.LOCKING), ms=st.integers(100, 4000))
    def pause(self, server: str, command: Command, ms: int) -> None:
        """A server is stopped while a command runs, and goes on after a while, by itself or by the command."""
        if not self.begin_step("pause"):
            return
        line, text = self.told(command)
        pids = self.checkout.server_pids(server)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(ms / 1000, signal_all, (pids, signal.SIGCONT))
        timer.start()
        ended = self.checkout.run(line)
        timer.cancel()
        signal_all(pids, signal.SIGCONT)
        self.note(f"inv {line}  → {ended.code} while {server} stood still for up to {ms} ms")
        self.worlds = orders.cut_short(self.worlds, command, text)
        self.again(command, line, text)

    def begin_step(self, kind: str) -> bool:
        if self.idle or kind in self.without:
            return False
        if time.monotonic() > self.until:
            raise TimeIsUp
        type(self).steps += 1
        return True

    def note(self, step: str) -> None:
        self.trace.append(step)
        print(f"  {len(self.trace):2}. {step}", flush=True)

    def told(self, command: Command) -> tuple[str, str]:
        """Return a command's line, and the text that it says, which no other one says."""
        self.count += 1
        text = f"model-{self.count}"
        return command.line.replace("{text}", text), text

    def again(self, command: Command, line: str, text: str) -> None:
        """The same command once more, and everything is as that command leaves it."""
        expected = orders.codes(self.worlds, command, text)
        ended = self.checkout.run(line)
        self.note(f"inv {line}  → {ended.code}")
        self.expect(ended, expected, line)
        self.worlds = orders.run(self.worlds, command, text, ended.code)
        self.look(ended.text)

    def expect(self, ended: Ended, codes: set[int], line: str) -> None:
        if ended.code not in codes:
            self.fail(f"{line}: exit code {ended.code}, and the model has {sorted(codes)}", ended.text)

    def look(self, text: str) -> None:
        """Hold what is seen against the model: the services, their contents, `check`, and what is left."""
        answering = self.checkout.answering()
        if len(answering) not in (0, 3):
            self.fail(f"only {answering} answer", text)
        self.keep(lambda world: world.up == bool(answering), f"{answering or 'nothing'} answers", text)
        names = self.checkout.snapshots()
        self.keep(lambda world: {name for name, _ in world.snapshots} == names, f"the snapshots are {names}", text)
        if answering:
            self.look_inside(text)
        self.look_for_leftovers(up=bool(answering), text=text)

    def look_inside(self, text: str) -> None:
        seen = see(self.checkout)
        self.keep(seen.fits, f"seen: {seen}", text)
        checked = self.checkout.run("check")
        self.keep(lambda world: world.check_code == checked.code, f"check: {checked.code}\n{checked.text}", text)
        clones = {name for name in seen.databases if "__snap_" in name}
        self.keep(
            lambda world: any(entry.cut for entry in world.undo) == ("cut short" in checked.text), checked.text, text
        )
        kept = {"cruddur", "cruddur__template", "postgres", "template0", "template1"}
        kept |= {entry.kept for entry in seen.undo}
        strange = seen.databases - clones - kept
        if strange:
            self.fail(f"databases are left: {strange}", text)
        self.keep(
            lambda world: sum(s.database is not None for _, s in world.snapshots) == len(clones), str(clones), text
        )

    def look_for_leftovers(self, *, up: bool, text: str) -> None:
        if files := self.checkout.leftovers():
            self.fail(f"files are left: {files}", text)
        servers = {*self.checkout.server_pids("postgres"), *self.checkout.server_pids("emulator")} if up else set()
        if left := self.strangers(servers) and self.strangers(servers):  # one that is about to end is no finding
            self.fail(f"processes are left: {left}", text)

    def strangers(self, servers: set[int]) -> dict[int, str]:
        """Return the processes that are neither a server nor a child of one."""
        running = self.checkout.processes().items()
        return {pid: words for pid, words in running if pid not in servers and not words.startswith("postgres:")}

    def keep(self, fits: Any, what: str, text: str) -> None:
        """Keep the worlds that what was seen leaves possible."""
        left = {world for world in self.worlds if fits(world)}
        if not left:
            held = "\n".join(map(str, list(self.worlds)[:8]))
            self.fail(f"{what}\nthe model holds {len(self.worlds)} possible, such as\n{held}", text)
        self.worlds = left

    def fail(self, what: str, text: str) -> None:
        steps = "\n".join(f"  {number:2}. {step}" for number, step in enumerate(self.trace, 1))
        raise Broken(
            f"{what}\n\nsteps, from what initial-setup and env.down leave:\n{steps}\n\nthe last one wrote:\n{text}"
        )


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def play(first: int, seconds: float, examples: int, *, shrink: bool, without: tuple[str, ...]) -> int:
    """Play one example a seed until the time is up; return the exit code."""
    options = settings(
        max_examples=2,  # the first is the simplest, which idles
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    with checkout() as Orders.checkout:
        Orders.until, Orders.without = time.monotonic() + seconds, without
        for number in range(first, first + examples):
            Orders.examples = 0
            print(f"seed {number}", flush=True)
            try:
                run_state_machine_as_test(seed(number)(Orders), settings=options)
            except TimeIsUp:
                break
            except Broken as error:
                print(f"seed {number}: {error}\n\nplay it again: --seed {number} --examples 1")
                return 1
        print(f"{Orders.steps} steps")
    return 0


@contextlib.contextmanager
def checkout() -> Iterator[Checkout]:
    """Make a checkout in a folder that every user may pass through: as root, PostgreSQL runs as another one."""
    folder = Path(tempfile.mkdtemp(prefix="localenv-model-"))
    folder.chmod(0o711)
    made: Checkout | None = None
    try:
        made = Checkout.make(folder)
        yield made
    finally:
        if made:
            made.end()
        for data in (folder, *(data for data, _ in made.folders)) if made else (folder,):
            shutil.rmtree(data, ignore_errors=True)


def namespace() -> tuple[str, ...]:
    """Return the words that give a command a pid and network namespace of its own; none where that is not permitted."""
    for words in NAMESPACES:
        if (
            shutil.which(words[0])
            and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
        ):
            return words
    return ()


def reap(worker: int) -> int:
    """Be the first process of a namespace: bury the dead, and end as the worker does."""
    while True:
        pid, status = os.wait()
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


def raise_loopback() -> None:
    """Bring the loopback interface up: in a new network namespace it is down. Source: Linux, netdevice(7)."""
    import fcntl
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        fcntl.ioctl(some, 0x8914, struct.pack("16sH14x", b"lo", 1 | 64))  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--examples", type=int, default=10**6)
    parser.add_argument("--shrink", action="store_true", help="look for a shorter order, which takes long")
    parser.add_argument("--without", default="", help="kinds of steps to leave out: run, edit, kill, crowd, pause")
    given = parser.parse_args()
    if os.getpid() == 1:
        raise_loopback()
        if worker := os.fork():
            return reap(worker)
    without = tuple(given.without.split(","))
    return play(given.seed, given.seconds, given.examples, shrink=given.shrink, without=without)


if __name__ == "__main__":
    sys.exit(main())
