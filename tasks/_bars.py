"""Bars at the bottom of a terminal, drawn by rich. Loaded once something takes long enough for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column
from rich.text import Text

from ._door import write_own
from ._output import wants_colour
from .localenv.machine.columns import harmless
from .localenv.machine.masking import masked
from .localenv.machine.progress import Progress


class Terminal(Console):
    """A terminal whose cursor is left alone: a killed command must not leave it hidden."""

    def show_cursor(self, show: bool = True) -> bool:
        return False


class Own:
    """A stream for rich, whose colour and cursor movements pass the door of output."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.encoding = stream.encoding

    def write(self, text: str) -> int:
        write_own(self._stream, text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._stream.fileno())


class Words(ProgressColumn):
    """A column of words about a piece of work."""

    def __init__(self, of: Callable[[Progress], str], at_most: int | None = None) -> None:
        super().__init__(Column(no_wrap=True, overflow="ellipsis", max_width=at_most))
        self._of = of

    def render(self, task: Task) -> Text:
        return Text(self._of(task.fields["progress"]))


class Bars:
    """The bars of all that goes on. Not safe to call from several threads."""

    def __init__(self, stream: Any) -> None:
        self._console = Terminal(
            file=Own(stream),  # type: ignore[arg-type]
            force_terminal=True,
            no_color=not wants_colour(stream),
        )
        self._shown: dict[Progress, TaskID] = {}
        self._drawn: RichProgress | None = None

    def show(self, name: str, progress: Progress) -> None:
        """Draw a bar as it is now, behind a name; remove that of what is over."""
        if progress.is_over:
            self._end(progress)
            return
        if self._drawn is None:
            self._drawn = self._columns()
            self._drawn.start()
        if progress not in self._shown:
            self._shown[progress] = self._drawn.add_task(name, progress=progress)
        total = None if progress.left_s is None else progress.total
        self._drawn.update(self._shown[progress], total=total, completed=progress.done)
        self._drawn.refresh()

    def hide(self) -> None:
        """Take the bars off the terminal until they are shown again, by another object: rich begins where it ended."""
        if self._drawn:
            self._drawn.stop()
        self._drawn = None
        self._shown.clear()

    def _end(self, progress: Progress) -> None:
        task = self._shown.pop(progress, None)
        if self._drawn and task is not None:
            self._drawn.remove_task(task)
            if not self._shown:
                self.hide()

    def _columns(self) -> RichProgress:
        name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
        what = Words(lambda work: harmless(masked(work.what)), self._console.width // 3)
        counted = Words(lambda work: work.counted or work.left)
        speed, left = Words(lambda work: work.speed), Words(lambda work: work.left if work.counted else "")
        forms = {
            100: (name, what, BarColumn(bar_width=None), counted, speed, left),
            70: (what, BarColumn(bar_width=8), counted, speed, left),
            40: (what, counted, left),
            0: (counted,),
        }
        return RichProgress(
            *next(columns for width, columns in forms.items() if self._console.width >= width),
            console=self._console,
            auto_refresh=False,
            transient=True,
            expand=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
