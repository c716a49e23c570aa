"""How long each file of tests took, told at the end of a run: where a budget goes."""

from __future__ import annotations

from collections import Counter

import pytest

SHOWN = 20


class FileSeconds:
    """Adds up set-up, call and end of every test by its file, those of all workers."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if len(self.seconds) < 2:
            return
        terminalreporter.section("seconds a file")
        for file, seconds in self.seconds.most_common(SHOWN):
            terminalreporter.line(f"{seconds:8.1f}  {file}")
        terminalreporter.line(f"{sum(self.seconds.values()):8.1f}  in all")
