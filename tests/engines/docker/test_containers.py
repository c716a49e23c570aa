"""The containers through their life: fresh, again, changed, stopped, removed."""

from __future__ import annotations

import os
import subprocess
import threading
from dataclasses import replace

import pytest

from tasks.localenv.engines.embedded.home import installed_programs
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.postgres.connection import connect
from tasks.localenv.postgres.elsewhere import DOCKER, EMBEDDED, EXTENSIONS
from tasks.localenv.settings.addresses import Endpoint
from tests.engines.docker.shop import MakeShop, Shop, docker, dynamodb_that
from tests.support.boto import local_client
from tests.support.environments import PATIENCE_S
from tests.support.ports import find_free

pytestmark = pytest.mark.docker

RUNNING = {"postgres": "running", "dynamodb": "running"}
STOPPED = {"postgres": "stopped", "dynamodb": "stopped"}


def write_data(shop: Shop) -> None:
    with connect(shop.settings.postgres, database="postgres", autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('there')")
    local_client(shop.settings, "dynamodb").create_table(
        TableName="kept",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def read_data(shop: Shop) -> tuple[list[tuple[str]], list[str]]:
    with connect(shop.settings.postgres, database="postgres") as connection:
        rows = connection.execute("SELECT word FROM kept").fetchall()
    return rows, local_client(shop.settings, "dynamodb").list_tables()["TableNames"]


DATA = ([("there",)], ["kept"])


def test_a_fresh_start_brings_both_services_up_and_a_second_one_changes_nothing(shop: Shop) -> None:
    states = shop.up()
    postgres, dynamodb = shop.settings.postgres, shop.settings.dynamodb
    assert dynamodb
    assert [(state.service, state.status, state.address, state.detail, state.holder) for state in states] == [
        ("postgres", "running", f"127.0.0.1:{postgres.port}", "", f"container {shop.container()}"),
        ("dynamodb", "running", f"127.0.0.1:{dynamodb.port}", "", f"container {shop.container('dynamodb-local')}"),
    ]
    assert [state.version.split(" ")[0] for state in states] == ["postgres:17-alpine", "amazon/dynamodb-local:3.3.0"]
    before = shop.ids()
    shop.said.clear()
    assert (shop.up(), shop.ids(), shop.said) == (states, before, [])


def test_stopping_keeps_the_data_and_removing_leaves_nothing(shop: Shop) -> None:
    shop.up()
    write_data(shop)
    shop.services.stop(print)
    assert shop.statuses() == STOPPED
    shop.up()
    assert read_data(shop) == DATA
    kinds = [thing.split()[0] for thing in shop.services.owned_resources()]
    assert kinds == ["container", "container", "volume", "volume", "network"]
    shop.services.destroy(print)
    assert (shop.left(), shop.services.owned_resources(), shop.statuses()) == ([], [], STOPPED)


def test_stopping_and_removing_need_no_compose_file(shop: Shop) -> None:
    shop.up()
    (shop.settings.root / "docker-compose.yml").write_text("services: [")
    shop.services.stop(print)
    assert shop.statuses() == STOPPED
    shop.services.destroy(print)
    assert shop.left() == []


def test_stopping_what_does_not_run_does_nothing(shop: Shop) -> None:
    shop.services.stop(shop.said.append)
    shop.services.destroy(shop.said.append)
    assert shop.said == []


@pytest.mark.parametrize(
    ("user", "password"),
    [("postgres", 'it\'s \\new: %s $HOME "x"'), ('o\'mar "x"', "password")],
    ids=["password", "user"],
)
def test_a_new_user_or_password_is_taken_over_and_the_data_stays(shop: Shop, user: str, password: str) -> None:
    shop.up()
    write_data(shop)
    changed = Shop(replace(shop.settings, postgres=replace(shop.settings.postgres, user=user, password=password)))
    assert changed.statuses() == {"postgres": "starting", "dynamodb": "running"}
    changed.up()
    assert read_data(changed) == DATA
    assert changed.said[-1] == f"the database server was created with another user or password; {user} can log in now"


def test_another_port_replaces_the_containers_and_the_data_stays(shop: Shop) -> None:
    shop.up()
    write_data(shop)
    moved = Shop(
        replace(
            shop.settings,
            postgres=replace(shop.settings.postgres, port=find_free()),
            dynamodb=Endpoint("127.0.0.1", find_free()),
        )
    )
    moved.up()
    assert (read_data(moved), moved.statuses()) == (DATA, RUNNING)


def test_a_changed_compose_file_is_seen_and_taken_up(shop: Shop) -> None:
    shop.up()
    file = shop.settings.root / "docker-compose.yml"
    file.write_text(file.read_text().replace("pg_isready -q", "pg_isready"))
    assert shop.statuses() == {"postgres": "starting", "dynamodb": "running"}
    shop.up()
    assert shop.statuses() == RUNNING


def test_an_override_file_is_read_too(shop: Shop) -> None:
    (shop.settings.root / "docker-compose.override.yml").write_text("services: {db: {labels: {team: red}}}\n")
    shop.up()
    assert docker("inspect", "--format", '{{index .Config.Labels "team"}}', shop.container()) == "red"


@pytest.mark.parametrize("harm", ["pause", "kill", "stop", "rm"])
def test_a_container_that_was_harmed_comes_back_with_its_data(shop: Shop, harm: str) -> None:
    shop.up()
    write_data(shop)
    docker(harm, *(["--force"] if harm == "rm" else []), shop.container())
    assert shop.statuses() == {"postgres": "failed" if harm == "pause" else "stopped", "dynamodb": "running"}
    shop.up()
    assert (read_data(shop), shop.statuses()) == (DATA, RUNNING)


def test_two_checkouts_start_side_by_side_and_do_not_touch_each_other(new_shop: MakeShop) -> None:
    one, other = new_shop(), new_shop()
    both = [threading.Thread(target=shop.up) for shop in (one, other)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert (one.statuses(), other.statuses()) == (RUNNING, RUNNING)
    one.services.destroy(print)
    assert (one.statuses(), other.statuses()) == (STOPPED, RUNNING)


def test_two_starts_of_one_checkout_at_once_both_succeed(shop: Shop) -> None:
    outcomes: list[dict[str, str]] = []

    def start() -> None:
        outcomes.append({state.service: state.status for state in shop.up()})

    both = [threading.Thread(target=start) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert (outcomes, len(shop.ids())) == ([RUNNING, RUNNING], 2)


def test_the_compose_file_works_without_this_tool(new_shop: MakeShop) -> None:
    shop = new_shop()
    ports = {"POSTGRES_PORT": str(shop.settings.postgres.port), "DYNAMODB_PORT": str(shop.settings.dynamodb.port)}  # type: ignore[union-attr]
    subprocess.run(
        ["docker", "compose", "-p", shop.settings.project_id, "up", "-d", "--wait"],
        cwd=shop.settings.root,
        env={**os.environ, **ports},
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    assert shop.statuses() == RUNNING
    published = docker("ps", "--format", "{{.Ports}}", "--filter", shop.label).splitlines()
    assert all(line.startswith("127.0.0.1:") and "," not in line for line in published)
    shown = docker("ps", "--format", "{{.Status}}", "--filter", shop.label)
    assert shown.count("(healthy)") == 2


def test_another_service_of_the_file_that_fails_does_not_stop_ours(new_shop: MakeShop) -> None:
    taken = new_shop()
    taken.up()
    port = taken.settings.postgres.port
    shop = new_shop(
        lambda text: text.replace(
            "\nvolumes:\n",
            f'\n  extra:\n    image: postgres:17-alpine\n    ports: ["127.0.0.1:{port}:5432"]\n\nvolumes:\n',
            1,
        )
    )
    shop.up()
    assert shop.statuses() == RUNNING
    assert shop.said[-2].startswith(f"extra is not started: port {port} is taken: ")
    assert shop.said[-1] == "extra does not run: Created; `inv env.logs extra` shows what it wrote"


def test_the_log_of_a_service_is_to_be_had_while_it_runs_and_afterwards(new_shop: MakeShop) -> None:
    shop = new_shop(dynamodb_that("environment: {JAVA_TOOL_OPTIONS: -Dshop=red}"))
    assert shop.services.logs("postgres") == ""
    shop.up()
    assert "database system is ready to accept connections" in shop.services.logs("postgres", 5)
    shop.services.stop(print)
    assert shop.services.logs("postgres", 1).endswith("database system is shut down")
    assert "-Dshop=red" in shop.services.logs("dynamodb", 50)


def test_which_extensions_one_engine_alone_has(new_shop: MakeShop) -> None:
    shop = new_shop()
    shop.up()
    query = "SELECT string_agg(name, ' ') FROM pg_available_extensions"
    in_docker = set(docker("exec", shop.container(), "psql", "-AtU", "postgres", "-c", query).split())
    in_wheel = {path.stem for path in (installed_programs() / "share" / "extension").glob("*.control")}
    ours = {path.stem for path in (TOOL / "tasks/localenv/engines/embedded/extension").glob("*.control")}
    assert in_docker - in_wheel - ours == {name for name, hint in EXTENSIONS.items() if hint == DOCKER}
    assert in_wheel - in_docker == {name for name, hint in EXTENSIONS.items() if hint == EMBEDDED}
