"""Square the difference of two values of any scales, element by element, with broadcasting.

Each operand's share of the difference comes from a table of 256; the square is rounded as TFLite does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.arithmetic.requantize import multiply_by_quantized_multiplier
from codegen.graph.graph import IntArray
from codegen.kernels.broadcast import INT8, BroadcastKernel, Operand, constants_of, lay_out
from codegen.kernels.epilogue import Epilogue, two_roundings
from codegen.program.kernel import Built, Storage, Table, parameters_of

LEFT_SHIFT = 7


@dataclass(frozen=True)
class ScaledSquare:
    """TFLite's arithmetic: multiplier and shift for each operand and for the square."""

    zero_points: tuple[int, int]
    operands: tuple[tuple[int, int], tuple[int, int]]
    result: tuple[int, int]
    output_zero_point: int

    def share(self, operand: int, values: IntArray) -> IntArray:
        """Scale int8 values of an operand to the common scale: at most 255 << 6 away from 0."""
        shifted = (values - self.zero_points[operand]) << LEFT_SHIFT
        return multiply_by_quantized_multiplier(shifted, *self.operands[operand])

    def apply(self, first: IntArray, second: IntArray) -> IntArray:
        squares = np.square(self.share(0, first) - self.share(1, second))
        scaled = multiply_by_quantized_multiplier(squares, *self.result)
        return np.clip(scaled + self.output_zero_point, -128, 127)


@dataclass(frozen=True, kw_only=True)
class SquaredDifference(BroadcastKernel):
    exact: ScaledSquare
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    def table_elements(self, tables: Mapping[str, Table]) -> dict[str, int]:
        return {"shares_0": 256, "shares_1": 256}

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        shares = [tables[f"shares_{i}"].values.astype(np.int64) for i in range(2)]
        wrong = int((shares[0] != self.exact.share(0, INT8)).sum() + (shares[1] != self.exact.share(1, INT8)).sum())
        return tuple([f"{wrong} shares differ from TFLite's"] * (wrong > 0))


def build(operands: tuple[Operand, Operand], output: Storage, exact: ScaledSquare) -> Built:
    shares = tuple(Table(f"shares_{i}", exact.share(i, INT8).astype(np.int16), 12) for i in range(2))
    tables = (*constants_of(operands), *shares)
    kernel = SquaredDifference(
        **lay_out(operands),
        output=output,
        tables=parameters_of(tables),
        exact=exact,
        epilogue=two_roundings(exact.output_zero_point, output),
    )
    return Built(kernel, tables)
