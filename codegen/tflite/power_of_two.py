"""Give the weights of convolutions the least power-of-two scales that hold them, where activations have such scales.

Converters take the largest weight of a channel / 127 as its scale. A network that was trained on coarser grids, whose
steps are powers of two, loses nothing when its weights are written on those: they are their points, which are found
again exactly, since the converter's grid is at least as fine. Then input scale * weight scale / output scale, by which
TFLite multiplies, is a power of two, and a shift does it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.start_tensorflow import import_tensorflow

SLACK = 1e-3  # of an exponent: what float32 may lose between a kernel and its channel's scale
LEVELS = 127
_KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def with_power_of_two_weights(flatbuffer: bytes) -> bytes:
    """Rewrite the weights and biases of a converter's int8 file; the same bytes where no layer qualifies.

    A layer does whose input and output scales are powers of two. The same file gives the same bytes.
    """
    import_tensorflow()
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(flatbuffer))
    kinds = {getattr(schema.BuiltinOperator, name) for name in _KINDS}
    changed = False
    for graph in model.subgraphs:
        for operator in graph.operators:
            if model.operatorCodes[operator.opcodeIndex].builtinCode not in kinds:
                continue
            source, weights, bias = (graph.tensors[index] for index in operator.inputs)
            scales = [float(tensor.quantization.scale[0]) for tensor in (source, graph.tensors[operator.outputs[0]])]
            if all(np.frexp(scale)[0] == 0.5 for scale in scales):
                _rewrite(model, weights, bias, *scales)
                changed = True
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model)) if changed else flatbuffer


def coarser(scales: npt.NDArray[np.float64], unit: float) -> npt.NDArray[np.float64]:
    """Find, for each of a converter's scales, the least power of two times `unit` that is not below it."""
    return np.exp2(np.ceil(np.log2(scales / unit) - SLACK)) * unit


def _rewrite(model: Any, weights: Any, bias: Any, input_scale: float, output_scale: float) -> None:
    before = np.asarray(weights.quantization.scale, np.float64)
    after = coarser(before, output_scale / input_scale)
    axes = [-1 if axis == weights.quantization.quantizedDimension else 1 for axis in range(len(weights.shape))]
    values = _array(model, weights, np.int8).reshape(weights.shape)
    moved = np.round(values * (before / after).reshape(axes)).clip(-LEVELS, LEVELS)
    model.buffers[weights.buffer].data = np.frombuffer(moved.astype(np.int8).tobytes(), np.uint8)
    sums = np.round(_array(model, bias, np.int32) * (before / after))
    model.buffers[bias.buffer].data = np.frombuffer(sums.astype("<i4").tobytes(), np.uint8)
    weights.quantization.scale = after.astype(np.float32).tolist()
    bias.quantization.scale = (after * input_scale).astype(np.float32).tolist()


def _array(model: Any, tensor: Any, dtype: type) -> npt.NDArray[Any]:
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()
    return np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
