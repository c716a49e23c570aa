"""The files for Gitpod, dev containers and GitHub Actions: each command in them is run as its host does, in a copy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks.localenv import engines
from tasks.localenv.machine.folders import TOOL
from tasks.localenv.settings import read_settings
from tests.support.environments import PATIENCE_S, Finished, environment
from tests.support.seeded import quiet

ACTION = Path(".github/actions/initial-setup")
HOOK = "localenv: ready in "
PASSED = ("PATH", "PYTHONPATH", "LANG")


def read_yaml(path: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((TOOL / path).read_text())
    return found


def read_devcontainer() -> dict[str, Any]:
    """Read JSON with comments, which stand on lines of their own."""
    text = (TOOL / ".devcontainer/devcontainer.json").read_text()
    found: dict[str, Any] = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    return found


@dataclass
class Checkout:
    """A copy of this checkout, with packages but nothing else, and the variables that its host sets."""

    root: Path
    environ: dict[str, str]

    def run(self, command: str, *shell: str, **environ: str) -> Finished:
        """Run a command as a host does: by a shell, in the root of the checkout, with nobody to answer."""
        done = subprocess.run(
            [*(shell or ("bash", "-c")), command],
            cwd=self.root,
            env={**self.environ, **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def checkout() -> Iterator[Checkout]:
    """A copy in which nothing has run yet. Where postgres runs as another user, it has to reach it."""
    with tempfile.TemporaryDirectory(prefix="localenv-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        root = folder / "a checkout"
        ours = shutil.ignore_patterns(".venv*", ".local", ".git", ".env", ".*_cache", "__pycache__", "bench")
        shutil.copytree(TOOL, root, ignore=ours)
        python = root / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')  # as ./inv would install it
        python.chmod(0o755)
        shutil.copy(TOOL / "requirements.txt", root / ".venv")
        (folder / "home").mkdir()
        services = environment(root / ".local")
        environ = {**{name: os.environ[name] for name in PASSED if name in os.environ}, "HOME": str(folder / "home")}
        yield Checkout(root, {**environ, **services})
        engines.destroy(read_settings(root=root, environ=services), quiet)


# --- Gitpod: https://www.gitpod.io/docs/configure/workspaces/tasks ----------------------------------------------------


def test_a_gitpod_workspace_is_ready_after_its_first_start_and_after_a_restart(checkout: Checkout) -> None:
    config = read_yaml(".gitpod.yml")
    assert set(config) == {"tasks", "ports"}
    for phases in (["before", "init", "command"], ["before", "command"]):
        for task in config["tasks"]:
            assert set(task) <= {"name", "before", "init", "command"}
            done = checkout.run(" && ".join(f"{{ {task[phase]}\n}}" for phase in phases if phase in task))
            assert done.code == 0, done.stderr
            assert done.stdout.startswith(HOOK) == (task["name"] == "localenv"), done.stdout
        assert checkout.run("./inv env.down").code == 0


def test_gitpod_opens_nothing_on_the_ports() -> None:
    settings = read_settings(root=Path("/nowhere"), environ={})
    assert settings.dynamodb and settings.cognito
    assert read_yaml(".gitpod.yml")["ports"] == [
        {"name": "postgres", "port": settings.postgres.port, "onOpen": "ignore"},
        {"name": "dynamodb", "port": settings.dynamodb.port, "onOpen": "ignore"},
        {"name": "cognito", "port": settings.cognito.port, "onOpen": "ignore"},
    ]


# --- Dev containers: https://containers.dev/implementors/json_reference/ ----------------------------------------------


def test_a_dev_container_is_ready_after_it_was_made_and_after_each_start(checkout: Checkout) -> None:
    config = read_devcontainer()
    starting: dict[str, str] = config["postStartCommand"]
    for commands in ([config["postCreateCommand"], *starting.values()], starting.values()):
        done = [checkout.run(command, "sh", "-c") for command in commands]
        assert [finished.code for finished in done] == [0] * len(done), done
        assert [finished.stdout[: len(HOOK)] for finished in done if finished.stdout] == [HOOK]


def test_the_dev_container_says_what_the_specification_knows() -> None:
    config = read_devcontainer()
    assert {name: type(value) for name, value in config.items()} == {
        "name": str,
        "image": str,
        "postCreateCommand": str,
        "postStartCommand": dict,
        "waitFor": str,
        "forwardPorts": list,
        "portsAttributes": dict,
    }
    assert config["waitFor"] == "postStartCommand"
    assert config["forwardPorts"] == [port["port"] for port in read_yaml(".gitpod.yml")["ports"]]
    assert list(config["portsAttributes"]) == [str(port) for port in config["forwardPorts"]]


def test_without_a_security_group_the_rule_is_left_alone_and_with_one_its_own_exit_code_counts(
    checkout: Checkout,
) -> None:
    commands = {read_yaml(".gitpod.yml")["tasks"][1]["command"], read_devcontainer()["postStartCommand"]["rds"]}
    for command in commands:
        assert checkout.run(command) == Finished(0, "", "")
        done = checkout.run(command, DB_SG_ID="not-a-group")
        assert (done.code, "DB_SG_ID in the environment" in done.stderr) == (2, True), done.stderr


# --- GitHub Actions ---------------------------------------------------------------------------------------------------

FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STEP_SUMMARY")


def run_step(checkout: Checkout, step: dict[str, Any], folder: Path, values: dict[str, str]) -> Finished:
    """Run a step of the action as the runner does; `values` stand for its expressions.

    https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax: bash is bash -e -o pipefail FILE
    """
    script = folder / "step.sh"
    script.write_text(step["run"])
    given = {name: values[re.sub(r"\$\{\{ (\S+) }}", r"\1", text)] for name, text in step["env"].items()}
    runner = {name: str(folder / name) for name in FILES}
    for path in runner.values():
        Path(path).touch()
    runner |= {"GITHUB_WORKSPACE": str(checkout.root), "GITHUB_ACTION_PATH": str(checkout.root / ACTION)}
    shell = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
    return checkout.run(str(script), *shell, GITHUB_ACTIONS="true", **runner, **given)


def outputs(path: Path) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in path.read_text().splitlines())


def test_the_action_gives_the_steps_that_follow_what_they_need(checkout: Checkout, tmp_path: Path) -> None:
    action = read_yaml(ACTION / "action.yml")
    steps = {step["id"]: step for step in action["runs"]["steps"] if "id" in step}
    placed = run_step(checkout, steps["place"], tmp_path, {"inputs.folder": ""})
    assert placed.code == 0, placed.stderr
    place = outputs(tmp_path / "GITHUB_OUTPUT")
    assert (place["folder"], len(place["key"])) == (str(checkout.root), 16)
    values = {"steps.place.outputs.folder": place["folder"], "inputs.engine": "embedded"}
    done = run_step(checkout, steps["setup"], tmp_path, values)
    assert done.code == 0, done.stderr
    given = outputs(tmp_path / "GITHUB_OUTPUT")
    assert {f"${{{{ steps.setup.outputs.{name} }}}}" for name in set(given) - set(place)} == {
        output["value"] for output in action["outputs"].values()
    }
    assert given["verdict"] == done.stdout.strip()
    assert given["verdict"].startswith(HOOK)
    assert (tmp_path / "GITHUB_STEP_SUMMARY").read_text() == f"~~~text\n{given['verdict']}\n~~~\n"
    after = {**checkout.environ, **exported(tmp_path / "GITHUB_ENV")}
    settings = read_settings(root=checkout.root, environ=after)
    assert after["CONNECTION_URL"] == given["connection-url"] == settings.postgres.url(masked=False)
    assert after["AWS_COGNITO_USER_POOL_ID"] == given["user-pool-id"]
    assert after["LOCALENV_ENGINE"] == "embedded"
    *_, last = read_yaml(".github/workflows/ci.yml")["jobs"]["action"]["steps"]
    env = {name: given[re.sub(r".*\.outputs\.(\S+) }}", r"\1", text)] for name, text in last["env"].items()}
    following = Checkout(checkout.root, after).run(last["run"], "bash", "-e", "-c", **env)
    assert following.code == 0, following.stderr


def exported(path: Path) -> dict[str, str]:
    """Read a file of variables as the runner does: NAME=value, or NAME<<MARK, lines and MARK."""
    found, lines = {}, iter(path.read_text().splitlines())
    for line in lines:
        name, mark = re.fullmatch(r"(\w+)(?:<<(\S+))?(?:=.*)?", line).groups()  # type: ignore[union-attr]
        found[name] = "\n".join(iter(lambda: next(lines), mark)) if mark else line.partition("=")[2]
    return found


def test_the_action_fails_as_the_hook_does_and_shows_its_log(checkout: Checkout, tmp_path: Path) -> None:
    steps = {step["id"]: step for step in read_yaml(ACTION / "action.yml")["runs"]["steps"] if "id" in step}
    seed = checkout.root / "seeds/conversations/andrewbrown-bayko.txt"
    kept = seed.read_text()
    seed.write_text(kept.replace("bayko", "baiko"))
    try:
        values = {"steps.place.outputs.folder": str(checkout.root), "inputs.engine": ""}
        done = run_step(checkout, steps["setup"], tmp_path, values)
    finally:
        seed.write_text(kept)
    assert done.code == 2, done.stderr
    verdict, *rest = done.stdout.splitlines()
    assert verdict.startswith("localenv: FAILED ddb.seed: seeds/conversations/andrewbrown-bayko.txt:")
    assert (rest[0], rest[-1]) == ("::group::.local/logs/initial-setup.log", "::endgroup::")
    assert rest[-2].endswith("(exit code 2)")
    assert (tmp_path / "GITHUB_ENV").read_text() == ""
    assert outputs(tmp_path / "GITHUB_OUTPUT") == {"verdict": verdict}


def test_the_workflows_use_what_there_is() -> None:
    action = read_yaml(ACTION / "action.yml")
    assert (TOOL / ACTION / "setup.sh").stat().st_mode & 0o111
    for job in read_yaml(".github/workflows/ci.yml")["jobs"].values():
        for step in job["steps"]:
            if step.get("uses", "").startswith("./"):
                assert step["uses"] == f"./{ACTION}"
                assert set(step["with"]) <= set(action["inputs"])


# --- docs/hooks.md ----------------------------------------------------------------------------------------------------


def test_the_snippets_of_the_docs_are_those_of_the_files_and_run(checkout: Checkout) -> None:
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (TOOL / "docs/hooks.md").read_text(), re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["yaml", "json", "yaml", "sh"]
    gitpod, container, workflow, script = (text for _, text in blocks)
    assert yaml.safe_load(gitpod)["tasks"] == read_yaml(".gitpod.yml")["tasks"][:1]
    ours = read_devcontainer()
    assert json.loads(container) == {
        name: ours[name]["localenv"] if name == "postStartCommand" else ours[name] for name in json.loads(container)
    }
    assert yaml.safe_load(workflow)["steps"][1]["uses"] == f"./{ACTION}"
    done = checkout.run(f'{script}\necho "$DDB_MESSAGE_TABLE"')
    assert (done.code, done.stdout.splitlines()[-1]) == (0, "cruddur-messages"), done.stderr


def test_the_docs_name_every_input_and_output_of_the_action() -> None:
    text = (TOOL / "docs/hooks.md").read_text()
    action = read_yaml(ACTION / "action.yml")
    assert [name for name in (*action["inputs"], *action["outputs"]) if f"`{name}`" not in text] == []
