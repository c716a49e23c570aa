"""Under docker, too, a reset by copy forgets nothing of what the files make outside of schemas."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.localenv.postgres import setup
from tests.engines.docker.shop import Shop
from tests.support import outside
from tests.support.projects import build, run_sql, silent


@pytest.mark.docker
def test_a_reset_makes_all_as_the_files_do_and_keeps_the_properties_of_the_database(shop: Shop) -> None:
    shop.up()
    project = replace(shop.settings, postgres=replace(shop.settings.postgres, database="shop"))
    run_sql(project, "create database shop template template0 encoding 'LATIN1' locale 'C'", database="postgres")
    outside.files(project)
    build(project)
    made, own = outside.inside(project), outside.own(project)
    assert ("LATIN1" in str(own), "7s" in str(own)) == (True, True)
    run_sql(project, outside.CHANGED)
    assert "a copy of what the same files made" in setup.reset(project, silent)
    assert (outside.inside(project), outside.own(project)) == (made, own)
