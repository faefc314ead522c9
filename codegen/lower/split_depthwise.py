"""Split a depthwise convolution of joined tensors into one of each, joined behind it.

Depthwise means that no channel depends on another, so both are the same function. But the joined tensor, of which a
3x3 window would keep three rows, is gone, and where one of the parts was upsampled, that can now be folded
(codegen.lower.fold_upsampling): in a U-Net, neither the upsampled image nor the one joined with the skip connection
exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from string import ascii_lowercase

from codegen.graph.graph import Graph, Operator, Tensor


def split_depthwise(graph: Graph) -> Graph:
    """Split every depthwise convolution that reads a concatenation of channels which nobody else reads.

    The parts keep the operator's index and get a letter; the concatenation behind them stands for the operator.
    """
    producer = {op.outputs[0]: op for op in graph.operators}
    splits = {op.outputs[0]: producer[op.inputs[0]] for op in graph.operators if _can_split(graph, op, producer)}
    gone = {join.outputs[0] for join in splits.values()}
    tensors = list(graph.tensors)
    operators: list[Operator] = []
    for operator in graph.operators:
        if operator.outputs[0] in splits:
            operators += _split(tensors, operator, splits[operator.outputs[0]])
        elif operator.outputs[0] not in gone:
            operators.append(operator)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _can_split(graph: Graph, operator: Operator, producer: dict[int, Operator]) -> bool:
    join = producer.get(operator.inputs[0])
    if operator.stem != "depthwise_conv_2d" or join is None or join.stem != "concatenation":
        return False
    joined, output = graph.tensor(join.outputs[0]), graph.tensor(operator.outputs[0])
    readers = [op for op in graph.operators if joined.index in op.inputs]
    if len(readers) > 1 or joined.index in graph.outputs or len(join.inputs) > len(ascii_lowercase):
        return False
    return join.options["axis"] in (-1, 3) and joined.shape[3] == output.shape[3]


def _split(tensors: list[Tensor], operator: Operator, join: Operator) -> Iterator[Operator]:
    """Make the operators that take the place of `join` and `operator`; their new tensors are appended to `tensors`."""

    def slice_of(index: int, channels: slice) -> int:
        """Return the same tensor with some of its channels, which are its last dimension."""
        whole = tensors[index]
        shape = (*whole.shape[:-1], channels.stop - channels.start)
        per_channel = len(whole.scales) > 1
        tensors.append(
            replace(
                whole,
                index=len(tensors),
                shape=shape,
                scales=whole.scales[channels] if per_channel else whole.scales,
                zero_points=whole.zero_points[channels] if per_channel else whole.zero_points,
                data=None if whole.data is None else whole.data[..., channels],
            )
        )
        return tensors[-1].index

    first, parts = 0, []
    for letter, source in zip(ascii_lowercase, join.inputs, strict=False):
        channels = slice(first, first + tensors[source].shape[-1])
        first = channels.stop
        constants = (slice_of(i, channels) if i >= 0 else i for i in operator.inputs[1:])
        inputs = (source, *constants)
        parts.append(slice_of(operator.outputs[0], channels))
        yield replace(operator, inputs=inputs, outputs=(parts[-1],), part=letter)
    yield replace(join, index=operator.index, inputs=tuple(parts), outputs=operator.outputs)
