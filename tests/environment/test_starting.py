"""What `inv init` finds in an app, and writes from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.localenv.environment import starting
from tasks.localenv.errors import UsageError


def put(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def found(root: Path) -> dict[str, str]:
    return {file.path: file.source for file in starting.find_files(root)}


def test_an_empty_folder_has_nothing_to_write_from(tmp_path: Path) -> None:
    assert found(tmp_path) == {}
    assert starting.missing_lines(tmp_path) == []


def test_the_nearest_schema_is_included_and_none_of_a_library(tmp_path: Path) -> None:
    put(tmp_path, node_modules__x__schema_dot_sql="select 1;", deep__a__b__schema_dot_sql="select 1;")
    put(tmp_path, _dot_venv__schema_dot_sql="select 1;", db__schema_dot_sql="select 2;", db__init_dot_sql="select 3;")
    put(tmp_path, **{"my db__seed_dot_sql": "select 4;", "empty__seed_dot_sql": ""})
    assert found(tmp_path) == {"sql/schema.sql": "db/schema.sql", "seeds/sql/01_seed.sql": "my db/seed.sql"}
    starting.write(tmp_path, starting.find_files(tmp_path))
    assert (tmp_path / "seeds/sql/01_seed.sql").read_text().endswith("\n\\ir '../../my db/seed.sql'\n")
    assert found(tmp_path) == {}


@pytest.mark.parametrize(
    ("service", "dotenv", "line"),
    [
        ("image: postgres", "", "postgresql://postgres@127.0.0.1:5432/a_shop"),
        ("{image: 'postgis/postgis:16', ports: ['15432:5432']}", "", "postgresql://postgres@127.0.0.1:15432/a_shop"),
        (
            "{image: postgres, environment: [POSTGRES_USER=me, POSTGRES_PASSWORD=a=b/c, POSTGRES_DB], ports: [5432]}",
            "",
            "postgresql://me:a%3Db%2Fc@127.0.0.1:5432/a_shop",
        ),
        (
            "{image: postgres, environment: {POSTGRES_DB: '${DB:-shop}'}, ports: ['127.0.0.1:${PORT}:5432/tcp']}",
            "PORT=5433\n",
            "postgresql://postgres@127.0.0.1:5433/shop",
        ),
        (
            "{image: postgres, ports: [{target: 5432, published: 6000}]}",
            "",
            "postgresql://postgres@127.0.0.1:6000/a_shop",
        ),
    ],
)
def test_the_address_follows_from_the_compose_file(tmp_path: Path, service: str, dotenv: str, line: str) -> None:
    root = tmp_path / "A shop"
    root.mkdir()
    service = service if service.startswith("{") else f"{{{service}}}"
    put(root, compose_dot_yaml=f"services: {{web: {{image: nginx}}, main: {service}}}")
    if dotenv:
        put(root, _dot_env=dotenv)
        assert ".env" not in found(root)
        assert starting.missing_lines(root) == [f"CONNECTION_URL={line}"]
    else:
        assert starting.find_files(root)[0].text.splitlines()[1:] == [f"CONNECTION_URL={line}"]


def test_a_dynamodb_that_only_the_compose_file_has_is_wanted_too(tmp_path: Path) -> None:
    put(
        tmp_path,
        compose_dot_yml="services: {a: {image: postgres}, b: {image: amazon/dynamodb-local, ports: ['8001:8000']}}",
    )
    lines = starting.find_files(tmp_path)[0].text.splitlines()[2:]
    assert lines == ["AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8001", "LOCALENV_SERVICES=postgres,dynamodb"]
    put(tmp_path, ddb__tables__a_dot_json="{}")
    assert starting.find_files(tmp_path)[0].text.splitlines()[2:] == lines[:1]


def test_what_has_come_up_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    put(tmp_path, db__schema_dot_sql="select 1;")
    files = starting.find_files(tmp_path)
    put(tmp_path, sql__schema_dot_sql="select 2;")
    with pytest.raises(UsageError, match="already exists"):
        starting.write(tmp_path, files)
    assert (tmp_path / "sql/schema.sql").read_text() == "select 2;"
