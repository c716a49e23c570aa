"""Takes over what plain `docker compose up` keeps for this folder: our volumes become copies of its own.

Its containers are removed, its volumes stay. A note says how far it came, so that the next start goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...checkout.ownership import remove_note, require_usable
from ...errors import ConfirmationNeeded, LocalEnvError, PreflightFailed, UsageError
from ...hints import Command
from ...machine.disk import disk_errors
from ...machine.waiting import waiting
from ...settings import Settings
from ..service import Say
from . import sdk
from .api import LABEL, WORK_S, DockerApi, helper_labels
from .compose import Compose
from .composefile import paths, read_names
from .composemessages import MissingImage
from .plaincompose import PlainProject, fetch_plain
from .preflight import DockerTools, require_docker
from .takeovernote import Takeover, note_stage, note_takeover, read_takeover

VERSION = (
    "for f in /from/PG_VERSION /from/*/PG_VERSION /from/*/*/PG_VERSION; do [ -f $f ] && cat $f && break; done; true"
)
"""Where a data directory may be in its volume: at its root, in the folder of PGDATA, or in that of a release (18)."""
COPY = "cp -a /from/. /to/"


@dataclass(frozen=True)
class Plan:
    """A takeover that nothing speaks against: what is stopped, and which volumes are copied."""

    plain: PlainProject
    takeover: Takeover

    def lines(self) -> list[str]:
        """Return what it does, a line each."""
        name = self.plain.name
        return [
            *(f"stop and remove container {one.name} of Compose project {name}" for one in self.plain.containers),
            *(f"copy volume {one} to {ours}; {one} is kept" for one, ours in self.takeover.volumes.items()),
        ]


class Adopter:
    """The engine and this checkout's compose file, as a takeover needs them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tools: DockerTools = require_docker(settings)
        self.api = DockerApi(self.tools.endpoint, WORK_S)
        self.model: dict[str, Any] = Compose(self.tools, settings).model()
        self.volumes = self.api.volumes()
        self.file = paths(settings.root)[0].name

    def plan(self) -> Plan:
        """Return what a takeover does. Raises UsageError where there is nothing, ConfirmationNeeded where we have data
        already, PreflightFailed where our server cannot read it.
        """
        plain = fetch_plain(self.settings, self.api)
        if plain is None:
            raise UsageError(
                "--adopt: plain `docker compose` has no environment for this folder", hint="leave --adopt out"
            )
        takeover = Takeover(plain.name, dict(self._pairs(plain.name)))
        self._require_one_folder(plain)
        self._require_room(plain, takeover)
        self._require_named_volume()
        self._require_release(takeover, plain)
        return Plan(plain, takeover)

    def copy(self, takeover: Takeover, say: Say) -> None:
        """Remove the project's containers, and make our volumes from its own. Safe to repeat."""
        theirs = replace(self.settings, project_id=takeover.project)
        gone = [name for name in takeover.volumes if name not in self.volumes]
        if gone:
            raise LocalEnvError(
                f"volume {gone[0]}, of which a copy was begun, is gone",
                hint=Command("env.destroy", when="to drop what was begun"),
            )
        if self.api.containers(takeover.project):
            Compose(self.tools, theirs).remove_containers()
            left = [one.name for one in self.api.containers(takeover.project)]
            if left:
                raise LocalEnvError(
                    f"not removed: {', '.join(left)}",
                    hint=Command("env.up", "--adopt", first=f"run `docker rm -f {' '.join(left)}`"),
                )
            say(f"the containers of Compose project {takeover.project} are removed")
        for source, target in takeover.volumes.items():
            labels = {f"{LABEL}project": self.settings.project_id, f"{LABEL}volume": self._key(source)}
            sdk.make_volume(self.tools.endpoint, target, labels)
            with waiting(f"the copy of volume {source}"):
                self._run(COPY, {"/from": source, "/to": target}, self._image())
            say(f"volume {source} is copied to {target}, and kept")
        remove_note(self.settings.state_dir, "postgres.new")  # a start without data, which these are not

    def _pairs(self, project: str) -> Iterator[tuple[str, str]]:
        """Yield the project's volumes that our compose file has too, each with the name of ours.

        One with a fixed name is the same for both projects: there is nothing to copy.
        """
        ours = self.model.get("volumes") or {}
        for name, labels in sorted(self.volumes.items()):
            key = labels.get(f"{LABEL}volume", "")
            if labels.get(f"{LABEL}project") == project and key in ours and ours[key]["name"] != name:
                yield name, ours[key]["name"]

    def _key(self, volume: str) -> str:
        return self.volumes[volume].get(f"{LABEL}volume", "")

    def _require_one_folder(self, plain: PlainProject) -> None:
        there = {one.id for one in plain.containers}
        strange = [one for one in self.api.containers(plain.name) if one.id not in there]
        if strange:
            raise PreflightFailed(
                f"Compose project {plain.name} has containers of another folder too: {strange[0].name} of "
                f"{strange[0].label('project.working_dir')}",
                hint=Command("env.up", "--adopt", first=f"run `docker rm -f {strange[0].name}`"),
            )

    def _require_room(self, plain: PlainProject, takeover: Takeover) -> None:
        ours = sorted(one.name for one in self.api.containers(self.settings.project_id) if one.is_alive)
        held = [name for name in takeover.volumes.values() if name in self.volumes]
        if not ours and not held:
            return
        what = f"runs too ({', '.join(ours)})" if ours else f"has data of its own ({', '.join(held)})"
        raise ConfirmationNeeded(
            f"the data of Compose project {plain.name} cannot be taken over: this checkout's environment {what}",
            hint=Command("env.destroy", when="if its data may go, then the same command again"),
        )

    def _require_named_volume(self) -> None:
        service = read_names(self.settings.root).get("postgres", "")
        if service and not self._mounts(service):
            raise PreflightFailed(
                f"{self.file} gives {service} no volume: its data are in its container, and would go with it",
                hint=f"save them with `docker compose exec {service} pg_dumpall`, and give {service} a volume",
            )

    def _require_release(self, takeover: Takeover, plain: PlainProject) -> None:
        """Raise PreflightFailed where the image is of another major release than the data, which it cannot read."""
        service = read_names(self.settings.root).get("postgres", "")
        for key in self._mounts(service):
            if key not in (self.model.get("volumes") or {}) or self.model["volumes"][key]["name"] in self.volumes:
                continue  # a folder, or a volume of a fixed name, which both have
            source = next((name for name in takeover.volumes if self._key(name) == key), "")
            if not source:
                raise PreflightFailed(
                    f"Compose project {plain.name} has no volume {key}, where {service} of {self.file} has its data",
                    hint=f"start it from {self.file}, or leave --adopt out",
                )
            found = self._run(VERSION, {"/from": source}, self._image(plain))
            wanted = self._release(self.model["services"][service].get("image", ""))
            if found and wanted and found != wanted:
                raise PreflightFailed(
                    f"volume {source} holds data of PostgreSQL {found}, and {service} of {self.file} runs {wanted}",
                    hint=f"give {service} the image of PostgreSQL {found}, then run the same command again",
                )

    def _mounts(self, service: str) -> list[str]:
        """Return the volumes and folders that a service of the file keeps its data in."""
        mounts = (self.model.get("services") or {}).get(service, {}).get("volumes") or []
        return [mount["source"] for mount in mounts if mount.get("source")]

    def _release(self, image: str) -> str:
        """Return the major release of an image of Postgres, by its environment or its tag; empty where unknown."""
        if self.api.has_image(image):
            return self.api.image_variables(image).get("PG_MAJOR", "")
        tag = re.search(r":(\d+)[^/]*$", image)
        return tag[1] if tag else ""

    def _image(self, plain: PlainProject | None = None) -> str:
        """Return an image of this machine that has a shell and cp: one of our services', ours or theirs."""
        names = read_names(self.settings.root).values()
        ours = [self.model["services"][name].get("image", "") for name in names]
        theirs = [one.image for one in plain.containers if one.service in names] if plain else []
        found = next((image for image in [*ours, *theirs] if image and self.api.has_image(image)), "")
        if not found:
            raise MissingImage(ours, "it is what copies the volumes")
        return found

    def _run(self, script: str, volumes: Mapping[str, str], image: str) -> str:
        project = self.settings.project_id
        labels = helper_labels(project, "takeover")
        name = f"{project}-takeover"
        code, output = sdk.run_once(self.tools.endpoint, image, script, volumes, name, labels)
        if code:
            raise LocalEnvError(
                f"volume {volumes['/from']} is not copied: exit code {code}",
                hint="free some space, then run the same command again",
                evidence=output,
            )
        return output


def plan_takeover(settings: Settings) -> list[str]:
    """Return what `take_over` does, a line each. Changes nothing, and raises as it does."""
    begun = read_takeover(settings)
    if begun and begun.stage != "copying":
        return []
    if begun:
        return [f"copy volume {one} to {ours}; {one} is kept" for one, ours in begun.volumes.items()]
    return Adopter(settings).plan().lines()


def take_over(settings: Settings, say: Say) -> None:
    """Take over what plain Compose keeps for this folder. Goes on with what was begun. Raises as Adopter.plan."""
    with disk_errors(settings.state_dir):
        require_usable(settings.state_dir)
        if read_takeover(settings) is None:
            note_takeover(settings, Adopter(settings).plan().takeover)
        finish(settings, say)


def finish(settings: Settings, say: Say) -> None:
    """Finish a takeover that was begun, before a start: until then our volumes are incomplete."""
    begun = read_takeover(settings)
    if begun and begun.stage == "copying":
        Adopter(settings).copy(begun, say)
        note_stage(settings, "copied")
