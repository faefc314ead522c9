"""Softmax over groups of values: exponentials of the distances to the largest from a table, then one reciprocal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class Softmax(Kernel):
    groups: int  # in a row
    depth: int  # values of a group

    @property
    def requires(self) -> tuple[str, ...]:
        return ("rounding_high_mul", "one_over_one_plus")

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        size = self.groups * self.depth
        return Accesses((size,), size, required=(0,), tables={"exponentials": 256})


def build(exponentials: IntArray, groups: int, depth: int, before: Storage, after: Storage) -> Built:
    """`exponentials`: exp of distances 0, 1, ..., 255 below the largest value, 31 fractional bits."""
    tables = (Table("exponentials", exponentials.astype(np.int32), 8),)
    kernel = Softmax(
        inputs=(before,),
        output=after,
        shape_name=f"{groups}x{depth}",
        tables=parameters_of(tables),
        groups=groups,
        depth=depth,
    )
    return Built(kernel, tables)
