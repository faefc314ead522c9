"""A scatter of networks: what they cost against what they score, with the line that none of them beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nanou_train.runs.line_chart import Tick

WIDTH_PX, HEIGHT_PX = 720, 400
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 54, 704, 30, 344
LOG_FROM = 4.0  # ratio of the largest to the smallest cost from which on the axis is logarithmic
MARGIN = 0.07  # of an axis, on either side
LABEL_GAP_PX = 15


@dataclass(frozen=True)
class Dot:
    """One network. `css` names its colour and whether it is on the front; `title` shows on pointing at it."""

    x: float
    y: float
    css: str
    title: str
    label: str
    label_y: float


@dataclass(frozen=True)
class Scatter:
    """SVG coordinates; `front` is a polyline of steps: up to a cost, the best score so far."""

    slug: str
    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    dots: tuple[Dot, ...]
    front: str
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX
    left: int = LEFT_PX
    right: int = RIGHT_PX
    top: int = TOP_PX
    bottom: int = BOTTOM_PX


@dataclass(frozen=True)
class Sample:
    """What is drawn: cost and score in their own units; `name` is written beside those on the front."""

    cost: float
    score: float
    css: str
    name: str
    title: str
    on_front: bool


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    is_log: bool

    def position(self, value: float) -> float:
        """0 at `low`, 1 at `high`."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> tuple[float, ...]:
        """Round numbers: a few digits times powers of ten, or multiples of 1, 2 or 5 times one."""
        if self.is_log:
            digits = (1, 1.5, 2, 3, 4, 5, 7) if self.high / self.low < 20 else (1, 2, 5)
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            every = [digit * 10.0**power for power in powers for digit in digits]
            return tuple(value for value in every if self.low <= value <= self.high)
        rough = (self.high - self.low) / 7  # a bound of how many there are
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return tuple(round(step * number, 10) for number in range(first, last + 1))


def scatter(slug: str, title: str, labels: tuple[str, str], samples: Sequence[Sample]) -> Scatter:
    """`labels` name the axes. Scores are printed in percent; `samples` must not be empty."""
    x_axis = _axis([sample.cost for sample in samples], may_be_log=True)
    y_axis = _axis([sample.score for sample in samples], may_be_log=False)

    def x_px(value: float) -> float:
        return round(LEFT_PX + x_axis.position(value) * (RIGHT_PX - LEFT_PX), 1)

    def y_px(value: float) -> float:
        return round(BOTTOM_PX - y_axis.position(value) * (BOTTOM_PX - TOP_PX), 1)

    places = [(x_px(sample.cost), y_px(sample.score)) for sample in samples]
    label_ys = _label_places(samples, places)
    dots = [
        Dot(x, y, sample.css, sample.title, sample.name if sample.on_front else "", label_y)
        for sample, (x, y), label_y in zip(samples, places, label_ys, strict=True)
    ]
    steps = sorted(place for sample, place in zip(samples, places, strict=True) if sample.on_front)
    decimals = 0 if y_axis.high - y_axis.low > 0.05 else 1
    return Scatter(
        slug,
        title,
        labels[0] + (", logarithmic" if x_axis.is_log else ""),
        labels[1],
        tuple(Tick(x_px(value), short(value)) for value in x_axis.ticks()),
        tuple(Tick(y_px(value), f"{100 * value:.{decimals}f}") for value in y_axis.ticks()),
        tuple(dots),
        _staircase(steps),
    )


def short(value: float) -> str:
    """12,300,000 as 12.3M, 8,200 as 8.2k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _axis(values: Sequence[float], *, may_be_log: bool) -> _Axis:
    low, high = min(values), max(values)
    if may_be_log and low > 0 and high / low >= LOG_FROM:
        margin = (high / low) ** MARGIN
        return _Axis(low / margin, high * margin, True)
    room = (high - low) * MARGIN or abs(high) * MARGIN or 1.0
    return _Axis(low - room, high + room, False)


def _staircase(steps: Sequence[tuple[float, float]]) -> str:
    """Through points from left to right: along until the next one is affordable, then up."""
    corners: list[tuple[float, float]] = []
    for x, y in steps:
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    if corners:
        corners.append((float(RIGHT_PX), corners[-1][1]))
    return " ".join(f"{x},{y}" for x, y in corners)


def _label_places(samples: Sequence[Sample], places: Sequence[tuple[float, float]]) -> list[float]:
    """Above each dot, or below it where the label of a neighbour to the left would be in the way."""
    found = [y - 9 for _, y in places]
    taken: list[tuple[float, float]] = []
    for index in sorted(range(len(places)), key=lambda i: places[i]):
        x, y = places[index]
        if not samples[index].on_front:
            continue
        width = 7 * len(samples[index].name)
        free = (
            candidate
            for candidate in (y - 9, y + 18, y - 9 - LABEL_GAP_PX, y + 18 + LABEL_GAP_PX)
            if all(abs(other - candidate) >= LABEL_GAP_PX or x - left > width for left, other in taken)
        )
        found[index] = next(free, y - 9)
        taken.append((x, found[index]))
    return found
