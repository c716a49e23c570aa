"""Which pg_dump dumps an engine's database server: the one of the server's own release.

Another release is not safe: 18.4 dumps column options of a 17.12 server that no server accepts (measured).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import PreflightFailed, ServiceFailed
from ..hints import START
from ..settings import Settings
from .state import read_choice

SOCKET_PORT = 5432


def dump_command(settings: Settings) -> list[str | Path]:
    """Return the program with its connection options; the password goes in PGPASSWORD. It dumps to stdout.

    Raises PreflightFailed where there is no such program, ServiceFailed where the server does not run.
    """
    choice = read_choice(settings.state_dir)
    if choice and choice.engine == "docker":
        return _in_container(settings)
    from .embedded.home import installed_programs

    return [installed_programs() / "bin" / "pg_dump"]


def _in_container(settings: Settings) -> list[str | Path]:
    from .docker.api import DockerApi
    from .docker.endpoint import find_endpoint
    from .docker.ours import current

    docker = shutil.which("docker")
    if docker is None:
        raise PreflightFailed("the program docker is not installed", hint="install Docker's command line")
    endpoint = find_endpoint()
    container = current(DockerApi(endpoint).containers(settings.project_id), settings.root).get("postgres")
    if container is None:
        raise ServiceFailed("there is no container of Postgres", hint=START)
    # The container's socket, which the image trusts. Variables, because pg_dump reads a name with = as a URL.
    variables = {"PGPORT": SOCKET_PORT, "PGUSER": settings.postgres.user, "PGDATABASE": settings.postgres.database}
    words = [word for name, value in variables.items() for word in ("-e", f"{name}={value}")]
    return [docker, "--host", endpoint.url, "exec", *words, container.id, "pg_dump"]
