"""Why the chat's items do not agree: a name for each cause, and what is said of the items that it concerns."""

from __future__ import annotations

ROWS = "rows"
FUTURE = "future"
OFFSET = "offset"
UNREADABLE = "unreadable"
LISTED = "listed"
MEMBERS = "members"
UNFOUND = "unfound"
CLAIM = "claims"
STRAY = "strays"
FORMER = "former-users"

CAUSES = {
    ROWS: "group rows that are not as messages and users are",
    FUTURE: "messages with a time in the future: new ones do not show",
    OFFSET: "messages with another offset than +00:00 in their time: they are not in their place",
    UNREADABLE: "messages with a time that the app cannot read",
    LISTED: "messages that show among the groups: they carry message_group_uuid",
    MEMBERS: "users without a group row in groups of more than two",
    UNFOUND: "messages that nobody finds: no group row, and nothing tells which two they are of",
    CLAIM: "starts of conversations that were cut short",
    STRAY: "items that are neither message nor group row",
    FORMER: "items with a former uuid of a user",
}
"""Each of these is repaired by one command; the text follows a number of items."""
