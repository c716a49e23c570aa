"""Output of Docker and Compose as our errors. Values in, values out: nothing here calls the engine.

The texts are those of Docker 20.10 and 28, Compose 2.26 and 2.40. They classify what a container's state does not
show; exit codes cannot, since they differ between Compose's releases.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...errors import LocalEnvError, PreflightFailed, ServiceFailed, UsageError
from ...hints import DOCTOR, START, Command, either

FILE = "docker-compose.yml"
OLDEST_COMPOSE = (2, 20)
LINES = 20
CONFLICT = re.compile(
    r"network \S+ is ambiguous|is already in use by container|removal of container .* is already in progress"
    r"|network (?![0-9a-f]{64} )\S+ not found"
)
"""Two runs of Compose created the same resources concurrently; a retry of the second one succeeds."""
NAME_IN_USE = re.compile(r'container name "/?([^"]+)" is already in use by container "?([0-9a-f]+)')
NETWORK_GONE = re.compile(r"network [0-9a-f]{64} not found")
"""A stopped container's network is gone, by `docker network prune` for example.

The container refers to it by id, so it never starts again and must be recreated. Compose does not notice that.
"""


class PortTaken(PreflightFailed):
    """A host port is held by another program; `port` is 0 when the message does not say which."""

    def __init__(self, text: str, port: int) -> None:
        super().__init__(
            f"port {port or ''} is taken: {text}".replace("  ", " "),
            hint="stop what holds it, or set another port in .env",
        )
        self.port = port


class MissingImage(PreflightFailed):
    """Images are neither on this machine nor available. `said` is Docker's message."""

    def __init__(self, names: Sequence[str], said: str) -> None:
        which = "an image is"
        if names:
            which = f"image {names[0]} is" if len(names) == 1 else f"images {', '.join(names)} are"
        login = "run `docker login`, then " if re.search("toomanyrequests|unauthorized|denied", said) else ""
        pull = " && ".join(f"docker pull {name}" for name in names) or "docker compose pull"
        super().__init__(
            f"{which} not on this machine and cannot be pulled: {said}",
            hint=f"{login}run `{pull}` where the registry can be reached, or use --engine embedded",
        )
        self.said = said


class NetworkGone(ServiceFailed):
    """A container cannot start because its network was removed."""


class Conflict(ServiceFailed):
    """Another run of Compose works on the same project."""


@dataclass(frozen=True)
class Rule:
    """A message of Docker or Compose, and the error that it becomes."""

    pattern: re.Pattern[str]
    error: Callable[[str, re.Match[str]], LocalEnvError]


def parse_version(text: str) -> tuple[int, ...]:
    """Parse "2.26.1-4", "v2.27.0" or "2.40.3-desktop.1"; return an empty tuple for anything else."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text.strip())
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def clean(line: str) -> str:
    """Remove the escape sequences that Compose writes even without a tty (2.26: an erase before each log line)."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip()


def progress(line: str) -> str:
    """Return a line of `compose up` for a human; empty where a later line repeats it with its result."""
    text = " ".join(line.split())
    warning = re.search(r'level=warning msg="(.*)"$', text)
    if warning:
        return "" if "obsolete" in warning[1] else "compose: " + warning[1].replace('\\"', '"')
    done = re.match(r'(Container|Volume) "?([^"]+)"? (Created|Recreated|Started)$', text)
    if done and (done[1], done[3]) != ("Container", "Created"):  # also printed for containers that existed already
        return f"{done[1].lower()} {done[2]} {done[3].lower()}"
    pull = re.match(r"(?:Image )?(\S+) (Pulling|Pulled)$", text)
    return f"{pull[1]}: {pull[2].lower()} the image" if pull else ""


def is_pull(line: str) -> bool:
    """Return whether Compose reports that it pulls an image."""
    return re.search(r"\bPulling( fs layer)?$|\bDownloading\b|\bExtracting\b", line.rstrip()) is not None


def explain(lines: Sequence[str], *, doing: str = "docker compose up") -> LocalEnvError:
    """Return the error for what Compose wrote before it failed; it always includes the last line."""
    said = [line.strip() for line in lines if line.strip() and "level=warning" not in line]
    last = said[-1].removeprefix("Error response from daemon: ") if said else "it said nothing"
    for rule in RULES:
        found = rule.pattern.search(last)
        if found:
            return rule.error(last, found)
    return ServiceFailed(f"{doing}: {last}", hint=DOCTOR, evidence="\n".join(said[-LINES:-1]))


def explain_state_error(name: str, text: str) -> LocalEnvError:
    """Return the error for a container's State.Error, which says why the engine could not start it."""
    program = re.search(r"exec: .*?(?=: unknown$|$)", text)
    if program:
        return ServiceFailed(
            f"container {name} cannot start its program: {program[0]}", hint=f"correct the command of {name} in {FILE}"
        )
    return explain([text], doing=f"container {name} cannot be started")


@dataclass(frozen=True)
class Ending:
    """The engine's record of a container that does not run.

    `error` says why it could not be started; `log` is its output since its last start.
    """

    error: str = ""
    exit_code: int = 0
    oom_killed: bool = False
    restarts: int = 0
    log: str = ""


SIGNALS = {129: "SIGHUP", 130: "SIGINT", 134: "SIGABRT", 137: "SIGKILL", 139: "SIGSEGV", 143: "SIGTERM"}
"""Exit codes of programs that a signal ended: 128 and its number."""


def again(name: str) -> str:
    """Return the hint to try again, or to read the container's whole log."""
    return either(START, f"run `docker logs {name}` to see more")


def ended(name: str, ending: Ending) -> ServiceFailed:
    """Return the error for a container that ended, with its last log lines as evidence."""
    causes = [f"it was restarted {ending.restarts} times"] if ending.restarts else []
    hint = again(name)
    if ending.oom_killed:
        causes.insert(0, "it was out of memory")
        hint = Command("env.up", first="give Docker more memory")
    elif ending.exit_code in SIGNALS:
        causes.insert(0, f"ended by {SIGNALS[ending.exit_code]}")
    return ServiceFailed(
        f"container {name} exited with code {ending.exit_code}{': ' if causes else ''}{', '.join(causes)}",
        hint=hint,
        evidence="\n".join(clean(line) for line in ending.log.splitlines()[-LINES:]),
    )


def _port(line: str, _: re.Match[str]) -> LocalEnvError:
    found = re.search(r"(?:[\d.]+|\]):(\d{2,5})(?!\d*\.)", line)
    return PortTaken(line, int(found[1]) if found else 0)


def _image(line: str, _: re.Match[str]) -> LocalEnvError:
    found = re.search(r"(?:No such image: |manifest for |pull access denied for )([\w./:-]+\w)", line)
    return MissingImage([found[1]] if found else [], line)


def _in_file(line: str, _: re.Match[str]) -> LocalEnvError:
    """Return the error with file and line in front, where Compose names them."""
    in_dotenv = re.search(r"failed to read (?:\S*/)?(\.env\S*): (?:line (\d+): )?(.*)", line)
    if in_dotenv:
        name, number, text = in_dotenv.groups()
        return UsageError(f"{name}:{number or 1}: {text}", hint=f"correct {name}; Compose reads it too")
    yaml = re.search(r"yaml: (?:line (\d+)(?:, column \d+)?: )?(.*)", line)
    if yaml:
        return UsageError(f"{FILE}:{yaml[1] or 1}: {yaml[2]}", hint=f"correct {FILE}")
    if re.search(r"no such file or directory$|no configuration file", line):
        return UsageError(f"{FILE}: there is no such file", hint=f"bring it back with `git checkout {FILE}`")
    text = re.sub(r"^validating (\S*/)?(\S+?): ", "", line)
    return UsageError(f"{FILE}: {text}", hint=f"correct {FILE}; `docker compose config` shows what Compose makes of it")


def _preflight(message: str, hint: str) -> Callable[[str, re.Match[str]], LocalEnvError]:
    return lambda line, _: PreflightFailed(f"{message}: {line}", hint=hint)


def _rule(pattern: str, error: Callable[[str, re.Match[str]], LocalEnvError]) -> Rule:
    return Rule(re.compile(pattern), error)


RULES = (
    _rule("address already in use|port is already allocated|ports are not available", _port),
    _rule(
        r"no space left on device",
        _preflight("no space left for Docker", "free some space: `docker system df` shows what uses it"),
    ),
    _rule(
        r"permission denied .*docker(\.sock| daemon| API)",
        _preflight("this user may not use Docker", "run `sudo usermod -aG docker $USER` and log in again"),
    ),
    _rule(
        r"Cannot connect to the Docker daemon|error during connect|unexpected EOF",
        _preflight("the Docker engine went away", Command("env.up", first="start Docker")),
    ),
    _rule(
        r"non-overlapping IPv4 address pool",
        _preflight("Docker has no network left", "run `docker network prune`, which removes unused networks"),
    ),
    _rule(
        NETWORK_GONE.pattern,
        lambda line, _: NetworkGone(
            f"the network of a container was removed: {line}",
            hint="run `docker compose up --detach --force-recreate`, which keeps the volumes",
        ),
    ),
    _rule(
        CONFLICT.pattern,
        lambda line, _: Conflict(
            f"another run of Compose works on this project: {line}",
            hint=Command("env.up", first="wait until that one has ended"),
        ),
    ),
    _rule(
        r"[Nn]o such image|pull access denied|manifest (for|unknown)|no such host|toomanyrequests|unauthorized"
        r"|failed to resolve reference|registry|TLS handshake|i/o timeout|proxyconnect|Client\.Timeout"
        r"|Get \"https?://[^\"]+/v2/",
        _image,
    ),
    _rule(
        r"^yaml:|^validating |invalid compose project|while interpolating|failed to read |Invalid hostPort"
        r"|[Aa]dditional propert(y|ies)|no configuration file|empty compose file|depends on undefined"
        r"|must be a (mapping|string)"
        r"|\.yml: |\.yaml: ",
        _in_file,
    ),
    _rule(
        r"external volume .* not found|declared as external",
        lambda line, _: UsageError(f"{FILE}: {line}", hint="make it, or take `external` out of the file"),
    ),
    _rule(
        r"cannot start a paused container",
        lambda line, _: ServiceFailed(line, hint=Command("env.up", when=", which resumes it")),
    ),
)
"""First match wins. The order matters where a line fits several: ports and disk before the registry's texts."""
