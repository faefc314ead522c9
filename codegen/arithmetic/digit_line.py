"""Requantization without a wide multiply: a line, floor((M * sum + B) / 2**N), added up in digits of eight bits.

For vector units whose lanes of an accumulator hold few bits (20 on the ESP32-S3) and are shifted right in place. The
factor M goes into the weights: w * M is written in balanced digits of base 256, d0 + 256 * d1 + 65536 * d2 + ..., each
-128 .. 127. Then, from the lowest digit on, products of one digit are added and the accumulator is shifted by eight:

    acc = sum(x * d0) + b0;    acc >>= 8;    acc += sum(x * d1) + b1;    acc >>= 8;    ...    result = acc >> n

which is the line exactly, since floor((floor(a / 256) + b) / c) == floor((a + 256 * b) / (256 * c)). No sum is ever
wider than that of one digit. Where a scale is a power of two, so is M, and digits below it are 0: only their starts are
added.

Where the results of the exact form change is found as in `codegen.arithmetic.one_multiply_search`; a line is searched
among those whose slope is the nearest to the exact factor, the least M first.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from codegen.arithmetic.one_multiply_search import Line, Rescale, WeightedSum, thresholds_of
from codegen.graph.graph import IntArray

_NEAR_FACTORS = (0, 1, -1, 2)
_SHIFTS_AT_ONCE = 8
_MAX_SHIFT = 50  # a result of nine bits stays in int64


@lru_cache(maxsize=1 << 12)
def find_line(exact: Rescale, sums: WeightedSum, zero_point: int, offset_step: int, max_factor: int) -> Line | None:
    """Find the least factor with which a line equals `exact` at every sum; its offset is a multiple of `offset_step`.

    The result is clamped to int8 and to nothing narrower; None where that is not what the layer does.
    """
    if (exact.low + zero_point, exact.high + zero_point) != (-128, 127):
        return None
    first, last = (int(value) for value in exact.apply(np.array([sums.low, sums.high])))
    if first == last:
        return Line(0, (first + zero_point) * offset_step, offset_step.bit_length() - 1, zero_point)
    values = np.arange(first + 1, last + 1)
    reached = thresholds_of(exact, sums, values)
    # Beyond the ends only those values matter that the clamp does not hide.
    before = [(sums.low, first)] if first > exact.low else []
    after = [(sums.high, last + 1)] if last < exact.high else []
    reach = np.concatenate([np.stack([reached, values], 1), np.array(before, np.int64).reshape(-1, 2)])
    below = np.concatenate([np.stack([reached - 1, values], 1), np.array(after, np.int64).reshape(-1, 2)])
    # A smaller factor would leave no room for an offset that is a multiple of the step.
    coarsest = max(math.floor(math.log2(offset_step / 4 / exact.factor)), 0) if exact.factor else 0
    is_power = math.frexp(exact.factor)[0] == 0.5
    near = (0,) if is_power else _NEAR_FACTORS
    for start in range(coarsest, _MAX_SHIFT + 1, _SHIFTS_AT_ONCE):
        shifts = np.arange(start, min(start + _SHIFTS_AT_ONCE, _MAX_SHIFT + 1))
        nearest = np.ldexp(exact.factor, shifts).astype(np.int64)
        factors = nearest[:, None] + np.array(near)
        # factor * t + offset >= k << shift where k is reached, and less where it is not.
        low, high = (
            ((points[:, 1] + zero_point) << shifts[:, None])[:, None] - factors[..., None] * points[:, 0]
            for points in (reach, below)
        )
        lowest, highest = low.max(2), high.min(2) - 1
        lowest_step = -(-lowest // offset_step) * offset_step
        for i, j in np.argwhere((factors >= 0) & (factors <= max_factor) & (lowest_step <= highest))[:1]:
            middle = (lowest[i, j] + highest[i, j]) // 2 // offset_step * offset_step
            offset = max(int(middle), int(lowest_step[i, j]))
            return Line(int(factors[i, j]), offset, int(shifts[i]), zero_point)
        if nearest[-1] > max_factor:
            break
    return None


def digits_of(values: IntArray, count: int, bits: int) -> IntArray:
    """Write int64 values in `count` digits, lowest first along a new first axis.

    They are balanced, of so many bits, but for the highest, which holds what is left, however much.
    """
    half, digits, rest = 1 << (bits - 1), [], np.asarray(values, np.int64)
    for _ in range(count - 1):
        digit = ((rest + half) & (2 * half - 1)) - half
        digits.append(digit)
        rest = (rest - digit) >> bits
    return np.stack([*digits, rest])
