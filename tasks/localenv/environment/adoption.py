"""A folder that was moved or copied brings its data along under another project's name: they become this project's.

That holds for the embedded engine alone: its servers keep their data in the state folder and serve nobody else. A note
beside the data says whose they are. Docker's volumes stay with the project of the old place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import engines
from ..cognito.users import look_for_pool
from ..engines.emulator_server.inside import renamed
from ..machine.disk import disk_errors
from ..postgres import databases, ledger
from ..settings.kept import keep_project, kept_project
from ..snapshot.save import door
from ..snapshot.shelf import Shelf

if TYPE_CHECKING:
    from ..settings import Settings


def adopt(settings: Settings) -> str:
    """Make what a former project has left in the embedded servers this one's, and say so; empty where there is none.

    The services run. Each step is safe to repeat, and the note is changed last.
    """
    if engines.choose(settings).engine != "embedded":
        return ""
    former = kept_project(settings.state_dir)
    if former == settings.project_id:
        return ""
    if former:
        _adopt_databases(settings, former)
        _adopt_pool(settings, former)
    with disk_errors(settings.state_dir):
        keep_project(settings.state_dir, settings.project_id)
    return f"the data of project {former} came here with the folder: now {settings.project_id}'s" if former else ""


def _adopt_databases(settings: Settings, former: str) -> None:
    with databases.maintenance(settings.postgres) as conn:
        names = databases.usable(conn)
        Shelf(settings).adopt(conn, former)
    for name in names:
        ledger.adopt(settings.postgres, name, former, settings.project_id)


def _adopt_pool(settings: Settings, former: str) -> None:
    if settings.cognito_is_emulated and look_for_pool(settings) is None:
        emulator = door(settings)
        emulator.replace(renamed(emulator.fetch(), former, settings.project_id))
