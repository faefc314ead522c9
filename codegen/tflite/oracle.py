"""The NumPy oracle: run a graph operator by operator, exactly as TFLM does, keeping every intermediate value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from codegen import operators as ops
from codegen.graph.graph import Graph, IntArray

Int8Array = npt.NDArray[np.int8]


def trace_oracle(
    graph: Graph, inputs: Sequence[Int8Array], states: Sequence[Int8Array] | None = None
) -> dict[int, npt.NDArray[np.generic]]:
    """Each input's value and, of models that have it, state -> every activation's value, by tensor index.

    Without `states`, those of the first inference.
    """
    values: dict[int, IntArray] = {}
    given = zip(graph.inputs, inputs, strict=True)
    kept = zip(graph.states, states or [state.initial for state in graph.states], strict=True)
    for index, value in (*given, *((state.tensor, value) for state, value in kept)):
        values[index] = value.reshape(graph.tensor(index).shape).astype(np.int64)
    for operator in graph.operators:
        operands = tuple(values[i] if i in values else _constant(graph, i) for i in operator.inputs if i >= 0)
        results = ops.IMPLEMENTATIONS[operator.stem].evaluate(graph, operator, operands)
        outputs = results if isinstance(results, tuple) else (results,)
        values.update(zip(operator.outputs, outputs, strict=True))
    return {index: value.astype(graph.tensor(index).dtype) for index, value in values.items()}


def _constant(graph: Graph, index: int) -> IntArray:
    data = graph.tensor(index).data
    assert data is not None  # verified
    return data.astype(np.int64)


def run_oracle(graph: Graph, cases: Int8Array) -> npt.NDArray[np.generic]:
    """Compute outputs of cases: inputs one behind the other, int8 (N, bytes), or the only one (N, *shape[1:]).

    Outputs are int8 (N, *shape[1:]) of one int8 output, else uint8 (N, output bytes). The cases are consecutive
    inferences: state goes from one to the next.
    """
    frames, states, results = graph.split_inputs(cases.reshape(len(cases), -1)), None, []
    for number in range(len(cases)):
        values = trace_oracle(graph, [frame[number] for frame in frames], states)
        states = [values[state.source].astype(np.int8) for state in graph.states]
        results.append(b"".join(values[index].tobytes() for index in graph.outputs))
    return graph.shape_outputs(np.frombuffer(b"".join(results), np.uint8).reshape(len(cases), -1))
