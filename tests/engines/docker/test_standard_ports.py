"""The standard ports under docker: containers move there with their data, and a container that has one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.localenv.engines import portclaims
from tasks.localenv.engines.docker.plaincompose import explained
from tasks.localenv.machine.ports import PortsTaken
from tasks.localenv.settings import read_settings
from tasks.localenv.settings.kept import keep_ports
from tasks.localenv.settings.variables import STANDARD_PORTS
from tests.engines.docker.shop import MakeShop, Shop
from tests.engines.docker.test_containers import DATA, RUNNING, read_data, write_data
from tests.support.environments import permitted
from tests.support.ports import find_free

pytestmark = pytest.mark.docker
UNSET = {"LOCALENV_ENGINE": "docker", "LOCALENV_SERVICES": "postgres,dynamodb"}


@pytest.fixture
def picked(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The shop at ports that an earlier start has picked; the standard ones are such that nobody here has."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for service in STANDARD_PORTS:
        monkeypatch.setitem(STANDARD_PORTS, service, find_free())
    settings = shop.settings
    keep_ports(settings.state_dir, settings.project_id, settings.ports)
    return read_again(shop)


def read_again(shop: Shop) -> Shop:
    return Shop(permitted(read_settings(root=shop.settings.root, environ=UNSET)))


def test_containers_move_to_the_standard_ports_with_their_data(picked: Shop) -> None:
    picked.up()
    write_data(picked)
    lines = portclaims.claim_standard(picked.settings, [])
    moved = read_again(picked)
    assert (len(lines), moved.settings.ports) == (2, {name: STANDARD_PORTS[name] for name in ("postgres", "dynamodb")})
    moved.up()
    assert (read_data(moved), moved.statuses()) == (DATA, RUNNING)


def test_the_container_that_has_a_standard_port_is_named_with_its_folder(picked: Shop, new_shop: MakeShop) -> None:
    other = new_shop()
    other.up()
    STANDARD_PORTS["postgres"] = other.settings.postgres.port
    with pytest.raises(PortsTaken) as caught:
        portclaims.claim_standard(picked.settings, [])
    holder = f"container {other.container()} of Compose project {other.settings.project_id} in {other.settings.root}"
    assert caught.value.message == f"port {other.settings.postgres.port}, wanted for postgres, is taken by {holder}"
    assert "--adopt" not in explained(caught.value, picked.settings).hint
    assert read_again(picked).settings.ports == picked.settings.ports
