"""Draw the arena: steps to the right, addresses upwards, a rectangle for each time that rows are in use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, groupby

from codegen.plan.place import Span
from codegen.plan.plan import Placement, Plan

WIDTH_PX = 1040
LEFT_PX, RIGHT_PX, TOP_PX = 64, 16, 30
PLOT_HEIGHT_PX = 340
CHARACTER_PX = 6.2  # widest average advance of common sans-serif faces at the labels' 10 px
TICK_SLOPE_DEGREES = 60


@dataclass(frozen=True)
class Box:
    """One placement while it holds something. `label` is empty where nothing legible fits."""

    x: float
    y: float
    width: float
    height: float
    css: str
    title: str
    label: str
    label_transform: str


@dataclass(frozen=True)
class Tick:
    position: float
    label: str


@dataclass(frozen=True)
class Peak:
    """The step in which most bytes hold something."""

    x: float
    width: float
    label: str
    label_x: float


@dataclass(frozen=True)
class ArenaMap:
    """The drawing, in one SVG user space of width_px by height_px."""

    height_px: int
    boxes: tuple[Box, ...]
    addresses: tuple[Tick, ...]
    steps: tuple[Tick, ...]
    peak: Peak
    summary: str
    width_px: int = WIDTH_PX
    left: int = LEFT_PX
    right: int = WIDTH_PX - RIGHT_PX
    top: int = TOP_PX
    bottom: int = TOP_PX + PLOT_HEIGHT_PX
    plot_height: int = PLOT_HEIGHT_PX
    tick_slope: int = TICK_SLOPE_DEGREES
    regions: tuple[tuple[str, str], ...] = (
        ("work", "working memory"),
        ("input", "input frame"),
        ("output", "output frame"),
    )


@dataclass(frozen=True)
class _Axes:
    first_step: int
    last_step: int
    column_px: float
    byte_px: float

    def x(self, step: int) -> float:
        """Left edge of a step's column."""
        return LEFT_PX + (step - self.first_step) * self.column_px

    def y(self, address: int) -> float:
        return TOP_PX + PLOT_HEIGHT_PX - address * self.byte_px


def live_bytes(placements: Sequence[Placement]) -> dict[int, int]:
    """Count the bytes of the arena that hold a wanted row, by step; no two rows ever share a byte."""
    change: dict[int, int] = {}
    for placement in placements:
        for first, last in (span for spans in placement.slots for span in spans):
            change[first] = change.get(first, 0) + placement.row_bytes
            change[last + 1] = change.get(last + 1, 0) - placement.row_bytes
    steps = range(min(change), max(change))
    return dict(zip(steps, accumulate(change.get(step, 0) for step in steps), strict=True))


def arena_map(plan: Plan, step_labels: Mapping[int, str]) -> ArenaMap:
    """Lay the plan out; `step_labels` maps a step to the text under its column. ValueError without placements."""
    placements = plan.placements
    first, last = min(p.first_step for p in placements), max(p.last_step for p in placements)
    column_px = (WIDTH_PX - LEFT_PX - RIGHT_PX) / (last - first + 1)
    axes = _Axes(first, last, column_px, PLOT_HEIGHT_PX / plan.arena_bytes)
    steps = {step: f"step {step}" for step in _round_numbers(last)}
    tick_px = max(map(len, steps.values())) * CHARACTER_PX * math.sin(math.radians(TICK_SLOPE_DEGREES))
    # Larger boxes first: a tensor that lives inside another's bytes stays visible.
    ordered = sorted(placements, key=lambda p: (-p.size_bytes * (p.last_step - p.first_step + 1), p.tensor))
    return ArenaMap(
        height_px=TOP_PX + PLOT_HEIGHT_PX + math.ceil(tick_px) + 20,
        boxes=tuple(
            _box(placement, slots, span, axes) for placement in ordered for slots, span in _drawn(placement, column_px)
        ),
        addresses=tuple(
            Tick(round(axes.y(address), 2), f"{address / 1000:g} KB") for address in _round_numbers(plan.arena_bytes)
        ),
        steps=tuple(Tick(round(axes.x(step) + column_px / 2, 2), label) for step, label in steps.items()),
        peak=_peak(placements, axes, step_labels),
        summary=f"{plan.arena_bytes:,} B in all: {plan.working_bytes:,} B working, {plan.io_bytes:,} B of frames",
    )


def _box(placement: Placement, slots: range, span: Span, axes: _Axes) -> Box:
    start, end = (placement.offset_bytes + slot * placement.row_bytes for slot in (slots.start, slots.stop))
    x, y = axes.x(span[0]), axes.y(end)
    width = (span[1] - span[0] + 1) * axes.column_px
    height = (end - start) * axes.byte_px
    # In its last step a tensor's bytes may already be its reader's output, so the label keeps clear of it.
    own_width = max(axes.column_px, width - axes.column_px)
    label, turn = _fitting_label(placement, own_width, height)
    return Box(
        x=round(x, 2),
        y=round(y, 2),
        width=round(width, 2),
        height=round(height, 2),
        css=placement.region,
        title=f"{placement.name} · {placement.region} · bytes {start:,} to {end - 1:,} "
        f"({len(slots)} of {placement.rows} rows) · steps {span[0]} to {span[1]}",
        label=label,
        label_transform=f"translate({x + own_width / 2:.2f} {y + height / 2:.2f})" + turn,
    )


def _peak(placements: Sequence[Placement], axes: _Axes, step_labels: Mapping[int, str]) -> Peak:
    live = live_bytes(placements)
    step = max(live, key=live.__getitem__)
    text = f"peak {live[step]:,} B at {step_labels.get(step, f'step {step}')}"
    half_px = len(text) * CHARACTER_PX / 2
    centre = min(max(axes.x(step) + axes.column_px / 2, LEFT_PX + half_px), WIDTH_PX - RIGHT_PX - half_px)
    return Peak(round(axes.x(step), 2), round(axes.column_px, 2), text, round(centre, 2))


def _round_numbers(largest: int) -> range:
    """Choose tick values: 0 and round numbers above it, eight at most."""
    steps = (factor * 10**exponent for exponent in count() for factor in (1, 2, 5))
    return range(0, largest + 1, next(step for step in steps if largest // step <= 8))


def _drawn(placement: Placement, column_px: float) -> Iterator[tuple[range, Span]]:
    """Slots side by side that are busy in the same spans, for each such span."""
    start = 0
    for spans, alike in groupby(_joined(slot, column_px) for slot in placement.slots):
        slots = range(start, start + len(list(alike)))
        yield from ((slots, span) for span in spans)
        start = slots.stop


def _joined(spans: Sequence[Span], column_px: float) -> tuple[Span, ...]:
    """Those that would be drawn less than two pixels apart as one."""
    joined = [spans[0]]
    for first, last in spans[1:]:
        if (first - joined[-1][1] - 1) * column_px >= 2:
            joined.append((first, last))
        else:
            joined[-1] = joined[-1][0], last
    return tuple(joined)


def _fitting_label(placement: Placement, width_px: float, height_px: float) -> tuple[str, str]:
    """Return the tensor's last name and size, or the size alone, lying or upright as it fits the box; else nothing."""
    name = placement.name.split(";")[0].rstrip("/").rsplit("/", 1)[-1]
    size = f"{placement.size_bytes:,}"
    for text in (f"{name} {size}", size):
        length_px = len(text) * CHARACTER_PX + 4
        if length_px <= width_px and height_px >= 11:
            return text, ""
        if length_px <= height_px and width_px >= 11:
            return text, " rotate(-90)"
    return "", ""
