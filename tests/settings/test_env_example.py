""".env.example against the table of settings: it names every variable, and a copy of it changes nothing."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import read_settings
from tasks.localenv.settings.variables import PORT_VARIABLES, VARIABLES

EXAMPLE = TOOL / ".env.example"
FOR_COMPOSE = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_PORT", "DYNAMODB_PORT", "DYNAMODB_CORS"}
OF_THE_APP = {
    "CONNECTION_URL",
    "PROD_CONNECTION_URL",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_COGNITO_USER_POOL_ID",
    "AWS_COGNITO_USER_POOL_CLIENT_ID",
    "DDB_MESSAGE_TABLE",
    "DB_SG_ID",
    "DB_SG_RULE_ID",
    "GITPOD_IP",
}
"""Names that the Cruddur app and its scripts have always used."""


def named() -> list[str]:
    return re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", EXAMPLE.read_text(), re.MULTILINE)


def test_it_names_every_variable_once_and_no_other() -> None:
    known = [name for variable in VARIABLES for name in (variable.name, variable.formerly) if name]
    assert sorted(named()) == sorted([*known, *FOR_COMPOSE])


def test_the_names_of_the_app_are_kept() -> None:
    assert {variable.name for variable in VARIABLES} >= OF_THE_APP


def test_it_shows_each_default() -> None:
    shown = dict(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.+)$", EXAMPLE.read_text(), re.MULTILINE))
    defaults = {variable.name: variable.default for variable in VARIABLES if variable.default}
    assert {name: value for name, value in shown.items() if name not in FOR_COMPOSE} == defaults


def test_an_address_is_commented_out_so_that_a_copy_fixes_no_port() -> None:
    assert not re.search(rf"^({'|'.join(PORT_VARIABLES.values())})=", EXAMPLE.read_text(), re.MULTILINE)


def test_a_copy_of_it_changes_nothing(tmp_path: Path) -> None:
    without = read_settings(root=tmp_path, environ={})
    shutil.copy(EXAMPLE, tmp_path / ".env")
    assert read_settings(root=tmp_path, environ={}) == without


def test_the_variables_of_compose_are_those_of_the_compose_file() -> None:
    text = (TOOL / "docker-compose.yml").read_text()
    assert set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text)) == FOR_COMPOSE
