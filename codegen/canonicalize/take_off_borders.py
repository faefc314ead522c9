"""Take conversions off a model's ends: the graph begins behind and ends before them, and border.py computes them."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from codegen import operators as ops
from codegen.arithmetic.requantize import quantize_multiplier
from codegen.errors import ModelError
from codegen.graph.graph import Graph, Operator, Tensor
from codegen.operators.scaled import check_scaled

_BYTES = frozenset({"int8", "uint8"})


def take_off_borders(graph: Graph) -> Graph:
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


def _check(graph: Graph, operator: Operator) -> None:
    """Check a conversion of verified scales; of bytes also that TFLM's integers hold what is scaled."""
    check_conversion(graph, operator)
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    if operator.stem == "quantize" and {source.dtype, output.dtype} <= _BYTES:
        check_scaled(operator, 255, quantize_multiplier(source.scale / output.scale)[1])


def _is_entry(graph: Graph, operator: Operator) -> bool:
    _check(graph, operator)
    return operator.stem == "quantize" and graph.tensor(operator.outputs[0]).dtype == "int8"


def _is_exit(graph: Graph, operator: Operator) -> bool:
    _check(graph, operator)
    source, output = graph.tensor(operator.inputs[0]), graph.tensor(operator.outputs[0])
    return source.dtype == "int8" and (
        (operator.stem == "dequantize" and output.dtype == "float32")
        or (operator.stem == "quantize" and output.dtype == "uint8")
    )


def take_off_casts(graph: Graph) -> Graph:
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


def indices_as_bytes(graph: Graph) -> Graph:
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
