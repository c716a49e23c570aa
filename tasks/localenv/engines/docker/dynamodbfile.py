"""The file of DynamoDB Local in its container: a copy of it, and one to change. Loaded on demand."""

from __future__ import annotations

import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import LocalEnvError, ServiceFailed
from ...hints import START
from ...machine.disk import disk_errors
from ...machine.waiting import waiting
from .. import probes
from .api import DockerApi, helper_labels
from .endpoint import DockerEndpoint, find_endpoint
from .ours import current
from .sdk import open_sdk, run_once

if TYPE_CHECKING:
    from docker.models.containers import Container as SdkContainer

    from ...settings import Settings

NAME = "shared-local-instance.db"
"""The file of -sharedDb; without that option there is one for each key and region."""
NEW = f"{NAME}.localenv"
TAKE_OVER = f"cd /to && [ ! -e {NAME}-journal ] && mv {NEW} {NAME}"
"""A journal belongs to the old file, and would be played back into the new one."""
READY_S = 60.0


@dataclass(frozen=True)
class ContainerStore:
    """The file, in the `folder` of a container that has `mount` there: a volume's name or a folder of this machine."""

    settings: Settings
    endpoint: DockerEndpoint
    container_id: str
    folder: str
    mount: str
    image: str

    @contextmanager
    def copied(self) -> Iterator[Path]:
        """Give a copy of the file as it is at one instant; the server is paused meanwhile."""
        with _folder() as place, open_sdk(self.endpoint) as client:
            container = client.containers.get(self.container_id)
            container.pause()
            try:
                self._fetch(container, place)
            finally:
                container.unpause()
            yield place / NAME

    @contextmanager
    def changed(self) -> Iterator[Path]:
        """Give a copy to change, which the server has instead afterwards, at once; after an error it has its own."""
        with _folder() as place, open_sdk(self.endpoint) as client:
            container = client.containers.get(self.container_id)
            container.stop()
            try:
                self._fetch(container, place)
                yield place / NAME
                self._place(container, place)
            finally:
                container.start()
                self._await_answer()

    def _fetch(self, container: SdkContainer, place: Path) -> None:
        """Copy the file, and the journal of what is being written to it, if anything is."""
        import docker

        for name in (NAME, f"{NAME}-journal"):
            try:
                parts, _ = container.get_archive(posixpath.join(self.folder, name))
            except docker.errors.NotFound:
                continue
            packed = place / "packed.tar"
            with packed.open("wb") as file:
                file.writelines(parts)
            with tarfile.open(packed) as tar:
                member = tar.extractfile(name)
                if member is None:
                    raise ServiceFailed(f"{name} of container {container.name} is no file", hint=START)
                with member, (place / name).open("wb") as file:
                    shutil.copyfileobj(member, file)
            packed.unlink()
        if not (place / NAME).exists():
            raise ServiceFailed(f"container {container.name} has no {posixpath.join(self.folder, NAME)}", hint=START)

    def _place(self, container: SdkContainer, place: Path) -> None:
        packed = place / "packed.tar"
        with tarfile.open(packed, "w") as tar:
            tar.add(place / NAME, NEW, filter=_owned_by(container, posixpath.join(self.folder, NAME)))
        with packed.open("rb") as file:
            container.put_archive(self.folder, file)
        project = self.settings.project_id
        labels = helper_labels(project, "items")
        code, output = run_once(self.endpoint, self.image, TAKE_OVER, {"/to": self.mount}, f"{project}-items", labels)
        if code:
            raise LocalEnvError(
                f"container {container.name} does not take {NAME} over: exit code {code}",
                hint="run the same command again",
                evidence=output,
            )

    def _await_answer(self) -> None:
        address = self.settings.dynamodb
        assert address
        with waiting(f"DynamoDB Local at {address}", READY_S, port=address.port) as wait:
            while not probes.dynamodb_answers(address, self.settings.region):
                if wait.is_over:
                    raise ServiceFailed(f"DynamoDB Local at {address} does not answer", hint=START)


def find(settings: Settings) -> ContainerStore | None:
    """Find the file of the container that is our DynamoDB; None where it has none that we know how to read."""
    endpoint = find_endpoint()
    ours = current(DockerApi(endpoint).containers(settings.project_id), settings.root).get("dynamodb")
    if ours is None:
        return None
    with open_sdk(endpoint) as client:
        attrs: dict[str, Any] = client.containers.get(ours.id).attrs
    words = [*(attrs["Config"].get("Entrypoint") or ()), *(attrs["Config"].get("Cmd") or ())]
    if "DynamoDBLocal.jar" not in words or "-sharedDb" not in words or "-dbPath" not in words[:-1]:
        return None
    folder = posixpath.join(attrs["Config"].get("WorkingDir") or "/", words[words.index("-dbPath") + 1])
    folder = posixpath.normpath(folder)
    for mount in attrs.get("Mounts") or ():
        if mount["Destination"] == folder and mount.get("RW"):
            source = mount.get("Name") or mount["Source"]
            return ContainerStore(settings, endpoint, ours.id, folder, source, attrs["Image"])
    return None


def _owned_by(container: SdkContainer, path: str) -> Any:
    """Return what gives a member of an archive the owner and mode of a file of the container."""
    parts, _ = container.get_archive(path)
    with tempfile.TemporaryFile() as file:
        file.write(next(iter(parts)))
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r|") as tar:
            there = tar.next()
    assert there

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid, member.gid, member.uname, member.gname = there.uid, there.gid, "", ""
        member.mode = there.mode
        return member

    return owned


@contextmanager
def _folder() -> Iterator[Path]:
    with disk_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="localenv-") as place:
        yield Path(place)
