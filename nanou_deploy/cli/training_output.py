"""Show training as it goes on, and the metrics that come of it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from codegen.atomic_files import write_text
from codegen.untrusted import printable
from nanou_deploy.cli.output import emit_table, make_console, note, warn
from nanou_deploy.errors import DeployError

if TYPE_CHECKING:
    from rich.progress import Progress

METRIC_NAMES = ("miou", "iou_drivable", "iou_background", "f1", "precision", "recall")
_PAGE_S, _PAGE_SHARE = 5.0, 30.0  # between pages: at least so long, and so many times what the last one took
_SILENCE_S = 30.0  # after which a line is printed where there is no terminal
_MEASURED_S = 3.0  # before which there is no time left
_STAGE = 0.05  # by which what is done falls where another stage begins
AVERAGED = ("miou", "f1", "precision", "recall")  # shown in any case; with other classes, the IoU of each as well


def training_progress() -> TrainingProgress:
    """Make a progress line on stderr that is rewritten in place on a terminal and thinned out elsewhere."""
    return TrainingProgress()


class TrainingProgress:
    """Callable (message, done in 0..1), and a context that owns the terminal's line.

    The time left is estimated here alone, from what this process has done since it began, and nowhere in a message.
    """

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._shown, self._shown_s = -1, -_SILENCE_S
        self._begun = 0.0, 0.0  # what had been done when this stage began, and when
        self._last = math.inf

    def __enter__(self) -> TrainingProgress:
        if sys.stderr.isatty():
            self._bar = _bar()
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0, left="")
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: str, done: float) -> None:
        tenth, now_s = int(done * 10), time.monotonic()
        left = self._left(done, now_s)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=printable(message), left=left)
        elif tenth != self._shown or now_s - self._shown_s >= _SILENCE_S:
            self._shown, self._shown_s = tenth, now_s
            note(f"  {done:4.0%}  {message}" + (f", {left}" if left else ""))

    def _left(self, done: float, now_s: float) -> str:
        """In words; nothing before some seconds have shown how fast it goes, nor at the end."""
        if done < self._last - _STAGE:
            self._begun = done, now_s
        self._last = done
        before, begun_s = self._begun
        if now_s - begun_s < _MEASURED_S or not before < done < 1:
            return ""
        return f"{duration((now_s - begun_s) * (1 - done) / (done - before))} left"


def duration(seconds: float) -> str:
    """Write a time as it is estimated: 40 s, 12 min, 3 h."""
    for unit, unit_s in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"


class LivePage:
    """Rewrites RUN/training.html as epochs end: seldom enough that drawing takes little of the training's time."""

    def __init__(self, run: Path) -> None:
        self.run, self.path = run, run / "training.html"
        self._next_s, self._said = 0.0, False

    @contextmanager
    def watching(self, progress: Callable[[str, float], None]) -> Iterator[Callable[[str, float], None]]:
        """Yield `progress` that also keeps the page; it is written once more at the end, however that comes."""
        told = False

        def tell(message: str, done: float) -> None:
            nonlocal told
            told = True
            progress(message, done)
            if time.monotonic() >= self._next_s:
                self._write()

        try:
            yield tell
        finally:
            if told:  # else nothing was trained: what is there may be a run that stays as it is
                self._write()

    def _write(self) -> None:
        from nanou_deploy.report.training import read_training, render_training

        began_s = time.monotonic()
        try:
            training = read_training(self.run)
            if not training.records:
                return
            write_text(self.path, render_training(training))
        except (DeployError, OSError):  # no run yet, or a full disk, of which the training itself will tell
            return
        now_s = time.monotonic()
        self._next_s = now_s + max(_PAGE_S, _PAGE_SHARE * (now_s - began_s))
        if not self._said:
            self._said = True
            note(f"  {self.path} shows it in a browser while it goes on")


def _bar() -> Progress:
    """Draw a bar, its percentage and the time left, which keep their places; the message has the rest."""
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    console = make_console(sys.stderr)
    message = TextColumn(
        "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
    )
    percentage = TextColumn("{task.percentage:>3.0f} %", table_column=Column(no_wrap=True))
    bar = BarColumn(min(28, console.width // 5))
    left = TextColumn("{task.fields[left]:>11}", table_column=Column(no_wrap=True))
    columns = (bar, percentage, left, message)
    return Progress(*columns, console=console, transient=True, expand=True)


def worth_quantizing(rows: Mapping[str, Mapping[str, float]]) -> bool:
    """Tell whether the student is better than the mask that looks at no picture; warn where it or a teacher is not."""
    if not beats_constant_mask(rows, "teacher"):
        warn(
            f"the teacher's mIoU of {100 * rows['teacher']['miou']:.1f} % is not above the constant mask's: what it "
            "says teaches nothing; look at what it was trained on, and at the size, colours and range that it expects"
        )
    if beats_constant_mask(rows):
        return True
    student, constant = (rows[role]["miou"] for role in ("student", "constant_mask"))
    warn(
        f"the student's mIoU of {100 * student:.1f} % is not above the constant mask's, {100 * constant:.1f} %, which "
        "looks at no picture: train longer, or look at the data with data-check"
    )
    return False


def beats_constant_mask(rows: Mapping[str, Mapping[str, float]], role: str = "student") -> bool:
    """Tell whether a network sees more than the mask that looks at no picture; true where one was not measured."""
    own, constant = (rows[name]["miou"] if name in rows else None for name in (role, "constant_mask"))
    return own is None or constant is None or own > constant


def print_metrics(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a line per predictor, in per cent: METRIC_NAMES of two classes; AVERAGED and the IoU of each of more."""
    found = [name for name in next(iter(rows.values())) if name.startswith("iou_")]
    names = METRIC_NAMES if set(found) < set(METRIC_NAMES) else (AVERAGED[0], *found, *AVERAGED[1:])
    columns = ("", *(name.replace("_", " ") for name in names))
    lines = (
        (role.replace("_", " "), *(f"{100 * metrics[name]:.1f}" for name in names)) for role, metrics in rows.items()
    )
    emit_table(columns, lines, right=range(1, len(columns)))
