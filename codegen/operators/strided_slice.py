"""STRIDED_SLICE with begin, end and shrink masks. Reference: .../reference/strided_slice.h, strided_slice_logic.h."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tflite

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant


def read_options(table: Any) -> Mapping[str, int]:
    options = tflite.StridedSliceOptions()
    options.Init(table.Bytes, table.Pos)
    return {
        "begin_mask": int(options.BeginMask()),
        "end_mask": int(options.EndMask()),
        "shrink_axis_mask": int(options.ShrinkAxisMask()),
        "ellipsis_mask": int(options.EllipsisMask()),
        "new_axis_mask": int(options.NewAxisMask()),
        "offset": int(options.Offset()),
    }


def check(graph: Graph, operator: Operator) -> None:
    if operator.options["ellipsis_mask"] or operator.options["new_axis_mask"]:
        raise UnsupportedError(f"{operator.label} has an ellipsis or a new axis, which TFLM does not know")


def slices(graph: Graph, operator: Operator) -> tuple[slice, ...]:
    """One for each axis of the input; an axis to be removed keeps its one element here."""
    begin, end, strides = (constant(graph, operator, position) for position in (1, 2, 3))
    masks = {name: int(operator.options[f"{name}_mask"]) for name in ("begin", "end", "shrink_axis")}
    found = []
    for axis, size in enumerate(graph.tensor(operator.inputs[0]).shape[: len(begin)]):
        first = None if masks["begin"] >> axis & 1 else begin[axis]
        last = None if masks["end"] >> axis & 1 else end[axis]
        if operator.options["offset"] and first is not None and last is not None:
            last = first + last
        if masks["shrink_axis"] >> axis & 1:
            position = (first or 0) % size
            found.append(slice(position, position + 1))
        else:
            found.append(slice(first, last, strides[axis]))
    return tuple(found)


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    return (inputs[0][slices(graph, operator)].reshape(graph.tensor(operator.outputs[0]).shape),)


OPERATOR = by_movement(move, check=check, required_inputs=4, constants=(1, 2, 3), read_options=read_options)
