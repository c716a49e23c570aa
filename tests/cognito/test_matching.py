"""Which pool user belongs to which row, decided as values."""

from __future__ import annotations

from dataclasses import replace

from tasks.localenv.cognito.matching import DatabaseUser, Match, Unmatched, match
from tasks.localenv.cognito.users import PoolUser


def row(handle: str, sub: str = "MOCK", *, email: str = "", uuid: str = "1") -> DatabaseUser:
    return DatabaseUser(uuid, handle, email or f"{handle}@example.com", sub)


def pool_user(handle: str | None, sub: str, *, email: str | None = None, enabled: bool = True) -> PoolUser:
    return PoolUser(sub, f"u-{sub}", handle, None, email, True, "CONFIRMED", enabled)


def matched(rows: list[DatabaseUser], pool_users: list[PoolUser]) -> Match:
    return match(rows, pool_users, set_handle=lambda user, handle: f"set {user.username} to {handle}")


def pairs(found: Match) -> list[tuple[str, str, bool]]:
    return [(pair.user.handle, pair.pool_user.sub, pair.is_set) for pair in found.pairs]


def test_handles_match_to_the_letter_and_a_right_id_is_kept() -> None:
    found = matched([row("ann"), row("bob", "s2")], [pool_user("bob", "s2"), pool_user("ann", "s1")])
    assert pairs(found) == [("ann", "s1", False), ("bob", "s2", True)]
    assert [pair.user.handle for pair in found.changes] == ["ann"]
    assert found.users == found.pool_users == ()


def test_a_difference_of_case_is_said_and_not_matched() -> None:
    found = matched([row("ann")], [pool_user("Ann", "s1", email="x@example.com")])
    assert pairs(found) == []
    assert found.users == (
        Unmatched(
            "ann",
            "ann (id in the database: MOCK)",
            "pool user u-s1 (x@example.com) has preferred_username 'Ann', which differs in case",
            "set u-s1 to ann",
        ),
    )
    assert found.pool_users == (
        Unmatched("Ann", "u-s1 (x@example.com)", "preferred_username 'Ann' differs in case from 'ann'"),
    )


def test_an_equal_address_is_a_hint_and_not_a_match() -> None:
    found = matched([row("ann")], [pool_user(None, "s1", email="ANN@example.com")])
    assert pairs(found) == []
    assert found.users == (
        Unmatched(
            "ann",
            "ann (id in the database: MOCK)",
            "pool user u-s1 (ANN@example.com) has the same e-mail address and no preferred_username",
            "set u-s1 to ann",
        ),
    )
    assert found.pool_users == (
        Unmatched(
            "", "u-s1 (ANN@example.com)", "no preferred_username, but the e-mail address of ann", "set u-s1 to ann"
        ),
    )


def test_the_hint_leaves_a_pool_user_alone_who_belongs_to_somebody_else() -> None:
    found = matched(
        [row("ann"), row("Ann", email="ann@example.com")], [pool_user("ann", "s1", email="ann@example.com")]
    )
    assert pairs(found) == [("ann", "s1", False)]
    assert found.users == (
        Unmatched("Ann", "Ann (id in the database: MOCK)", "no pool user has this preferred_username"),
    )


def test_of_two_with_one_handle_the_one_of_the_seeds_is_meant_in_the_emulated_pool() -> None:
    other, own = pool_user("ann", "s1", email="other@example.com"), replace(pool_user("ann", "s2"), person="ann")

    def found(*, is_emulated: bool) -> Match:
        return match(
            [row("ann")], [other, own], set_handle=lambda user, handle: "", seeded=["ann"], is_emulated=is_emulated
        )

    assert pairs(found(is_emulated=True)) == [("ann", "s2", False)]
    assert [user.is_normal for user in found(is_emulated=True).pool_users] == [True]
    assert pairs(found(is_emulated=False)) == []


def test_who_took_the_handle_of_a_linked_user_in_another_case_gets_a_row() -> None:
    other = pool_user("Ann", "s2", email="other@example.com")
    found = matched([row("ann", "s1")], [pool_user("ann", "s1"), other])
    assert pairs(found) == [("ann", "s1", True)]
    assert [user.lacks_row for user in found.pool_users] == [other]


def test_two_pool_users_with_one_handle_are_named_and_not_guessed() -> None:
    found = matched([row("ann")], [pool_user("ann", "s1"), pool_user("ann", "s2", email="a@example.com")])
    assert pairs(found) == []
    assert found.users == (
        Unmatched(
            "ann",
            "ann (id in the database: MOCK)",
            "2 pool users have this preferred_username: u-s1 s1, u-s2 (a@example.com) s2",
            "change all but one",
        ),
    )
    assert [user.who for user in found.pool_users] == ["u-s1", "u-s2 (a@example.com)"]


def test_a_disabled_pool_user_gives_way_to_an_enabled_one() -> None:
    found = matched([row("ann")], [pool_user("ann", "s1", enabled=False), pool_user("ann", "s2")])
    assert pairs(found) == [("ann", "s2", False)]
    assert found.pool_users == (
        Unmatched("ann", "u-s1, disabled", "the handle 'ann' is another pool user's", is_normal=True),
    )


def test_whoever_takes_a_handle_later_does_not_get_its_row() -> None:
    first, second = pool_user("ann", "s1"), pool_user("ann", "s2")
    found = matched([row("ann", sub="s1")], [second, first])
    assert pairs(found) == [("ann", "s1", True)]
    assert [(user.who, user.is_normal) for user in found.pool_users] == [("u-s2", True)]


def test_of_several_who_signed_up_for_a_handle_the_first_gets_its_row() -> None:
    """In the emulated pool, when the rows are gone, and with them who had got it. A real pool does not guess."""
    first = replace(pool_user("ada", "s1", email="a@example.com"), created_s=1.0)
    second = replace(first, sub="s2", created_s=2.0)
    found = match([row("ann")], [second, first], set_handle=lambda user, handle: "", is_emulated=True)
    assert [(user.lacks_row, user.is_normal) for user in found.pool_users] == [(None, True), (first, False)]
    off = replace(first, enabled=False)
    waiting = replace(second, status="UNCONFIRMED")
    alone = match([row("ann")], [off, waiting], set_handle=lambda user, handle: "", is_emulated=True)
    assert [user.lacks_row for user in alone.pool_users] == [None, None]
    real = match([row("ann")], [second, first], set_handle=lambda user, handle: "")
    assert [(user.lacks_row, user.is_normal) for user in real.pool_users] == [(None, False)] * 2


def test_only_a_confirmed_user_with_a_free_handle_can_get_a_row() -> None:
    confirmed = pool_user("ann", "s1", email="ann@example.com")
    others = [
        replace(confirmed, sub="s2", handle="bob", status="UNCONFIRMED"),
        replace(confirmed, sub="s3", handle="eve", enabled=False),
        replace(confirmed, sub="s4", handle="joe", email=None),
        replace(confirmed, sub="s5", handle="twin"),
        replace(confirmed, sub="s6", handle="twin"),
        replace(confirmed, sub="s7", handle="LONDO"),
        replace(confirmed, sub="s8", handle=None),
    ]
    found = matched([row("londo")], [confirmed, *others])
    assert [user.lacks_row for user in found.pool_users if user.lacks_row] == [confirmed]
    assert [user.handle for user in found.pool_users if user.is_normal] == ["bob"]


def test_a_disabled_pool_user_alone_still_matches() -> None:
    assert pairs(matched([row("ann")], [pool_user("ann", "s1", enabled=False)])) == [("ann", "s1", False)]


def test_two_rows_with_one_handle_are_named_and_not_guessed() -> None:
    found = matched([row("ann", uuid="1"), row("ann", uuid="2")], [pool_user("ann", "s1")])
    assert pairs(found) == []
    assert found.users == (
        Unmatched(
            "ann",
            "ann (id in the database: MOCK)",
            "2 rows have this handle",
            "remove all but one, or run `inv db.setup --force`",
        ),
    )


def test_a_near_handle_is_suggested() -> None:
    found = matched([row("londo")], [pool_user("londom", "s1")])
    assert found.users == (
        Unmatched(
            "londo",
            "londo (id in the database: MOCK)",
            "no pool user has this preferred_username",
            "did you mean 'londom'?",
        ),
    )
    assert found.pool_users == (Unmatched("londom", "u-s1", "no user in the database has the handle 'londom'"),)


def test_pool_users_and_rows_without_anything_are_named_too() -> None:
    found = matched([row("", email="")], [pool_user(None, "s1")])
    assert pairs(found) == []
    assert [each.who for each in found.users] == ["user 1 (id in the database: MOCK)"]
    assert found.pool_users == (Unmatched("", "u-s1", "no preferred_username"),)


def test_a_row_without_a_handle_is_named_and_matched_with_nobody() -> None:
    nameless = [row("", "", email="ann@example.com"), row("", uuid="2")]
    found = matched(
        [*nameless, row("bob", "s2")], [pool_user(None, "s1", email="ann@example.com"), pool_user("bob", "s2")]
    )
    assert pairs(found) == [("bob", "s2", True)]
    assert [str(each) for each in (*found.users, *found.pool_users)] == [
        "user 1 (id in the database: none): its row has no handle, nor has 1 more; give it one in the database",
        "u-s1 (ann@example.com): no preferred_username",
    ]
