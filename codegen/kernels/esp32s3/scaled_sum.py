"""Add up one or two values times factors, 16 at a time: ADD, SUB, and whatever maps bytes along a clamped line.

Rows lie alike, however that is: pixels and channels do not matter. A lookup that is no line has no vector kernel, since
the unit cannot load from 16 addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from codegen.arithmetic.clamped_sum import find_clamped_sum, slope_of
from codegen.kernels.elementwise import Elementwise, Exact, every_result
from codegen.kernels.esp32s3.digits import START_VALUE
from codegen.kernels.esp32s3.scalar_digits import TABLE_BYTES, ScalarDigits, build_scalar_digits, line_of, overflows
from codegen.kernels.esp32s3.vector_kernel import VectorKernel
from codegen.program.kernel import LANES, Accesses, Built, Present, Table, parameters_of
from codegen.program.target import Target

_MAX_VECTORS = 2047  # of an immediate


@dataclass(frozen=True, kw_only=True)
class ScaledValues(VectorKernel):
    """`exact`: TFLite's own arithmetic, or the results for -128, -127, ..., 127."""

    size: int  # bytes of a row
    digits: ScalarDigits
    exact: Exact

    @property
    def row_instructions(self) -> int:
        return self.vectors * (self.digits.products + self.digits.count + len(self.inputs) + 2) + 12

    @property
    def requires(self) -> tuple[str, ...]:
        return "vector_code", "scalar_sum"

    @property
    def vectors(self) -> int:
        return self.size // LANES

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        rows = range(len(self.inputs))
        return Accesses((self.size,) * len(rows), self.size, required=tuple(rows), tables={"digits": TABLE_BYTES})

    def differences(self, tables: Mapping[str, Table]) -> tuple[str, ...]:
        """Compute the results of every value, or pair of values, both ways."""
        values, expected = every_result(self.exact)
        wrong = int((line_of(self.digits, tables["digits"]).apply(values) != expected).sum())
        found = (f"{wrong} of {expected.size} results differ from TFLite's",) if wrong else ()
        return (*found, *overflows(self.digits, tables["digits"]))


def applies(layer: Elementwise, target: Target) -> bool:
    lies_alike = all(storage == layer.output for storage in layer.inputs) and layer.output.bias == 0
    fits = layer.size % LANES == 0 and layer.size // LANES <= _MAX_VECTORS
    return target.vector_blocks and lies_alike and fits and _digits(layer.exact, layer.ratios) is not None


def build(layer: Elementwise, target: Target) -> Built:
    made = _digits(layer.exact, layer.ratios)
    assert made is not None  # it applies
    digits, table = made
    kernel = ScaledValues(
        inputs=layer.inputs,
        output=layer.output,
        shape_name="_and_".join([str(layer.size)] * len(layer.inputs)),
        tables=parameters_of((table,)),
        size=layer.size,
        digits=digits,
        exact=layer.exact,
    )
    return Built(kernel, (table,))


@lru_cache(maxsize=256)  # layouts are tried one after the other
def _digits(exact: Exact, ratios: tuple[float, ...]) -> tuple[ScalarDigits, Table] | None:
    values, expected = every_result(exact)
    slope = slope_of(expected) if len(values) == 1 else 0.0
    if slope is None:
        return None
    line = find_clamped_sum(expected, values, ratios or (slope,), -START_VALUE)
    return build_scalar_digits(line, 1) if line else None
