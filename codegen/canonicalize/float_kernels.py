"""Compute float32, int32 and bool operators value by value, as TensorFlow Lite Micro's kernels do.

Sources: tensorflow/lite/kernels/internal/reference/*.h and tensorflow/lite/micro/kernels/*.cc of tflite-micro.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.arithmetic import float_functions
from codegen.canonicalize.border import convert
from codegen.graph.graph import Operator, Tensor
from codegen.kernels.fused_activation import REAL_RANGES

Values = npt.NDArray[Any]
Kernel = Callable[[Operator, Sequence[Tensor], Sequence[Values]], Values | None]
"""Operator, its tensors (inputs, then the output), values of the inputs -> of the output; None: not computed so."""

LIBRARY = frozenset({"cos", "elu", "log", "sin", "tanh"})  # of the C library: the last bit is each library's own
_MIN_INT32 = -(1 << 31)


def _function(function: Callable[..., Any]) -> Kernel:
    """Of float32 values alone."""

    def kernel(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
        if any(value.dtype != np.float32 for value in values):
            return None
        return np.asarray(function(*values))

    return kernel


def _in_double(function: Callable[[Values], Values]) -> Kernel:
    return _function(lambda x: function(x.astype(np.float64)).astype(np.float32))


def _arithmetic(function: Callable[[Values, Values], Values]) -> Kernel:
    """Of two float32 values, with a fused activation."""

    def kernel(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
        limits = REAL_RANGES.get(str(operator.options.get("activation", "")))
        if limits is None or len(values) != 2 or any(value.dtype != np.float32 for value in values):
            return None
        low, high = limits
        result = function(*values)
        if low is not None:  # std::max leaves -0 and NaN
            result = np.where(result < low, np.float32(low), result)
        return result if high is None else np.where(result > high, np.float32(high), result)

    return kernel


def _division(function: Callable[[Values, Values], Values]) -> Kernel:
    """Of two float32 values, at which TFLM fails where the second is 0."""
    kernel = _function(function)

    def nonzero(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
        return kernel(operator, tensors, values) if len(values) == 2 and values[1].all() else None

    return nonzero


def to_int32(values: Values) -> npt.NDArray[np.int64]:
    """float32 -> int32 as this kind of processor converts: what no int32 holds becomes the smallest one."""
    is_held = (values > -2147483904.0) & (values < 2147483648.0)
    held: npt.NDArray[np.int64] = np.where(is_held, values, 0).astype(np.int64)
    return np.where(is_held, held, _MIN_INT32)


def _quantize(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
    """float32 -> int8: half away from zero."""
    source, output = tensors
    if source.dtype != "float32" or output.dtype != "int8" or len(output.scales) != 1:
        return None
    steps = values[0] / np.float32(output.scale)
    rounded = to_int32(np.trunc(steps.astype(np.float64) + np.copysign(0.5, steps))) + output.zero_point
    rounded = (rounded - _MIN_INT32) % (1 << 32) + _MIN_INT32
    return np.clip(rounded, -128, 127).astype(np.int8)


def is_near_half(values: Values, scale: float) -> bool:
    """Whether some value would be rounded otherwise, were its last bits others."""
    steps = np.abs(values[np.isfinite(values)].astype(np.float64) / np.float32(scale))
    return bool((np.abs(steps % 1.0 - 0.5) < 4e-7 * np.maximum(steps, 1.0))[steps < 512].any())


def _dequantize(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
    source, output = tensors
    if source.dtype not in ("int8", "uint8") or output.dtype != "float32" or len(source.scales) != 1:
        return None
    return convert(values[0], source, output)


def _cast(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
    """Between the types that TFLM casts."""
    output = tensors[-1].dtype
    if values[0].dtype == np.float32 and output in ("int32", "int8"):
        whole = to_int32(np.trunc(values[0]))
        is_held = output == "int32" or bool(((whole >= -128) & (whole <= 127)).all())
        return whole.astype(output) if is_held else None
    return values[0].astype(output) if output in ("float32", "int32") else None


def _compare(function: Callable[[Values, Values], Values]) -> Kernel:
    def kernel(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
        alike = len(values) == 2 and values[0].dtype == values[1].dtype and values[0].dtype != np.int8
        return np.asarray(function(*values)) if alike else None

    return kernel


def _logical(function: Callable[..., Values]) -> Kernel:
    def kernel(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
        return function(*values) if all(value.dtype == np.bool_ for value in values) else None

    return kernel


def _select(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
    if len(values) != 3 or values[0].dtype != np.bool_ or values[1].dtype != values[2].dtype:
        return None
    return np.where(*values)


def _leaky_relu(operator: Operator, tensors: Sequence[Tensor], values: Sequence[Values]) -> Values | None:
    alpha = np.float32(operator.options["alpha"])
    return np.where(values[0] > 0, values[0], values[0] * alpha) if values[0].dtype == np.float32 else None


def _zero(x: Values) -> Values:
    return np.zeros_like(x)


_OF_ONE: Mapping[str, Kernel] = {
    "abs": _function(np.abs),
    "cast": _cast,
    "ceil": _function(np.ceil),
    "cos": _in_double(np.cos),
    "dequantize": _dequantize,
    "elu": _function(lambda x: np.where(x < 0, np.expm1(x.astype(np.float64)).astype(np.float32), x)),
    "exp": _function(float_functions.exp),
    "floor": _function(np.floor),
    "hard_swish": _function(
        lambda x: x * np.minimum(np.float32(6), np.maximum(_zero(x), x + np.float32(3))) / np.float32(6)
    ),
    "leaky_relu": _leaky_relu,
    "log": _in_double(np.log),
    "logical_not": _logical(np.logical_not),
    "logistic": _function(float_functions.logistic),
    "neg": _function(np.negative),
    "quantize": _quantize,
    "relu": _function(lambda x: np.where(x < 0, _zero(x), x)),
    "relu6": _function(lambda x: np.where(x < 0, _zero(x), np.where(x > 6, np.float32(6), x))),
    "round": _function(float_functions.round_half_even),
    "rsqrt": _function(lambda x: np.float32(1) / np.sqrt(x)),
    "sin": _in_double(np.sin),
    "sqrt": _function(np.sqrt),
    "square": _function(np.square),
    "tanh": _in_double(np.tanh),
}
_OF_TWO: Mapping[str, Kernel] = {
    "add": _arithmetic(np.add),
    "div": _arithmetic(np.divide),
    "equal": _compare(np.equal),
    "floor_div": _division(lambda a, b: np.floor(a / b)),
    "floor_mod": _division(float_functions.floor_mod),
    "greater": _compare(np.greater),
    "greater_equal": _compare(np.greater_equal),
    "less": _compare(np.less),
    "less_equal": _compare(np.less_equal),
    "logical_and": _logical(np.logical_and),
    "logical_or": _logical(np.logical_or),
    "maximum": _function(lambda a, b: np.where(a > b, a, b)),
    "minimum": _function(lambda a, b: np.where(a < b, a, b)),
    "mul": _arithmetic(np.multiply),
    "not_equal": _compare(np.not_equal),
    "prelu": _function(lambda x, alpha: np.where(x >= 0, x, x * alpha)),
    "squared_difference": _function(lambda a, b: np.square(a - b)),
    "sub": _arithmetic(np.subtract),
}
KERNELS: Mapping[str, Kernel] = {
    **_OF_ONE,
    **_OF_TWO,
    "add_n": _function(lambda *values: reduce(np.add, values)),
    "select_v2": _select,
}


def takes(stem: str, operands: int) -> bool:
    """Say whether there is a kernel for an operator of so many inputs."""
    if stem == "add_n":
        return operands >= 1
    return stem in {1: _OF_ONE, 2: _OF_TWO, 3: {"select_v2"}}.get(operands, ())
