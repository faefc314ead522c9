"""BATCH_TO_SPACE_ND: images of every n-th row and column, put together again and cropped.

Reference: .../reference/batch_to_space_nd.h.
"""

from __future__ import annotations

import numpy as np

from codegen.graph.graph import Graph, IntArray, Operator
from codegen.operators.movement import by_movement, constant


def move(graph: Graph, operator: Operator, inputs: tuple[IntArray, ...]) -> tuple[IntArray, ...]:
    """Over one or two axes behind the batch."""
    block, crops = constant(graph, operator, 1), np.reshape(constant(graph, operator, 2), (-1, 2)).tolist()
    count, values = len(block), inputs[0]
    spatial, rest = values.shape[1 : 1 + count], values.shape[1 + count :]
    blocks = values.reshape(*block, -1, *spatial, *rest)
    order = [count, *(axis for i in range(count) for axis in (count + 1 + i, i)), *range(2 * count + 1, blocks.ndim)]
    whole = blocks.transpose(order).reshape(-1, *(n * b for n, b in zip(spatial, block, strict=True)), *rest)
    box = (slice(None), *(slice(before, n - after) for (before, after), n in zip(crops, whole.shape[1:], strict=False)))
    return (whole[box],)


OPERATOR = by_movement(move, required_inputs=3, constants=(1, 2))
