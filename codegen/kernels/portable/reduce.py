"""Take sums, largest or smallest values over some axes of the whole input: MEAN and SUM, REDUCE_MAX and REDUCE_MIN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from codegen.kernels.portable import copy
from codegen.program.kernel import SUMS, Accesses, Built, Kernel, Present, Storage, Table

Extremum = Literal["largest", "smallest"]
Kind = Literal["sum", Extremum]


@dataclass(frozen=True)
class Axis:
    """`size` values, each `step` bytes behind the one before."""

    size: int
    step: int


def merged(found: Iterable[Axis]) -> tuple[Axis, ...]:
    """Return axes of more than one value, those that follow one another without a gap as one."""
    merged: list[Axis] = []
    for axis in (axis for axis in found if axis.size > 1):
        if merged and merged[-1].step == axis.step * axis.size:
            merged[-1] = Axis(merged[-1].size * axis.size, axis.step)
        else:
            merged.append(axis)
    return tuple(merged)


@dataclass(frozen=True, kw_only=True)
class Reduce(Kernel):
    """`kept` and `summed`: axes of an output row and of each sum, outermost first.

    `start` makes stored values int8 and takes the zero point away from each; the rest is TFLite's requantization. Both
    are of sums alone, and of those that do not run.
    `runs`: results are those of one row and of the rows before it, of which the second pointer has what was made so
    far; it is NULL where a window begins.
    """

    kind: Kind
    kept: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    start: int = 0
    multiplier: int = 0
    shift: int = 0
    zero_point: int = 0  # of the output, as stored
    runs: bool = False

    @property
    def requires(self) -> tuple[str, ...]:
        return ("requantize",) if self.kind == "sum" and not self.runs else ()

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = sum((axis.size - 1) * axis.step for axis in (*self.kept, *self.summed))
        made_bytes = prod(axis.size for axis in self.kept) * self.output.value_bytes
        so_far = (made_bytes if present[1] else 0,) if self.runs else ()
        return Accesses(((last + 1) * self.inputs[0].value_bytes, *so_far), made_bytes, required=(0,))


def build_extremum(kind: Extremum, kept: tuple[Axis, ...], reduced: tuple[Axis, ...], stored: Storage) -> Built:
    """Build the kernel whose outputs are bytes of its input."""
    name = f"{kind}_" + "x".join(f"{axis.size}" for axis in (*kept, *reduced))
    kernel = Reduce(
        inputs=(stored,),
        output=stored,
        shape_name=name,
        kind=kind,
        kept=kept,
        summed=reduced,
    )
    return Built(kernel)


def build_running(kind: Kind, kept: tuple[Axis, ...], reduced: tuple[Axis, ...], stored: Storage) -> Built:
    """Build the kernel that adds a row to what its window's rows have given so far: int32 sums, or bytes."""
    output = SUMS if kind == "sum" else stored
    name = f"{kind}_so_far_" + "x".join(f"{axis.size}" for axis in (*kept, *reduced))
    inputs = stored, output
    return Built(Reduce(inputs=inputs, output=output, shape_name=name, kind=kind, kept=kept, summed=reduced, runs=True))


def build_finish(kernel: Reduce, size: int) -> Built:
    """Build the kernel that makes of what has run over all rows, `size` values, the output that `kernel` computes."""
    if kernel.kind != "sum":
        return copy.build(size, kernel.output)
    kept = (Axis(size, 1),) if size > 1 else ()
    return Built(replace(kernel, inputs=(SUMS,), kept=kept, summed=(), shape_name=f"{size}_sums"))


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
