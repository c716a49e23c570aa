"""The page docs/reliability.md and the tests that it is made from: their kinds agree, and a page says what was run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.reliability import KINDS, PAGE, Trial, marked_kinds, page_kinds, render

pytest_plugins = ["pytester"]
MARKED = """
import pytest

@pytest.mark.reliability("kills")
def test_killed_it_goes_on(trials):
    trials(20)

@pytest.mark.reliability("kills")
@pytest.mark.parametrize("n", [1, 2])
def test_killed_twice(n):
    assert n == 1

@pytest.mark.reliability("faults")
def test_with_docker():
    pytest.skip("no Docker here")

def test_something_else():
    pass
"""


def test_every_marked_kind_has_a_heading_on_the_page_and_the_other_way_round() -> None:
    assert page_kinds(PAGE.read_text()) == marked_kinds()


def test_every_marked_kind_is_known() -> None:
    assert marked_kinds() <= set(KINDS)


@pytest.mark.parametrize("workers", [[], ["-n", "2"]])
def test_trials_are_counted_by_kind_and_outcome_also_by_several_workers(
    pytester: pytest.Pytester, workers: list[str]
) -> None:
    results = _run(pytester, *workers)
    assert {(one["kind"], str(one["test"]).partition("::")[2], one["trials"], one["outcome"]) for one in results} == {
        ("kills", "test_killed_it_goes_on", 20, "passed"),
        ("kills", "test_killed_twice[1]", 1, "passed"),
        ("kills", "test_killed_twice[2]", 1, "failed"),
        ("faults", "test_with_docker", 1, "skipped"),
    }


def test_results_of_a_second_run_are_added(pytester: pytest.Pytester) -> None:
    assert len(_run(pytester)) == 4
    assert len(_run(pytester)) == 8


def test_a_kind_that_nobody_knows_is_refused(pytester: pytest.Pytester) -> None:
    result = _session(pytester, MARKED.replace("kills", "hills"))
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'hills' is no kind*"])


def test_a_page_has_a_line_a_kind_and_a_line_a_test() -> None:
    page = render(
        [
            Trial("kills", "tests/test_a.py::test_killed_it_goes_on", 20, "passed"),
            Trial("kills", "tests/test_a.py::test_killed_twice[1]", 1, "passed"),
            Trial("kills", "tests/test_a.py::test_killed_twice[a::b]", 1, "failed"),
            Trial("faults", "tests/test_a.py::test_with_docker", 1, "skipped"),
        ]
    )
    assert [line for line in page.splitlines() if line.startswith(("| ", "## "))] == [
        "| kind | trials | outcome |",
        "| --- | --- | --- |",
        "| [faults](#faults) | 0 | 1 skipped |",
        "| [kills](#kills) | 22 | 1 failed |",
        "## faults",
        "| what was tried | trials | outcome |",
        "| --- | --- | --- |",
        "| with docker | 0 | 1 skipped |",
        "## kills",
        "| what was tried | trials | outcome |",
        "| --- | --- | --- |",
        "| killed it goes on | 20 | all passed |",
        "| killed twice | 2 | 1 failed |",
    ]
    assert page_kinds(page) == {"faults", "kills"}


def _session(pytester: pytest.Pytester, source: str, *words: str) -> pytest.RunResult:
    root = Path(__file__).resolve().parents[2]
    pytester.makeini(f"[pytest]\npythonpath = {root}\nmarkers = reliability(kind): x\n")
    pytester.makeconftest(
        "from tests.conftest import pytest_addoption, pytest_configure, pytest_collection_modifyitems, trials"
    )
    pytester.makepyfile(test_marked=source)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "--reliability", "results.json", *words)


def _run(pytester: pytest.Pytester, *words: str) -> list[dict[str, object]]:
    _session(pytester, MARKED, *words)
    found: list[dict[str, object]] = json.loads((pytester.path / "results.json").read_text())
    return found
