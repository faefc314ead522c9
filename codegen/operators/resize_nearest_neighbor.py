"""RESIZE_NEAREST_NEIGHBOR, int8. Reference: .../reference/resize_nearest_neighbor.h (GetNearestNeighbor)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import round_half_away
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.kernels.portable import resize_nearest_neighbor as resize
from codegen.operators.implementation import Implementation
from codegen.program.program import Lowering, RowRead, Stage


def read_options(table: Any) -> Mapping[str, bool]:
    options = tflite.ResizeNearestNeighborOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "align_corners": bool(options.AlignCorners()),
        "half_pixel_centers": bool(options.HalfPixelCenters()),
    }


def verify(graph: Graph, operator: Operator) -> None:
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    size = graph.tensor(operator.inputs[1]).data
    if len(source.shape) != 4 or len(output.shape) != 4 or source.shape[::3] != output.shape[::3]:
        raise ModelError(f"{operator.label} maps {source.shape} to {output.shape}")
    if size is None or size.dtype != np.int32:
        raise UnsupportedError(f"{operator.label} has a size that is no constant of int32")
    if tuple(int(n) for n in size.reshape(-1)) != output.shape[1:3]:
        raise ModelError(f"{operator.label} states output {output.shape}, its size is {size.reshape(-1)[:4].tolist()}")
    if (source.scales, source.zero_points) != (output.scales, output.zero_points):
        raise UnsupportedError(f"{operator.label} changes quantization between input and output")
    if max(source.shape[1:3]) > 65535:
        raise UnsupportedError(f"{operator.label} reads an image of more than 65,535 rows or columns")


def nearest(in_size: int, out_size: int, *, align_corners: bool, half_pixel_centers: bool) -> IntArray:
    """Input index for each output index, in float32 as the reference computes it."""
    one = np.float32(1)
    scale = (
        np.float32(in_size - 1) / np.float32(out_size - 1)
        if align_corners and out_size > 1
        else np.float32(in_size) / np.float32(out_size)
    )
    offset = one / 2 if half_pixel_centers else np.float32(0)
    positions = [float((np.float32(i) + offset) * scale) for i in range(out_size)]
    indices = [round_half_away(p) if align_corners else int(np.floor(p)) for p in positions]
    return np.clip(np.array(indices, np.int64), 0, in_size - 1)


def source_maps(graph: Graph, operator: Operator) -> tuple[IntArray, IntArray]:
    """Source row of each output row, source column of each output column."""
    _, in_height, in_width, _ = graph.tensor(operator.inputs[0]).shape
    _, out_height, out_width, _ = graph.tensor(operator.outputs[0]).shape
    align, half = bool(operator.options["align_corners"]), bool(operator.options["half_pixel_centers"])
    return (
        nearest(in_height, out_height, align_corners=align, half_pixel_centers=half),
        nearest(in_width, out_width, align_corners=align, half_pixel_centers=half),
    )


def evaluate(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> IntArray:
    rows, columns = source_maps(graph, operator)
    return inputs[0][:, rows][:, :, columns]


def lower(graph: Graph, operator: Operator, context: Lowering) -> Stage:
    _, in_height, in_width, channels = graph.tensor(operator.inputs[0]).shape
    _, out_height, out_width, _ = graph.tensor(operator.outputs[0]).shape
    rows, columns = source_maps(graph, operator)
    batches = np.arange(graph.tensor(operator.inputs[0]).shape[0])
    rows = (batches[:, None] * in_height + rows).reshape(-1)
    return Stage(
        operator.index,
        operator.stem,
        f"{in_height}x{in_width}x{channels} -> {out_height}x{out_width}x{channels}, nearest neighbour",
        (operator.inputs[0],),
        operator.outputs[0],
        (RowRead(0, tuple(rows.tolist())),),
        *resize.build(columns, in_width, channels, context.storage[operator.outputs[0]]),
    )


OPERATOR = Implementation(verify, evaluate, lower, read_options, required_inputs=2, moves_bytes=True)
