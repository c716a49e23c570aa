"""Ages as people say them."""

import pytest

from tasks.localenv.machine.ages import ago


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s ago"), (59.9, "60 s ago"), (60, "1 min ago"), (7199, "1 h ago"), (86400 * 3, "3 d ago")],
)
def test_ages_are_short(seconds: float, text: str) -> None:
    assert ago(seconds) == text
