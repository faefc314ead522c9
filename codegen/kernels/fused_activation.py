"""Read fused activations, and compute the int8 limits that they set.

Source: CalculateActivationRangeQuantized in tensorflow/lite/kernels/kernel_util.cc.
"""

from __future__ import annotations

import numpy as np
import tflite

from codegen.arithmetic.requantize import round_half_away
from codegen.errors import UnsupportedError
from codegen.graph.graph import Operator, Tensor

REAL_RANGES: dict[str, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
    "relu_n1_to_1": (-1.0, 1.0),
}


def read_activation(code: int) -> str:
    """Name a fused activation by its code in the schema."""
    names = {value: name for name, value in vars(tflite.ActivationFunctionType).items() if isinstance(value, int)}
    return str(names[code]).lower()


def verify_activation(operator: Operator) -> None:
    if operator.options["activation"] not in REAL_RANGES:
        raise UnsupportedError(f"{operator.label} fuses activation {operator.options['activation']}")


def activation_range(operator: Operator, output: Tensor) -> tuple[int, int]:
    """Compute the lowest and highest int8 value that the operator can write."""

    def quantize(real: float) -> int:
        # float32, as the reference kernels divide.
        return round_half_away(float(np.float32(real) / np.float32(output.scale))) + output.zero_point

    low, high = REAL_RANGES[str(operator.options["activation"])]
    return (
        -128 if low is None else max(-128, quantize(low)),
        127 if high is None else min(127, quantize(high)),
    )
