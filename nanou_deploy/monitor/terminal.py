"""Show events in a terminal, as lines or as pictures of half-block characters in 24-bit colour."""

from __future__ import annotations

import shutil
import sys
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TextIO, TypeVar

import numpy as np
import numpy.typing as npt

from codegen.untrusted import printable
from nanou_deploy.monitor.events import Ended, Event, Facts, Fault, Lines, Mask, MotorsTold, Pixels, Sight, Tuned

_T = TypeVar("_T", np.uint8, np.bool_)

DRIVABLE = (46, 204, 113)
_TINT, _DIMMED = 0.45, 0.7
_LOG_LINES = 3
_BEGIN = "\x1b[?1049h\x1b[?25l"  # another screen, no cursor
_END = "\x1b[?25h\x1b[?1049l"


def tinted(picture: Pixels | None, mask: Mask) -> Pixels:
    """Tint the picture, uint8 (H, W, 3): green where drivable, darker elsewhere; the mask alone where there is none."""
    if picture is None:
        picture = np.full((*mask.shape, 3), 96, np.uint8)
    at = _nearest(mask, *picture.shape[:2])[..., None]
    green = picture * (1 - _TINT) + np.asarray(DRIVABLE) * _TINT
    return np.where(at, green, picture * _DIMMED).astype(np.uint8)


def half_blocks(picture: Pixels, columns: int, rows: int) -> list[str]:
    """Draw uint8 (H, W, 3) in its proportions as at most `rows` lines of at most `columns` characters."""
    height_px, width_px = picture.shape[:2]
    across = max(1, min(columns, rows * 2 * width_px // height_px))
    down = max(2, across * height_px // width_px // 2 * 2)
    small = _nearest(picture, down, across)
    lines = []
    for upper, lower in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m▀" for a, b in zip(upper, lower, strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return lines


def _nearest(array: npt.NDArray[_T], height_px: int, width_px: int) -> npt.NDArray[_T]:
    rows = np.arange(height_px) * array.shape[0] // height_px
    columns = np.arange(width_px) * array.shape[1] // width_px
    scaled: npt.NDArray[_T] = array[rows[:, None], columns]
    return scaled


# ---- Words -----------------------------------------------------------------------------------------------------


def facts_line(facts: Facts) -> str:
    """Describe a device: `board at ADDRESS: model NAME 96b402967000, aot, self-test passed`."""
    info = facts.info
    return (
        f"{info.board} at {facts.address}: model {info.model_name} {info.model_sha256[:12]}, {info.runtime}, "
        f"self-test {info.self_test}"
    )


def decision_text(sight: Sight) -> str:
    """Write a decision: `GO steer +12`."""
    return f"{'GO  ' if sight.decision.go else 'STOP'} steer {sight.decision.steer:+4d}"


def sight_line(sight: Sight) -> str:
    """Write one picture as a line of a log: decision, covers of left, centre and right, rates, times of the stages."""
    decision = sight.decision
    covers = (decision.left_permille, decision.centre_permille, decision.right_permille)
    cover = " ".join(f"{cover / 10:5.1f}" for cover in covers)
    stages = " ".join(f"{name} {time_us / 1000:.1f}" for name, time_us in sight.stages_us)
    lost = f"  lost {sight.lost}" if sight.lost else ""
    return f"#{sight.number:<5d} {decision_text(sight)}  cover {cover} %  {sight.fps:5.1f} fps  ms: {stages}{lost}"


# ---- Views -----------------------------------------------------------------------------------------------------


class PlainView:
    """Prints a line for each event, for logs and pipes."""

    def __init__(self, stream: TextIO | None = None, *, with_address: bool = False) -> None:
        self._stream, self._with_address = stream or sys.stdout, with_address
        self._lock = threading.Lock()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, event: Event) -> None:
        for line in self._lines(event):
            prefix = f"{event.address}  " if self._with_address else ""
            with self._lock:
                print(printable(prefix + line), file=self._stream, flush=True)

    def _lines(self, event: Event) -> list[str]:
        if isinstance(event, Facts):
            return [facts_line(event)]
        if isinstance(event, Sight):
            return [sight_line(event)]
        if isinstance(event, Lines):
            return [f"log: {line}" for line in event.lines]
        if isinstance(event, Fault):
            return [f"fault: {event.error}; trying again"]
        return []


@dataclass
class _Panel:
    """What is known of one device."""

    address: str
    title: str = ""
    sight: Sight | None = None
    fault: str = ""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=_LOG_LINES))

    def take(self, event: Event) -> None:
        if isinstance(event, Facts):
            self.title, self.fault = printable(facts_line(event)), ""
        elif isinstance(event, Sight):
            self.sight, self.fault = event, ""
        elif isinstance(event, Lines):
            self.log.extend(map(printable, event.lines))
        elif isinstance(event, Fault):
            self.fault = printable(f"{event.error}; trying again")
        elif isinstance(event, Ended):
            self.fault = "ended"

    def draw(self, columns: int, rows: int) -> list[str]:
        lines = [f"\x1b[1m{(self.title or self.address)[:columns]}\x1b[0m"]
        sight = self.sight
        if sight is not None:
            lines += half_blocks(tinted(sight.pixels(), sight.drivable()), columns, max(2, rows - 2 - _LOG_LINES))
            colour = "42" if sight.decision.go else "41"
            text = sight_line(sight).partition(decision_text(sight))[2][: columns - 18]
            lines.append(f"\x1b[1;97;{colour}m {decision_text(sight)} \x1b[0m{text}")
        if self.fault:
            lines.append(f"\x1b[33m{self.fault[:columns]}\x1b[0m")
        return lines + [f"\x1b[2m{line[:columns]}\x1b[0m" for line in self.log]


class ScreenView:
    """Draws every device's picture under its mask, with decision and log, again in place with each event of those."""

    def __init__(self, addresses: tuple[str, ...], stream: TextIO | None = None) -> None:
        self._panels = {address: _Panel(address) for address in addresses}
        self._stream = stream or sys.stdout
        self._lock = threading.Lock()

    def __enter__(self) -> ScreenView:
        self._stream.write(_BEGIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.write(_END)
        self._stream.flush()

    def show(self, event: Event) -> None:
        if isinstance(event, MotorsTold | Tuned):  # a panel shows neither
            return
        with self._lock:
            self._panels[event.address].take(event)
            columns, rows = shutil.get_terminal_size()
            share = max(6, rows // len(self._panels))
            lines = [line for panel in self._panels.values() for line in panel.draw(columns - 1, share)]
            self._stream.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines[: rows - 1]) + "\x1b[J")
            self._stream.flush()
