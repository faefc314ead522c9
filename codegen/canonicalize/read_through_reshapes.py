"""Have fully connected layers read what is in front of a RESHAPE: they take the same bytes in any shape.

So a map that Keras flattens is neither copied nor kept whole in a second place, and can stream (codegen.plan.running).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from codegen.graph.graph import Graph, Operator

RESHAPES = frozenset({"reshape", "squeeze", "expand_dims"})


def read_through_reshapes(graph: Graph) -> Graph:
    """Rename the input of each FULLY_CONNECTED; a RESHAPE that nobody reads any more contributes to nothing."""
    producers = {output: operator for operator in graph.operators for output in operator.outputs}
    operators = (
        replace(op, inputs=(_in_front(graph, producers, op.inputs[0]), *op.inputs[1:]))
        if op.stem == "fully_connected"
        else op
        for op in graph.operators
    )
    return replace(graph, operators=tuple(operators))


def _in_front(graph: Graph, producers: Mapping[int, Operator], tensor: int) -> int:
    """Find the tensor that has the same bytes and quantization in front of reshapes."""
    operator = producers.get(tensor)
    if operator is None or operator.stem not in RESHAPES:
        return tensor
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(tensor)
    alike = [(t.dtype, t.size_bytes, t.scales, t.zero_points) for t in (source, output)]
    if alike[0] != alike[1] or source.data is not None or output.dtype != "int8":
        return tensor
    return _in_front(graph, producers, source.index)
