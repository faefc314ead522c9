"""Compute TFLite's sum of two int8 values of different scales: both scaled to a finer scale, added, and scaled back.

Source: AddElementwise in tensorflow/lite/kernels/internal/reference/integer_ops/add.h, SubElementwise in .../sub.h.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier, quantize_multiplier
from codegen.graph.graph import IntArray

LEFT_SHIFT = 20


@dataclass(frozen=True)
class ScaledSum:
    """TFLite's arithmetic: multiplier and shift for each operand and for the sum; the output's limits.

    `sign`: of the second operand, -1 for a difference.
    """

    zero_points: tuple[int, int]
    operands: tuple[tuple[int, int], tuple[int, int]]
    result: tuple[int, int]
    output_zero_point: int
    low: int
    high: int
    sign: int = 1

    @property
    def signs(self) -> tuple[int, int]:
        return 1, self.sign

    def share(self, operand: int, values: IntArray) -> IntArray:
        """Return what int8 values of an operand add to the sum."""
        multiplier, shift = self.operands[operand]
        shifted = (values - self.zero_points[operand]) << LEFT_SHIFT
        scaled = multiply_by_quantized_multiplier(shifted, np.array(multiplier), np.array(shift))
        return self.signs[operand] * scaled

    def round(self, total: IntArray) -> IntArray:
        multiplier, shift = self.result
        scaled = multiply_by_quantized_multiplier(total, np.array(multiplier), np.array(shift))
        return np.clip(scaled + self.output_zero_point, self.low, self.high)

    def apply(self, first: IntArray, second: IntArray) -> IntArray:
        return self.round(self.share(0, first) + self.share(1, second))


def scaled_sum(
    scales: tuple[float, float, float],
    zero_points: tuple[int, int, int],
    limits: tuple[int, int],
    sign: int = 1,
) -> ScaledSum:
    """Compute TFLite's multipliers, for first operand, second operand and output.

    `result` has a positive shift where TFLite has no such sum.
    """
    common = 2 * max(scales[:2])
    first, second = (quantize_multiplier(scale / common) for scale in scales[:2])
    result = quantize_multiplier(common / ((1 << LEFT_SHIFT) * scales[2]))
    return ScaledSum(zero_points[:2], (first, second), result, zero_points[2], *limits, sign)
