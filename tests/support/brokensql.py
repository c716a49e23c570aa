"""SQL files as users write them, broken at a known line in a known way. Runs nothing."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
SHOP = """\
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE shops (
    id serial PRIMARY KEY,
    name varchar(80) NOT NULL,  -- as on the door
    feeling mood DEFAULT 'ok',
    price numeric(10, 2) CHECK (price > 0),
    opened timestamp with time zone DEFAULT now(),
    owner_id integer NOT NULL,
    UNIQUE (name, owner_id),
    CONSTRAINT named CHECK (name <> '')
);
CREATE INDEX shops_by_owner ON shops (owner_id);
COMMENT ON TABLE shops IS 'where; things, are sold';

CREATE VIEW cheap AS
SELECT
    shops.id,
    shops.name,
    count(*) AS number
FROM shops
WHERE shops.price < 10
GROUP BY shops.id, shops.name
ORDER BY shops.name;

CREATE FUNCTION shout(text) RETURNS text AS $$
    SELECT upper($1) || '!';
$$ LANGUAGE sql;

INSERT INTO shops (
    name,
    price,
    owner_id
) VALUES
    ('Bakery', 3.50, 1),
    -- it is (nearly) new
    ('O''Hara, and sons', 12, 2),
    ('Fish (fresh); daily', 7.25, (SELECT min(owner_id) + 1 FROM shops WHERE name = 'none' OR true)),
    (E'Line\\nbreak', 1, length('abc')),
    ('Last', 2, 4)
ON CONFLICT DO NOTHING;

INSERT INTO shops (name, price, owner_id) VALUES
(
    'Tall',
    4,
    5
),
(
    'Wide',
    6,
    7
);
UPDATE shops
SET price = 4,
    name = 'Corner'
WHERE name = 'Bakery';
DELETE FROM shops
WHERE price > 100;
ALTER TABLE shops ADD COLUMN note text;
SELECT setval('shops_id_seq', 10);
""".replace("(SELECT min(owner_id) + 1 FROM shops WHERE name = 'none' OR true)", "(SELECT 3 WHERE true)")
USERS = """\
DROP TABLE IF EXISTS public.users;
CREATE TABLE public.users (
  uuid UUID DEFAULT gen_random_uuid() PRIMARY KEY,
  display_name text NOT NULL,
  handle text NOT NULL,
  cognito_user_id text NOT NULL,
  created_at TIMESTAMP default current_timestamp NOT NULL
);
CREATE TABLE public.activities (
  uuid UUID DEFAULT gen_random_uuid() PRIMARY KEY,
  user_uuid UUID NOT NULL,
  message text NOT NULL,
  likes_count integer DEFAULT 0,
  expires_at TIMESTAMP,
  FOREIGN KEY (user_uuid) REFERENCES public.users (uuid)
);
INSERT INTO public.users (uuid, display_name, handle, cognito_user_id)
VALUES
  (gen_random_uuid(), 'Andrew Brown', 'andrewbrown' ,'MOCK'),
  (gen_random_uuid(), 'Andrew Bayko', 'bayko' ,'MOCK'),
  (gen_random_uuid(), 'Londo Mollari', 'londo' ,'MOCK');

INSERT INTO public.activities (user_uuid, message, expires_at)
VALUES
  (
    (SELECT uuid from public.users WHERE users.handle = 'andrewbrown' LIMIT 1),
    'This was imported as seed data!',
    current_timestamp + interval '10 day'
  ),
  (
    (SELECT uuid from public.users WHERE users.handle = 'bayko' LIMIT 1),
    'Another one',
    current_timestamp + interval '10 day'
  )
"""


class Broken(NamedTuple):
    """A broken file: what was done to it, and the number of the line where."""

    how: str
    text: str
    line: int


def valid() -> dict[str, str]:
    """Return the files that are broken, by name; each runs on an empty database."""
    return {"shop": SHOP, "users": USERS, "schema": (ROOT / "sql/schema.sql").read_text()}


def commas() -> Iterator[Broken]:
    """Yield every file with one comma or semicolon at the end of a line changed, dropped or added."""
    for name, text in valid().items():
        lines = text.split("\n")
        for index, line in enumerate(lines):
            for how, pattern, replacement in (
                ("semicolon for comma", r"\)(\s*),(\s*(?:--.*)?)$", r")\1;\2"),
                ("no comma", r",(\s*(?:--.*)?)$", r"\1"),
                ("no semicolon", r";(\s*(?:--.*)?)$", r"\1"),
                ("comma for semicolon", r"(['\w)]);$", r"\1,"),
                ("comma too many", r"(['\w)])$", r"\1,"),
                ("semicolon too many", r"\)$", ");"),
            ):
                changed = re.sub(pattern, replacement, line)
                if changed != line and not line.lstrip().startswith("--"):
                    yield Broken(
                        f"{how} in {name}", "\n".join([*lines[:index], changed, *lines[index + 1 :]]), index + 1
                    )


def otherwise(seed: int = 5, times: int = 400) -> Iterator[Broken]:
    """Yield files with a word, bracket or quote lost, doubled, or misspelled: no comma and no semicolon is changed."""
    chance = random.Random(seed)
    for _ in range(times):
        name, text = chance.choice(list(valid().items()))
        parts = list(re.finditer(r"\w+|[()']", text))
        part = chance.choice(parts)
        how, changed = chance.choice(
            [
                ("lost", ""),
                ("doubled", f"{part.group()} {part.group()}"),
                ("misspelled", part.group()[:-1] if len(part.group()) > 2 else "x"),
                ("foreign", f"{part.group()} {chance.choice(parts).group()}"),
            ]
        )
        broken = text[: part.start()] + changed + text[part.end() :]
        yield Broken(f"{part.group()!r} {how} in {name}", broken, 1 + text.count("\n", 0, part.start()))


def lines(seed: int = 7, times: int = 400) -> Iterator[Broken]:
    """Yield files with a line lost, doubled, moved, joined with the next one, or of another place."""
    chance = random.Random(seed)
    for _ in range(times):
        name, text = chance.choice(list(valid().items()))
        all_ = text.split("\n")
        at = chance.randrange(len(all_) - 1)
        before, line, following, after = all_[:at], all_[at], all_[at + 1], all_[at + 2 :]
        how, changed = chance.choice(
            [
                ("lost", [*before, following, *after]),
                ("both lost", [*before, *after]),
                ("doubled", [*before, line, line, following, *after]),
                ("moved", [*before, following, line, *after]),
                ("joined", [*before, f"{line} {following}", *after]),
                ("foreign", [*before, chance.choice(all_), line, following, *after]),
            ]
        )
        yield Broken(f"line {at + 1} {how} in {name}", "\n".join(changed), at + 1)
