"""Adopts the data in a moved or copied folder, which belong to the project of its old path.

Only for the embedded engine: its servers keep their data in the state folder and serve no other project. A note beside
the data names their project. Docker's volumes stay with the project of the old path.
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
    """Give a former project's data in the embedded servers to this project; return a sentence, empty if there are none.

    The services must run. Each step is safe to repeat, and the note is changed last.
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
    return (
        f"adopted the data of project {former}, which came with the folder, as {settings.project_id}" if former else ""
    )


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
