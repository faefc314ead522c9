"""Read a .tflite flatbuffer into a `Graph`. States what the file says; `verify` decides whether it makes sense.

The file may be anybody's. What comes out of here is well formed and of bounded size: every index leads somewhere, every
constant has as many bytes as its shape, options are of their operator's kind, and names can be printed.

Format: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import tflite

from codegen import operators as ops
from codegen.arithmetic.requantize import INT32_MAX
from codegen.errors import ModelError, UnsupportedError
from codegen.graph.graph import Graph, Operator, Tensor
from codegen.tflite.flatbuffer import check_flatbuffer
from codegen.untrusted import printable

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
_TYPE_NAMES = {code: name.lower() for name, code in vars(tflite.TensorType).items() if isinstance(code, int)}
_DAMAGED = "convert or copy it again"
SCHEMA_VERSION = 3
MAX_SUBGRAPHS = 8
MAX_TENSORS = 4096
MAX_OPERATORS = 1024
MAX_DIMENSIONS = 8
MAX_TENSOR_BYTES = 16 << 20  # beside which no microcontroller has room for another
_WORD_BYTES = 4  # of the processors that interpreters run on; converters align int64 to it
_BUILTIN_CODE_FIELD = 10  # of an OperatorCode's vtable
_DATA_FIELD = 4  # of a Buffer's vtable
# Without options, interpreters divide by zero or keep what was in memory.
_NEEDS_OPTIONS = frozenset(
    """
    add average_pool_2d concatenation conv_2d depth_to_space depthwise_conv_2d div fully_connected l2_pool_2d leaky_relu
    max_pool_2d mirror_pad mul pack resize_bilinear resize_nearest_neighbor softmax space_to_depth split strided_slice
    sub transpose_conv unpack
    """.split()  # noqa: SIM905
)
MAX_NAME = 400  # characters; converters join the names of what they fuse
_STEMS = {code: name.lower() for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_OPTIONS = {name.lower(): code for name, code in vars(tflite.BuiltinOptions).items() if isinstance(code, int)}
_OTHERWISE_NAMED = {
    "l2_normalization": "l2norm",
    "average_pool_2d": "pool2d",
    "l2_pool_2d": "pool2d",
    "max_pool_2d": "pool2d",
    "mean": "reducer",
    "reduce_max": "reducer",
    "reduce_min": "reducer",
    "sum": "reducer",
}


def load_graph(flatbuffer: bytes) -> Graph:
    """Parse a .tflite file into the graph of its first subgraph; every tensor that its operators name exists.

    Operators without an implementation here are kept, with empty options, so that `inspect` and the tflm runtime
    can still use the graph. Raises ModelError where the bytes are no intact TFLite file, UnsupportedError where it is
    too large or a tensor has a type that no runtime here takes.
    """
    graph, refused = read_graph(flatbuffer)
    if refused:
        raise refused[0]
    return graph


def read_graph(flatbuffer: bytes) -> tuple[Graph, tuple[UnsupportedError, ...]]:
    """Parse a file as far as it can be shown, and what of it no runtime here takes.

    Tensors of which that is so have no values and no quantization, and types that NumPy may not know. Raises ModelError
    as `load_graph` does, UnsupportedError where the file has too much of anything.
    """
    refused: list[UnsupportedError] = []
    check_flatbuffer(flatbuffer)
    try:
        model = tflite.Model.GetRootAs(flatbuffer, 0)
        if model.Version() != SCHEMA_VERSION or model.SubgraphsLength() < 1:
            raise ModelError("not a TFLite file with a subgraph", hint="convert the model again")
        _check_count("subgraphs", model.SubgraphsLength(), MAX_SUBGRAPHS)
        graphs = [_subgraph(model, model.Subgraphs(i), refused) for i in range(model.SubgraphsLength())]
        try:
            values = _initial_values(graphs)
        except UnsupportedError as error:
            refused.append(error)
            values = {}
        return replace(graphs[0], initial_values=values), tuple(refused)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise ModelError(
            f"the TFLite file is damaged or truncated ({type(error).__name__}: {error})",
            hint=_DAMAGED,
        ) from error


def _subgraph(model: Any, raw: Any, refused: list[UnsupportedError]) -> Graph:
    _check_count("tensors", raw.TensorsLength(), MAX_TENSORS)
    _check_count("operators", raw.OperatorsLength(), MAX_OPERATORS)
    tensors = tuple(_tensor_or_shape(model, raw.Tensors(i), i, refused) for i in range(raw.TensorsLength()))
    stems = [_stem(model, raw.Operators(i)) for i in range(raw.OperatorsLength())]
    operators = tuple(_operator(raw.Operators(i), stem, i) for i, stem in enumerate(stems))
    graph = Graph(tensors, operators, _indices(raw.InputsAsNumpy()), _indices(raw.OutputsAsNumpy()))
    _check_indices(graph)
    return graph


def _check_count(what: str, count: int, most: int) -> None:
    if count > most:
        raise UnsupportedError(f"the model has {count:,} {what}, more than {most:,}")


def _initial_values(graphs: Sequence[Graph]) -> Mapping[str, npt.NDArray[np.generic]]:
    """Return what the subgraphs that CALL_ONCE names assign to variables: constants, by name of the variable."""
    values: dict[str, npt.NDArray[np.generic]] = {}
    for call in (operator for operator in graphs[0].operators if operator.stem == "call_once"):
        if int(call.options["subgraph"]) not in range(1, len(graphs)):
            raise ModelError(f"{call.label} calls subgraph {call.options['subgraph']}, of {len(graphs)}", hint=_DAMAGED)
        called = graphs[int(call.options["subgraph"])]
        names: dict[int, str] = {}
        for operator in called.operators:
            if operator.stem == "var_handle":
                names[operator.outputs[0]] = str(operator.options["shared_name"])
            elif operator.stem == "assign_variable":
                data = called.tensor(operator.inputs[1]).data
                if data is not None and operator.inputs[0] in names:
                    values[names[operator.inputs[0]]] = data
            else:
                raise UnsupportedError(f"{call.label} computes more than constants: {operator.label}")
    return values


def _indices(read: Any) -> tuple[int, ...]:
    """flatbuffers gives 0 for a vector that is not there."""
    return () if isinstance(read, int) else tuple(int(i) for i in read)


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
    return {"shared_name": printable(f"{container}/{name}", MAX_NAME)}


def _call_once_options(table: Any) -> Mapping[str, int]:
    options = tflite.CallOnceOptions()
    options.Init(table.Bytes, table.Pos)
    return {"subgraph": options.InitSubgraphIndex()}


_OTHER_OPTIONS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "var_handle": _handle_options,
    "call_once": _call_once_options,
}


def _stem(model: Any, operator: Any) -> str:
    if operator.OpcodeIndex() >= model.OperatorCodesLength():
        raise ModelError(f"an operator is of kind {operator.OpcodeIndex()}, which is not in the file", hint=_DAMAGED)
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Files older than schema 3a keep the code in the deprecated 8-bit field; newer ones fill both.
    # Interpreters take the larger one; `tflite`'s BuiltinCode() would give the deprecated one.
    at = code._tab.Offset(_BUILTIN_CODE_FIELD)
    stated = struct.unpack_from("<i", code._tab.Bytes, code._tab.Pos + at)[0] if at else 0
    builtin = max(stated, code.DeprecatedBuiltinCode())
    if builtin == tflite.BuiltinOperator.CUSTOM:  # not by its own name, which may be another operator's
        return "custom " + printable((code.CustomCode() or b"").decode(errors="replace"), MAX_NAME)
    return str(_STEMS.get(builtin, f"builtin_{builtin}"))


def _operator(raw: Any, stem: str, index: int) -> Operator:
    inputs, outputs = _indices(raw.InputsAsNumpy()), _indices(raw.OutputsAsNumpy())
    own = _OPTIONS.get(f"{_OTHERWISE_NAMED.get(stem, stem.replace('_', ''))}options")
    if raw.BuiltinOptions() is None:
        if stem in _NEEDS_OPTIONS:
            raise ModelError(f"operator {index} ({stem.upper()}) has no options", hint=_DAMAGED)
    elif own is not None and raw.BuiltinOptionsType() != own:
        raise ModelError(f"operator {index} ({stem.upper()}) has options of another kind", hint=_DAMAGED)
    implementation = ops.IMPLEMENTATIONS.get(stem)
    read_options = implementation.read_options if implementation else _OTHER_OPTIONS.get(stem, _no_options)
    return Operator(index, stem, inputs, outputs, read_options(raw.BuiltinOptions()))


def _tensor_or_shape(model: Any, raw: Any, index: int, refused: list[UnsupportedError]) -> Tensor:
    """Return the tensor; where no runtime takes it, its name, shape and type alone."""
    try:
        return _tensor(model, raw, index)
    except UnsupportedError as error:
        refused.append(error)
        name = printable((raw.Name() or b"").decode(errors="replace"), MAX_NAME)
        dtype = _TYPE_NAMES.get(raw.Type(), f"type {raw.Type()}")
        return Tensor(index, name, _indices(raw.ShapeAsNumpy())[:MAX_DIMENSIONS], dtype)


def _tensor(model: Any, raw: Any, index: int) -> Tensor:
    name = printable((raw.Name() or b"").decode(errors="replace"), MAX_NAME)
    label = f"tensor {index} '{name}'"
    if raw.Type() not in _DTYPES:
        raise UnsupportedError(f"{label} is {_TYPE_NAMES.get(raw.Type(), raw.Type())}", hint="quantize to full int8")
    if raw.Sparsity() is not None or raw.VariantTensorsLength():
        raise UnsupportedError(f"{label} is sparse or of a variant type", hint="convert the model without it")
    dtype, shape = _DTYPES[raw.Type()], _indices(raw.ShapeAsNumpy())
    size_bytes = math.prod(map(abs, shape)) * np.dtype(dtype).itemsize
    if len(shape) > MAX_DIMENSIONS or size_bytes > MAX_TENSOR_BYTES:
        raise UnsupportedError(
            f"{label} has shape {printable(str(shape), 80)}, {size_bytes:,} bytes: more than {MAX_TENSOR_BYTES:,}",
            hint="no microcontroller has the memory; use a smaller input",
        )
    scales, zero_points, dimension = _quantization(raw.Quantization(), label, shape)
    data = _constant(model, raw.Buffer(), label, dtype, shape)
    return Tensor(index, name, shape, dtype, scales, zero_points, dimension, bool(raw.IsVariable()), data)


def _quantization(raw: Any, label: str, shape: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    """Scales, as many zero points, and the dimension along which there is one for each index."""
    if raw is None or not (raw.ScaleLength() or raw.ZeroPointLength()):
        return (), (), 0
    if raw.DetailsType() != tflite.QuantizationDetails.NONE:
        raise UnsupportedError(f"{label} is quantized in a way of its own", hint="quantize to full int8")
    scales = tuple(float(s) for s in raw.ScaleAsNumpy()) if raw.ScaleLength() else ()
    zero_points = tuple(int(z) for z in raw.ZeroPointAsNumpy()) if raw.ZeroPointLength() else ()
    if any(abs(zero_point) > INT32_MAX for zero_point in zero_points):
        raise ModelError(f"{label} has a zero point that no int32 holds", hint=_DAMAGED)
    if len(scales) != len(zero_points):
        raise ModelError(f"{label} has {len(scales)} scales but {len(zero_points)} zero points", hint=_DAMAGED)
    dimension = int(raw.QuantizedDimension())
    # Old converters state a dimension that biases do not have; they have only one.
    along = shape[0] if len(shape) == 1 else shape[dimension] if 0 <= dimension < len(shape) else -1
    if len(scales) not in (1, along):
        raise ModelError(f"{label} has {len(scales)} scales along dimension {dimension} of {shape}", hint=_DAMAGED)
    return scales, zero_points, dimension


def _constant(model: Any, number: int, label: str, dtype: str, shape: tuple[int, ...]) -> npt.NDArray[Any] | None:
    """Return the values of a tensor whose buffer has some; as many bytes as its shape has, and aligned for its type."""
    if number >= model.BuffersLength():
        raise ModelError(f"{label} has buffer {number}, of {model.BuffersLength()}", hint=_DAMAGED)
    buffer = model.Buffers(number)
    if buffer.Offset() or buffer.Size():
        raise UnsupportedError(f"{label} lies outside of the flatbuffer", hint="convert to a file below 2 GB")
    if not buffer.DataLength():
        return None
    values = np.dtype(dtype)
    want = math.prod(shape) * values.itemsize
    if min(shape, default=1) < 0 or buffer.DataLength() != want:
        raise ModelError(f"{label} of shape {shape} has {buffer.DataLength()} bytes of data, not {want}", hint=_DAMAGED)
    if buffer._tab.Vector(buffer._tab.Offset(_DATA_FIELD)) % min(values.itemsize, _WORD_BYTES):
        raise ModelError(f"{label} is not aligned to its type", hint=_DAMAGED)
    return np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype=values).reshape(shape)
