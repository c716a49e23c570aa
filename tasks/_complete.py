"""Completes a word of `inv` for a shell: run by ./inv alone (-I -S), without Invoke and without the tasks.

It prints a candidate a line, with a tab before what it is about; `:files` where a file is wanted. What there is comes
from a list that `inv completion` writes, in the user's cache; one that is older than the tasks is still used once, and
renewed meanwhile. It starts no service, installs nothing, asks no network, and says nothing of what goes wrong.
"""

from __future__ import annotations

import os
import sys
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself takes longer to load than all of this
    from typing import Any

    Listed = dict[str, Any]
    Candidate = tuple[str, str]

FILES = ":files"


def main(words: list[str]) -> None:
    """Print the candidates for the last of the words behind `inv`."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    root = os.environ.get("LOCALENV_ROOT") or here
    listed, is_fresh = read(root, here)
    if not is_fresh:
        renew(root, here)
    if listed:
        for value, about in candidates(listed, joined(words), root):
            print(f"{value}\t{about}")


def cache_file(root: str) -> str:
    """Return where the list of a checkout is."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "localenv", "completion", f"{zlib.crc32(root.encode()):08x}.json")


def stamp(root: str, here: str) -> str:
    """Return what names the state of the files that the list is made from: names, sizes and times."""
    found = []
    for top in (os.path.join(here, "tasks"), os.path.join(root, "ddb"), os.path.join(root, "sql")):
        left = [top]
        while left:
            folder = left.pop()
            try:
                entries = list(os.scandir(folder))
            except OSError:
                continue
            for entry in entries:
                if entry.name.startswith((".", "__")):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                else:
                    about = entry.stat()
                    found.append(f"{entry.path} {about.st_size} {about.st_mtime_ns}")
    return f"{zlib.crc32(chr(10).join(sorted(found)).encode('utf-8', 'surrogateescape')):08x}"


def read(root: str, here: str) -> tuple[Listed | None, bool]:
    """Return the list, None where there is none, and whether it is that of the files as they are."""
    import json

    try:
        with open(cache_file(root), encoding="utf-8") as file:
            listed = json.load(file)
        return listed, listed["stamp"] == stamp(root, here)
    except (OSError, ValueError, KeyError, TypeError):
        return None, False


def renew(root: str, here: str) -> None:
    """Have another process write the list, without waiting for it."""
    python = sys.executable
    if not os.path.exists(os.path.join(here, ".venv", "bin", "python")):
        return
    if os.fork():
        return
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nothing, number)
    start = os.path.join(here, "tasks", "_start.py")
    os.execv(python, [python, "-I", "-S", start, "--search-root", root, "completion", "list"])


def joined(words: list[str]) -> list[str]:
    """Put together what bash takes apart: --engine = docker, and what is before a colon."""
    found: list[str] = []
    for word in words:
        if found and ((word[:1] in "=:" and word) or found[-1][-1:] in ("=", ":")):
            found[-1] += word
        else:
            found.append(word)
    return found or [""]


def candidates(listed: Listed, words: list[str], root: str) -> list[Candidate]:
    """Return what may stand for the last word, each with what it is about."""
    *before, current = words
    if "--" in before:
        return []
    tasks = listed["tasks"]
    task = next((word for word in reversed(before) if word in tasks), "")
    known = tasks[task]["options"] if task else listed["core"]
    flag, is_given, value = current.partition("=")
    if is_given and flag in known:
        start = f"{flag}=" if os.environ.get("LOCALENV_COMPLETES") != "bash" else ""
        return [(start + one, about) for one, about in values(listed, known[flag], value, root)]
    if before and before[-1] in ("--help", "-h") and not task:
        return [(name, tasks[name]["about"]) for name in tasks if name.startswith(current)]
    if before and before[-1].startswith("-") and known.get(before[-1], {}).get("takes"):
        return values(listed, known[before[-1]], current, root)
    if current.startswith("-"):
        return [(name, option["about"]) for name, option in known.items() if name.startswith(current)]
    found = [(name, each["about"]) for name, each in tasks.items() if name.startswith(current)]
    if task and tasks[task]["word"] and before[-1] == task:
        return values(listed, tasks[task]["word"], current, root) or found
    return found


def values(listed: Listed, option: Listed, start: str, root: str) -> list[Candidate]:
    """Return the values of an option that begin so."""
    source = option.get("values", "")
    if source == "files":
        return [(FILES, "")]
    named = listed["sources"].get(source)
    if named is None:
        found = {"handles": handles, "snapshots": snapshots, "undo": undos, "branches": branches}.get(source)
        named = found(root) if found else []
    return [(value, about) for value, about in named if value.startswith(start)]


def handles(root: str) -> list[Candidate]:
    """Return the handles of the seeds' people, with their names."""
    try:
        with open(os.path.join(root, "seeds", "people.csv"), encoding="utf-8-sig") as file:
            import csv

            rows = list(csv.DictReader(file))
    except (OSError, ValueError):
        return []
    return [(row["handle"], row.get("display_name") or "") for row in rows if row.get("handle")]


def snapshots(root: str) -> list[Candidate]:
    return [(name, "snapshot") for name in inside(root, "snapshots") if not name.startswith(".")]


def branches(root: str) -> list[Candidate]:
    """Return the branches that Git has as files here; of packed ones nothing is known."""
    heads = os.path.join(root, ".git", "refs", "heads")
    found = [os.path.relpath(os.path.join(at, name), heads) for at, _, names in os.walk(heads) for name in names]
    return [(name, "branch") for name in sorted(found)]


def undos(root: str) -> list[Candidate]:
    return [(name, "") for name in inside(root, "undo") if len(name) == 8]


def inside(root: str, folder: str) -> list[str]:
    state = os.environ.get("LOCALENV_STATE_DIR") or state_in_dotenv(root) or ".local"
    try:
        return sorted(os.listdir(os.path.join(root, state, folder)))
    except OSError:
        return []


def state_in_dotenv(root: str) -> str:
    try:
        with open(os.path.join(root, os.environ.get("LOCALENV_DOTENV", ".env")), encoding="utf-8") as file:
            for line in file:
                name, _, value = line.partition("=")
                if name.strip() == "LOCALENV_STATE_DIR":
                    return value.strip().strip("\"'")
    except (OSError, ValueError):
        pass
    return ""


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except Exception:  # noqa: BLE001 - a Tab says nothing
        os._exit(1)
