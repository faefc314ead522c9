"""RESIZE_BILINEAR, int8, in 10 fractional bits. Reference: .../reference/resize_bilinear.h (ResizeBilinearInteger)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite

from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import resize_bilinear
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage

ONE = 1 << 10


def read_options(table: Any) -> Mapping[str, bool]:
    options = tflite.ResizeBilinearOptions()
    options.Init(table.Bytes, table.Pos)
    return {"align_corners": options.AlignCorners(), "half_pixel_centers": options.HalfPixelCenters()}


def verify(graph: Graph, operator: Operator) -> None:
    source, size, output = (graph.tensor(i) for i in (*operator.inputs[:2], operator.outputs[0]))
    if size.data is None or size.dtype != "int32" or size.data.size != 2:
        raise UnsupportedError(f"{operator.label} has a size that is no constant of two int32")
    if len(source.shape) != 4 or source.shape[0] != 1 or max(*source.shape[1:3], *output.shape[1:3]) > 1 << 15:
        raise UnsupportedError(f"{operator.label} resizes {source.shape}, not (1, height, width, channels)")
    if output.shape != (1, *map(int, np.ravel(size.data)), source.shape[3]):
        raise ModelError(f"{operator.label} states output {output.shape}, its size gives another")
    if operator.options["align_corners"] and operator.options["half_pixel_centers"]:
        raise UnsupportedError(f"{operator.label} has both align_corners and half_pixel_centers")


@dataclass(frozen=True, eq=False)
class Interpolation:
    """Along one axis, for each output position: two source positions, and 1024 times the weight of the second."""

    lower: IntArray
    upper: IntArray
    weight: IntArray


def interpolation(size: int, out_size: int, *, align_corners: bool, half_pixel_centers: bool) -> Interpolation:
    if align_corners and out_size > 1:
        step = (ONE * (size - 1) + (out_size - 1) // 2) // (out_size - 1)
    else:
        step = (ONE * size + out_size // 2) // out_size
    position = np.arange(out_size, dtype=np.int64) * step
    if half_pixel_centers:
        position = position + step // 2 - ONE // 2
    # C's division truncates, which matters for the first positions only: these lie above -1.
    lower = np.maximum(np.sign(position) * (np.abs(position) // ONE), 0)
    rounded_up = position + ONE - 1
    upper = np.minimum(np.sign(rounded_up) * (np.abs(rounded_up) // ONE), size - 1)
    return Interpolation(lower, upper, position - ONE * lower)


def axes(graph: Graph, operator: Operator) -> tuple[Interpolation, Interpolation]:
    """Of rows and of columns."""
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    options = {key: bool(operator.options[key]) for key in ("align_corners", "half_pixel_centers")}
    rows, columns = (interpolation(source.shape[axis], output.shape[axis], **options) for axis in (1, 2))
    return rows, columns


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    """int64 (batch, height, width, channels) -> int64 (batch, out_height, out_width, channels)."""
    rows, columns = axes(graph, operator)
    down, right = rows.weight[:, None, None], columns.weight[None, :, None]
    upper, lower = inputs[0][:, rows.lower], inputs[0][:, rows.upper]
    total = (
        upper[:, :, columns.lower] * (ONE - down) * (ONE - right)
        + lower[:, :, columns.lower] * down * (ONE - right)
        + upper[:, :, columns.upper] * (ONE - down) * right
        + lower[:, :, columns.upper] * down * right
    )
    rounded: IntArray = np.sign(total) * ((np.abs(total) + (1 << 19)) >> 20)
    return rounded


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    rows, columns = axes(graph, operator)
    stored = context.storage[output.index]
    return Stage(
        operator.index,
        operator.stem,
        f"{'x'.join(map(str, source.shape[1:]))} -> {'x'.join(map(str, output.shape[1:]))}",
        (source.index,),
        output.index,
        (RowRead(0, tuple(rows.lower.tolist())), RowRead(0, tuple(rows.upper.tolist()))),
        *resize_bilinear.build(columns.lower, columns.upper, columns.weight, rows.weight, source.shape[3], stored),
    )


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2, moves_bytes=True)
