"""Settings: precedence, checks with name and place, and the refusal to leave this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.errors import NotLocal, UsageError
from tasks.localenv.settings import Settings, emulated_pool_file, project_id, read_settings
from tasks.localenv.settings.addresses import Endpoint, PostgresAddress, parse_postgres_url
from tasks.localenv.settings.kept import keep_ports


def read(root: Path, dotenv: str = "", target: str = "local", engine: str = "", **environ: str) -> Settings:
    if dotenv:
        (root / ".env").write_text(dotenv)
    services = {"LOCALENV_SERVICES": "postgres,dynamodb,cognito"}  # the folder has none of the app's files
    return read_settings(root=root, target=target, engine=engine, environ={**services, **environ})


def test_without_any_setting_the_defaults_hold(tmp_path: Path) -> None:
    assert read(tmp_path) == Settings(
        root=tmp_path,
        state_dir=tmp_path / ".local",
        project_id=project_id(tmp_path, tmp_path / ".local"),
        target="local",
        engine="auto",
        postgres=PostgresAddress("127.0.0.1", 5432, "postgres", "password", "cruddur"),
        dynamodb=Endpoint("127.0.0.1", 8000),
        cognito=Endpoint("127.0.0.1", 9229),
        region="us-east-1",
        access_key="",
        secret_key="",
        message_table="cruddur-messages",
        user_pool_id="",
        user_pool_client_id="",
        dynamodb_local_jar=None,
        movable=("postgres", "dynamodb", "cognito"),
        checkip_url="https://checkip.amazonaws.com",
    )


@pytest.mark.parametrize(
    ("files", "wanted", "services"),
    [
        (["sql/schema.sql"], "", ("postgres",)),
        (["sql/schema.sql", "ddb/tables/orders.json"], "", ("postgres", "dynamodb")),
        (["seeds/ddb/orders.json"], "", ("dynamodb",)),
        (["sql/schema.sql", "seeds/people.csv"], "", ("postgres", "cognito")),
        (["sql/schema.sql", "sql/users/cognito_ids.sql"], "", ("postgres", "cognito")),
        (["sql/schema.sql"], "cognito, dynamodb", ("dynamodb", "cognito")),
        ([], "", ()),
    ],
)
def test_the_services_follow_from_the_files_unless_they_are_named(
    tmp_path: Path, files: list[str], wanted: str, services: tuple[str, ...]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = read(tmp_path, LOCALENV_SERVICES=wanted)
    assert (found.services, tuple(found.ports)) == (services, services)


def test_the_environment_wins_over_dotenv_and_an_empty_value_counts_as_absent(tmp_path: Path) -> None:
    dotenv = "DDB_MESSAGE_TABLE=from-file\nAWS_DEFAULT_REGION=eu-west-1\nCONNECTION_URL=\n"
    settings = read(tmp_path, dotenv, DDB_MESSAGE_TABLE="from-environment", AWS_DEFAULT_REGION="")
    assert (settings.message_table, settings.region, settings.postgres.host) == (
        "from-environment",
        "eu-west-1",
        "127.0.0.1",
    )


@pytest.mark.parametrize(
    ("dotenv", "message"),
    [
        ("\nLOCALENV_ENGINE=dokcer", "LOCALENV_ENGINE in .env:2: 'dokcer' is not one of auto, docker, embedded"),
        ("AWS_DEFAULT_REGION=mars", "AWS_DEFAULT_REGION in .env:1: 'mars' is not an AWS region such as us-east-1"),
        ("CONNECTION_URL=mysql://a@b/c", "CONNECTION_URL in .env:1: not a Postgres URL: the scheme is 'mysql', wanted"),
        ("CONNECTION_URL=postgresql://localhost", "CONNECTION_URL in .env:1: Postgres URL without user and database"),
        ("CONNECTION_URL=postgresql://a@localhost:x/c", "CONNECTION_URL in .env:1: not a Postgres URL: its host or"),
        ("AWS_ENDPOINT_URL_DYNAMODB=localhost:8000", "AWS_ENDPOINT_URL_DYNAMODB in .env:1: not a local endpoint"),
        ("export DDB_MESSAGE_TABLE=x", "DDB_MESSAGE_TABLE in .env:1: 'x' is not a DynamoDB table name"),
        ("DYNAMODB_LOCAL_JAR=/no/such.jar", "DYNAMODB_LOCAL_JAR in .env:1: no file at /no/such.jar"),
        ("DB_SG_ID=default", "DB_SG_ID in .env:1: 'default' is not the id of a security group such as sg-"),
        ("DB_SG_RULE_ID=sg-0a1b2c3d", "DB_SG_RULE_ID in .env:1: 'sg-0a1b2c3d' is not the id of a group's rule such"),
        ("LOCALENV_CHECKIP_URL=checkip", "LOCALENV_CHECKIP_URL in .env:1: not a URL such as https://"),
        ("LOCALENV_CHECKIP_URL=http://a.example", "LOCALENV_CHECKIP_URL in .env:1: http://a.example is not encrypted"),
    ],
)
def test_a_bad_value_is_named_with_its_place(tmp_path: Path, dotenv: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, dotenv)
    assert caught.value.message.startswith(message)


def test_a_near_miss_is_suggested_for_words_and_for_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, engine="dokcer")
    assert (caught.value.message, caught.value.hint) == (
        "--engine: 'dokcer' is not one of auto, docker, embedded",
        "did you mean 'docker'?",
    )
    assert read(tmp_path, "# mine\nCONECTION_URL=x\nMY_OWN=1\n").warnings == (
        ".env:2: CONECTION_URL is not read; did you mean CONNECTION_URL?",
    )


@pytest.mark.parametrize("word", ["nonprod", "preproduction", "PROD", "production", "prod ", ""])
def test_the_target_is_an_exact_word(tmp_path: Path, word: str) -> None:
    with pytest.raises(UsageError, match="--target"):
        read(tmp_path, target=word)


@pytest.mark.parametrize("host", ["db.example.com", "10.0.0.5", "0.0.0.0", "localhost.example.com", "127.0.0.1.nip.io"])
def test_the_local_target_refuses_other_machines(tmp_path: Path, host: str) -> None:
    with pytest.raises(NotLocal) as caught:
        read(tmp_path, CONNECTION_URL=f"postgresql://postgres:secret@{host}/cruddur")
    assert caught.value.message == f"CONNECTION_URL in the environment: host '{host}' is not this machine"
    with pytest.raises(NotLocal, match="AWS_ENDPOINT_URL_DYNAMODB"):
        read(tmp_path, AWS_ENDPOINT_URL_DYNAMODB=f"http://{host}:8000")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.5", "db", "dynamodb-local"])
def test_the_local_target_accepts_loopback_and_the_compose_services(tmp_path: Path, host: str) -> None:
    settings = read(tmp_path, CONNECTION_URL=f"postgresql://postgres:password@{host}/cruddur")
    assert settings.postgres.host.startswith("127.0.0.")


def test_the_apps_own_endpoint_name_means_dynamodb_alone(tmp_path: Path) -> None:
    settings = read(tmp_path, AWS_ENDPOINT_URL="http://dynamodb-local:8123")
    assert (settings.dynamodb, settings.cognito) == (Endpoint("127.0.0.1", 8123), Endpoint("127.0.0.1", 9229))


def test_prod_switches_every_store_at_once(tmp_path: Path) -> None:
    url = "postgresql://cruddurroot:s%40crt@db.example.com:5433/cruddur?sslmode=require"
    settings = read(tmp_path, target="prod", PROD_CONNECTION_URL=url, AWS_DEFAULT_REGION="ca-central-1")
    wanted = PostgresAddress("db.example.com", 5433, "cruddurroot", "s@crt", "cruddur", (("sslmode", "require"),))
    assert (settings.target, settings.postgres, settings.dynamodb, settings.cognito) == ("prod", wanted, None, None)
    with pytest.raises(UsageError, match="needs PROD_CONNECTION_URL"):
        read(tmp_path, target="prod", AWS_DEFAULT_REGION="ca-central-1")
    with pytest.raises(UsageError, match="needs AWS_DEFAULT_REGION"):
        read(tmp_path, target="prod", PROD_CONNECTION_URL=url)


def test_a_pool_id_means_a_real_pool_unless_it_is_the_emulated_one(tmp_path: Path) -> None:
    pool = "us-east-1_AbCdEfGhI"
    assert not read(tmp_path, AWS_COGNITO_USER_POOL_ID=pool).cognito_is_emulated
    note = emulated_pool_file(tmp_path / ".local")
    note.parent.mkdir()
    note.write_text(pool + "\n")
    assert read(tmp_path, AWS_COGNITO_USER_POOL_ID=pool).cognito_is_emulated


def test_a_password_is_masked_and_survives_the_round_trip() -> None:
    address = parse_postgres_url("postgresql://me:p%40ss%2Fword@[::1]:5433/my%20db")
    assert (address.password, address.url(), address.url(masked=False)) == (
        "p@ss/word",
        "postgresql://me:***@[::1]:5433/my%20db",
        "postgresql://me:p%40ss%2Fword@[::1]:5433/my%20db",
    )
    assert parse_postgres_url(address.url(masked=False)) == address
    assert replace(address, password="").url() == "postgresql://me@[::1]:5433/my%20db"


def test_the_ports_that_were_picked_for_this_checkout_hold_where_nobody_has_set_an_address(tmp_path: Path) -> None:
    project = project_id(tmp_path, tmp_path / ".local")
    keep_ports(tmp_path / ".local", project, {"postgres": 5433, "dynamodb": 8001, "cognito": 9230})
    settings = read(tmp_path, AWS_ENDPOINT_URL="http://localhost:8123")
    assert (settings.ports, settings.movable) == (
        {"postgres": 5433, "dynamodb": 8123, "cognito": 9230},
        ("postgres", "cognito"),
    )
    prod = read(tmp_path, target="prod", PROD_CONNECTION_URL="postgresql://u@h/d", AWS_DEFAULT_REGION="us-east-1")
    assert prod.ports == {"postgres": 5432}


@pytest.mark.parametrize("note", ['{"project": "other-123456", "ports": {"postgres": 5433}}', "{", "[]", "null", ""])
def test_the_note_of_another_checkout_and_a_broken_one_do_not_count(tmp_path: Path, note: str) -> None:
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local" / "ports").write_text(note)
    assert read(tmp_path).ports == {"postgres": 5432, "dynamodb": 8000, "cognito": 9229}


def test_two_checkouts_have_two_project_ids(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "My App", tmp_path / "two" / "My App"
    ids = {project_id(root, root / ".local") for root in (one, two)}
    assert len(ids) == 2 and all(name.startswith("my-app-") for name in ids)


@pytest.mark.parametrize(
    ("dotenv", "message", "hint"),
    [
        ("PROD_AWS_ACCOUNT_ID: 123456789012", ".env:1: not a line of the form NAME=value", "write it as PROD_AWS"),
        ("# c\n\n  PROD_AWS_ACCOUNT_ID: 1\nA=b", ".env:3: not a line of the form NAME=value", "write it as PROD_AWS"),
        ("A=b\nCONNECTION_URL='postgresql://u:hush@localhost/db\nB=c", ".env:2: not a line of", "close its quote"),
        ('A=b\r\nCONNECTION_URL="postgresql://u:hush@localhost/db\r\n', ".env:2: not a line of", "close its quote"),
        ("DB_SG_ID", ".env:1: not a line of the form NAME=value", "write it as DB_SG_ID=value"),
        ("export DB_SG_ID", ".env:1: not a line of the form NAME=value", "write it as DB_SG_ID=value"),
        ("docker run -it x", ".env:1: not a line of the form NAME=value", "write it as docker=value"),
    ],
)
def test_a_line_of_dotenv_that_says_nothing_is_an_error_at_its_place(
    tmp_path: Path, dotenv: str, message: str, hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, dotenv)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint
    assert "hush" not in f"{caught.value.message}{caught.value.hint}"


def test_dotenv_may_have_what_other_readers_of_it_take(tmp_path: Path) -> None:
    text = "\ufeff# c\nexport A = 'b' # d\nNOT_OURS\nMORE=\"x\ny\"\nLOCALENV_ENGINE=embedded\n"
    assert read(tmp_path, text).engine == "embedded"


def test_a_real_pool_on_the_local_target_is_said(tmp_path: Path) -> None:
    assert read(tmp_path, "AWS_COGNITO_USER_POOL_ID=us-east-1_AbCdEfGhI").warnings == (
        "AWS_COGNITO_USER_POOL_ID names a real pool: users are read from AWS, us-east-1_AbCdEfGhI",
    )


def test_another_region_for_other_sdks_is_said(tmp_path: Path) -> None:
    told = "AWS_REGION is eu-west-1, and AWS_DEFAULT_REGION ca-central-1: this tool and boto3 read the latter alone"
    assert read(tmp_path, "AWS_REGION=eu-west-1\nAWS_DEFAULT_REGION=ca-central-1").warnings == (told,)
    assert read(tmp_path, "AWS_REGION=eu-west-1\nAWS_DEFAULT_REGION=eu-west-1").warnings == ()


def test_variables_of_libpq_are_said_to_be_ignored() -> None:
    settings = read_settings(environ={"PGHOST": "db.example", "PGSERVICE": "prod", "PGSSLMODE": "require"})
    assert settings.warnings == ("PGHOST, PGSERVICE: ignored, the connection URL alone says where and as whom",)
