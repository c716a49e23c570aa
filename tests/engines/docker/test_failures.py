"""Everything that can go wrong with containers: each has its message, its evidence and its way out."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tasks.localenv.engines.docker.api import DockerApi
from tasks.localenv.engines.docker.endpoint import parse_endpoint
from tasks.localenv.engines.docker.preflight import preflight
from tasks.localenv.errors import LocalEnvError, PreflightFailed, ServiceFailed, TimedOut, UsageError
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tests.engines.docker.shop import MakeShop, Shop, docker, dynamodb_that
from tests.support.environments import PATIENCE_S

pytestmark = [pytest.mark.docker, pytest.mark.reliability("faults")]

STARTING = """
import sys
from pathlib import Path
from tasks.localenv.engines.docker.containers import ComposeServices
from tasks.localenv.engines.service import Deadline
from tasks.localenv.machine.parallel import side_by_side
from tasks.localenv.settings import read_settings
root, url, endpoint = sys.argv[1:]
environ = {"CONNECTION_URL": url, "AWS_ENDPOINT_URL_DYNAMODB": endpoint, "LOCALENV_SERVICES": "postgres,dynamodb"}
services = ComposeServices(read_settings(root=Path(root), environ=environ), ("postgres", "dynamodb"))
say = lambda line: print(line, flush=True)
side_by_side([lambda: services.start(Deadline(60), say), lambda: []])
"""


def failure(shop: Shop, expected: type[LocalEnvError], timeout_s: float = 60) -> LocalEnvError:
    """Start, and return the error that it ends with."""
    with pytest.raises(expected) as caught:
        shop.up(timeout_s)
    return caught.value


def starting(shop: Shop) -> subprocess.Popen[str]:
    """Start a checkout in a process of its own, in a thread of it, as `inv env.up` does."""
    assert shop.settings.dynamodb
    addresses = (shop.settings.postgres.url(masked=False), shop.settings.dynamodb.url)
    return subprocess.Popen(
        [sys.executable, "-c", STARTING, str(shop.settings.root), *addresses],
        cwd=TOOL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def when(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Act from another thread as soon as the condition holds."""

    def watch() -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < end:
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def runs(container: str) -> bool:
    return docker("ps", "--quiet", "--filter", f"name=^{container}$", "--filter", "status=running") != ""


def test_a_port_that_a_process_holds_is_named_and_nothing_is_made(shop: Shop) -> None:
    port = shop.settings.postgres.port
    with socket.create_server(("127.0.0.1", port)):
        error = failure(shop, PreflightFailed)
    assert error.message.startswith(f"port {port}, wanted for Postgres, is taken by pid {os.getpid()} (")
    assert error.hint == "stop it, or give CONNECTION_URL another port in .env"
    assert shop.left() == []


def test_a_port_that_another_project_holds_is_named(new_shop: MakeShop) -> None:
    other, shop = new_shop(), new_shop()
    other.up()
    assert other.settings.dynamodb
    assert shop.settings.dynamodb
    object.__setattr__(shop.settings, "dynamodb", other.settings.dynamodb)
    error = failure(shop, PreflightFailed)
    holder = other.container("dynamodb-local")
    assert (error.message, error.hint) == (
        f"port {other.settings.dynamodb.port}, wanted for DynamoDB, is taken by container {holder}"
        f" of Compose project {other.settings.project_id} in {other.settings.root}",
        f"`docker stop {holder}`, or give AWS_ENDPOINT_URL_DYNAMODB another port in .env",
    )


def test_an_image_that_is_nowhere_has_its_way_out(new_shop: MakeShop) -> None:
    shop = new_shop(lambda text: text.replace("amazon/dynamodb-local:3.3.0", "localhost:1/nothing:1"))
    error = failure(shop, PreflightFailed)
    assert error.message.startswith("image localhost:1/nothing:1 is not on this machine and cannot be pulled: ")
    assert error.hint == (
        "run `docker pull localhost:1/nothing:1` where the registry can be reached, or use --engine embedded"
    )


def test_a_container_that_ends_is_reported_with_its_last_lines(new_shop: MakeShop) -> None:
    script = "for i in $$(seq 30); do echo line $$i; done; exit 3"
    shop = new_shop(dynamodb_that(f"entrypoint: [sh, -c, {script!r}]"))
    error = failure(shop, ServiceFailed)
    assert (error.message, error.hint, error.evidence.splitlines()) == (
        f"container {shop.container('dynamodb-local')} exited with code 3",
        f"run `inv env.up`, or run `docker logs {shop.container('dynamodb-local')}` to see more",
        [f"line {number}" for number in range(11, 31)],
    )


def test_a_container_that_is_killed_while_it_starts_is_reported_at_once(new_shop: MakeShop) -> None:
    shop = new_shop(dynamodb_that("entrypoint: [sh, -c, exec sleep 1000]"))
    killer = when(
        lambda: runs(shop.container("dynamodb-local")), lambda: docker("kill", shop.container("dynamodb-local"))
    )
    error = failure(shop, ServiceFailed)
    killer.join()
    assert error.message == f"container {shop.container('dynamodb-local')} exited with code 137: ended by SIGKILL"


def test_a_container_that_starts_over_and_over_is_not_taken_for_a_running_one(new_shop: MakeShop) -> None:
    shop = new_shop(dynamodb_that("restart: always", "entrypoint: [sh, -c, 'echo bye; exit 3']"))
    error = failure(shop, ServiceFailed)
    name = shop.container("dynamodb-local")
    assert re.fullmatch(rf"container {name} exited with code 3: it was restarted \d+ times", error.message)
    assert set(error.evidence.splitlines()) == {"bye"}  # a line a start


def test_a_program_that_is_not_in_the_image_is_named(new_shop: MakeShop) -> None:
    shop = new_shop(dynamodb_that("entrypoint: [/no/program]"))
    error = failure(shop, ServiceFailed)
    assert error.message.startswith(
        f'container {shop.container("dynamodb-local")} cannot start its program: exec: "/no/program": '
    )


def test_a_service_that_never_answers_runs_into_the_deadline_with_its_log(new_shop: MakeShop) -> None:
    image = "    image: postgres:17-alpine\n"
    silent = image + "    entrypoint: [sh, -c, 'echo hello; exec sleep 1000']\n"
    shop = new_shop(lambda text: text.replace(image, silent))
    error = failure(shop, TimedOut, timeout_s=10)
    assert error.message.startswith(f"container {shop.container()} did not become ready within 10 s (Up ")
    assert error.evidence == "hello"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services:\n  db: [\n", r"docker-compose\.yml:\d: .+"),
        ("services: {db: {imagee: x}}\n", r"docker-compose\.yml: .*imagee.*"),
        ("services: {db: {image: '${WANTED:?say which}'}}\n", r"docker-compose\.yml: .*WANTED.*say which"),
        ("services: {db: {image: x, depends_on: [zz]}}\n", r'docker-compose\.yml: .*"zz".*'),
        ("", r"docker-compose\.yml: .+"),
    ],
    ids=["syntax", "key", "variable", "dependency", "empty"],
)
def test_a_wrong_compose_file_is_named_with_its_place(shop: Shop, text: str, message: str) -> None:
    (shop.settings.root / "docker-compose.yml").write_text(text)
    error = failure(shop, UsageError)
    assert re.fullmatch(message, error.message), error.message


def test_a_compose_file_that_breaks_while_all_runs_is_reported_and_mended(shop: Shop) -> None:
    shop.up()
    file = shop.settings.root / "docker-compose.yml"
    good = file.read_text()
    file.write_text("services: [")
    assert [state.detail.partition(":")[0] for state in shop.services.look()] == ["docker-compose.yml"] * 2
    failure(shop, UsageError)
    file.write_text(good)
    assert shop.statuses() == {"postgres": "running", "dynamodb": "running"}


def test_for_an_app_without_a_compose_file_that_of_the_tool_is_used(shop: Shop) -> None:
    (shop.settings.root / "docker-compose.yml").unlink()
    shop.up()
    assert shop.statuses() == {"postgres": "running", "dynamodb": "running"}


def test_a_line_of_dotenv_that_compose_does_not_take_is_named(shop: Shop) -> None:
    (shop.settings.root / ".env").write_text("A=1\nFOO BAR=3\n")
    assert failure(shop, UsageError).message.startswith(".env:2: ")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("until", ["network", "container"])
def test_a_start_that_was_cut_short_is_repaired_by_the_next(shop: Shop, number: signal.Signals, until: str) -> None:
    process = starting(shop)
    listing = ("network", "ls") if until == "network" else ("ps", "--all")
    when(lambda: docker(*listing, "--quiet", "--filter", shop.label) != "", lambda: process.send_signal(number)).join()
    _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -number, stderr
    shop.up()
    assert shop.statuses() == {"postgres": "running", "dynamodb": "running"}


def test_a_database_server_that_was_left_half_made_is_made_anew(new_shop: MakeShop) -> None:
    shop = new_shop()
    killer = when(lambda: runs(shop.container()), lambda: docker("kill", shop.container()))
    assert "exited with code 137" in failure(shop, ServiceFailed).message
    killer.join()
    shop.up()
    assert shop.statuses() == {"postgres": "running", "dynamodb": "running"}


def test_a_database_server_that_was_used_is_never_made_anew(shop: Shop) -> None:
    shop.up()
    volume = f"{shop.settings.project_id}_db"
    shop.services.stop(print)
    harm = "rm /var/lib/postgresql/data/global/pg_control; echo precious > /var/lib/postgresql/data/precious"
    inside = (
        "run",
        "--rm",
        "--entrypoint",
        "sh",
        "-v",
        f"{volume}:/var/lib/postgresql/data",
        "postgres:17-alpine",
        "-c",
    )
    docker(*inside, harm)
    for _ in range(2):
        assert "exited with code" in failure(shop, ServiceFailed).message
    assert docker(*inside, "cat /var/lib/postgresql/data/precious") == "precious"


def test_a_volume_in_use_elsewhere_is_named_when_it_cannot_be_removed(shop: Shop) -> None:
    shop.up()
    volume, user = f"{shop.settings.project_id}_db", f"{shop.settings.project_id}-user"
    docker("run", "-d", "--name", user, "--entrypoint", "sleep", "-v", f"{volume}:/data", "postgres:17-alpine", "1000")
    try:
        with pytest.raises(ServiceFailed) as caught:
            shop.services.destroy(print)
    finally:
        docker("rm", "--force", "--volumes", user)
    assert (caught.value.message, caught.value.hint) == (
        f"not removed: volume {volume}, in use by {user}",
        f"run `docker rm -f {user}`, then run `inv env.destroy`",
    )


def test_containers_of_another_checkout_are_left_alone(new_shop: MakeShop, tmp_path: Path) -> None:
    theirs, ours = new_shop(), new_shop()
    theirs.up()
    before = theirs.ids()
    object.__setattr__(ours.settings, "project_id", theirs.settings.project_id)
    assert {state.status for state in ours.services.look()} == {"failed"}
    for act in (ours.up, lambda: ours.services.stop(print), lambda: ours.services.destroy(print)):
        with pytest.raises(PreflightFailed, match=f"belongs to the checkout in {theirs.settings.root}$"):
            act()
    object.__setattr__(ours.settings, "project_id", "nobody")
    assert theirs.ids() == before


def test_an_engine_that_is_not_there_is_no_failure_for_looking_and_stopping(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/engine.sock")
    states, checked = shop.services.look(), preflight(shop.settings)
    shop.services.stop(print)
    owned_resources = shop.services.owned_resources()
    error = failure(shop, PreflightFailed)
    monkeypatch.undo()
    away = "the Docker engine is not running: there is no socket /no/engine.sock (DOCKER_HOST)"
    assert [(state.status, state.detail) for state in states] == [("stopped", away)] * 2
    assert (checked.ok, checked.reason, owned_resources, error.message) == (False, away, [], away)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights")
def test_a_user_without_rights_is_told_how_to_get_them(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0o600)
        for folder in (tmp_path, *tmp_path.parents):
            folder.chmod(folder.stat().st_mode | 0o011)
        os.seteuid(65534)
        try:
            with pytest.raises(PreflightFailed) as caught:
                DockerApi(parse_endpoint(f"unix://{path}", "DOCKER_HOST")).ping()
        finally:
            os.seteuid(0)
    assert (caught.value.message, caught.value.hint) == (
        f"this user may not use the Docker engine at {path} (DOCKER_HOST): permission denied",
        "run `sudo usermod -aG docker $USER` and log in again, or use --engine embedded",
    )


def test_a_network_that_was_pruned_while_all_was_stopped_is_healed_and_the_data_stays(shop: Shop) -> None:
    shop.up()
    query(shop, "CREATE TABLE kept AS SELECT 'a row' AS text")
    volumes = docker("volume", "ls", "--quiet", "--filter", shop.label)
    shop.services.stop(print)
    docker("network", "prune", "--force", "--filter", shop.label)
    shop.up()
    assert any("was removed; recreating the containers, their volumes stay" in line for line in shop.said)
    assert shop.statuses() == {"postgres": "running", "dynamodb": "running"}
    assert query(shop, "SELECT text FROM kept") == [("a row",)]
    assert docker("volume", "ls", "--quiet", "--filter", shop.label) == volumes
    before = shop.ids()
    shop.up()
    assert shop.ids() == before


@pytest.mark.parametrize("lost", ["container", "image", "volume of nobody"])
def test_what_was_removed_while_all_was_stopped_comes_back(shop: Shop, lost: str) -> None:
    shop.up()
    query(shop, "CREATE TABLE kept AS SELECT 'a row' AS text")
    shop.services.stop(print)
    if lost == "container":
        docker("rm", shop.container())
    elif lost == "image":
        docker("tag", "postgres:17-alpine", "postgres:kept")
        docker("rmi", "--force", "postgres:17-alpine")
    else:
        docker("volume", "prune", "--force", "--filter", shop.label)
    try:
        if lost == "image":
            error = failure(shop, PreflightFailed)
            assert error.message.startswith("image postgres:17-alpine is not on this machine and cannot be pulled: ")
    finally:
        if lost == "image":
            docker("tag", "postgres:kept", "postgres:17-alpine")
            docker("rmi", "postgres:kept")
    shop.up()
    assert query(shop, "SELECT text FROM kept") == [("a row",)]


def test_a_name_that_a_container_of_somebody_else_has_is_told_as_such(shop: Shop) -> None:
    docker("create", "--name", shop.container(), "--entrypoint", "true", "postgres:17-alpine")
    try:
        error = failure(shop, PreflightFailed)
    finally:
        docker("rm", shop.container())
    assert (error.message, error.hint) == (
        f"the container name {shop.container()} is taken by a container of no Compose project",
        f"run `docker rename {shop.container()} another-name`, then run `inv env.up`",
    )
    shop.up()


def query(shop: Shop, statement: str) -> list[tuple[object, ...]]:
    with closing(connect(shop.settings.postgres, database="postgres", autocommit=True)) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []
