"""Add or subtract two values of different scales, element by element, with broadcasting.

TFLite scales both operands to a common fine scale, adds, and scales the sum to the output's: three roundings, twice
each. One multiplication for each operand and a shift give the same bytes wherever that can be shown for every pair of
values, which are 65,536 at most; factors are searched around the real ones. Otherwise the operands' scaled values come
from tables of 256, and TFLite's own roundings follow. `nanou-deploy bench` counts 19, 10 and 20 instructions for each
sum on RV32, Cortex-M4 and Xtensa, with tables 36, 33 and 46, and 2 KB of flash.

Source: AddElementwise in tensorflow/lite/kernels/internal/reference/integer_ops/add.h, SubElementwise in .../sub.h.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from codegen.arithmetic.requantize import INT32_MAX
from codegen.arithmetic.scaled_sum import ScaledSum
from codegen.graph.graph import IntArray
from codegen.kernels.broadcast import INT8, BroadcastKernel, Operand, constants_of, lay_out
from codegen.kernels.epilogue import Epilogue, choose_clamp, two_roundings
from codegen.program.kernel import Built, Storage, Table, parameters_of
from codegen.program.target import Target

_NEARBY_FACTORS = 3  # on each side of the real one; 98 of 100 random scales have a solution there


@dataclass(frozen=True, kw_only=True)
class Add(BroadcastKernel):
    factors: tuple[int | None, int | None]  # of the values as stored; None where a table has the value's share
    start: int
    exact: ScaledSum
    epilogue: Epilogue

    @property
    def requires(self) -> tuple[str, ...]:
        return self.epilogue.requires

    def table_elements(self, tables: Mapping[str, Table]) -> dict[str, int]:
        return {name: 256 for name in tables if name.startswith("shares")}

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        """Compute every pair of values both ways, and the partial sums' range."""
        values = self.plain_values(tables)
        shares = [
            (value + term.bias) * factor if factor is not None else tables[f"shares_{i}"].values[value + 128]
            for i, (term, factor, value) in enumerate(zip(self.terms, self.factors, values, strict=True))
        ]
        first = self.start + shares[0].astype(np.int64)[:, None]
        total = first + shares[1].astype(np.int64)
        stored = self.epilogue.shifted(total) if self.epilogue.kind == "shift" else self._rounded(total)
        expected = self.exact.apply(values[0][:, None], values[1]) + self.output.bias
        wrong = int((stored != expected).sum())
        most = max(int(np.abs(part).max()) for part in (first, total)) + abs(self.epilogue.offset)
        found = [f"{wrong} of {expected.size} sums differ from TFLite's"] * (wrong > 0)
        return (*found, *(["a sum can leave int32"] * (most > INT32_MAX)))

    def _rounded(self, total: IntArray) -> IntArray:
        return self.exact.round(total) + self.output.bias


def build(operands: tuple[Operand, Operand], output: Storage, exact: ScaledSum, scale: float, target: Target) -> Built:
    """Build the kernel. `scale`: the output's."""
    found = next(_exact_factors(operands, exact, scale, output, target), None) or _Factors(
        (None, None), 0, two_roundings(exact.output_zero_point, output, exact.low, exact.high)
    )
    shares = tuple(Table(f"shares_{i}", exact.share(i, INT8).astype(np.int32), 8) for i in range(2))
    tables = (*constants_of(operands), *(shares if found.factors == (None, None) else ()))
    kernel = Add(
        **lay_out(operands),
        output=output,
        tables=parameters_of(tables),
        factors=found.factors,
        start=found.start,
        exact=exact,
        epilogue=found.epilogue,
    )
    return Built(kernel, tables)


@dataclass(frozen=True)
class _Factors:
    factors: tuple[int | None, int | None]
    start: int
    epilogue: Epilogue


def _exact_factors(
    operands: tuple[Operand, Operand], exact: ScaledSum, scale: float, output: Storage, target: Target
) -> Iterator[_Factors]:
    """Yield factors with which one shift gives TFLite's result for every pair of values, the nearest ones first."""
    real = [sign * operand.scale / scale for sign, operand in zip(exact.signs, operands, strict=True)]
    shift = math.floor(math.log2(INT32_MAX / (256 * sum(map(abs, real)) + 1024)))
    if shift < 1:
        return
    expected = exact.apply(operands[0].values[:, None], operands[1].values)
    real_values = [operand.values - zero for operand, zero in zip(operands, exact.zero_points, strict=True)]
    zeros = [zero + operand.bias for zero, operand in zip(exact.zero_points, operands, strict=True)]
    nearest = [round(ratio * 2**shift) for ratio in real]
    steps = range(-_NEARBY_FACTORS, _NEARBY_FACTORS + 1)
    for step in sorted(product(steps, steps), key=lambda step: abs(step[0]) + abs(step[1])):
        factors = nearest[0] + step[0], nearest[1] + step[1]
        total = factors[0] * real_values[0][:, None] + factors[1] * real_values[1]
        rounding = _rounding(total, expected, exact, shift)
        if rounding is not None:
            start = -factors[0] * zeros[0] - factors[1] * zeros[1]
            yield _Factors(factors, *_shift_epilogue(start, rounding, shift, exact, output, target))


def _rounding(total: IntArray, expected: IntArray, exact: ScaledSum, shift: int) -> tuple[int, int] | None:
    """Find what to add to sums from 0 on, and to those below, so that `shift` gives the expected results.

    None where nothing does. The same for both wherever possible; exact halves, which TFLite rounds away from 0, need
    two.
    """
    natural = (exact.output_zero_point << shift) + (1 << shift >> 1)
    intervals = []
    for side in (total >= 0, total < 0):
        # A result inside the limits leaves an interval, one at a limit only an end of it.
        least = ((expected << shift) - total)[side & (expected > exact.low)].max(initial=natural - (1 << shift))
        most = (((expected + 1) << shift) - 1 - total)[side & (expected < exact.high)].min(
            initial=natural + (1 << shift)
        )
        intervals.append((int(least), int(most)))
    if any(least > most for least, most in intervals):
        return None
    least, most = max(intervals[0][0], intervals[1][0]), min(intervals[0][1], intervals[1][1])
    if least <= most:
        return (min(max(natural, least), most),) * 2
    from_zero, below = ((least + most) // 2 for least, most in intervals)
    return from_zero, below


def _shift_epilogue(
    start: int, rounding: tuple[int, int], shift: int, exact: ScaledSum, output: Storage, target: Target
) -> tuple[int, Epilogue]:
    """Make the start value of sums, and the epilogue."""
    clamp, (from_zero, below) = choose_clamp(exact.low, exact.high, target), rounding
    raised = 0 if clamp == "int8" else 128
    corrects = from_zero != below
    offset = from_zero + (raised << shift)
    epilogue = Epilogue(
        "shift",
        shift,
        corrects,
        exact.output_zero_point,
        offset if corrects else 0,
        clamp,
        exact.low + raised,
        exact.high + raised,
        output,
        correction=below - from_zero,
    )
    return start if corrects else start + offset, epilogue
