"""Which time a message with a wrong one gets, decided as values: texts, ids and order stay."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from ddb.items import format_time
from ddb.retiming import WIDEST_GAP, into_readable, into_utc, out_of_the_future

NOW = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def at(**since: float) -> str:
    return format_time(NOW + timedelta(**since))


def moved(keys: list[str], moves: dict[str, str]) -> list[str]:
    """Give the keys as they are afterwards, in the order in which they were."""
    return [moves.get(key, key) for key in sorted(keys)]


def retimed(keys: list[str]) -> list[str]:
    found = moved(keys, out_of_the_future(sorted(keys, reverse=True), NOW))
    assert (found, len(set(found))) == (sorted(found), len(keys)), "in the same order, none over another"
    return found


def test_a_seed_that_runs_into_the_future_moves_as_a_whole_and_ends_now() -> None:
    """As old seed scripts write: a message a minute from the moment of seeding on, here of half an hour ago."""
    keys = [at(minutes=minute - 30, seconds=7) for minute in range(103)]
    assert retimed(keys) == [at(minutes=minute - 102) for minute in range(103)]


def test_what_was_said_before_keeps_its_time() -> None:
    old = [at(days=-3), at(days=-2)]
    keys = [at(minutes=minute, seconds=7) for minute in range(1, 104)]
    assert retimed([*old, *keys])[:3] == [*old, at(minutes=-102)]


def test_what_was_said_while_the_seed_lay_ahead_keeps_its_place_in_it() -> None:
    keys = [at(minutes=-10), at(minutes=-5, seconds=7), at(minutes=-5), at(minutes=10)]
    assert retimed(keys)[-1] == at()


def test_a_clock_that_was_wrong_for_years_moves_nobody_by_years() -> None:
    told = [at(minutes=-2, seconds=1), at(minutes=-1, seconds=1)]
    keys = [f"2999-01-01T00:0{minute}:07.000000+00:00" for minute in range(6)]
    oldest, second, *late = retimed([*told, *keys])
    assert late == [at(minutes=minute - 5) for minute in range(6)]
    assert (oldest, second) == (at(minutes=-66), at(minutes=-5 - WIDEST_GAP.seconds / 60))


def test_no_message_is_put_where_another_one_is() -> None:
    """It goes first, but both are of one transaction, which takes no key twice."""
    first, second = at(), at(minutes=1)
    assert retimed([first, second]) == [format_time(NOW - timedelta(minutes=1, microseconds=1)), at(microseconds=-1)]


def test_ten_thousand_messages_move_and_a_second_time_none_does() -> None:
    keys = [at(minutes=minute, seconds=7) for minute in range(1, 10_001)]
    again = retimed(keys)
    assert (again[0], again[-1]) == (at(minutes=-9_999), at())
    assert out_of_the_future(again[::-1], NOW) == {}


def test_nothing_moves_where_no_time_is_in_the_future_or_none_can_be_read() -> None:
    assert out_of_the_future([at(), at(minutes=-1)], NOW) == {}
    assert out_of_the_future(["yesterday", at(minutes=-1)], NOW) == {}
    assert out_of_the_future([], NOW) == {}


def test_another_offset_becomes_the_same_time_in_utc() -> None:
    keys = ["2026-11-21T12:59:00.000000+01:00", "2026-11-21T11:59:00.000000+00:00"]
    assert into_utc(keys, NOW) == {keys[0]: "2026-11-21T11:59:00.000001+00:00"}
    assert into_utc(["9999-12-31T23:30:00.000000-05:00"], NOW) == {"9999-12-31T23:30:00.000000-05:00": at()}


def test_a_time_of_another_form_is_written_as_the_app_reads_it() -> None:
    forms = {
        "2026-11-21T11:58:00Z": "2026-11-21T11:58:00.000000+00:00",
        "2026-11-21 11:57:00": "2026-11-21T11:57:00.000000+00:00",
        "2026-11-21T11:56": "2026-11-21T11:56:00.000000+00:00",
        "2026-11-21T11:55:00.123456789+0000": "2026-11-21T11:55:00.123456+00:00",
        "2026-11-21T12:54:00+01:00": "2026-11-21T11:54:00.000000+00:00",
    }
    assert into_readable(sorted(forms, reverse=True), NOW) == forms


def test_what_is_no_time_at_all_comes_before_the_oldest_message_and_is_kept() -> None:
    keys = ["yesterday", "2026-13-45T99:00:00.000000+00:00", at(minutes=-1)]
    assert into_readable(sorted(keys, reverse=True), NOW) == {
        "yesterday": format_time(NOW - timedelta(minutes=1, microseconds=1)),
        "2026-13-45T99:00:00.000000+00:00": format_time(NOW - timedelta(minutes=1, microseconds=2)),
    }
    assert into_readable([""], NOW) == {"": format_time(NOW - timedelta(microseconds=1))}
