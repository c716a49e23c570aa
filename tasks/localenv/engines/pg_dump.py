"""Which pg_dump reads the database server of an engine: one of the server's own release.

An older one writes what it does not know of: of a server of 17.12, that of 18.4 dumps column options which no server
takes (measured).
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
    """Give the program and what it connects to; the password goes by PGPASSWORD. Output is to come on stdout.

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
    from .docker.start import current

    docker = shutil.which("docker")
    if docker is None:
        raise PreflightFailed("the program docker is not installed", hint="install Docker's command line")
    endpoint = find_endpoint()
    container = current(DockerApi(endpoint).containers(settings.project_id)).get("postgres")
    if container is None:
        raise ServiceFailed("there is no container of Postgres", hint=START)
    # The socket inside, which the image trusts. Variables, since pg_dump takes a name with = in it for a whole URL.
    told = {"PGPORT": SOCKET_PORT, "PGUSER": settings.postgres.user, "PGDATABASE": settings.postgres.database}
    words = [word for name, value in told.items() for word in ("-e", f"{name}={value}")]
    return [docker, "--host", endpoint.url, "exec", *words, container.id, "pg_dump"]
