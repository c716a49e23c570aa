"""What the emulator holds and cannot save: it is told by whoever writes or proves, and lost by nobody unasked."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tasks.localenv import engines
from tasks.localenv.aws.wire import api
from tasks.localenv.checkout import saved
from tasks.localenv.engines.embedded import programs
from tasks.localenv.engines.emulator import Emulator, address, find_unsaved, unclean_end
from tasks.localenv.engines.emulator_server.saving import write_whole
from tasks.localenv.engines.service import Deadline
from tasks.localenv.errors import ConfirmationNeeded, PreflightFailed, ServiceFailed
from tasks.localenv.machine.parallel import side_by_side
from tasks.localenv.settings import Settings, read_settings
from tasks.localenv.settings.addresses import Endpoint
from tests.support.environments import Finished, environment, inv, permitted, reachable
from tests.support.ports import find_free

pytestmark = pytest.mark.reliability("destroy")

FULL = "No space left on device"
ANY = resource.RLIM_INFINITY

limits = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return environment(reachable(tmp_path) / "state")


@pytest.fixture
def own(environ: dict[str, str]) -> Iterator[Settings]:
    """The settings of an environment of which the emulator alone runs."""
    settings = permitted(read_settings(environ=environ))
    start(settings)
    yield settings
    engines.destroy(settings, print)


def start(settings: Settings) -> None:
    Emulator(settings).start(Deadline(120), print)


def stop(settings: Settings) -> None:
    Emulator(settings).stop(print)


def endpoint(settings: Settings) -> Endpoint:
    assert settings.dynamodb
    return settings.dynamodb


def pid_of(settings: Settings) -> int:
    return Emulator(settings).daemon.pid


def let_write(settings: Settings, size_bytes: int) -> None:
    """Limit the files that the emulator writes; what is longer is refused as on a disk that is full."""
    resource.prlimit(pid_of(settings), resource.RLIMIT_FSIZE, (size_bytes, ANY))


def make_table(settings: Settings) -> None:
    api(permitted(settings), "dynamodb")(
        "CreateTable",
        TableName="kept",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def put(settings: Settings, key: str) -> None:
    api(permitted(settings), "dynamodb")("PutItem", TableName="kept", Item={"pk": {"S": key}})


def keys(settings: Settings) -> list[str]:
    return sorted(item["pk"]["S"] for item in api(settings, "dynamodb")("Scan", TableName="kept")["Items"])


def detail(settings: Settings) -> str:
    return Emulator(settings).look()[0].detail


def state_file(settings: Settings) -> Path:
    return settings.state_dir / "emulator" / "dynamodb.json"


def test_what_is_asked_for_is_on_disk_at_once(own: Settings) -> None:
    make_table(own)
    put(own, "a")
    saved.require_saved()
    os.kill(pid_of(own), signal.SIGKILL)
    stop(own)
    start(own)
    assert keys(own) == ["a"]


def test_asking_again_writes_nothing(own: Settings) -> None:
    make_table(own)
    assert saved.ask(endpoint(own)) is None
    before = state_file(own).stat()
    assert keys(own) == []
    assert saved.ask(endpoint(own)) is None
    saved.require_saved()
    assert (state_file(own).stat().st_ino, state_file(own).stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_many_who_ask_at_once_are_all_told_the_truth(own: Settings) -> None:
    make_table(own)

    def write(number: int) -> list[str]:
        put(own, f"{number:03}")
        assert saved.ask(endpoint(own)) is None
        return [key for key in (f"{number:03}",) if key not in state_file(own).read_text()]

    assert side_by_side([partial(write, number) for number in range(24)], at_once=8) == [[]] * 24


@limits
def test_a_save_that_fails_is_told_until_it_is_made_up_for(own: Settings) -> None:
    make_table(own)
    assert saved.ask(endpoint(own)) is None
    good = state_file(own).read_bytes()
    let_write(own, 10)
    put(own, "a")
    put(own, "b")
    found = saved.ask(endpoint(own))
    assert found and (found.reason, found.changes) == ("File too large", {"dynamodb": 2})
    assert saved.ask(endpoint(own), retry=False) == found
    with pytest.raises(PreflightFailed) as caught:
        saved.require_saved()
    assert caught.value.message == f"the AWS emulator cannot save what it holds: {found}"
    hint = f"make {own.state_dir / 'emulator'} writable: it saves by itself, then run `inv check` to see that it did"
    assert caught.value.hint == hint
    assert detail(own) == f"not saved: {found}"
    assert state_file(own).read_bytes() == good
    assert sorted(path.name for path in state_file(own).parent.glob("dynamodb*")) == ["dynamodb.json"]
    let_write(own, ANY)
    saved.require_saved()
    assert (saved.ask(endpoint(own), retry=False), detail(own)) == (None, "")
    assert sorted(path.name for path in state_file(own).parent.glob("unsaved")) == []
    assert len(json.loads(state_file(own).read_text())["payload"]["tables"]["data"]) == 1


@limits
def test_nothing_that_ends_it_loses_what_cannot_be_saved(own: Settings) -> None:
    make_table(own)
    put(own, "a")
    let_write(own, 10)
    elsewhere = replace(own, dynamodb=replace(endpoint(own), port=find_free()))
    without = replace(own, dynamodb=None, cognito=None)
    before = pid_of(own)
    for end in (
        lambda: engines.down(own, print),
        lambda: engines.restart(own, print),
        lambda: engines.up(elsewhere, print),
        lambda: programs.stop_outdated(without, [], print),
    ):
        with pytest.raises(
            ConfirmationNeeded, match=r"would lose 2 changes of dynamodb since .*: File too large$"
        ) as caught:
            end()
        assert caught.value.hint.endswith(" writable, or run `inv env.down --yes` to lose that")
    assert (pid_of(own), keys(own)) == (before, ["a"])
    assert find_unsaved(elsewhere) == find_unsaved(own) is not None
    let_write(own, ANY)
    engines.up(elsewhere, print)
    assert keys(elsewhere) == ["a"]


@limits
def test_a_kill_before_it_could_save_is_told_as_what_it_is(own: Settings) -> None:
    make_table(own)
    let_write(own, 10)
    assert saved.ask(endpoint(own))
    os.kill(pid_of(own), signal.SIGKILL)
    stop(own)
    assert detail(own).startswith("it was ended before it could save; what was written since 20")
    said: list[str] = []
    Emulator(own).start(Deadline(120), said.append)
    assert [line.split(";")[0] for line in said] == ["the AWS emulator: it was ended before it could save"]
    assert api(own, "dynamodb")("ListTables")["TableNames"] == []


@limits
def test_one_that_cannot_save_at_its_end_leaves_the_mark(own: Settings) -> None:
    make_table(own)
    let_write(own, 10)
    stop(own)
    assert unclean_end(own).startswith("it was ended before it could save; what was written since 20")


def test_a_clean_stop_while_it_saves_keeps_all(own: Settings) -> None:
    make_table(own)
    for number in range(60):
        put(own, f"{number:03}")
    connection = HTTPConnection(endpoint(own).host, endpoint(own).port)
    connection.request("POST", saved.PATH)  # a save begins; nobody waits for it
    put(own, "last")
    stop(own)
    connection.close()
    assert unclean_end(own) == ""
    start(own)
    assert keys(own) == [*(f"{number:03}" for number in range(60)), "last"]


def test_a_file_that_was_removed_is_written_again(own: Settings) -> None:
    make_table(own)
    assert saved.ask(endpoint(own)) is None
    state_file(own).unlink()
    assert saved.ask(endpoint(own)) is None
    assert "kept" in state_file(own).read_text()


def test_a_folder_that_was_removed_is_told_and_not_made_again(own: Settings) -> None:
    make_table(own)
    shutil.rmtree(own.state_dir / "emulator")
    try:
        found = saved.ask(endpoint(own))
    except ServiceFailed:
        found = None  # it has ended already
    else:
        assert found and found.reason == "its folder was removed"
    with pytest.raises((PreflightFailed, ServiceFailed)):
        saved.require_saved()
    assert not (own.state_dir / "emulator").exists()


def test_an_emulator_that_is_gone_has_saved_nothing(own: Settings) -> None:
    make_table(own)
    os.kill(pid_of(own), signal.SIGKILL)
    stop_seen = Emulator(own).daemon
    stop_seen.stop(signal.SIGTERM)
    with pytest.raises(ServiceFailed, match="did not say that all is saved"):
        saved.require_saved()
    saved.forget()


def test_what_is_no_emulator_is_not_believed(own: Settings) -> None:
    import http.server
    import threading

    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ServiceFailed, match="is not the AWS emulator of this checkout"):
            saved.ask(Endpoint("127.0.0.1", server.server_address[1]))
        server.shutdown()


def test_the_running_one_is_asked_where_it_answers_and_not_where_the_settings_point(own: Settings) -> None:
    elsewhere = replace(own, dynamodb=Endpoint("127.0.0.1", 1), cognito=Endpoint("127.0.0.1", 2))
    assert address(elsewhere, Emulator(elsewhere).daemon) == own.dynamodb


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_its_state_is_for_its_owner_alone(environ: dict[str, str], umask: int) -> None:
    settings = permitted(read_settings(environ=environ))
    before = os.umask(umask)
    try:
        start(settings)
        make_table(settings)
        put(settings, "a")
        s3(settings, "/bucket", "/bucket/object")
        assert saved.ask(endpoint(settings)) is None
        assert open_to_others(settings.state_dir / "emulator") == []
    finally:
        os.umask(before)
        engines.destroy(settings, print)


def test_a_state_of_an_earlier_version_is_closed_to_others_at_the_next_start(own: Settings) -> None:
    make_table(own)
    stop(own)
    folder = own.state_dir / "emulator"
    folder.chmod(0o755)
    state_file(own).chmod(0o644)
    assert open_to_others(folder) != []
    start(own)
    assert open_to_others(folder) == []


def s3(settings: Settings, *paths: str) -> None:
    """Put a bucket or an object at each path."""
    for path in paths:
        connection = HTTPConnection(endpoint(settings).host, endpoint(settings).port)
        scope = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
        connection.request("PUT", path, b"content", {"Authorization": scope})
        assert connection.getresponse().status == 200
        connection.close()


def open_to_others(folder: Path) -> list[str]:
    """Name what group or others may touch, the folder itself among it."""
    return [str(path) for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


@limits
def test_an_object_of_s3_that_could_not_be_written_is_told_and_made_up_for(own: Settings) -> None:
    s3(own, "/bucket")
    assert saved.ask(endpoint(own)) is None
    let_write(own, 3)
    s3(own, "/bucket/object")
    found = saved.ask(endpoint(own))
    assert found and found.reason == "an object of S3 cannot be written"
    let_write(own, ANY)
    assert saved.ask(endpoint(own)) is None
    stored = [path for path in (own.state_dir / "emulator" / "s3").rglob("object") if path.is_file()]
    assert [path.read_bytes() for path in stored] == [b"content"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_whole(path, b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_whole(path, b"much longer")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("state.json", b"old")]
    write_whole(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new", 0o600)


def mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the file system of the folder to its last byte; return the file that does it."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    assert os.statvfs(folder).f_bavail == 0
    return path


@pytest.fixture
def on_tmpfs(environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """The variables of an environment whose emulator saves on a file system of 1 MB; it is not up yet."""
    settings = permitted(read_settings(environ=environ))
    folder = settings.state_dir / "emulator"
    folder.mkdir(parents=True)
    mount(folder, "size=1m,mode=0700")
    try:
        yield environ
        engines.down(settings, print, lose=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    engines.destroy(settings, print)


def one_object(done: Finished) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.tmpfs
@pytest.mark.timeout(600)  # some 20 commands, one after the other
def test_on_a_full_disk_every_command_that_writes_or_proves_says_so(on_tmpfs: dict[str, str]) -> None:
    run = partial(inv, environ=on_tmpfs)
    settings = permitted(read_settings(environ=on_tmpfs))
    assert run("initial-setup").code == 0
    good = state_file(settings).read_bytes()
    filler = fill(state_file(settings).parent)

    told = []
    sent = run("ddb.send-message", "--as", "andrewbrown", "--to", "bayko", "--text", "kept in memory alone")
    told.append(sent)
    told += [run("check"), run("initial-setup"), run("ddb.seed"), run("ddb.seed", "--force"), run("cognito.seed")]
    assert [done.code for done in told] == [6] * 6, told
    assert all("the AWS emulator cannot save what it holds: " in done.stderr and FULL in done.stderr for done in told)
    hint = f"free some space on the disk of {filler.parent}: it saves by itself, then run `inv check`"
    assert all(hint in done.stderr for done in told)
    as_json = run("check", "--format", "json")
    assert (as_json.code, one_object(as_json)["error"]["name"]) == (6, "preflight")
    sent_as_json = run("ddb.send-message", "--as", "bayko", "--to", "andrewbrown", "--text", "x", "--format", "json")
    assert (sent_as_json.code, one_object(sent_as_json)["error"]["name"]) == (6, "preflight")
    assert f": {FULL}" in run("env.status").stdout
    assert state_file(settings).read_bytes() == good

    for words in (["env.down"], ["env.restart"]):
        refused = run(*words)
        assert refused.code == 3
        assert "will lose " in refused.stderr and FULL in refused.stderr and f"inv {words[0]} --yes" in refused.stderr
    assert "running" in run("env.status").stdout

    filler.unlink()
    assert run("check").code == 0
    assert f": {FULL}" not in run("env.status").stdout
    down = run("env.down")
    assert (down.code, "the data is kept" in down.stderr) == (0, True)
    assert run("env.up").code == 0
    shown = run("ddb.get-conversation", "--as", "andrewbrown", "--with", "bayko")
    assert "kept in memory alone" in shown.stdout


@pytest.mark.tmpfs
def test_env_down_with_yes_ends_it_and_does_not_say_that_the_data_is_kept(on_tmpfs: dict[str, str]) -> None:
    run = partial(inv, environ=on_tmpfs)
    settings = permitted(read_settings(environ=on_tmpfs))
    assert run("env.up").code == 0
    fill(state_file(settings).parent)
    make_table(settings)
    saved.forget()
    down = run("env.down", "--yes")
    assert down.code == 0
    assert "will lose 1 change of dynamodb since " in down.stderr
    assert "stopped; what could not be saved is lost" in down.stderr
    assert "the data is kept" not in down.stderr


@pytest.mark.tmpfs
def test_a_read_only_disk_is_told_and_made_up_for(on_tmpfs: dict[str, str]) -> None:
    settings = permitted(read_settings(environ=on_tmpfs))
    start(settings)
    make_table(settings)
    assert saved.ask(endpoint(settings)) is None
    folder = state_file(settings).parent
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    put(settings, "a")
    found = saved.ask(endpoint(settings))
    assert found and (found.reason, found.changes) == ("Read-only file system", {"dynamodb": 1})
    assert detail(settings) == f"not saved: {found}"
    with pytest.raises(PreflightFailed, match="Read-only file system"):
        saved.require_saved()
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    saved.require_saved()
    stop(settings)
    start(settings)
    assert keys(settings) == ["a"]
