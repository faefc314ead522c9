"""Build small int8 .tflite files operator by operator, with any shape, scale and zero point, without TensorFlow.

Converters choose quantization parameters and shapes themselves; a compiler has to be right for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

Options = Callable[[flatbuffers.Builder], int]

_TYPES = {
    "int8": tflite.TensorType.INT8,
    "uint8": tflite.TensorType.UINT8,
    "int16": tflite.TensorType.INT16,
    "int32": tflite.TensorType.INT32,
    "int64": tflite.TensorType.INT64,
    "float32": tflite.TensorType.FLOAT32,
    "bool": tflite.TensorType.BOOL,
    "resource": tflite.TensorType.RESOURCE,
}
_ACTIVATIONS = {
    "none": tflite.ActivationFunctionType.NONE,
    "relu": tflite.ActivationFunctionType.RELU,
    "relu6": tflite.ActivationFunctionType.RELU6,
    "relu_n1_to_1": tflite.ActivationFunctionType.RELU_N1_TO_1,
}
_PADDINGS = {"same": tflite.Padding.SAME, "valid": tflite.Padding.VALID}


@dataclass
class ModelBuilder:
    """Tensors and operators in the order they are added; `finish` serializes them."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    operators: list[tuple[int, list[int], list[int], int, Options]] = field(default_factory=list)

    def activation(self, shape: Sequence[int], scale: float, zero_point: int, dtype: str = "int8") -> int:
        return self._tensor(shape, dtype, [scale], [zero_point], 0, None)

    def own_variable(self, shape: Sequence[int], scale: float, zero_point: int = 0, dtype: str = "int8") -> int:
        """Add a tensor that its only operator reads and changes; its value lasts from one inference to the next."""
        index = self.activation(shape, scale, zero_point, dtype)
        self.tensors[index]["variable"] = True
        return index

    def constant(
        self, values: npt.NDArray[Any], scales: Sequence[float] = (), quantized_dimension: int = 0, zero_point: int = 0
    ) -> int:
        zeros = [zero_point] * len(scales)
        return self._tensor(values.shape, values.dtype.name, list(scales), zeros, quantized_dimension, values)

    def _tensor(self, shape: Sequence[int], dtype: str, scales: Any, zeros: Any, dimension: int, data: Any) -> int:
        self.tensors.append(
            {"shape": shape, "dtype": dtype, "scales": scales, "zeros": zeros, "dimension": dimension, "data": data}
        )
        return len(self.tensors) - 1

    def _shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.tensors[tensor]["shape"])

    def operator(
        self, name: str, inputs: list[int], output: int | list[int], options: str | None = "", **fields: float
    ) -> int:
        """Add any operator by its TFLite name ("PAD"); returns its output, of several the first.

        `options`: the schema's table, by default the name's ("PadOptions"), None for none; `fields`: what it holds.
        """
        table = options if options != "" else "".join(map(_camel, name.split("_"))) + "Options"

        def build(b: flatbuffers.Builder) -> int:
            return _table(b, table, **fields) if table else 0

        kind = getattr(tflite.BuiltinOptions, table or "NONE")
        outputs = output if isinstance(output, list) else [output]
        self.operators.append((getattr(tflite.BuiltinOperator, name), inputs, outputs, kind, build))
        return outputs[0]

    # ---- operators -----------------------------------------------------------------------------------------

    def convolution(
        self,
        source: int,
        weights: npt.NDArray[np.int8],
        weight_scales: Sequence[float],
        bias: npt.NDArray[np.int32] | None,
        *,
        scale: float,
        zero_point: int,
        depthwise: bool = False,
        stride: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        padding: str = "same",
        activation: str = "none",
    ) -> int:
        """Weights as TFLite stores them: (out, h, w, in), or (1, h, w, out) when depthwise."""
        _, height, width, in_channels = self._shape(source)
        kernel, channels = weights.shape[1:3], weights.shape[3 if depthwise else 0]
        out = _out_size((height, width), kernel, stride, dilation, padding)
        filter_tensor = self.constant(weights, weight_scales, 3 if depthwise else 0)
        inputs = [source, filter_tensor]
        if bias is not None:
            input_scale = self.tensors[source]["scales"][0]
            inputs.append(self.constant(bias, [input_scale * s for s in weight_scales]))
        output = self.activation((1, *out, channels), scale, zero_point)

        fields = {
            "Padding": _PADDINGS[padding],
            "StrideH": stride[0],
            "StrideW": stride[1],
            "DilationHFactor": dilation[0],
            "DilationWFactor": dilation[1],
            "FusedActivationFunction": _ACTIVATIONS[activation],
        }
        if depthwise:
            fields["DepthMultiplier"] = channels // in_channels
        return self.operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, output, "", **fields)

    def max_pool(
        self,
        source: int,
        window: tuple[int, int],
        stride: tuple[int, int],
        padding: str = "valid",
        activation: str = "none",
    ) -> int:
        _, height, width, channels = self._shape(source)
        out = _out_size((height, width), window, stride, (1, 1), padding)
        output = self._same_quantization(source, (1, *out, channels))

        return self.operator(
            "MAX_POOL_2D",
            [source],
            output,
            "Pool2DOptions",
            Padding=_PADDINGS[padding],
            StrideH=stride[0],
            StrideW=stride[1],
            FilterHeight=window[0],
            FilterWidth=window[1],
            FusedActivationFunction=_ACTIVATIONS[activation],
        )

    def resize_nearest(
        self, source: int, size: tuple[int, int], *, align_corners: bool = False, half_pixel_centers: bool = True
    ) -> int:
        output = self._same_quantization(source, (1, *size, self._shape(source)[3]))

        inputs = [source, self.constant(np.array(size, np.int32))]
        return self.operator(
            "RESIZE_NEAREST_NEIGHBOR",
            inputs,
            output,
            AlignCorners=align_corners,
            HalfPixelCenters=half_pixel_centers,
        )

    def depth_to_space(self, source: int, block: int) -> int:
        _, height, width, channels = self._shape(source)
        output = self._same_quantization(source, (1, height * block, width * block, channels // block**2))

        return self.operator("DEPTH_TO_SPACE", [source], output, BlockSize=block)

    def concatenate(self, sources: list[int], axis: int = 3) -> int:
        shape = list(self._shape(sources[0]))
        shape[axis] = sum(self._shape(s)[axis] for s in sources)
        output = self._same_quantization(sources[0], shape)

        return self.operator("CONCATENATION", sources, output, Axis=axis)

    def pad(self, source: int, paddings: Sequence[Sequence[int]]) -> int:
        amounts = np.array(paddings, np.int32)
        shape = [n + int(a.sum()) for n, a in zip(self._shape(source), amounts, strict=True)]
        return self.operator("PAD", [source, self.constant(amounts)], self._same_quantization(source, shape))

    def logistic(self, source: int) -> int:
        return self.operator("LOGISTIC", [source], self.activation(self._shape(source), 1 / 256, -128), None)

    def quantize(self, source: int, scale: float, zero_point: int) -> int:
        return self.operator("QUANTIZE", [source], self.activation(self._shape(source), scale, zero_point))

    def reshape(self, source: int, shape: Sequence[int]) -> int:
        inputs = [source, self.constant(np.array(shape, np.int32))]
        return self.operator("RESHAPE", inputs, self._same_quantization(source, shape))

    def _same_quantization(self, source: int, shape: Sequence[int]) -> int:
        tensor = self.tensors[source]
        return self.activation(shape, tensor["scales"][0], tensor["zeros"][0])

    def variable(self, name: str, shape: Sequence[int], scale: float, zero_point: int) -> tuple[int, int]:
        """Add a value that lasts from one inference to the next: its handle, and the tensor that it is read into."""

        def options(b: flatbuffers.Builder) -> int:
            shared_name = b.CreateString(name)
            return _table(b, "VarHandleOptions", SharedName=shared_name)

        handle = self._tensor((), "resource", [], [], 0, None)
        kind = tflite.BuiltinOptions.VarHandleOptions
        self.operators.append((tflite.BuiltinOperator.VAR_HANDLE, [], [handle], kind, options))
        value = self.activation(shape, scale, zero_point)
        return handle, self.operator("READ_VARIABLE", [handle], value)

    def assign(self, handle: int, value: int) -> None:
        self.operators.append(
            (
                tflite.BuiltinOperator.ASSIGN_VARIABLE,
                [handle, value],
                [],
                tflite.BuiltinOptions.AssignVariableOptions,
                lambda b: _table(b, "AssignVariableOptions"),
            )
        )

    # ---- serialization -------------------------------------------------------------------------------------

    def finish(
        self, inputs: Sequence[int], outputs: Sequence[int], metadata: Mapping[str, bytes] | None = None
    ) -> bytes:
        b = flatbuffers.Builder(1024)
        constants = [t["data"].tobytes() for t in self.tensors if t["data"] is not None]
        buffers = [b"", *constants, *(metadata or {}).values()]
        buffer_tables = [_buffer(b, data) for data in buffers]
        numbers = iter(range(1, len(buffers)))
        tensors = [
            _tensor_table(b, i, t, next(numbers) if t["data"] is not None else 0) for i, t in enumerate(self.tensors)
        ]
        codes = sorted({code for code, *_ in self.operators})
        operators = [
            _operator_table(b, codes.index(code), read, written, kind, options)
            for code, read, written, kind, options in self.operators
        ]
        code_tables = [_code_table(b, code) for code in codes]
        subgraph = _table(
            b,
            "SubGraph",
            Tensors=_offsets(b, tensors),
            Inputs=_ints(b, inputs),
            Outputs=_ints(b, outputs),
            Operators=_offsets(b, operators),
        )
        names = [b.CreateString(name) for name in metadata or {}]
        vectors = {
            "OperatorCodes": _offsets(b, code_tables),
            "Subgraphs": _offsets(b, [subgraph]),
            "Buffers": _offsets(b, buffer_tables),
            "Metadata": _offsets(b, [_table(b, "Metadata", Name=name, Buffer=next(numbers)) for name in names]),
        }
        b.Finish(_table(b, "Model", Version=3, **vectors), b"TFL3")
        return bytes(b.Output())


def _out_size(size: Any, kernel: Any, stride: Any, dilation: Any, padding: str) -> tuple[int, int]:
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    height, width = (
        -(-n // s) if padding == "same" else (n - e) // s + 1 for n, e, s in zip(size, extents, stride, strict=True)
    )
    return height, width


def _camel(word: str) -> str:
    return word.upper() if word[0].isdigit() else word.capitalize()


def _table(b: flatbuffers.Builder, name: str, **fields: int | float) -> int:
    getattr(tflite, f"{name}Start")(b)
    for key, value in fields.items():
        getattr(tflite, f"{name}Add{key}")(b, value)
    return int(getattr(tflite, f"{name}End")(b))


def _offsets(b: flatbuffers.Builder, offsets: Sequence[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    return int(b.CreateNumpyVector(np.array(values, np.int32)))


def _buffer(b: flatbuffers.Builder, data: bytes) -> int:
    if not data:
        return _table(b, "Buffer")
    b.StartVector(1, len(data), 16)
    b.head -= len(data)
    b.Bytes[b.head : b.head + len(data)] = data
    vector = b.EndVector()
    return _table(b, "Buffer", Data=vector)


def _tensor_table(b: flatbuffers.Builder, index: int, tensor: dict[str, Any], buffer: int) -> int:
    quantization = 0
    if tensor["scales"]:
        scale = b.CreateNumpyVector(np.array(tensor["scales"], np.float32))
        zero = b.CreateNumpyVector(np.array(tensor["zeros"], np.int64))
        quantization = _table(
            b, "QuantizationParameters", Scale=scale, ZeroPoint=zero, QuantizedDimension=tensor["dimension"]
        )
    name, shape = b.CreateString(f"t{index}"), _ints(b, tensor["shape"])
    fields = {"Shape": shape, "Type": _TYPES[tensor["dtype"]], "Buffer": buffer, "Name": name}
    fields |= {"IsVariable": True} if tensor.get("variable") else {}
    return _table(b, "Tensor", **fields, **({"Quantization": quantization} if quantization else {}))


def _operator_table(
    b: flatbuffers.Builder, code: int, inputs: list[int], outputs: list[int], kind: int, options: Options
) -> int:
    body = options(b)
    fields = {"OpcodeIndex": code, "Inputs": _ints(b, inputs), "Outputs": _ints(b, outputs)}
    if body:
        fields |= {"BuiltinOptionsType": kind, "BuiltinOptions": body}
    return _table(b, "Operator", **fields)


def _code_table(b: flatbuffers.Builder, code: int) -> int:
    return _table(b, "OperatorCode", DeprecatedBuiltinCode=min(code, 127), BuiltinCode=code, Version=1)
