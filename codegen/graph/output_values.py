"""Follow an output back to the LOGISTIC or SOFTMAX that its values come from, through operators that keep them."""

from __future__ import annotations

from dataclasses import dataclass

from codegen.graph.graph import Graph, Operator

_ORIGINS = {"logistic": "probabilities", "softmax": "probabilities", "log_softmax": "logits"}
# What these give lies between values of their first inputs, or is one of them (0, in a padding, is a probability too).
_KEEPING = frozenset(
    """
    average_pool_2d batch_to_space_nd concatenation depth_to_space dequantize expand_dims gather max_pool_2d mean pack
    pad quantize reduce_max reduce_min reshape resize_bilinear resize_nearest_neighbor reverse_v2 slice
    space_to_batch_nd space_to_depth split_v squeeze strided_slice tile transpose unpack
    """.split()  # noqa: SIM905
)
_SECOND_INPUT = frozenset({"split"})  # whose first says along which axis
_JOINING = frozenset({"concatenation", "pack"})
_KEEPING_CHANNELS = frozenset(
    """
    average_pool_2d dequantize expand_dims quantize reshape resize_bilinear resize_nearest_neighbor squeeze
    """.split()  # noqa: SIM905
)
_MOST_OPERATORS = 256  # of which joins could make exponentially many paths


@dataclass(frozen=True)
class FollowedValues:
    """What an output has: `values` as a contract says it, from the operator `origin`.

    `is_distribution`: one value for each class, which exclude each other.
    """

    values: str
    origin: str
    is_distribution: bool


def follow_values(graph: Graph, output: int) -> FollowedValues | None:
    """Return what the values of a tensor are, where that is certain; None where an operator changes them."""
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    found: dict[int, Operator] = {}
    queue, seen, keeps_channels = [output], {output}, True
    while queue:
        operator = makers.get(queue.pop())
        if operator is None or len(seen) > _MOST_OPERATORS:
            return None
        if operator.stem in _ORIGINS:
            found[operator.index] = operator
            continue
        keeps_channels &= operator.stem in _KEEPING_CHANNELS
        for index in _kept(operator):
            if index not in seen:
                seen.add(index)
                queue.append(index)
        if not _kept(operator):
            return None
    values = {_ORIGINS[operator.stem] for operator in found.values()}
    if len(values) != 1:
        return None
    first = found[min(found)]
    classes = graph.tensor(first.outputs[0]).shape[-1:]
    exclusive = keeps_channels and first.stem != "logistic" and classes == graph.tensor(output).shape[-1:]
    return FollowedValues(values.pop(), first.label, exclusive and classes > (1,))


def _kept(operator: Operator) -> tuple[int, ...]:
    """Return the inputs whose values the operator gives on."""
    if operator.stem in _SECOND_INPUT:
        return operator.inputs[1:2]
    if operator.stem not in _KEEPING:
        return ()
    return operator.inputs if operator.stem in _JOINING else operator.inputs[:1]
