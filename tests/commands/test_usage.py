"""Command lines that cannot be understood: what is wrong, a hint, exit code 2, and nothing done."""

from __future__ import annotations

from pathlib import Path

import pytest
from invoke import Program

from tasks import ns
from tests.support.environments import environment, inv


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("ddb.sed", "there is no task 'ddb.sed'", "did you mean `inv ddb.seed` or `inv db.seed`?"),
        ("--help ddb.scna", "there is no task 'ddb.scna'", "did you mean `inv ddb.scan`?"),
        (
            "env.status seed",
            "there is no task 'seed'",
            "did you mean `inv db.seed` or `inv ddb.seed` or `inv cognito.seed`?",
        ),
        ("destroy-it", "there is no task 'destroy-it'", "`inv --list` shows every task"),
        ("ddb.seed --fiel x", "there is no option --fiel", "did you mean --file?"),
        ("ddb.seed --zz", "there is no option --zz", "`inv --help ddb.seed` lists the options"),
        ("ddb.seed --file", "--file wants a value", "`inv --help ddb.seed` lists what it takes"),
        (
            "ddb.list-tables it's",
            '"it\'s" is no task, and ddb.list-tables takes no such word',
            "a value stands behind its option: `inv --help ddb.list-tables` lists what it takes",
        ),
    ],
)
def test_it_is_told_with_a_hint(line: str, message: str, hint: str, tmp_path: Path) -> None:
    done = inv(*line.split(), environ=environment(tmp_path / "state"))
    said = [" ".join(text.split()[2 if text.startswith("FAIL") else 1 :]) for text in done.stderr.splitlines()]
    assert (done.code, done.stdout) == (2, "")
    assert (message in said, hint in said) == (True, True)
    assert not (tmp_path / "state").exists()


def test_a_shell_is_given_the_options_of_a_task(tmp_path: Path) -> None:
    done = inv("--complete", "--", "inv", "ddb.export", "--f", environ=environment(tmp_path / "state"))
    assert (done.code, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {
        "--engine",
        "--file",
        "--force",
        "--format",
        "--graph",
        "--plan",
        "--s3",
        "--table",
        "--target",
    }


def test_help_in_a_program_of_ones_own_lists_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    Program(namespace=ns).run(["inv", "--help", "db.seed"], exit=False)
    assert "--file" in (shown := capsys.readouterr().out) and "--plan" in shown
