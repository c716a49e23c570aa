"""A small model of an environment: what each command makes of it. Knows no process, no file and no server.

A command is a function from a world to the worlds that it may leave, each with an exit code. Where the outcome is not
known (a command was killed, two ran at once) the model holds several worlds, and what is seen sorts out which it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

KEPT = 3
Texts = frozenset[str]


@dataclass(frozen=True)
class Database:
    """What the app's database holds: the version of the files it was made from, our posts, whose pool ids it has."""

    version: int
    posts: Texts = frozenset()
    linked: int = 0


@dataclass(frozen=True)
class Table:
    """What the message table holds: whether the seeds, and our messages."""

    seeded: bool = False
    messages: Texts = frozenset()


@dataclass(frozen=True)
class Saved:
    """What a snapshot holds."""

    database: Database | None
    table: Table | None
    pool: int


@dataclass(frozen=True)
class Entry:
    """What a command kept for undo: parts of the world (database, table, pool) as they were before it.

    `cut` is its line where it was cut short, `follows_half` whether that one came before it. `undoes` is what an undo
    that was cut short brings back.
    """

    parts: tuple[tuple[str, Any], ...]
    cut: str = ""
    follows_half: bool = False
    undoes: Entry | None = None


@dataclass(frozen=True)
class World:
    """An environment. `pool` numbers the user pools that there have been; 0 is none. `undo` is newest first."""

    files: int = 0
    up: bool = False
    database: Database | None = None
    table: Table | None = None
    pool: int = 0
    undo: tuple[Entry, ...] = ()
    snapshots: tuple[tuple[str, Saved], ...] = ()

    @property
    def saved(self) -> Saved:
        return Saved(self.database, self.table, self.pool)

    @property
    def check_code(self) -> int:
        """What `check` ends with: 0 where users, pool and items belong together."""
        whole = self.database and self.table and self.pool and self.database.linked == self.pool
        return 0 if whole else 1

    def with_snapshot(self, name: str, saved: Saved) -> World:
        return replace(self, snapshots=tuple(sorted({**dict(self.snapshots), name: saved}.items(), key=lambda s: s[0])))


SET_UP = World(database=Database(0, linked=1), table=Table(seeded=True), pool=1)
"""What initial-setup and env.down leave, from nothing."""

Outcome = tuple[World, int]
Effect = Callable[[World, str], list[Outcome]]


@dataclass(frozen=True)
class Command:
    """A command line, `{text}` in it replaced by a text of its own, and what it does. `locks`: others wait for it."""

    line: str
    effect: Effect
    locks: bool = True

    def __repr__(self) -> str:
        return self.line


def done(change: Callable[[World], World]) -> Effect:
    """Return the effect of a command that always works."""
    return lambda world, text: [(change(world), 0)]


def up(world: World) -> World:
    return replace(world, up=True)


def built(world: World) -> World:
    """What db.setup does for others: it builds a database that is not there."""
    world = up(world)
    return world if world.database else replace(world, database=Database(world.files))


def pooled(world: World) -> World:
    world = up(world)
    return world if world.pool else replace(world, pool=1 + max(numbers(world), default=0))


def numbers(world: World) -> Iterable[int]:
    kept = [value for entry in world.undo for _, value in entry.parts]
    held = [world.database, *(saved.database for _, saved in world.snapshots), *kept]
    linked = [database.linked for database in held if isinstance(database, Database)]
    return [*(saved.pool for _, saved in world.snapshots), *(pool for pool in kept if isinstance(pool, int)), *linked]


def tabled(world: World) -> World:
    world = up(world)
    return world if world.table else replace(world, table=Table())


def linked(world: World) -> World:
    world = pooled(built(world))
    assert world.database
    return replace(world, database=replace(world.database, linked=world.pool))


def seeded(world: World) -> World:
    world = tabled(built(world))
    assert world.table
    return replace(world, table=replace(world.table, seeded=True))


def initial_setup(world: World, text: str) -> list[Outcome]:
    if world.database is None or world.database.version == world.files:
        return [(seeded(linked(world)), 0)]
    # The database is kept, and what to run is named; what stands beside it in the graph may have run.
    beside = [pooled(world), tabled(world), tabled(pooled(world)), up(world)]
    return [(one, 3) for one in dict.fromkeys(beside)]


def keeping(line: str, change: Callable[[World], World], *names: str) -> Effect:
    """Return the effect of a command that replaces parts of the world, and keeps them where there is any of them."""
    return done(lambda world: kept(world, change(up(world)), line, names))


def kept(world: World, after: World, line: str, names: Iterable[str]) -> World:
    parts = {name: getattr(world, name) for name in names}
    if all(held is None for held in parts.values()) and line != UNDO:
        return after
    half = next((entry for entry in world.undo if entry.cut == line and not entry.follows_half), None)
    if half is None:
        return replace(after, undo=pushed(world.undo, Entry(tuple(parts.items()))))
    held = dict(half.parts)
    whole = replace(half, parts=tuple({**parts, **held}.items()))
    undo = [whole if entry is half else entry for entry in world.undo]
    if "database" in parts and "database" not in held:
        del parts["database"]  # it is put aside once
    entry = Entry(tuple(parts.items()), follows_half=True)
    if all(held is None for held in parts.values()) and line != UNDO:
        return replace(after, undo=tuple(closed(undo))[:KEPT])
    return replace(after, undo=pushed(undo, entry))


def pushed(undo: Iterable[Entry], entry: Entry) -> tuple[Entry, ...]:
    """Put an entry before the others, none of which is one cut short after that; so many are kept."""
    return (entry, *closed(undo))[:KEPT]


def closed(undo: Iterable[Entry]) -> Iterable[Entry]:
    return [replace(each, cut="", undoes=None) for each in undo]


def db_setup(line: str, *, force: bool) -> Effect:
    def effect(world: World, text: str) -> list[Outcome]:
        if world.database and world.database.version == world.files and not force:
            return [(up(world), 0)]
        return keeping(line, new_database, "database")(world, text)

    return effect


def new_database(world: World) -> World:
    return replace(world, database=Database(world.files))


def reset_all(world: World) -> World:
    world = pooled(world)
    return replace(world, database=Database(world.files, linked=world.pool), table=Table(seeded=True))


def target(undo: Iterable[Entry]) -> Entry | None:
    """Return what an undo without an id brings back."""
    newest = next((entry for entry in undo if not entry.follows_half), None)
    return newest.undoes or newest if newest else None


def undo(world: World, text: str) -> list[Outcome]:
    entry = target(world.undo)
    if entry is None:
        return [(up(world), 1)]
    parts, rest = dict(entry.parts), list(world.undo)
    rest.remove(entry)
    return [(kept(replace(world, undo=tuple(rest)), replace(up(world), **parts), UNDO, parts), 0)]


def send(world: World, text: str) -> list[Outcome]:
    world = tabled(built(world))
    assert world.table
    return [(replace(world, table=replace(world.table, messages=world.table.messages | {text})), 0)]


def post(world: World, text: str) -> list[Outcome]:
    world = built(world)
    assert world.database
    return [(replace(world, database=replace(world.database, posts=world.database.posts | {text})), 0)]


def save(name: str) -> Effect:
    def effect(world: World, text: str) -> list[Outcome]:
        return [(up(world).with_snapshot(name, world.saved), 0) if world.database else (up(world), 1)]

    return effect


def restore(name: str) -> Effect:
    def effect(world: World, text: str) -> list[Outcome]:
        saved = dict(world.snapshots).get(name)
        if saved is None:
            return [(world, 2), (up(world), 2)]
        after = replace(up(world), database=saved.database, table=saved.table, pool=saved.pool)
        names = ["database", *(["table"] if world.table or saved.table else []), "pool"]
        return [(kept(world, after, f"snapshot.restore {name} --yes", names), after.check_code)]

    return effect


def destroyed(world: World) -> World:
    return World(files=world.files)


UNDO = "undo --yes"
POST = (
    "db.query --write --sql \"INSERT INTO activities (user_uuid, message) SELECT uuid, '{text}' FROM users"
    " WHERE handle = 'andrewbrown'\""
)
COMMANDS = (
    Command("status", lambda world, text: [(world, 0 if world.up else 4)], locks=False),
    Command("initial-setup", initial_setup),
    Command("ddb.send-message --as andrewbrown --to bayko --text {text}", send, locks=False),
    Command(POST, post, locks=False),
    Command("db.setup", db_setup("db.setup", force=False)),
    Command("db.setup --force", db_setup("db.setup --force", force=True)),
    Command(UNDO, undo),
    Command("db.reset --yes", keeping("db.reset --yes", new_database, "database")),
    Command("db.drop --yes", keeping("db.drop --yes", lambda world: replace(world, database=None), "database")),
    Command("ddb.drop --yes", keeping("ddb.drop --yes", lambda world: replace(world, table=None), "table")),
    Command("ddb.seed", done(seeded)),
    Command("cognito.sync-ids", done(linked)),
    Command("reset --yes", keeping("reset --yes", reset_all, "database", "table", "pool")),
    Command("snapshot.save a --yes", save("a")),
    Command("snapshot.save b --yes", save("b")),
    Command("snapshot.restore a --yes", restore("a")),
    Command("snapshot.restore b --yes", restore("b")),
    Command("env.up", done(up)),
    Command("env.down", done(lambda world: replace(world, up=False))),
    Command("env.restart", done(up)),
    Command("env.destroy --confirm cruddur", done(destroyed)),
)
LOCKING = tuple(command for command in COMMANDS if command.locks)


def run(worlds: Iterable[World], command: Command, text: str, code: int) -> set[World]:
    """Return the worlds that a command may have left that ended with this exit code."""
    return {after for world in worlds for after, ended in command.effect(world, text) if ended == code}


def codes(worlds: Iterable[World], command: Command, text: str) -> set[int]:
    return {code for world in worlds for _, code in command.effect(world, text)}


def cut_short(worlds: Iterable[World], command: Command, text: str) -> set[World]:
    """Return the worlds that a killed command may have left: of each part what was before, or what comes after.

    What it kept by then is the entry of a command that was cut short.
    """
    names = [each.name for each in fields(World) if each.name != "undo"]
    found: set[World] = set()
    for world in worlds:
        for after, _ in command.effect(world, text):
            parts = [dict.fromkeys((getattr(world, name), getattr(after, name))) for name in names]
            for chosen in itertools.product(*parts):
                left = replace(world, **dict(zip(names, chosen, strict=True)))
                found |= {replace(left, undo=each) for each in _undo_of(world, after, left, command.line)}
    return found


def _undo_of(world: World, after: World, left: World, line: str) -> Iterable[tuple[Entry, ...]]:
    """Return what may be kept where a command from `world` to `after` left a world of their parts."""
    if after.undo in (world.undo, ()):
        yield from {world.undo, after.undo}
        return
    entry, goal = after.undo[0], target(world.undo) if line == UNDO else None
    changed = {name for name, held in entry.parts if getattr(left, name) != held}
    if not changed:
        yield world.undo
    if all(getattr(left, name) == getattr(after, name) for name, _ in entry.parts):
        yield after.undo
        if not goal:
            yield entry, *closed(world.undo)  # before the oldest went
    if goal and "database" in changed and dict(goal.parts)["database"]:
        return  # its last step
    for count in range(1, len(entry.parts) + 1):
        for parts in itertools.combinations(entry.parts, count):
            if changed <= {name for name, _ in parts}:
                yield replace(entry, parts=parts, cut=line, undoes=goal), *world.undo


def at_once(worlds: Iterable[World], first: Command, second: Command, ended: tuple[int, int]) -> set[World]:
    """Return the worlds that two commands may have left that ran in either order."""
    worlds = set(worlds)
    one = run(run(worlds, first, "", ended[0]), second, "", ended[1])
    return one | run(run(worlds, second, "", ended[1]), first, "", ended[0])
