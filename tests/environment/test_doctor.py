"""doctor: what it finds on a machine, and the remedy that it names."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.localenv.environment import doctor
from tasks.localenv.environment.doctor import Finding
from tasks.localenv.settings import Settings, read_settings
from tests.support.environments import environment, inv


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of an embedded environment that nobody has started."""
    return read_settings(environ=environment(tmp_path / "state"))


def about(subject: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.subject == subject]


def test_a_fit_machine_has_nothing_that_blocks(settings: Settings) -> None:
    findings = doctor.examine(settings)
    assert [finding for finding in findings if finding.level == "FAIL"] == []
    assert {finding.subject for finding in findings} >= {
        *("python", "packages", "settings", "folder", "disk"),
        *("engine", "docker", "embedded", "ports", "aws"),
    }
    assert not doctor.has_failure(findings)


def test_looking_leaves_no_trace(settings: Settings) -> None:
    doctor.examine(settings)
    assert not settings.state_dir.exists()


def test_free_ports_are_named_with_their_services(settings: Settings) -> None:
    assert settings.dynamodb
    assert settings.cognito
    assert about("ports", doctor.examine(settings)) == [
        Finding("ports", "ok", f"postgres 127.0.0.1:{settings.postgres.port}: free"),
        Finding("ports", "ok", f"dynamodb {settings.dynamodb}: free"),
        Finding("ports", "ok", f"cognito {settings.cognito}: free"),
    ]


def test_the_holder_of_a_taken_port_is_named(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", settings.postgres.port)):
        findings = about("ports", doctor.examine(settings))
    assert findings[0].level == "FAIL"
    assert f"port {settings.postgres.port}, wanted for postgres, is taken by pid {os.getpid()}" in findings[0].text
    assert "give CONNECTION_URL another port in .env" in findings[0].hint


def test_one_port_for_two_services_is_found(settings: Settings) -> None:
    twice = replace(settings, cognito=settings.dynamodb)
    assert settings.dynamodb
    assert about("ports", doctor.examine(twice))[2] == Finding(
        "ports",
        "FAIL",
        f"dynamodb and cognito both have port {settings.dynamodb.port}",
        "give AWS_ENDPOINT_URL_COGNITO_IDENTITY_PROVIDER another port in .env",
    )


def test_running_services_are_told_from_strangers(live: Settings) -> None:
    findings = about("ports", doctor.examine(live))
    assert [(finding.level, "running, pid" in finding.text) for finding in findings] == [("ok", True)] * 3


def test_a_near_miss_in_dotenv_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CONECTION_URL=x\n")
    settings = read_settings(root=tmp_path, environ={"LOCALENV_ENGINE": "embedded"})
    assert about("settings", doctor.examine(settings)) == [
        Finding(
            "settings",
            "warn",
            ".env:1: CONECTION_URL is not read; did you mean CONNECTION_URL?",
            "correct the name in .env, or remove the line",
        )
    ]


def test_an_endpoint_for_every_service_is_a_warning(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:8000")
    assert about("settings", doctor.examine(settings))[-1] == Finding(
        "settings",
        "warn",
        "AWS_ENDPOINT_URL is set: boto3 and the AWS CLI send every service's calls to http://localhost:8000",
        "rename it to AWS_ENDPOINT_URL_DYNAMODB",
    )


@pytest.mark.parametrize(("free_mb", "level"), [(100, "FAIL"), (500, "warn"), (5000, "ok")])
def test_disk_space_is_measured(settings: Settings, monkeypatch: pytest.MonkeyPatch, free_mb: int, level: str) -> None:
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=free_mb * 1024**2))
    assert [finding.level for finding in about("disk", doctor.examine(settings))] == [level]


def test_docker_that_was_asked_for_and_is_not_there_blocks(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = doctor.examine(replace(settings, engine="docker"))
    [found] = about("docker", findings)
    assert (found.level, found.text) == ("FAIL", "docker is not installed")
    assert "embedded" in found.hint
    assert doctor.has_failure(findings)


def test_docker_that_is_not_there_blocks_nobody_else(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = doctor.examine(settings)
    assert about("docker", findings) == [Finding("docker", "ok", "not used: docker is not installed")]
    assert not doctor.has_failure(findings)


def test_a_jar_without_java_blocks(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = about("java", doctor.examine(replace(settings, dynamodb_local_jar=tmp_path / "DynamoDBLocal.jar")))
    assert [(found.level, found.text) for found in findings] == [
        ("FAIL", "DYNAMODB_LOCAL_JAR is set, but there is no java on the PATH")
    ]


def test_packages_that_differ_from_the_lock_are_named(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "invoke==0.1 \\\n    --hash=sha256:00\nno-such-package==1.0 \\\n    --hash=sha256:00\n"
        "only-elsewhere==1.0 ; python_full_version < '3.1'\nof-windows==1.0 ; sys_platform == 'win32'\n"
    )
    [found] = about("packages", doctor.examine_python(tmp_path))
    assert (found.level, found.hint) == ("warn", "run `pip install -r requirements.txt`, or use ./inv")
    assert found.text.endswith("but the lock file has 0.1; no-such-package is not installed")


@pytest.fixture
def doctor_command(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Run `inv doctor` in a process of its own, against an environment that nobody has started."""

    def run(*words: str, **environ: str) -> tuple[int, str, str]:
        done = inv("doctor", *words, environ={**environment(tmp_path / "state"), **environ}, cwd=tmp_path)
        return done.code, done.stdout, done.stderr

    return run


def test_the_command_prints_a_table(doctor_command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = doctor_command()
    assert (code, err) == (0, "")
    assert out.split()[:3] == ["ok", "python", "Python"]


def test_the_command_ends_with_6_when_something_blocks(doctor_command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = doctor_command("--format", "json", DYNAMODB_LOCAL_JAR=str(Path(__file__)), PATH="/nonexistent")
    assert (code, err) == (6, "")
    assert [found["text"] for found in json.loads(out)["data"] if found["level"] == "FAIL"] == [
        "DYNAMODB_LOCAL_JAR is set, but there is no java on the PATH"
    ]


def test_settings_that_cannot_be_read_are_a_finding(doctor_command: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = doctor_command("--format", "json", CONNECTION_URL="mysql://x")
    assert code == 6
    assert json.loads(out)["data"][-1] == {
        "subject": "settings",
        "level": "FAIL",
        "text": "CONNECTION_URL in the environment: not a Postgres URL: the scheme is 'mysql', wanted 'postgresql'",
        "hint": "correct it in .env or in the environment",
    }
