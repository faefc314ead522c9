"""Divide groups of values by their Euclidean length, as TFLite does it: a sum of squares, then one multiplier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table

OUTPUT_BITS = 7  # of fraction


@dataclass(frozen=True, kw_only=True)
class L2Normalization(Kernel):
    groups: int  # in a row
    depth: int  # values of a group
    zero: int  # as stored

    @property
    def requires(self) -> tuple[str, ...]:
        return ("rounding_high_mul", "inverse_sqrt", "requantize")

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        size = self.groups * self.depth
        return Accesses((size,), size, required=(0,))


def build(zero_point: int, groups: int, depth: int, before: Storage, after: Storage) -> Built:
    kernel = L2Normalization(
        inputs=(before,),
        output=after,
        shape_name=f"{groups}x{depth}",
        groups=groups,
        depth=depth,
        zero=zero_point + before.bias,
    )
    return Built(kernel)
