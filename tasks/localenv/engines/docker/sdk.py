"""The work that needs Docker's SDK: a container's full state and log, a command inside it. Loaded on demand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ...errors import LocalEnvError, ServiceFailed
from ...hints import DOCTOR, START
from ...machine.waiting import waiting
from .api import LABEL, NOT_DOCKER, away, epoch_s
from .composemessages import Ending, clean
from .endpoint import DockerEndpoint

if TYPE_CHECKING:
    from docker import DockerClient

TIMEOUT_S = 10


@contextmanager
def open_sdk(endpoint: DockerEndpoint) -> Iterator[DockerClient]:
    """Open the SDK's client, and turn its errors into ours."""
    import docker
    import requests

    try:
        with waiting(f"the Docker engine at {endpoint}", TIMEOUT_S):
            client = docker.DockerClient(base_url=endpoint.url, timeout=TIMEOUT_S)
    except (docker.errors.DockerException, AttributeError, KeyError, TypeError, ValueError) as error:
        raise away(endpoint, _innermost(error)) from error
    try:
        with waiting(f"the Docker engine at {endpoint}"):
            yield client
    except docker.errors.NotFound as error:
        raise LocalEnvError(f"Docker: {error.explanation}", hint=START) from error
    except docker.errors.APIError as error:
        raise LocalEnvError(f"Docker: {error.explanation or error}", hint=DOCTOR) from error
    except requests.RequestException as error:
        raise away(endpoint, _innermost(error)) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # the SDK accepts any JSON
        raise ServiceFailed(
            f"the Docker engine at {endpoint} gave an unexpected answer: {type(error).__name__}: {error}",
            hint=NOT_DOCKER,
        ) from error
    finally:
        client.close()


def read_ending(endpoint: DockerEndpoint, container_id: str, lines: int) -> Ending:
    """Return why a container does not run, with its last log lines, since its last start if there are any."""
    with open_sdk(endpoint) as client:
        container = client.containers.get(container_id)
        state = container.attrs["State"]
        log = container.logs(tail=lines, since=max(1, int(epoch_s(state["StartedAt"]))))
        log = log or container.logs(tail=lines)  # between two restarts it has not written anything
    return Ending(
        error=state["Error"],
        exit_code=state["ExitCode"],
        oom_killed=state["OOMKilled"],
        restarts=container.attrs["RestartCount"],
        log=log.decode(errors="replace"),
    )


def read_log(endpoint: DockerEndpoint, container_id: str, lines: int) -> str:
    """Return the last lines that a container wrote, running or not, oldest first."""
    with open_sdk(endpoint) as client:
        text = client.containers.get(container_id).logs(tail=lines).decode(errors="replace")
    return "\n".join(clean(line) for line in text.splitlines())


def run_inside(
    endpoint: DockerEndpoint, container_id: str, command: Sequence[str], environment: Mapping[str, str]
) -> tuple[int, str]:
    """Run a command in a running container. Return its exit code and output."""
    with open_sdk(endpoint) as client:
        done = client.containers.get(container_id).exec_run(list(command), environment=dict(environment))
    output = done.output if isinstance(done.output, bytes) else b""
    return done.exit_code or 0, output.decode(errors="replace").strip()


def run_once(
    endpoint: DockerEndpoint, image: str, script: str, volumes: Mapping[str, str], name: str, labels: Mapping[str, str]
) -> tuple[int, str]:
    """Run a shell script as root in a new container of an image that is there, with `volumes` by their paths.

    That at /from is read-only. A container of the same name, which a killed command left, is removed first. Returns
    exit code and output.
    """
    import docker

    with open_sdk(endpoint) as client:
        with suppress(docker.errors.NotFound):
            client.containers.get(name).remove(force=True, v=True)
        container = client.containers.create(
            image,
            ["-c", script],
            entrypoint="sh",
            user="root",
            network_mode="none",
            name=name,
            labels=dict(labels),
            volumes={
                volume: {"bind": path, "mode": "ro" if path == "/from" else "rw"} for path, volume in volumes.items()
            },
        )
        try:
            container.start()
            while container.status not in ("exited", "dead"):
                time.sleep(0.05)
                container.reload()
            code, output = container.attrs["State"]["ExitCode"], container.logs()
        finally:
            container.remove(force=True, v=True)
    return code, output.decode(errors="replace").strip()


def make_volume(endpoint: DockerEndpoint, name: str, labels: Mapping[str, str]) -> None:
    """Make an empty volume, in place of one of the same name and of the containers that a killed command left on it."""
    import docker

    with open_sdk(endpoint) as client:
        for container in client.containers.list(all=True, filters={"volume": name}):
            container.remove(force=True, v=True)
        with suppress(docker.errors.NotFound):
            client.volumes.get(name).remove()
        client.volumes.create(name=name, labels=dict(labels))


def remove_with_volumes(endpoint: DockerEndpoint, container_id: str) -> None:
    """Remove a container and its volumes."""
    with open_sdk(endpoint) as client:
        container = client.containers.get(container_id)
        volumes = [mount["Name"] for mount in container.attrs["Mounts"] if mount["Type"] == "volume"]
        container.remove(force=True)
        for name in volumes:
            client.volumes.get(name).remove()


def remove_surplus_networks(endpoint: DockerEndpoint, project: str) -> None:
    """Remove all but one unused network of the project: two concurrent runs of Compose create two of the same name.

    The remaining one may be what the other run is about to use.
    """
    import docker

    with open_sdk(endpoint) as client:
        networks = client.networks.list(filters={"label": f"{LABEL}project={project}"})
        left = len(networks)
        for network in networks:
            if left == 1:
                break
            try:
                network.remove()
                left -= 1
            except docker.errors.APIError:
                continue  # it is in use, or gone already


def _innermost(error: BaseException) -> Exception:
    """Return the innermost error, an OSError that the SDK's own text hides."""
    while error.__context__ is not None:
        error = error.__context__
    return error if isinstance(error, Exception) else Exception(str(error))
