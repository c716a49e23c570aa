"""How this program begins and ends: whatever happens to its process, no user sees a traceback for it.

./inv runs this file by its path, before Python has loaded anything else (-S): from its first lines on Ctrl-C is an end.
It is short and imports little, since it is compiled at each start and what is imported before them is not guarded.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal takes 3 ms to load
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is not needed for it
    from invoke.program import Program

YAML = "invoke.vendor.yaml"
INTERRUPTED = 130
LEAST_BYTES = 256_000_000
"""Of address space: the largest run takes 170 MB. With less, libraries write tracebacks of their own, and Python's
Thread.start waits for ever for a thread that had not enough to begin with."""
M_ARENA_MAX = -8  # malloc.h
BARE_ANSWER = (
    b'{"schemaVersion": 2, "command": "inv", "effect": "reads", "status": "error", "data": null, "steps": [], '
    b'"warnings": [], "undo": [], "error": {"code": %d, "name": "%s", "message": "%s", "hint": "", "commands": [], '
    b'"retryable": false, "evidence": []}}\n'
)
"""The envelope (_envelope.py), where nothing can be loaded that writes it."""
NO_ROOM = b"""FAIL  inv  there is not enough memory, or not enough open files, to begin with
      hint raise the limits of `ulimit -v` and `ulimit -n`, then run the same command again
"""


def wants_json(words: list[str]) -> bool:
    """Return whether a command line asks for its answer as JSON, understood or not."""
    ours = words[: words.index("--")] if "--" in words else words
    return "--format=json" in ours or any(ours[at : at + 2] == ["--format", "json"] for at in range(len(ours)))


def leave(*_: object) -> None:
    """End at once. For SIGINT, as long as nothing is under way that wants an end of its own."""
    posix._exit(INTERRUPTED)


def on_interrupt(handler: object) -> None:
    """Say what Ctrl-C does, unless whoever started this program has it ignored."""
    if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, handler)


if __name__ == "__main__":
    on_interrupt(leave)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, [_signal.SIGINT])  # ./inv has kept it waiting until here

import os  # noqa: E402


def main() -> None:
    """Run Invoke on this checkout, as ./inv does."""
    open_streams()
    try:
        require_memory()
        if sys.flags.no_site:
            import site

            site.main()  # what -S has left for here
        program = load_invoke()
        flush_at_exit()
        program.config_class = _config_class()
        program._name, program.version = "localenv", f"{release()} (Invoke {program.version})"
        if "--help-all" in sys.argv:
            sys.argv[sys.argv.index("--help-all")] = "--help"
        else:
            vars(program)["print_help"] = print_help
        program.run()
    except Exception as error:  # noqa: BLE001 - the last place where it can be told
        end_with(error)


def load_invoke() -> Program:
    """Load Invoke's program without what takes half of its start.

    That is unittest.mock (with asyncio), which is for tests of tasks, importlib.metadata (with email), which it asks
    for its own version, and its YAML, which reads an invoke.yaml where there is one.
    """
    spared = [name for name in ("unittest", "unittest.mock", "importlib.metadata") if name not in sys.modules]
    for name in spared:
        sys.modules[name] = type(sys)(name)
        vars(sys.modules[name]).update(Mock=object, version=installed)
    sys.modules.setdefault(YAML, Late(YAML))
    from invoke.main import program

    for name in spared:
        del sys.modules[name]
    return program


class Late(type(sys)):  # type: ignore[misc]
    """Invoke's YAML, which is loaded when something of it is used."""

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(YAML) is self:
            del sys.modules[YAML]
        module = __import__(YAML, fromlist=[name])
        return getattr(module, name)


def installed(package: str) -> str:
    """Return the version of an installed package, by the name of its folder of metadata; empty for none."""
    start, end = f"{package}-", ".dist-info"
    found = (name for place in sys.path if os.path.isdir(place) for name in os.listdir(place))  # noqa: PTH112, PTH208
    named = (name for name in found if name.startswith(start) and name.endswith(end))
    return next((name[len(start) : -len(end)] for name in named), "")


def print_help() -> None:
    """Show the help of this tool: the tasks, once they are loaded, have put theirs in the place of this function."""
    from invoke.main import program

    program.load_collection()
    program.print_help()


def release() -> str:
    """Return the release of this tool, without loading it; empty where its file is not there to be read."""
    try:
        with open(os.path.join(os.path.dirname(__file__), "localenv", "__init__.py")) as file:  # noqa: PTH118, PTH120, PTH123
            return next(line.partition('"')[2].rpartition('"')[0] for line in file if line.startswith("VERSION"))
    except (OSError, StopIteration):
        return ""


def require_memory() -> None:
    """Raise MemoryError where `ulimit -v` leaves too little to begin with, and be sparing with what it leaves."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return
    if limit < LEAST_BYTES:
        raise MemoryError
    import ctypes

    if hasattr(libc := ctypes.CDLL(None), "mallopt"):  # glibc: each thread reserves 64 MiB for itself
        libc.mallopt(M_ARENA_MAX, 1)


def open_streams() -> None:
    """Open stdin, stdout and stderr on nothing where the caller has closed them (`>&-`).

    Else the next file that is opened has their number, and what is meant for the terminal is written into it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
            setattr(sys, f"__{name}__", getattr(sys, name))
        elif number and not os.get_blocking(number):  # as a child of Node.js: a long text would not go through at once
            os.set_blocking(number, True)


def flush_at_exit() -> None:
    """Flush the streams before sys.exit: afterwards Python tries it too, and keeps it to itself that it could not."""
    if sys.exit.__name__ != flushed_exit.__name__:
        vars(sys)["exit"] = flushed_exit


def flushed_exit(code: object = None) -> None:
    """Do what sys.exit does, but leave at once where a thread still waits for an answer that nobody needs any more.

    Python would end such threads by force, and itself by SIGABRT where that goes wrong: over a lock that one of them
    holds, or for want of memory ("libgcc_s.so.1 must be installed for pthread_exit to work").
    """
    flush()
    threading = sys.modules.get("threading")
    others = threading.enumerate()[1:] if threading else []
    if others and all(thread.daemon for thread in others):
        import atexit

        atexit._run_exitfuncs()
        flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
    raise SystemExit(code)


def flush() -> None:
    """Write what is left in the buffers; the exit code says where that cannot be done."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception as error:  # noqa: BLE001 - told, whatever it is
            if isinstance(error, OSError):
                error.filename = stream.name
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is not sys.stderr:
                end_with(error)


def _config_class() -> type:
    """Make Invoke do without a configuration of the user's that cannot be read: HOME may be somebody else's."""
    from invoke import Config

    class Readable(Config):
        def _load_file(self, prefix: str, absolute: bool = False, merge: bool = True) -> None:
            try:
                super()._load_file(prefix, absolute, merge)
            except OSError:
                if prefix not in ("system", "user"):
                    raise

    return Readable


def end_with(error: BaseException) -> None:
    """Tell an error that nobody was left to catch, and end with its exit code. A reader that had enough is none."""
    code = 0
    try:
        on_interrupt(leave)
        if not isinstance(error, BrokenPipeError):
            root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
            sys.path[:0] = [] if root in sys.path else [root]  # Invoke may not have found tasks.py yet
            loaded = [name for name in sys.modules if name.endswith("tasks._running")]  # by an app's tasks.py
            code = __import__(loaded[0] if loaded else "tasks._running", fromlist=["tell"]).tell(error)
        flush()
    except BaseException as worse:  # noqa: BLE001 - tasks/ itself cannot be loaded
        lacks = _is_lack(error) or _is_lack(worse)
        text = NO_ROOM if lacks else _told_alone(error if type(worse) is type(error) else worse)
        code = 6 if text == NO_ROOM else 1
        os.write(2, text)
        if wants_json(sys.argv):
            why = (b"preflight", b"not enough memory or open files") if code == 6 else (b"fault", b"cannot be loaded")
            os.write(1, BARE_ANSWER % (code, *why))
    os._exit(code)


def _is_lack(error: BaseException) -> bool:
    """Return whether the system refused what every program needs to begin: memory, files, a readable folder."""
    return isinstance(error, (MemoryError, OSError)) or "failed to map segment" in str(error)  # as an ImportError


def _told_alone(error: BaseException) -> bytes:
    """Write an error without the package that does it elsewhere, which does not load: somebody works on it."""
    try:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
        text = __import__("localenv.machine.masking", fromlist=["masked"]).masked(text)
    except Exception:  # noqa: BLE001 - the standard library does not load either
        return NO_ROOM
    return f"{text}FAIL  inv  its own files cannot be loaded\n".encode(errors="replace")


if __name__ == "__main__":
    main()
