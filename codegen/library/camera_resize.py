"""The camera's part of the contract: rows of an RGB565 frame -> rows of the model's input, exactly as Pillow resizes.

Pillow resizes 8-bit images in two passes, each to uint8, with weights of 22 fractional bits (src/libImaging/Resample.c:
precompute_coeffs, normalize_coeffs_8bpc, clip8). Which pass comes first depends on Pillow's version and on the sizes,
and changes the result; the contract says columns first, as nanou_train.data.images calls Pillow. An axis that keeps its
size has no pass. Nearest is another routine, which adds up the step in floating point (Geometry.c: ImagingScaleAffine).
All become one form here, `Axis`: integers only, so that a microcontroller computes the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.graph.model import CameraSize, Preprocessing, QuantizedModel
from codegen.library.c_text import number_lines
from codegen.library.resources import render_template

PRECISION_BITS = 32 - 8 - 2  # Pillow's
CHANNELS = (1, 3)  # of a model that a camera can feed: Pillow's L, or red, green and blue


def _box(x: float) -> float:
    return 1.0 if -0.5 < x <= 0.5 else 0.0


def _bilinear(x: float) -> float:
    return max(0.0, 1.0 - abs(x))


def _hamming(x: float) -> float:
    x = abs(x)
    if x == 0.0 or x >= 1.0:
        return float(x == 0.0)
    x *= math.pi
    # Pillow writes these two as single precision.
    return math.sin(x) / x * (float(np.float32(0.54)) + float(np.float32(0.46)) * math.cos(x))


def _bicubic(x: float) -> float:
    """Keys' cubic convolution with a = -0.5, bracketed as Pillow does."""
    a, x = -0.5, abs(x)
    if x < 1.0:
        return ((a + 2.0) * x - (a + 3.0)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2.0 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0.0 else math.sin(x * math.pi) / (x * math.pi)


def _lanczos(x: float) -> float:
    return _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0


# Name -> function, and how far from 0 it reaches, in output pixels (Resample.c: struct filter).
_FILTERS: Mapping[str, tuple[Callable[[float], float], float]] = {
    "box": (_box, 0.5),
    "bilinear": (_bilinear, 1.0),
    "hamming": (_hamming, 1.0),
    "bicubic": (_bicubic, 2.0),
    "lanczos": (_lanczos, 3.0),
}


@dataclass(frozen=True, eq=False)
class Axis:
    """How one axis is resized: output i is (sum of weights[i] * input[first[i] : first[i] + taps] + half) >> shift,
    limited to 0..255, where half is 2 ** shift / 2 rounded down.

    `first` is int32 (outputs,) and never decreases; `weights` is int32 (outputs, taps).
    """

    first: npt.NDArray[np.int32]
    weights: npt.NDArray[np.int32]
    shift: int

    @property
    def taps(self) -> int:
        return int(self.weights.shape[1])

    @property
    def half(self) -> int:
        return (1 << self.shift) >> 1

    @property
    def extremes(self) -> tuple[int, int]:
        """The least and the greatest sum, rounding included, that pixels of 0..255 can give."""
        low = int(np.minimum(self.weights, 0).sum(axis=1).min())
        high = int(np.maximum(self.weights, 0).sum(axis=1).max())
        return 255 * low + self.half, 255 * high + self.half


def resize_axis(in_px: int, out_px: int, resize_filter: str) -> Axis:
    """Pillow's resizing of one axis from `in_px` to `out_px` pixels."""
    if resize_filter == "nearest" or in_px == out_px:
        windows = [(source, [1 << PRECISION_BITS]) for source in _nearest(in_px, out_px)]
    else:
        windows = [_window(i, in_px, out_px, resize_filter) for i in range(out_px)]
    ends = [start + len(weights) for start, weights in windows]
    # Rows are read once, so no window may begin before an earlier one does; zeros in between make that possible.
    first = np.minimum.accumulate([start for start, _ in windows[::-1]])[::-1]
    taps = int(np.max(ends - first))
    first = np.minimum(first, in_px - taps)
    table = np.zeros((out_px, taps), np.int32)
    for row, begin, (start, weights) in zip(table, first, windows, strict=True):
        row[start - begin : start - begin + len(weights)] = weights
    # A power of two in all weights need not be multiplied in and shifted out: two halves are 1 and 1, shifted by 1.
    every_bit = int(np.bitwise_or.reduce(np.abs(table), axis=None))
    common = (every_bit & -every_bit).bit_length() - 1
    axis = Axis(first.astype(np.int32), table >> common, PRECISION_BITS - common)
    if max(map(abs, axis.extremes)) >= 1 << 31:  # Pillow's two spare bits rule it out for each of these filters
        raise AssertionError(f"{resize_filter} {in_px} -> {out_px} overflows 32 bits")
    return axis


def _nearest(in_px: int, out_px: int) -> list[int]:
    """Find sources as ImagingScaleAffine does: the position is a sum of steps, rounding errors included."""
    step = in_px / out_px
    position, sources = step * 0.5, []
    for _ in range(out_px):
        sources.append(min(int(position), in_px - 1))
        position += step
    return sources


def _window(i: int, in_px: int, out_px: int, resize_filter: str) -> tuple[int, list[int]]:
    """First source pixel and weights of output `i` (precompute_coeffs, normalize_coeffs_8bpc), outer zeros dropped."""
    function, reach = _FILTERS[resize_filter]
    scale = in_px / out_px
    filter_scale = max(scale, 1.0)
    support, center = reach * filter_scale, (i + 0.5) * scale
    start = max(0, int(center - support + 0.5))
    end = min(in_px, int(center + support + 0.5))
    values = [function((x - center + 0.5) * (1.0 / filter_scale)) for x in range(start, end)]
    total = 0.0
    for value in values:  # not sum(), which rounds less than Pillow does
        total += value
    values = [value / total for value in values]
    weights = [int(value * (1 << PRECISION_BITS) + math.copysign(0.5, value)) for value in values]
    kept = np.flatnonzero(weights)
    return start + int(kept[0]), weights[int(kept[0]) : int(kept[-1]) + 1]


# ---- Rendering -------------------------------------------------------------------------------------------------


def camera_files(model: QuantizedModel, preprocessing: Preprocessing, description: Mapping[str, Any]) -> dict[str, str]:
    """Render ID_camera.{h,c} for pictures of `model.camera`; no files for an input that is no picture.

    `preprocessing` states the input's size, `description` what templates say of the model.
    """
    if preprocessing.channels not in CHANNELS:
        return {}
    context = {**description, **_context(preprocessing, model.camera)}
    return {
        f"{folder}/{description['id']}_camera.{suffix}": render_template(f"common/camera.{suffix}.j2", **context)
        for folder, suffix in (("include", "h"), ("src", "c"))
    }


def _context(preprocessing: Preprocessing, camera: CameraSize) -> Mapping[str, Any]:
    columns = resize_axis(camera.width_px, preprocessing.width_px, preprocessing.resize_filter)
    rows = resize_axis(camera.height_px, preprocessing.height_px, preprocessing.resize_filter)
    first, last = ("red", "blue")[:: 1 if preprocessing.color_order == "RGB" else -1]
    return {
        "camera": camera,
        "size": f"{preprocessing.width_px}x{preprocessing.height_px}",
        "columns": _axis_context(columns, "column", "x"),
        "rows": _axis_context(rows, "row", "y"),
        "line_bytes": preprocessing.width_px * preprocessing.channels,
        "components": ["grey"] if preprocessing.channels == 1 else [first, "green", last],
        "order": "grey, as Pillow's L" if preprocessing.channels == 1 else preprocessing.color_order,
    }


def _axis_context(axis: Axis, name: str, index: str) -> Mapping[str, Any]:
    """Tables and C expressions of one axis. Equal weights need no table, nor do starts on a straight line."""
    tables: list[Mapping[str, Any]] = []
    sets, set_of = np.unique(axis.weights, axis=0, return_inverse=True)
    step = int(axis.first[1] - axis.first[0]) if len(axis.first) > 1 else 0
    start = f"{index} * {step}"
    if np.any(axis.first != step * np.arange(len(axis.first))):
        tables.append(_table(f"{name}_start", axis.first, 20))
        start = f"{name}_start[{index}]"
    weight, weights, result = "", "", "sum"
    if np.all(sets == sets.flat[0]):
        result = f"sum * {sets.flat[0]}" if sets.flat[0] != 1 else "sum"
    else:
        tables.append(_table(f"{name}_weights", sets.reshape(-1), max(1, 12 // axis.taps) * axis.taps))
        weight, weights = "weights[tap] * ", f"{name}_weights"
        if len(sets) > 1:
            tables.append(_table(f"{name}_set", set_of.reshape(-1), 20))
            weights += f" + {name}_set[{index}] * {name.upper()}_TAPS"
    if axis.half:
        result = f"({result} + {axis.half}) >> {axis.shift}"
    low, high = axis.extremes
    return {
        "taps": axis.taps,
        "start": start,
        "weight": weight,
        "weights": weights,
        "weight_type": _c_type(sets),
        "result": result,
        "clamped": low < 0 or high >> axis.shift > 255,
        "tables": tables,
    }


def _table(name: str, values: npt.NDArray[np.integer], per_line: int) -> Mapping[str, Any]:
    return {
        "name": name,
        "c_type": _c_type(values),
        "size": values.size,
        "lines": number_lines(values.astype(np.int64), per_line),
    }


def _c_type(values: npt.NDArray[np.integer]) -> str:
    """Choose the smallest C type that holds all values."""
    kinds = (np.uint8, np.int8, np.uint16, np.int16, np.int32)
    fits = (kind for kind in kinds if np.iinfo(kind).min <= values.min() and values.max() <= np.iinfo(kind).max)
    return f"{np.dtype(next(fits)).name}_t"
