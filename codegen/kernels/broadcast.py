"""Share what kernels do that compute each value from two operands: which element of either belongs to an output value.

Either operand may be a row of an activation or constants, and may be broadcast along a row: one value for each pixel,
one for each channel, or one for all. Which rows are read is the schedule's business.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Kernel, Present, Storage, Table

INT8 = np.arange(-128, 128)


@dataclass(frozen=True, eq=False)
class Operand:
    """`shape`: (rows, width, channels), 1 where it is broadcast. `constants`: int8 values, of that shape."""

    shape: tuple[int, int, int]
    storage: Storage | None  # None for constants
    scale: float
    constants: IntArray | None = None

    @property
    def bias(self) -> int:
        return self.storage.bias if self.storage else 0

    @property
    def values(self) -> IntArray:
        """All int8 values that it can have."""
        return INT8 if self.constants is None else np.unique(self.constants)


@dataclass(frozen=True)
class Term:
    """Which elements of a row belong to an output value. `row`: the number of its pointer; None for a constant."""

    row: int | None
    bias: int
    by_pixel: bool
    by_channel: bool

    def elements(self, width: int, channels: int) -> int:
        """Of a row."""
        return (width if self.by_pixel else 1) * (channels if self.by_channel else 1)


def stored_zeros(zero_points: tuple[int, int], terms: tuple[Term, Term]) -> tuple[int, int]:
    """Return the operands' zero points, as stored."""
    return zero_points[0] + terms[0].bias, zero_points[1] + terms[1].bias


@dataclass(frozen=True)
class ScaledPair:
    """What TFLite scales a product or quotient by: both zero points, multiplier and shift, the output's limits."""

    zero_points: tuple[int, int]
    multiplier: int
    shift: int
    output_zero_point: int
    low: int
    high: int


@dataclass(frozen=True, kw_only=True)
class BroadcastKernel(Kernel):
    """A kernel of two operands; its template prints loops by templates/aot/kernels/broadcast.c.j2."""

    width: int
    channels: int
    terms: tuple[Term, Term]

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        sizes, rows = self.table_elements(tables), []
        for term in self.terms:
            if term.row is None:
                sizes["constants"] = term.elements(self.width, self.channels)
            else:
                rows.append(term.elements(self.width, self.channels))
        return Accesses(tuple(rows), self.width * self.channels, required=tuple(range(len(rows))), tables=sizes)

    def table_elements(self, tables: Mapping[str, Table]) -> dict[str, int]:
        """How many elements are touched of tables other than the constants."""
        return {}

    def plain_values(self, tables: Mapping[str, Table]) -> tuple[IntArray, IntArray]:
        """Return the int8 values that either operand can have."""
        constants = np.unique(tables["constants"].values).astype(np.int64) if "constants" in tables else INT8
        first, second = (constants - term.bias if term.row is None else INT8 for term in self.terms)
        return first, second


class OperandFields(TypedDict):
    """Fields of a BroadcastKernel: loops over the output's row, and how operands take part in them."""

    inputs: tuple[Storage, ...]
    shape_name: str
    width: int
    channels: int
    terms: tuple[Term, Term]


def lay_out(operands: tuple[Operand, Operand], constant_bias: int = 0) -> OperandFields:
    """Find width and channels of the output, and of each operand; one loop where no operand tells them apart."""
    extents: list[tuple[int, int]] = [operand.shape[1:] for operand in operands]
    width, channels = (max(extent[axis] for extent in extents) for axis in range(2))
    if all(extent in ((width, channels), (1, 1)) for extent in extents):
        extents = [(1, math.prod(extent)) for extent in extents]
        width, channels = 1, width * channels
    first, second = _terms(operands, extents, constant_bias)
    name = "_and_".join(dict.fromkeys(f"{w}x{c}" if width > 1 else f"{c}" for w, c in extents))
    inputs = tuple(operand.storage for operand in operands if operand.storage)
    return OperandFields(inputs=inputs, shape_name=name, width=width, channels=channels, terms=(first, second))


def _terms(operands: tuple[Operand, Operand], extents: list[tuple[int, int]], constant_bias: int) -> Iterator[Term]:
    rows = iter(range(2))
    for operand, (width, channels) in zip(operands, extents, strict=True):
        row = next(rows) if operand.storage else None
        yield Term(row, constant_bias if row is None else operand.bias, width > 1, channels > 1)


def constants_of(operands: tuple[Operand, Operand], bias: int = 0) -> tuple[Table, ...]:
    """Return the constant operand's table; of many rows, as many phases."""
    dtype = np.uint8 if bias else np.int8
    return tuple(
        Table("constants", (operand.constants.reshape(-1) + bias).astype(dtype), 20, phases=operand.shape[0])
        for operand in operands
        if operand.constants is not None
    )
