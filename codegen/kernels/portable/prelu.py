"""Multiply negative values by a factor, element by element, with broadcasting; the others come from a table.

Source: BroadcastPrelu4DSlow in tensorflow/lite/kernels/internal/reference/prelu.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier
from codegen.graph.graph import IntArray
from codegen.kernels.broadcast import Operand, constants_of, lay_out
from codegen.kernels.portable.mul import Mul, ScaledProduct, scale_products
from codegen.program.kernel import Built, Storage, Table, parameters_of
from codegen.program.target import Target


@dataclass(frozen=True)
class ScaledPrelu:
    """TFLite's arithmetic: multiplier and shift of values that are not negative; the product for those that are."""

    multiplier: int
    shift: int
    negative: ScaledProduct

    def apply(self, values: IntArray, factors: IntArray) -> IntArray:
        differences = values - self.negative.zero_points[0]
        scaled = multiply_by_quantized_multiplier(np.maximum(differences, 0), self.multiplier, self.shift)
        kept = np.clip(scaled + self.negative.output_zero_point, -128, 127)
        return np.where(differences >= 0, kept, self.negative.apply(values, factors))


@dataclass(frozen=True, kw_only=True)
class Prelu(Mul):
    prelu: ScaledPrelu

    def table_elements(self, tables: Mapping[str, Table]) -> dict[str, int]:
        """Of values from the zero point to 127."""
        return {"kept": 128 - self.exact.zero_points[0]}

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        values = self.plain_values(tables)[0]
        kept = values[values >= self.exact.zero_points[0]]
        expected = self.prelu.apply(kept, np.zeros_like(kept)) + self.output.bias
        found = tables["kept"].values[kept - self.exact.zero_points[0]]
        wrong = int((found != expected).sum())
        return (*super().differences(tables), *([f"{wrong} values from 0 on differ from TFLite's"] * (wrong > 0)))


def build(operands: tuple[Operand, Operand], output: Storage, exact: ScaledPrelu, target: Target) -> Built:
    zero = exact.negative.zero_points[0]
    kept = exact.apply(np.arange(zero, 128), np.array(0)) + output.bias
    tables = (*constants_of(operands), Table("kept", kept.astype(np.uint8 if output.bias else np.int8), 16))
    found, epilogue = scale_products(operands, output, exact.negative, target)
    kernel = Prelu(
        **lay_out(operands),
        output=output,
        tables=parameters_of(tables),
        exact=exact.negative,
        found=found,
        epilogue=epilogue,
        prelu=exact,
    )
    return Built(kernel, tables)
