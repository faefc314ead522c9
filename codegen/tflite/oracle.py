"""The NumPy oracle: run a graph operator by operator, exactly as TFLM does, keeping every intermediate value."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from codegen import operators as ops
from codegen.graph.graph import Graph, IntArray


def trace_oracle(graph: Graph, frame: npt.NDArray[np.int8]) -> dict[int, npt.NDArray[np.int8]]:
    """int8 frame of the input's shape -> every activation tensor's value, by tensor index."""
    values: dict[int, IntArray] = {graph.input.index: frame.reshape(graph.input.shape).astype(np.int64)}
    for operator in graph.operators:
        inputs = tuple(values[i] if i in values else _constant(graph, i) for i in operator.inputs if i >= 0)
        results = ops.IMPLEMENTATIONS[operator.stem].evaluate(graph, operator, inputs)
        outputs = results if isinstance(results, tuple) else (results,)
        values.update(zip(operator.outputs, outputs, strict=True))
    return {index: value.astype(np.int8) for index, value in values.items()}


def _constant(graph: Graph, index: int) -> IntArray:
    data = graph.tensor(index).data
    assert data is not None  # verified
    return data.astype(np.int64)


def run_oracle(graph: Graph, frames: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """int8 (N, height, width, channels) -> int8 (N, *output shape without batch)."""
    outputs = [trace_oracle(graph, frame)[graph.output.index][0] for frame in frames]
    return np.stack(outputs)
