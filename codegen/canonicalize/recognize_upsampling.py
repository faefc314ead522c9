"""Recognize what enlarges an image by repeating pixels, however the converter has written it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from codegen import operators as ops
from codegen.canonicalize.read_through_reshapes import RESHAPES
from codegen.graph.graph import MAX_ACTIVATION_BYTES, Graph, Operator, Tensor


def recognize_upsampling(graph: Graph) -> Graph:
    """RESHAPE, TILE, RESHAPE, as Keras' UpSampling2D is written, becomes RESIZE_NEAREST_NEIGHBOR."""
    readers = Counter(i for operator in graph.operators for i in operator.inputs)
    producers = {output: operator for operator in graph.operators for output in operator.outputs}
    found: dict[int, Operator] = {}
    tensors, gone = list(graph.tensors), set()
    for last in graph.operators:
        chain = _chain_to(producers, readers, last)
        if not chain:
            continue
        source, output = graph.tensor(chain[0].inputs[0]), graph.tensor(last.outputs[0])
        if not _repeats_pixels(graph, chain, source, output):
            continue
        size = np.array(output.shape[1:3], np.int32)
        tensors.append(Tensor(len(tensors), f"{output.name}/size", (2,), "int32", data=size))
        options = {"align_corners": False, "half_pixel_centers": False}
        inputs = source.index, len(tensors) - 1
        found[last.index] = Operator(last.index, "resize_nearest_neighbor", inputs, last.outputs, options)
        gone |= {operator.index for operator in chain[:-1]}
    operators = tuple(found.get(op.index, op) for op in graph.operators if op.index not in gone)
    return replace(graph, tensors=tuple(tensors), operators=operators)


def _chain_to(producers: Mapping[int, Operator], readers: Mapping[int, int], last: Operator) -> tuple[Operator, ...]:
    """RESHAPE, TILE, RESHAPE that nobody else reads, ending in `last`; else nothing."""
    if last.stem not in RESHAPES or (tile := producers.get(last.inputs[0])) is None or tile.stem != "tile":
        return ()
    first = producers.get(tile.inputs[0])
    alone = readers[last.inputs[0]] == 1 and readers[tile.inputs[0]] == 1
    return (first, tile, last) if first is not None and first.stem in RESHAPES and alone else ()


def _repeats_pixels(graph: Graph, chain: tuple[Operator, ...], source: Tensor, output: Tensor) -> bool:
    """Whether the chain gives every pixel of a (1, height, width, channels) image as a block of equal ones."""
    if len(source.shape) != 4 or len(output.shape) != 4 or source.shape[0] != 1 or output.shape[0] != 1:
        return False
    if min(source.shape) < 1 or max(source.size_bytes, output.size_bytes) > MAX_ACTIVATION_BYTES:
        return False
    down, right = (n // max(m, 1) for n, m in zip(output.shape[1:3], source.shape[1:3], strict=True))
    positions = np.arange(np.prod(source.shape, dtype=np.int64)).reshape(source.shape)
    repeated = positions.repeat(down, 1).repeat(right, 2)
    for operator in chain:
        move = ops.IMPLEMENTATIONS[operator.stem].move
        assert move is not None  # RESHAPE and TILE have one
        try:
            (positions,) = move(graph, operator, (positions,))
        except (ValueError, IndexError, AssertionError):
            return False
    return repeated.shape == output.shape and np.array_equal(positions, repeated)
