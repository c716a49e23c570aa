"""The interface to the app's own part: what its seeds write, what refers to whom, and what is newest.

The part is a module of the app, loaded in one place (tasks/_app.py). The core knows only this interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from ..postgres.handles import User
from ..settings.people import Person

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item = dict[str, Any]
"""An item in DynamoDB JSON: {"pk": {"S": "…"}, …}."""
Reference = tuple[str, str, bool]
"""A user in an item: uuid, handle or "", and whether that must be the current handle."""
Say = Callable[[str], None]
See = Callable[[Item], None]
SeedFile = tuple[str, bytes]
"""A seed file: its path as messages show it, and its content."""
FindPerson = Callable[[str, str], Person]
"""Takes a name, and its place in a seed file. Raises UsageError if no person in the seeds has it."""
FindUsers = Callable[[Mapping[str, str]], Mapping[str, User]]
"""Takes handles with the place of each, returns the database's users. Raises LocalEnvError if one is missing."""


class Fault(Protocol):
    """A finding of a survey: of how many items, and which of the part's CAUSES it has."""

    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def cause(self) -> str: ...
    @property
    def count(self) -> int: ...


class Repaired(Protocol):
    """What a repair did: how many changes it made, and what is still wrong, empty for nothing."""

    @property
    def moved(self) -> int: ...
    @property
    def error(self) -> str: ...
    @property
    def group(self) -> str: ...


class Repair(Protocol):
    """Something to repair: the lines of a plan, and what does it. Both read again what it is about."""

    @property
    def lines(self) -> Callable[[], Iterable[str]]: ...
    @property
    def perform(self) -> Callable[[], Repaired]: ...


class Survey(Protocol):
    """Collects items, and then reports the faults among them."""

    def add(self, item: Item) -> None: ...
    def faults(self) -> Iterable[Fault]: ...


class Mention(Protocol):
    """An item that contains an id: what kind it is, and the id of the bundle of items that it is in."""

    @property
    def what(self) -> str: ...
    @property
    def bundle(self) -> str: ...
    @property
    def item(self) -> Item: ...


class Seeding(Protocol):
    """The items of the seeds, read and checked, and the table that they are for."""

    def check(self) -> str | None:
        """Return a sentence if all items are as they should be, else None."""
        ...

    def plan_lines(self) -> list[str]:
        """Return what `seed` would do."""
        ...

    def seed(self, say: Say) -> str:
        """Write the items, and return what was done. A second call changes nothing. Raises the part's Busy."""
        ...


class App(Protocol):
    """The app's part, a module. All of its functions only read, except for the results of `prepare` and `repairs`."""

    @property
    def SEEDS(self) -> str:  # noqa: N802 - a constant of the module
        """The folder with the seeds of its items, relative to the project's root."""
        ...

    @property
    def PATTERN(self) -> str:  # noqa: N802
        """The glob pattern of the files in that folder."""
        ...

    @property
    def RECORDS(self) -> tuple[tuple[str, str], ...]:  # noqa: N802
        """Its other database tables: a word for a row, and the path of the query that finds one by `uuid`."""
        ...

    @property
    def NEWEST(self) -> str:  # noqa: N802
        """The word for what `newest` returns the time of."""
        ...

    @property
    def BUNDLE(self) -> str:  # noqa: N802
        """The word for items that belong together under one id."""
        ...

    @property
    def CAUSES(self) -> Mapping[str, str]:  # noqa: N802
        """The names of what can be wrong with items and `repairs` repairs, with what several such items are called."""
        ...

    @property
    def FOLLOWED(self) -> str:  # noqa: N802
        """The cause that ddb.stream repairs: items that do not say what others say now."""
        ...

    @property
    def FORMER(self) -> str:  # noqa: N802
        """The cause of items that name a user by a uuid of before."""
        ...

    @property
    def Mistake(self) -> type[Exception]:  # noqa: N802 - a class of the module
        """The exception for an invalid seed file; has `message`, with the place, and `hint`."""
        ...

    @property
    def Busy(self) -> type[Exception]:  # noqa: N802
        """The exception when concurrent writes kept something from being done."""
        ...

    def read_seeds(self, files: Iterable[SeedFile], find_person: FindPerson) -> object:
        """Read the seed files. Raises Mistake."""
        ...

    def prepare(
        self,
        client: DynamoDBClient,
        table: str,
        files: Iterable[SeedFile],
        *,
        find_person: FindPerson,
        find_users: FindUsers,
        write: Callable[..., int],
        ago: Callable[[float], str],
        anew: bool,
    ) -> Seeding:
        """Read and check everything that seeding needs. `write` is that of dynamodb/itemwriter.py. Raises Mistake."""
        ...

    def references(self, item: Item) -> Iterable[Reference]:
        """Return the users in an item."""
        ...

    def survey(self) -> Survey:
        """Return an empty survey."""
        ...

    def confirmed(self, client: DynamoDBClient, table: str, faults: Iterable[Any]) -> Iterable[Fault]:
        """Return those of a survey's faults that still exist when checked again."""
        ...

    def successors(
        self, references: Iterable[tuple[str, str]], handles: Iterable[tuple[str, str]]
    ) -> Mapping[str, str]:
        """Return the present uuid for each former one; both arguments are pairs of uuid and handle."""
        ...

    def repairs(
        self, client: DynamoDBClient, table: str, cause: str, scan: Callable[[], Iterable[Item]], users: Sequence[User]
    ) -> Iterable[Repair]:
        """Return what repairs a cause; `scan` reads all items, `users` are those of the database."""
        ...

    def of_user(self, client: DynamoDBClient, table: str, uuid: str, *, see: See, every_row: bool) -> Iterable[Mention]:
        """Return the items that name a user, passing every item read to `see`; `every_row` includes slow reads."""
        ...

    def of_bundle(self, client: DynamoDBClient, table: str, uuid: str, *, see: See) -> Iterable[Mention]:
        """Return the items of a bundle, passing each to `see`."""
        ...

    def anywhere(self, client: DynamoDBClient, table: str, uuid: str) -> Mention | None:
        """Return the first of all items that contains an id."""
        ...

    def newest(self, client: DynamoDBClient, table: str, users: Iterable[str]) -> datetime | None:
        """Return the newest time among these users (uuids); None if they have nothing."""
        ...
