"""Divide one value by another element by element, with broadcasting.

TFLite multiplies the dividend, shifted to the left as far as it goes, by a reciprocal of 31 bits, and scales the
quotient; both are rounded. Reciprocals and shifts come from tables.

Source: DivElementwise in tensorflow/lite/kernels/internal/reference/div.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.arithmetic import fixed_point
from codegen.arithmetic.requantize import multiply_by_quantized_multiplier
from codegen.graph.graph import IntArray
from codegen.kernels.broadcast import BroadcastKernel, Operand, ScaledPair, constants_of, lay_out, stored_zeros
from codegen.kernels.epilogue import Epilogue, two_roundings
from codegen.program.kernel import Built, Storage, Table, parameters_of

LARGEST = 255  # difference of two int8 values
_INTEGER_BITS = 31  # of a divisor


def headrooms(dividends: IntArray) -> IntArray:
    """By how many bits int32 values can be shifted to the left (CountLeadingSignBits)."""
    return fixed_point.leading_zeros(np.where(dividends < 0, ~dividends, dividends)) - 1


@dataclass(frozen=True)
class ScaledQuotient(ScaledPair):
    """TFLite's arithmetic."""

    def operands(self, first: IntArray, second: IntArray) -> tuple[IntArray, IntArray]:
        """Return dividends, and divisors of which none is negative."""
        dividends, divisors = first - self.zero_points[0], second - self.zero_points[1]
        return dividends * np.where(divisors < 0, -1, 1), np.abs(divisors)

    def right_shifts(self, dividends: IntArray, divisors: IntArray) -> IntArray:
        """Return by how many bits scaled quotients are shifted back; TFLite stops unless that is 0 .. 31."""
        return headrooms(dividends) + (_INTEGER_BITS - fixed_point.leading_zeros(divisors)) - self.shift

    def apply(self, first: IntArray, second: IntArray) -> IntArray:
        """int8 values (int64 arrays, broadcast) to output values; no divisor may be 0."""
        dividends, divisors = self.operands(first, second)
        reciprocals, _ = fixed_point.reciprocal(divisors, _INTEGER_BITS)
        quotients = fixed_point.multiply(dividends << headrooms(dividends), reciprocals)
        shifts = self.right_shifts(dividends, divisors)
        scaled = multiply_by_quantized_multiplier(quotients, self.multiplier, -shifts)
        return np.clip(scaled + self.output_zero_point, self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class Div(BroadcastKernel):
    exact: ScaledQuotient
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return ("rounding_high_mul", *self.epilogue.requires)

    @property
    def zeros(self) -> tuple[int, int]:
        return stored_zeros(self.exact.zero_points, self.terms)

    def table_elements(self, tables: Mapping[str, Table]) -> dict[str, int]:
        return {"headrooms": 2 * LARGEST + 1, "reciprocals": LARGEST + 1, "integer_bits": LARGEST + 1}

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        """Compute every quotient from the tables, as the C does, and as TFLite does."""
        values, divisors = np.arange(-LARGEST, LARGEST + 1)[:, None], np.arange(1, LARGEST + 1)
        stated = {name: tables[name].values.astype(np.int64) for name in ("headrooms", "reciprocals", "integer_bits")}
        headroom, bits = stated["headrooms"][values + LARGEST], stated["integer_bits"][divisors]
        quotients = fixed_point.multiply(values << headroom, stated["reciprocals"][divisors])
        known, _ = fixed_point.reciprocal(divisors, _INTEGER_BITS)
        exact = fixed_point.multiply(values << headrooms(values), known)
        shifts = headroom + bits - self.exact.shift
        wrong = int(((quotients != exact) | (shifts != self.exact.right_shifts(values, divisors))).sum())
        return tuple([f"{wrong} quotients differ from TFLite's"] * (wrong > 0))


def build(operands: tuple[Operand, Operand], output: Storage, exact: ScaledQuotient) -> Built:
    divisors = np.arange(1, LARGEST + 1)
    reciprocals, integer_bits = fixed_point.reciprocal(divisors, _INTEGER_BITS)
    tables = (
        *constants_of(operands),
        Table("headrooms", headrooms(np.arange(-LARGEST, LARGEST + 1)).astype(np.uint8), 20),
        Table("reciprocals", np.concatenate([[0], reciprocals]).astype(np.int32), 8),  # by 0 nothing is divided
        Table("integer_bits", np.concatenate([[0], integer_bits]).astype(np.uint8), 20),
    )
    kernel = Div(
        **lay_out(operands),
        output=output,
        tables=parameters_of(tables),
        exact=exact,
        epilogue=two_roundings(exact.output_zero_point, output, exact.low, exact.high),
    )
    return Built(kernel, tables)
