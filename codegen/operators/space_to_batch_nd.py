"""SPACE_TO_BATCH_ND: every n-th row and column as an image of its own, padded with the zero point.

Reference: .../reference/space_to_batch_nd.h; converters write dilated convolutions so.
"""

from __future__ import annotations

import numpy as np

from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant, require_size


def check(graph: Graph, operator: Operator) -> None:
    if any(constant(graph, operator, 2)):
        raise UnsupportedError(f"{operator.label} pads, with a value that TFLM leaves undefined", hint="pad before it")


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...], fill: int = 0) -> tuple[IntArray, ...]:
    """Over one or two axes behind the batch; `fill` is what padding is."""
    block, amounts = constant(graph, operator, 1), np.reshape(constant(graph, operator, 2), (-1, 2))
    values = inputs[0]
    padding = [(0, 0), *amounts.tolist(), *[(0, 0)] * (values.ndim - 1 - len(block))]
    require_size(graph, operator, [n + sum(amount) for n, amount in zip(values.shape, padding, strict=True)])
    values = np.pad(values, padding, constant_values=fill)
    batch, spatial, rest = values.shape[0], values.shape[1 : 1 + len(block)], values.shape[1 + len(block) :]
    divided = [part for n, b in zip(spatial, block, strict=True) for part in (n // b, b)]
    blocks = values.reshape(batch, *divided, *rest)
    inner, outer = [2 * i + 2 for i in range(len(block))], [2 * i + 1 for i in range(len(block))]
    moved = blocks.transpose(*inner, 0, *outer, *range(1 + 2 * len(block), blocks.ndim))
    return (moved.reshape(graph.tensor(operator.outputs[0]).shape),)


OPERATOR = by_movement(move, check=check, required_inputs=3, constants=(1, 2))
