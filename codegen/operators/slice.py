"""SLICE: a box of the input. Reference: .../reference/slice.h."""

from __future__ import annotations

import builtins

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    begin, size = constant(graph, operator, 1), constant(graph, operator, 2)
    box = []
    for extent, first, count in zip(inputs[0].shape, begin, size, strict=True):
        end = extent if count == -1 else first + count  # -1 reaches to the end
        if not 0 <= first <= end <= extent:  # which NumPy would cut to fit, and TFLM read beyond
            raise ValueError(f"it takes {count} from {first} of {extent}")
        box.append(builtins.slice(first, end))
    return (inputs[0][tuple(box)],)


OPERATOR = by_movement(move, required_inputs=3, constants=(1, 2))
