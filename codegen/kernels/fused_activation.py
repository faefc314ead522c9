"""Read fused activations, and compute the int8 limits that they set.

Source: CalculateActivationRangeQuantized in tensorflow/lite/kernels/kernel_util.cc.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tflite

from codegen.arithmetic.requantize import round_half_away
from codegen.errors import UnsupportedError
from codegen.graph.graph import Graph, Operator, Tensor

REAL_RANGES: dict[str, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}
_INT32_STEPS = 2.0**31


def read_activation(code: int) -> str:
    """Name a fused activation by its code in the schema."""
    names = {value: name for name, value in vars(tflite.ActivationFunctionType).items() if isinstance(value, int)}
    return str(names[code]).lower()


def activation_options(kind: Callable[[], Any]) -> Callable[[Any], Mapping[str, str]]:
    """Make what reads a schema's options of `kind`, which may be absent: the fused activation alone."""

    def read_options(table: Any) -> Mapping[str, str]:
        options = kind()
        if table is not None:
            options.Init(table.Bytes, table.Pos)
        return {"activation": "none" if table is None else read_activation(options.FusedActivationFunction())}

    return read_options


def verify_activation(graph: Graph, operator: Operator) -> None:
    """Refuse activations that TFLM does not fuse, and limits that no int32 holds at the output's scale."""
    activation, output = str(operator.options["activation"]), graph.tensor(operator.outputs[0])
    if activation not in REAL_RANGES:
        raise UnsupportedError(f"{operator.label} fuses activation {activation}")
    steps = [_steps(limit, output) for limit in REAL_RANGES[activation] if limit is not None]
    if any(abs(one) >= _INT32_STEPS for one in steps):
        raise UnsupportedError(
            f"{operator.label} has output scale {output.scale:g}, too small for the limits of its {activation}",
            hint="calibrate with real images",
        )


def activation_range(operator: Operator, output: Tensor) -> tuple[int, int]:
    """Compute the lowest and highest int8 value that the operator can write."""

    def quantize(real: float) -> int:
        return round_half_away(_steps(real, output)) + output.zero_point

    low, high = REAL_RANGES[str(operator.options["activation"])]
    return (
        -128 if low is None else max(-128, quantize(low)),
        127 if high is None else min(127, quantize(high)),
    )


def _steps(real: float, output: Tensor) -> float:
    """Divide by the output's scale in float32, as the reference kernels do; infinite where that overflows."""
    with np.errstate(over="ignore"):
        return float(np.float32(real) / np.float32(output.scale))
