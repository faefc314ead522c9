"""How far each kernel reaches into rows and tables, from the constants of its loops.

One function for each template of templates/aot/ops, which repeats the template's index arithmetic; a kernel whose loops
change changes here. tests/golden/test_extents.py runs every kernel on buffers of exactly these sizes, under
AddressSanitizer: control flow does not depend on the data, so one run of each is the proof of what is stated here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from codegen.program.program import Kernel, Table

Present = tuple[bool, ...]


@dataclass(frozen=True)
class Extents:
    """What one call touches, from the first element of each array on.

    `rows`: bytes behind each row pointer, 0 where it is absent; `required`: pointers that must not be absent.
    `tables`: elements, by parameter. `padding`: bytes of the padding row, where one stands in for an absent row.
    """

    rows: tuple[int, ...]
    required: tuple[int, ...]
    output: int
    tables: Mapping[str, int]
    padding: int = 0


def extents_of(kernel: Kernel, tables: Sequence[Table], present: Present) -> Extents:
    """Extents of a call in which the row pointers that are not `present` are NULL."""
    return _EXTENTS[kernel.template](kernel.values, {table.name: table for table in tables}, present)


def _last_column(k: Mapping[str, Any]) -> int:
    """The last column that any tap of a window reads; -1 where all hang over."""
    x = np.arange(k["out_width"])[:, None] * k["stride_width"] + np.arange(k["kernel_width"]) * k["dilation_width"]
    columns = x - k["pad_left"]
    return int(columns[(columns >= 0) & (columns < k["in_width"])].max(initial=-1))


def _window_rows(k: Mapping[str, Any], present: Present, channels: int) -> tuple[int, ...]:
    return tuple((_last_column(k) + 1) * channels if there else 0 for there in present)


def _windowed(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    """Pixels go forward in blocks, the last of which may overlap; columns whose windows overhang come one by one."""
    rows, out = _window_rows(k, present, k["in_channels"]), k["out_channels"]
    reads = not k["absent_rows"] and _last_column(k) >= 0
    required = tuple(range(len(rows))) if reads else ()
    padding = (_last_column(k) + 1) * k["in_channels"] if not all(present) else 0
    if "padding" in k:  # a tap beside the image takes the first pixel of the padding row
        padding = max(padding, k["in_channels"])
    sizes = {"weights": tables["weights"].values.size, "channels": out * (1 + k["columns"])}
    return Extents(rows, required, k["out_width"] * out, sizes, padding)


def _conv_2d(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    weights = k["out_channels"] * k["kernel_height"] * k["spans"] * k["span_values"]
    extents = _windowed(k, tables, present)
    return replace(extents, tables={**extents.tables, "weights": weights})


def _depthwise_conv_2d(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    weights = k["out_channels"] * k["kernel_height"] * k["kernel_width"]
    extents = _windowed(k, tables, present)
    return replace(extents, tables={**extents.tables, "weights": weights})


def _max_pool_2d(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    return Extents(_window_rows(k, present, k["channels"]), (), k["out_width"] * k["channels"], {})


def _max_pool_2d_inside(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    """Every row pointer goes forward by the same steps, the last taps standing furthest on."""
    columns = (0, *(column for _, column in k["other_taps"]))
    row = ((k["out_width"] - 1) * k["stride_width"] + max(columns) + 1) * k["channels"]
    required = tuple(range(k["kernel_height"]))
    return Extents((row,) * k["kernel_height"], required, k["out_width"] * k["channels"], {})


def _pointwise(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    """Pixels go forward in blocks, but for one step back before the last."""
    pixels = sum(size * count for size, count in k["pixel_blocks"])
    return _pointwise_extents(k, pixels, k["in_channels"])


def _pointwise_smlad(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    """The same, with two weights in a word."""
    return _pointwise_extents(k, k["pixels"] * k["pixel_blocks"], k["words"])


def _pointwise_extents(k: Mapping[str, Any], pixels: int, weights: int) -> Extents:
    """`weights`: table elements for each output channel."""
    back = k["steps_back"][0] if k["steps_back"] else (0, 0)
    row = pixels * k["in_channels"] - back[0]
    blocks = sum(size * count for size, _, count in k["channel_blocks"])
    last_block = max(first + (count - 1) * size + size for size, first, count in k["channel_blocks"])
    output = (pixels - 1) * k["out_channels"] - back[1] + last_block
    return Extents((row,), (0,), output, {"channels": blocks * (1 + k["columns"]), "weights": blocks * weights})


def _depthwise_3x3(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    row = (1 + sum(columns * count for columns, count in k["column_blocks"])) * k["channels"]
    return _depthwise_extents(k, present, row, 9)


def _depthwise_3x3_smlad(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    """Columns go forward in pairs; one may be left."""
    pairs = sum(pairs * count for pairs, count in k["column_blocks"])
    return _depthwise_extents(k, present, (1 + 2 * pairs + len(k["last_column"])) * k["channels"], 5)


def _depthwise_extents(k: Mapping[str, Any], present: Present, row: int, weights: int) -> Extents:
    """`weights`: table elements for each channel."""
    rows = tuple(row if there else 0 for there in present)
    sizes = {"channels": k["channels"] * (1 + k["columns"]), "weights": k["channels"] * weights}
    return Extents(rows, (1,), row, sizes, 0 if all(present) else row)


def _upsampled(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    row = (1 + sum(columns * count for columns, count in k["column_blocks"])) * k["channels"]
    return _upsampled_extents(k, present, row, 8)


def _upsampled_smlad(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    return _upsampled_extents(k, present, k["width"] * k["channels"], 4)


def _upsampled_extents(k: Mapping[str, Any], present: Present, row: int, weights: int) -> Extents:
    """`weights`: table elements for each channel."""
    rows = tuple(row if there else 0 for there in present)
    sizes = {"channels": k["channels"] * (1 + k["columns"]), "weights": k["channels"] * weights}
    return Extents(rows, (), 2 * row, sizes, 0 if all(present) else row)


def _concatenation(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    sizes = [size if there else 0 for size, there in zip(k["block_bytes"], present, strict=True)]
    return Extents(tuple(k["blocks"] * size for size in sizes), (), k["blocks"] * sum(sizes), {})


def _pad(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    copied = k["first_byte"] + (k["in_width"] - 1) * k["out_channels"] + k["in_channels"] if present[0] else 0
    return Extents((k["in_width"] * k["in_channels"] * present[0],), (), max(k["out_bytes"], copied), {})


def _resize(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    columns = tables["source_column"].values
    last = int(columns[: k["out_width"]].max())
    row = (last + 1) * k["channels"]
    return Extents((row,), (0,), k["out_width"] * k["channels"], {"source_column": k["out_width"]})


def _lookup(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    """Every byte has a place in a table of 256."""
    return Extents((k["size"],), (0,), k["size"], {"lookup": 256})


def _reshape(k: Mapping[str, Any], tables: Mapping[str, Table], present: Present) -> Extents:
    return Extents((k["size"],), (0,), k["size"], {})


_EXTENTS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Table], Present], Extents]] = {
    "concatenation": _concatenation,
    "conv_2d": _conv_2d,
    "conv_2d_pointwise": _pointwise,
    "conv_2d_pointwise_smlad": _pointwise_smlad,
    "depthwise_conv_2d": _depthwise_conv_2d,
    "depthwise_conv_2d_3x3": _depthwise_3x3,
    "depthwise_conv_2d_3x3_smlad": _depthwise_3x3_smlad,
    "depthwise_conv_2d_3x3_upsampled": _upsampled,
    "depthwise_conv_2d_3x3_upsampled_smlad": _upsampled_smlad,
    "logistic": _lookup,
    "max_pool_2d": _max_pool_2d,
    "max_pool_2d_inside": _max_pool_2d_inside,
    "pad": _pad,
    "quantize": _lookup,
    "reshape": _reshape,
    "resize_nearest_neighbor": _resize,
}
