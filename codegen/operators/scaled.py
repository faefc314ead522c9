"""Refuse scales so far apart that TFLM's integers do not hold what is scaled: its result depends on the chip there."""

from __future__ import annotations

from codegen.arithmetic.requantize import INT32_MAX
from codegen.errors import UnsupportedError
from codegen.graph.graph import Operator

SHIFTS_OF_64_BITS = range(63)  # to the left, of a 1


def check_scaled(operator: Operator, largest: int, shift: int, *, of: str = "input's") -> None:
    """Raise UnsupportedError where values up to `largest`, shifted left by `shift` bits, leave int32."""
    if largest << max(shift, 0) > INT32_MAX:
        raise scale_error(operator, of)


def check_exponent(operator: Operator, exponent: int, allowed: range) -> None:
    """Raise UnsupportedError where TFLM would shift by a number of bits that C leaves undefined."""
    if exponent not in allowed:
        raise UnsupportedError(
            f"{operator.label} scales by 2^{exponent}, which TFLM's shifts do not define",
            hint="calibrate with real images",
        )


def scale_error(operator: Operator, of: str = "operands'") -> UnsupportedError:
    """Say that the output's scale is too small for the `of` scales."""
    return UnsupportedError(
        f"{operator.label}: the output's scale is too small for its {of}",
        hint="TFLite's own kernel would overflow here; calibrate with real images",
    )
