"""Bring a file's graph into the form that the compiler works on: int8 from end to end, and no bookkeeping.

What converters write around a network is taken away, exactly: conversions at the borders, arithmetic on shapes,
variables as operators, upsampling as reshape and tile. Each rule is one function, Graph -> Graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen import operators as ops
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import MAX_ACTIVATION_BYTES, Graph, Operator, State, Tensor
from codegen.tflite.conditions import conditions_as_bytes, repeat_selected
from codegen.tflite.equivalent import (
    copy_shared_outputs,
    drop_unused,
    give_constants,
    repeat_mixed_operands,
    split_wide_padding,
)
from codegen.tflite.recurrent import resolve_own_variables
from codegen.tflite.tabulate import tabulate

_FOLDABLE_BYTES = 1 << 16  # constants made by folding; shapes are a few numbers
_VARIABLES = frozenset({"var_handle", "read_variable", "assign_variable", "call_once"})
_SHAPED = frozenset({"int8", "uint8", "float32"})  # others count, or say where, until they are folded
_RESHAPES = frozenset({"reshape", "squeeze", "expand_dims"})


def canonicalize(graph: Graph, refused: list[UnsupportedError] | None = None) -> Graph:
    """Rewrite a graph as the same function of int8 inputs.

    Raises ModelError where operators lack operands, UnsupportedError where a file's variables cannot be resolved;
    with a list for `refused`, that is told there, and what is read of variables counts as inputs.
    """
    _check_operands(graph)
    try:
        _resolve_variables(graph)
    except UnsupportedError as error:
        if refused is None:
            raise
        refused.append(error)
        graph = _without_variables(graph)
    try:
        graph = resolve_own_variables(graph)
    except UnsupportedError as error:
        if refused is None:
            raise
        refused.append(error)
    rules = (
        *(
            _give_numbers_a_shape,
            _fold_constants,
            _resolve_variables,
            _take_off_casts,
            _take_off_borders,
            conditions_as_bytes,
        ),
        *(tabulate, repeat_selected, _indices_as_bytes),
        *(_recognize_upsampling, split_wide_padding, repeat_mixed_operands, give_constants, copy_shared_outputs),
        drop_unused,
    )
    for rule in rules:
        graph = rule(graph)
    return graph


def check_inputs(operator: Operator, needed: int) -> None:
    """Raise ModelError unless the first `needed` inputs are there."""
    if len(operator.inputs) < needed or min(operator.inputs[:needed], default=0) < 0:
        raise ModelError(f"{operator.label} has inputs {operator.inputs}, of which it needs {needed}")


def _check_operands(graph: Graph) -> None:
    """Every operator has what the rules below look at; `verify` checks the rest."""
    needed = {"var_handle": 0, "call_once": 0, "assign_variable": 2}
    for operator in graph.operators:
        count = needed.get(operator.stem, 1)
        check_inputs(operator, count)
        if not operator.outputs and operator.stem not in ("assign_variable", "call_once"):
            raise ModelError(f"{operator.label} has no output")


def _give_numbers_a_shape(graph: Graph) -> Graph:
    """One number without a shape is a vector of one: the same bytes."""
    tensors = (
        replace(t, shape=(1,)) if not t.shape and t.data is None and t.dtype in _SHAPED else t for t in graph.tensors
    )
    return replace(graph, tensors=tuple(tensors))


# ---- Constants -------------------------------------------------------------------------------------------------


def _fold_constants(graph: Graph) -> Graph:
    """Operators on constants, and SHAPE of tensors whose shape is known, become constants."""
    tensors, left = list(graph.tensors), []
    for operator in graph.operators:
        folded = _folded(replace(graph, tensors=tuple(tensors)), operator)
        if folded is None:
            left.append(operator)
        for index, data in zip(operator.outputs, folded or (), strict=False):
            tensors[index] = replace(tensors[index], data=data, shape=data.shape)
    return replace(graph, tensors=tuple(tensors), operators=tuple(left))


def _folded(graph: Graph, operator: Operator) -> tuple[npt.NDArray[np.generic], ...] | None:
    outputs = [graph.tensor(i) for i in operator.outputs]
    if operator.stem == "shape" and len(operator.inputs) == 1 and len(outputs) == 1:
        return (np.array(graph.tensor(operator.inputs[0]).shape, outputs[0].dtype),)
    implementation = ops.IMPLEMENTATIONS.get(operator.stem)
    move = implementation.move if implementation else None
    inputs = [graph.tensor(i) for i in operator.inputs if i >= 0]
    if move is None or not inputs or any(tensor.data is None for tensor in inputs):
        return None
    if sum(tensor.size_bytes for tensor in (*inputs, *outputs)) > _FOLDABLE_BYTES:
        return None
    values: tuple[Any, ...] = tuple(  # of any type: folding moves what the file has
        np.asarray(graph.tensor(i).data) if i >= 0 else np.zeros(0) for i in operator.inputs
    )
    try:
        moved = move(graph, operator, values)
    except (ArithmeticError, AssertionError, IndexError, TypeError, ValueError):
        return None  # `verify` will say what is wrong with it
    return tuple(np.asarray(value) for value in moved)


# ---- Variables -------------------------------------------------------------------------------------------------


def _resolve_variables(graph: Graph) -> Graph:
    """VAR_HANDLE, READ_VARIABLE and ASSIGN_VARIABLE become states; CALL_ONCE has been read with the file."""
    stems = Counter(operator.stem for operator in graph.operators)
    if not stems.keys() & _VARIABLES:
        return graph
    handles = {op.outputs[0]: str(op.options["shared_name"]) for op in graph.operators if op.stem == "var_handle"}
    read: dict[str, int] = {}
    assigned: dict[str, int] = {}
    renamed: dict[int, int] = {}
    left: list[Operator] = []
    for operator in graph.operators:
        if operator.stem in ("var_handle", "call_once"):
            continue
        if operator.stem == "read_variable":
            name = _variable(handles, operator)
            if name in assigned:
                raise UnsupportedError(f"{operator.label} reads variable '{name}' after it is assigned")
            renamed[operator.outputs[0]] = read.setdefault(name, operator.outputs[0])
        elif operator.stem == "assign_variable":
            name = _variable(handles, operator)
            if name in assigned:
                raise UnsupportedError(f"{operator.label} assigns variable '{name}' a second time")
            assigned[name] = renamed.get(operator.inputs[1], operator.inputs[1])
        else:
            left.append(replace(operator, inputs=tuple(renamed.get(i, i) for i in operator.inputs)))
    states = tuple(
        State(tensor, _source(graph, assigned, name, tensor, left), _initial(graph, name, graph.tensor(tensor)))
        for name, tensor in read.items()
    )
    return replace(graph, operators=tuple(left), states=(*graph.states, *states))


def _without_variables(graph: Graph) -> Graph:
    """Return the graph for those who look for what else it lacks."""
    read = [op.outputs[0] for op in graph.operators if op.stem == "read_variable"]
    operators = tuple(op for op in graph.operators if op.stem not in _VARIABLES)
    return replace(graph, operators=operators, inputs=(*graph.inputs, *dict.fromkeys(read)))


def _variable(handles: Mapping[int, str], operator: Operator) -> str:
    if operator.inputs[0] not in handles:
        raise UnsupportedError(f"{operator.label} works on a variable that no VAR_HANDLE names")
    return handles[operator.inputs[0]]


def _source(graph: Graph, assigned: Mapping[str, int], name: str, tensor: int, left: list[Operator]) -> int:
    if name not in assigned:
        raise UnsupportedError(f"variable '{name}' is read and never assigned", hint="export it as a constant")
    source = assigned[name]
    if graph.tensor(source).shape != graph.tensor(tensor).shape or graph.tensor(source).dtype != "int8":
        raise UnsupportedError(f"variable '{name}' is assigned a tensor of another shape or type")
    if source not in {index for operator in left for index in operator.outputs}:
        raise UnsupportedError(f"variable '{name}' is assigned an input, a constant or another variable as it is")
    return source


def _initial(graph: Graph, name: str, tensor: Tensor) -> npt.NDArray[np.int8]:
    """Return what CALL_ONCE assigns, else the zero point, as TFLM allocates it."""
    data = graph.initial_values.get(name)
    if data is None:
        return np.full(tensor.shape, tensor.zero_point, np.int8)
    if data.shape != tensor.shape or data.dtype != np.int8:
        raise UnsupportedError(f"variable '{name}' starts with {data.dtype} {data.shape}, not int8 {tensor.shape}")
    return data.astype(np.int8)


# ---- Borders ---------------------------------------------------------------------------------------------------


def _take_off_borders(graph: Graph) -> Graph:
    """QUANTIZE of a float32 or uint8 input, DEQUANTIZE or QUANTIZE to such an output: conversions of their own."""
    inputs, outputs = [], []
    removed: set[int] = set()
    renamed: dict[int, int] = {}
    for index in graph.inputs:
        readers = [op for op in graph.operators if index in op.inputs]
        is_foreign = graph.tensor(index).dtype in ("float32", "uint8")
        if is_foreign and readers and all(_is_entry(graph, op) for op in readers):
            first = readers[0].outputs[0]
            quantization = graph.tensor(first).scales, graph.tensor(first).zero_points
            same = [op.outputs[0] for op in readers if _quantization(graph, op.outputs[0]) == quantization]
            if len(same) == len(readers):
                renamed |= dict.fromkeys(same, first)
                removed |= {op.index for op in readers}
                index = first
        inputs.append(index)
    producers = {output: op for op in graph.operators for output in op.outputs}
    for index in graph.outputs:
        maker = producers.get(index)
        read = any(index in op.inputs for op in graph.operators)
        if maker is not None and not read and _is_exit(graph, maker) and maker.index not in removed:
            removed.add(maker.index)
            index = maker.inputs[0]
        outputs.append(renamed.get(index, index))
    operators = tuple(
        replace(op, inputs=tuple(renamed.get(i, i) for i in op.inputs))
        for op in graph.operators
        if op.index not in removed
    )
    return replace(graph, operators=operators, inputs=tuple(inputs), outputs=tuple(outputs))


def _quantization(graph: Graph, index: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    return graph.tensor(index).scales, graph.tensor(index).zero_points


def check_conversion(graph: Graph, operator: Operator) -> None:
    """Check that QUANTIZE or DEQUANTIZE gives as many values as it takes. Raises ModelError.

    Interpreters believe the output's shape.
    """
    if operator.stem in ("quantize", "dequantize") and len(operator.inputs) == len(operator.outputs) == 1:
        source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
        if prod(source.shape) != prod(output.shape):
            raise ModelError(f"{operator.label} states output {output.shape}, its input is {source.shape}")


def _is_entry(graph: Graph, operator: Operator) -> bool:
    check_conversion(graph, operator)
    return operator.stem == "quantize" and graph.tensor(operator.outputs[0]).dtype == "int8"


def _is_exit(graph: Graph, operator: Operator) -> bool:
    check_conversion(graph, operator)
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    return source.dtype == "int8" and (
        (operator.stem == "dequantize" and output.dtype == "float32")
        or (operator.stem == "quantize" and output.dtype == "uint8")
    )


def _take_off_casts(graph: Graph) -> Graph:
    """CAST of int8 to an output of float32 or int32: the same bytes, of scale 1 and zero point 0, and a conversion."""
    tensors, operators, outputs = list(graph.tensors), list(graph.operators), list(graph.outputs)
    for number, operator in enumerate(graph.operators):
        if operator.stem != "cast" or len(operator.outputs) != 1:
            continue
        source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
        is_read = any(output.index in other.inputs for other in graph.operators)
        if source.dtype != "int8" or output.dtype not in ("float32", "int32") or is_read or not source.shape:
            continue
        if output.index not in outputs or source.shape != output.shape or output.scales or source.data is not None:
            continue
        first = len(tensors)
        tensors.append(Tensor(first, f"{output.name}/int8", source.shape, "int8", (1.0,), (0,)))
        for index, value in ((first + 1, 0), (first + 2, -1)):  # a SLICE of everything: from 0 on, to the end
            data = np.full(len(source.shape), value, np.int32)
            tensors.append(Tensor(index, f"{output.name}/numbers", data.shape, "int32", data=data))
        operators[number] = replace(
            operator, stem="slice", inputs=(source.index, first + 1, first + 2), outputs=(first,), options={}
        )
        outputs[outputs.index(output.index)] = first
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators), outputs=tuple(outputs))


def _indices_as_bytes(graph: Graph) -> Graph:
    """Rewrite operators whose output is int32 or int64 to give its bytes, along one more axis."""
    tensors, operators, outputs = list(graph.tensors), list(graph.operators), list(graph.outputs)
    for number, operator in enumerate(graph.operators):
        implementation = ops.IMPLEMENTATIONS.get(operator.stem)
        dtypes = implementation.output_dtypes if implementation else ()
        output = graph.tensor(operator.outputs[0]) if operator.outputs else None
        is_read = output and any(output.index in other.inputs for other in graph.operators)
        if output is None or output.dtype not in dtypes or output.index not in outputs or is_read:
            continue
        shape = (*output.shape, np.dtype(output.dtype).itemsize)
        tensors.append(Tensor(len(tensors), f"{output.name}/bytes", shape, "int8", (1.0,), (0,)))
        operators[number] = replace(operator, outputs=(len(tensors) - 1,))
        outputs[outputs.index(output.index)] = len(tensors) - 1
    return replace(graph, tensors=tuple(tensors), operators=tuple(operators), outputs=tuple(outputs))


# ---- Upsampling ------------------------------------------------------------------------------------------------


def _recognize_upsampling(graph: Graph) -> Graph:
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
    if last.stem not in _RESHAPES or (tile := producers.get(last.inputs[0])) is None or tile.stem != "tile":
        return ()
    first = producers.get(tile.inputs[0])
    alone = readers[last.inputs[0]] == 1 and readers[tile.inputs[0]] == 1
    return (first, tile, last) if first is not None and first.stem in _RESHAPES and alone else ()


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
