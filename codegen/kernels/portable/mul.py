"""Multiply two values element by element, with broadcasting.

The product of two differences to zero points is scaled to the output's, which TFLite rounds twice. One multiplication
more gives the same bytes wherever that can be shown for every sum (codegen.arithmetic.one_multiply_search).

Source: MulElementwise in tensorflow/lite/kernels/internal/reference/integer_ops/mul.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.one_multiply_search import MAX_SHIFT, HighMul, Rescale, WeightedSum, find_high_mul
from codegen.graph.graph import IntArray
from codegen.kernels.broadcast import BroadcastKernel, Operand, ScaledPair, constants_of, lay_out, stored_zeros
from codegen.kernels.epilogue import Epilogue, choose_clamp, two_roundings
from codegen.program.kernel import Built, Storage, Table, parameters_of
from codegen.program.target import Target

MAX_PRODUCT = 255 * 255


@dataclass(frozen=True)
class ScaledProduct(ScaledPair):
    """TFLite's arithmetic."""

    @property
    def rescale(self) -> Rescale:
        limits = self.low - self.output_zero_point, self.high - self.output_zero_point
        return Rescale(0, self.multiplier, self.shift, *limits)

    def products(self, first: IntArray, second: IntArray) -> IntArray:
        return (first - self.zero_points[0]) * (second - self.zero_points[1])

    def apply(self, first: IntArray, second: IntArray) -> IntArray:
        return self.rescale.apply(self.products(first, second)) + self.output_zero_point


@dataclass(frozen=True, kw_only=True)
class Mul(BroadcastKernel):
    exact: ScaledProduct
    found: HighMul | None  # None where TFLite's own two roundings are computed
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    @property
    def zeros(self) -> tuple[int, int]:
        return stored_zeros(self.exact.zero_points, self.terms)

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        """Compute every pair of values both ways."""
        first, second = self.plain_values(tables)
        expected = self.exact.apply(first[:, None], second) + self.output.bias
        if self.found is None:
            return ()
        scaled = self.found.apply(self.exact.products(first[:, None], second)) + self.epilogue.offset
        stored = np.clip(scaled, self.epilogue.low, self.epilogue.high) + self.output.bias - self.epilogue.raised
        wrong = int((stored != expected).sum())
        return tuple([f"{wrong} of {expected.size} products differ from TFLite's"] * (wrong > 0))


def build(operands: tuple[Operand, Operand], output: Storage, exact: ScaledProduct, target: Target) -> Built:
    tables = constants_of(operands)
    found, epilogue = scale_products(operands, output, exact, target)
    kernel = Mul(
        **lay_out(operands),
        output=output,
        tables=parameters_of(tables),
        exact=exact,
        found=found,
        epilogue=epilogue,
    )
    return Built(kernel, tables)


def scale_products(
    operands: tuple[Operand, Operand], output: Storage, exact: ScaledProduct, target: Target
) -> tuple[HighMul | None, Epilogue]:
    """Choose one multiplication more if that is exact, else TFLite's two roundings."""
    return _one_multiply(operands, output, exact, target) or (
        None,
        two_roundings(exact.output_zero_point, output, exact.low, exact.high),
    )


def _one_multiply(
    operands: tuple[Operand, Operand], output: Storage, exact: ScaledProduct, target: Target
) -> tuple[HighMul, Epilogue] | None:
    products = exact.products(operands[0].values[:, None], operands[1].values)
    low, high = int(products.min()), int(products.max())
    sums = WeightedSum(low, high, min(low, 0), max(high, 0), 1)
    clamp = choose_clamp(exact.low, exact.high, target)
    raised = 0 if clamp == "int8" else 128
    for corrects, offset in ((False, exact.output_zero_point + raised), (True, -1)):
        found = find_high_mul(exact.rescale, sums, max_shift=MAX_SHIFT, sign_correction=corrects, offset=offset)
        if found is not None:
            limits = exact.low + raised, exact.high + raised
            rest = exact.output_zero_point + raised - offset
            signed = found.sign_correction != 0
            return found, Epilogue(
                "one_multiply", found.shift, signed, exact.output_zero_point, rest, clamp, *limits, output
            )
    return None
