"""Read a .tflite flatbuffer into a `Graph`. States what the file says; `verify` decides whether it makes sense.

Format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from codegen import operators as ops
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, Operator, Tensor

_DTYPES: Mapping[int, str] = {
    tflite.TensorType.FLOAT32: "float32",
    tflite.TensorType.INT32: "int32",
    tflite.TensorType.UINT8: "uint8",
    tflite.TensorType.INT64: "int64",
    tflite.TensorType.INT16: "int16",
    tflite.TensorType.INT8: "int8",
    tflite.TensorType.BOOL: "bool",
    tflite.TensorType.RESOURCE: "int32",  # a variable's handle
}
_DAMAGED = "convert or copy it again"
_STEMS = {code: name.lower() for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}


def load_graph(flatbuffer: bytes) -> Graph:
    """Parse a .tflite file of one subgraph; every tensor that its operators name exists.

    Operators without an implementation here are kept, with empty options, so that `inspect` and the tflm runtime
    can still use the graph. Raises ModelError where the bytes are no intact TFLite file, UnsupportedError where a
    tensor has a type that no runtime here takes.
    """
    try:
        model = tflite.Model.GetRootAs(flatbuffer, 0)
        if flatbuffer[4:8] != b"TFL3" or model.SubgraphsLength() < 1:
            raise ModelError("not a TFLite file with a subgraph", hint="convert the model again")
        subgraph = model.Subgraphs(0)
        tensors = tuple(_tensor(model, subgraph.Tensors(i), i) for i in range(subgraph.TensorsLength()))
        raw = [(subgraph.Operators(i), _stem(model, subgraph.Operators(i))) for i in range(subgraph.OperatorsLength())]
        operators = tuple(_operator(raw_operator, stem, i) for i, (raw_operator, stem) in enumerate(raw))
        inputs = tuple(int(i) for i in subgraph.InputsAsNumpy())
        outputs = tuple(int(i) for i in subgraph.OutputsAsNumpy())
        initial_values = _initial_values(model, operators)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ModelError(
            f"the TFLite file is damaged or truncated ({type(error).__name__}: {error})",
            hint=_DAMAGED,
        ) from error
    graph = Graph(tensors, operators, inputs, outputs, initial_values=initial_values)
    _check_indices(graph)
    return graph


def _initial_values(model: Any, operators: tuple[Operator, ...]) -> Mapping[str, npt.NDArray[np.generic]]:
    """What the subgraphs that CALL_ONCE names assign to variables: constants, by name of the variable."""
    values: dict[str, npt.NDArray[np.generic]] = {}
    for call in (operator for operator in operators if operator.stem == "call_once"):
        subgraph = model.Subgraphs(int(call.options["subgraph"]))
        names: dict[int, str] = {}
        for i in range(subgraph.OperatorsLength()):
            operator = _operator(subgraph.Operators(i), _stem(model, subgraph.Operators(i)), i)
            if operator.stem == "var_handle":
                names[operator.outputs[0]] = str(operator.options["shared_name"])
            elif operator.stem == "assign_variable":
                data = _tensor(model, subgraph.Tensors(operator.inputs[1]), operator.inputs[1]).data
                if data is not None and operator.inputs[0] in names:
                    values[names[operator.inputs[0]]] = data
            else:
                raise UnsupportedError(f"{call.label} computes more than constants: {operator.label}")
    return values


def _check_indices(graph: Graph) -> None:
    """Every tensor that is named exists, so that whoever reads the graph may look it up; -1 is an absent input."""
    existing = range(len(graph.tensors))
    for what, indices in (("input", graph.inputs), ("output", graph.outputs)):
        if missing := [i for i in indices if i not in existing]:
            raise ModelError(f"the model's {what} is tensor {missing[0]}, of {len(existing)}", hint=_DAMAGED)
    for operator in graph.operators:
        named = (*(i for i in operator.inputs if i != -1), *operator.outputs)
        if missing := [i for i in named if i not in existing]:
            raise ModelError(f"{operator.label} names tensor {missing[0]}, of {len(existing)}", hint=_DAMAGED)


def _no_options(table: Any) -> Mapping[str, int]:
    return {}


def _handle_options(table: Any) -> Mapping[str, str]:
    options = tflite.VarHandleOptions()
    options.Init(table.Bytes, table.Pos)
    container, name = ((part or b"").decode(errors="replace") for part in (options.Container(), options.SharedName()))
    return {"shared_name": f"{container}/{name}"}


def _call_once_options(table: Any) -> Mapping[str, int]:
    options = tflite.CallOnceOptions()
    options.Init(table.Bytes, table.Pos)
    return {"subgraph": options.InitSubgraphIndex()}


_VARIABLE_OPTIONS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "var_handle": _handle_options,
    "call_once": _call_once_options,
}


def _stem(model: Any, operator: Any) -> str:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Files older than schema 3a keep the code in the deprecated 8-bit field; newer ones fill both.
    builtin = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    custom: bytes | None = code.CustomCode()
    return custom.decode() if custom else _STEMS.get(builtin, f"builtin_{builtin}")


def _operator(raw: Any, stem: str, index: int) -> Operator:
    inputs = tuple(int(i) for i in raw.InputsAsNumpy())
    outputs = tuple(int(i) for i in raw.OutputsAsNumpy())
    implementation = ops.IMPLEMENTATIONS.get(stem)
    read_options = implementation.read_options if implementation else _VARIABLE_OPTIONS.get(stem, _no_options)
    options = read_options(raw.BuiltinOptions())
    return Operator(index, stem, inputs, outputs, options)


def _tensor(model: Any, raw: Any, index: int) -> Tensor:
    name = (raw.Name() or b"").decode(errors="replace")
    if raw.Type() not in _DTYPES:
        raise UnsupportedError(f"tensor {index} '{name}' has TFLite type {raw.Type()}", hint="quantize to full int8")
    dtype = _DTYPES[raw.Type()]
    shape = tuple(int(n) for n in raw.ShapeAsNumpy()) if raw.ShapeLength() else ()
    quantization = raw.Quantization()
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    dimension = 0
    if quantization is not None and quantization.ScaleLength():
        scales = tuple(float(s) for s in quantization.ScaleAsNumpy())
        zero_points = tuple(int(z) for z in quantization.ZeroPointAsNumpy())
        dimension = quantization.QuantizedDimension()
    buffer = model.Buffers(raw.Buffer())
    data = None
    if buffer is not None and buffer.DataLength():
        data = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype=dtype).reshape(shape)
    return Tensor(index, name, shape, dtype, scales, zero_points, dimension, data)
