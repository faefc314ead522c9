"""Take sums, largest or smallest values over some axes of the whole input: MEAN and SUM, REDUCE_MAX and REDUCE_MIN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True)
class Axis:
    """`size` values, each `step` bytes behind the one before."""

    size: int
    step: int


@dataclass(frozen=True, kw_only=True)
class Reduce(Kernel):
    """`kept` and `summed`: axes of an output row and of each sum, outermost first.

    `start` makes stored values int8 and takes the zero point away from each; the rest is TFLite's requantization. Both
    are of sums alone.
    """

    kind: Literal["sum", "largest", "smallest"]
    kept: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    start: int
    multiplier: int
    shift: int
    zero_point: int  # of the output, as stored

    @property
    def requires(self) -> tuple[str, ...]:
        return ("requantize",) if self.kind == "sum" else ()

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = sum((axis.size - 1) * axis.step for axis in (*self.kept, *self.summed))
        return Accesses((last + 1,), prod(axis.size for axis in self.kept), required=(0,))


def build_extremum(
    kind: Literal["largest", "smallest"], kept: tuple[Axis, ...], reduced: tuple[Axis, ...], stored: Storage
) -> Built:
    """Build the kernel whose outputs are bytes of its input."""
    name = f"{kind}_" + "x".join(f"{axis.size}" for axis in (*kept, *reduced))
    kernel = Reduce(
        inputs=(stored,),
        output=stored,
        shape_name=name,
        kind=kind,
        kept=kept,
        summed=reduced,
        start=0,
        multiplier=0,
        shift=0,
        zero_point=0,
    )
    return Built(kernel)


def build(
    kept: tuple[Axis, ...],
    summed: tuple[Axis, ...],
    scaling: tuple[int, int],
    zero_points: tuple[int, int],
    before: Storage,
    after: Storage,
) -> Built:
    """`scaling`: multiplier and shift; `zero_points`: of input and output, int8."""
    count = prod(axis.size for axis in summed)
    kernel = Reduce(
        inputs=(before,),
        output=after,
        shape_name="x".join(f"{axis.size}" for axis in (*kept, *summed)),
        kind="sum",
        kept=kept,
        summed=summed,
        start=-count * (zero_points[0] + before.bias),
        multiplier=scaling[0],
        shift=scaling[1],
        zero_point=zero_points[1] + after.bias,
    )
    return Built(kernel)
