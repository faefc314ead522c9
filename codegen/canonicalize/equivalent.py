"""Write operators that no kernel computes in one go as others that together give the same bytes.

Each rule is a function, Graph -> Graph, as in canonicalize.py. New tensors come behind the file's; what an operator
becomes has its number, and a letter where it is a part.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from codegen import operators as ops
from codegen.graph.graph import Graph, Operator, Tensor
from codegen.operators import pad
from codegen.operators.broadcast import is_mixed
from codegen.program.program import row_axes

COMPARISONS = frozenset({"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"})
_BROADCAST = COMPARISONS | {"add", "div", "sub", "mul", "maximum", "minimum", "prelu", "squared_difference"}
_TAKES_CONSTANTS = frozenset({"batch_matmul", "concatenation", "pack", "select_v2"})
_MOST_AXES = 2  # that a kernel pads inside of a row


def split_wide_padding(graph: Graph) -> Graph:
    """PAD of three axes inside of a row: first the last of them, then the others."""
    tensors, operators = list(graph.tensors), []
    for operator in graph.operators:
        amounts = _constant_paddings(graph, operator)
        inside = [axis for axis in range(row_axes(len(amounts)), len(amounts)) if any(amounts[axis])]
        if len(inside) <= _MOST_AXES:
            operators.append(operator)
            continue
        last, source = inside[-1], graph.tensor(operator.inputs[0])
        padded = tuple(n + sum(amounts[last]) * (axis == last) for axis, n in enumerate(source.shape))
        output = graph.tensor(operator.outputs[0])  # whose zero point fills
        between = replace(output, index=len(tensors), name=f"{source.name}/padded", shape=padded, data=None)
        tensors.append(between)
        first, then = np.zeros((len(amounts), 2), np.int32), np.array(amounts, np.int32)
        first[last], then[last] = amounts[last], 0
        for source_index, made, data, part in (
            (source.index, between.index, first, "a"),
            (between.index, operator.outputs[0], then, ""),
        ):
            paddings = Tensor(len(tensors), f"{source.name}/paddings", data.shape, "int32", data=data)
            tensors.append(paddings)
            inputs = source_index, paddings.index, *operator.inputs[2:]
            operators.append(replace(operator, inputs=inputs, outputs=(made,), part=part))
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def _constant_paddings(graph: Graph, operator: Operator) -> pad.Paddings:
    """For each axis; nothing where `verify` will have something to say."""
    if (
        operator.stem not in ("pad", "padv2")
        or len(operator.inputs) < pad.OPERATOR.required_inputs
        or operator.inputs[1] < 0
    ):
        return ()
    data, shape = graph.tensor(operator.inputs[1]).data, graph.tensor(operator.inputs[0]).shape
    is_plain = data is not None and data.shape == (len(shape), 2) and data.min(initial=0) >= 0
    return pad.paddings_of(graph, operator) if is_plain and len(shape) <= pad.MAX_RANK else ()


def repeat_mixed_operands(graph: Graph) -> Graph:
    """Repeat an operand beforehand that repeats along some of the axes that make a row's width, but not all."""
    tensors, operators = list(graph.tensors), list[Operator]()
    for operator in graph.operators:
        inputs = list(operator.inputs)
        if operator.stem in _BROADCAST and min(inputs) >= 0 and operator.outputs:
            shape = graph.tensor(operator.outputs[0]).shape
            for position, letter in zip(range(len(inputs)), "ab", strict=False):
                source = graph.tensor(inputs[position])
                if source.data is None and broadcasts(source.shape, shape) and is_mixed(source.shape, shape):
                    inputs[position] = repeated(tensors, operators, operator.index, source, shape, letter)
        operators.append(replace(operator, inputs=tuple(inputs)))
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators))


def repeated(
    tensors: list[Tensor], operators: list[Operator], number: int, source: Tensor, shape: tuple[int, ...], letter: str
) -> int:
    """Add a tensor, and part `letter` of operator `number` that repeats `source` into it; return its index."""
    whole = replace(source, index=len(tensors), name=f"{source.name}/repeated", shape=shape)
    data = np.array(shape, np.int32)
    numbers = Tensor(len(tensors) + 1, f"{source.name}/shape", data.shape, "int32", data=data)
    tensors += [whole, numbers]
    operators.append(Operator(number, "broadcast_to", (source.index, numbers.index), (whole.index,), {}, letter))
    return whole.index


def broadcasts(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Tell whether a shape is repeated into another one, as NumPy does it."""
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False


def give_constants(graph: Graph) -> Graph:
    """Constants that an operator reads as an activation, or that are an output of the model, come from CONSTANT."""
    tensors, operators, outputs = list(graph.tensors), [], list(graph.outputs)

    def given(values: Tensor, number: int, part: str) -> int:
        made = replace(values, index=len(tensors), name=f"{values.name}/values", data=None)
        tensors.append(made)
        operators.append(Operator(number, "constant", (graph.inputs[0], values.index), (made.index,), {}, part))
        return made.index

    for operator in graph.operators:
        inputs = list(operator.inputs)
        for position, index in enumerate(inputs[: _variable_inputs(graph, operator)]):
            if index >= 0 and _is_plain(tensors[index]):
                inputs[position] = given(tensors[index], operator.index, f"k{position}")
        operators.append(replace(operator, inputs=tuple(inputs)))
    number = 1 + max((operator.index for operator in operators), default=-1)
    for position, index in enumerate(outputs):
        if tensors[index].data is not None:
            values = tensors[index] if _is_plain(tensors[index]) else _bytes_of(tensors[index], len(tensors))
            tensors += [values] if values.index == len(tensors) else []
            outputs[position] = given(values, number + position, "")
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators), outputs=tuple(outputs))


def _variable_inputs(graph: Graph, operator: Operator) -> int:
    """Count the first inputs that kernels read as activations: of sums that are constant the first is one."""
    if operator.stem in _TAKES_CONSTANTS:
        return len(operator.inputs)
    if operator.stem not in ops.IMPLEMENTATIONS:
        return 0
    are_constant = all(graph.tensor(i).data is not None for i in operator.inputs if i >= 0)
    return max(ops.IMPLEMENTATIONS[operator.stem].variable_inputs, int(are_constant))


def _bytes_of(tensor: Tensor, index: int) -> Tensor:
    """Give the bytes of a constant of another type along one more axis; codegen.canonicalize.border joins them."""
    assert tensor.data is not None
    data = np.frombuffer(tensor.data.tobytes(), np.int8).reshape(*tensor.shape, tensor.data.itemsize)
    return Tensor(index, f"{tensor.name}/bytes", data.shape, "int8", (1.0,), (0,), data=data)


def _is_plain(tensor: Tensor) -> bool:
    """Whether it is an int8 constant that has values, of one scale."""
    return tensor.data is not None and tensor.dtype == "int8" and len(tensor.scales) == 1 and tensor.data.ndim > 0


def copy_shared_outputs(graph: Graph) -> Graph:
    """Copy each output that is an input, or another output too."""
    tensors, operators, outputs = list(graph.tensors), list(graph.operators), []
    for index in graph.outputs:
        source = graph.tensor(index)
        if index in outputs or (index in graph.inputs and source.shape):
            number = 1 + max((operator.index for operator in operators), default=-1)
            copied = replace(source, index=len(tensors), name=f"{source.name}/output")
            shape = Tensor(len(tensors) + 1, f"{source.name}/shape", (len(source.shape),), "int32",
                           data=np.array(source.shape, np.int32))  # fmt: skip
            tensors += [copied, shape]
            operators.append(Operator(number, "reshape", (index, shape.index), (copied.index,), {}))
            index = copied.index
        outputs.append(index)
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators), outputs=tuple(outputs))


def drop_unused(graph: Graph) -> Graph:
    """Operators that contribute to no output and no state."""
    needed = {*graph.outputs, *(state.source for state in graph.states)}
    kept: list[Operator] = []
    for operator in reversed(graph.operators):
        if needed & set(operator.outputs):
            needed |= set(operator.inputs)
            kept.append(operator)
    return replace(graph, operators=tuple(reversed(kept)))
