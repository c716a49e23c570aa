"""What the core asks of the app's own part: what its seeds write, what refers to whom, and what is newest.

The part is a module of the app's, which the tasks load in one place (tasks/_app.py). The core knows this shape alone.
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
"""A user in an item: uuid, handle or "", and whether that must be the present one."""
Say = Callable[[str], None]
See = Callable[[Item], None]
SeedFile = tuple[str, bytes]
"""A seed file: its path as messages show it, and its content."""
FindPerson = Callable[[str, str], Person]
"""Takes a name, and the place in a seed file that names it. Raises UsageError where nobody in the seeds has it."""
FindUsers = Callable[[Mapping[str, str]], Mapping[str, User]]
"""Takes handles with the place of each, gives the database's users. Raises LocalEnvError where one is missing."""


class Fault(Protocol):
    """What a survey finds. `surplus` and `others` are keys of items to remove; else the stream's command repairs it."""

    @property
    def subject(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def surplus(self) -> Item | None: ...
    @property
    def others(self) -> Sequence[Item]: ...


class Survey(Protocol):
    """Looks at each item, and tells at the end what does not agree among them."""

    def add(self, item: Item) -> None: ...
    def faults(self) -> Iterable[Fault]: ...


class Mention(Protocol):
    """An item that names an id: what it is to it, and the id of the bundle of items that it is in."""

    @property
    def what(self) -> str: ...
    @property
    def bundle(self) -> str: ...
    @property
    def item(self) -> Item: ...


class Seeding(Protocol):
    """The items of the seeds, read and checked, and the table that they are for."""

    def check(self) -> str | None:
        """Return that all is as it should be, in a sentence; None if something is not."""
        ...

    def plan_lines(self) -> list[str]:
        """Return what `seed` would do."""
        ...

    def seed(self, say: Say) -> str:
        """Make the items right, and say what was done. A second time changes nothing. Raises the part's Busy."""
        ...


class App(Protocol):
    """The app's part, a module. All of its functions read, but for what `prepare` gives."""

    @property
    def SEEDS(self) -> str:  # noqa: N802 - a constant of the module
        """The folder with the seeds of its items, from the root of the project."""
        ...

    @property
    def PATTERN(self) -> str:  # noqa: N802
        """The files in there."""
        ...

    @property
    def RECORDS(self) -> tuple[tuple[str, str], ...]:  # noqa: N802
        """Its tables besides the users': a word for a row, and the query that finds one by `uuid`, from the root."""
        ...

    @property
    def NEWEST(self) -> str:  # noqa: N802
        """The word for what `newest` gives the time of."""
        ...

    @property
    def BUNDLE(self) -> str:  # noqa: N802
        """The word for items that belong together under one id."""
        ...

    @property
    def Mistake(self) -> type[Exception]:  # noqa: N802 - a class of the module
        """What is raised for a seed file that cannot be right; has `message`, with the place, and `hint`."""
        ...

    @property
    def Busy(self) -> type[Exception]:  # noqa: N802
        """What is raised when others wrote all the time, so that something was not done."""
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
        """Read and check all that seeding needs. `write` is dynamodb/items.py's. Raises Mistake."""
        ...

    def references(self, item: Item) -> Iterable[Reference]:
        """Return the users in an item."""
        ...

    def survey(self) -> Survey:
        """Begin to look at items."""
        ...

    def confirmed(self, client: DynamoDBClient, table: str, faults: Iterable[Any]) -> Iterable[Fault]:
        """Return those of a survey's faults that are still there when they are looked at again."""
        ...

    def of_user(self, client: DynamoDBClient, table: str, uuid: str, *, see: See, every_row: bool) -> Iterable[Mention]:
        """Return the items that name a user, and show what was read for that; `every_row` also reads what is slow."""
        ...

    def of_bundle(self, client: DynamoDBClient, table: str, uuid: str, *, see: See) -> Iterable[Mention]:
        """Return the items of a bundle, and show each."""
        ...

    def anywhere(self, client: DynamoDBClient, table: str, uuid: str) -> Mention | None:
        """Return the first of all items that has an id."""
        ...

    def newest(self, client: DynamoDBClient, table: str, users: Iterable[str]) -> datetime | None:
        """Return the time of what these users, given by uuid, have newest; None where they have nothing."""
        ...
