"""Logarithms of softmax over groups of values: distances to the largest, less the logarithm of a sum of exponentials.

TFLite gives the least output where a distance less that logarithm would leave 32 bits, or a distance is too far for its
exponential. Here such distances are -16, which gives the least output for any sum: outputs end at -255/16.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of

LEAST_DIFFERENCE = -(16 << 26)


@dataclass(frozen=True, kw_only=True)
class LogSoftmax(Kernel):
    groups: int  # in a row
    depth: int  # values of a group

    @property
    def requires(self) -> tuple[str, ...]:
        return ("rounding_high_mul", "one_over_one_plus", "rounding_shift", "log_from_1")

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        size = self.groups * self.depth
        return Accesses((size,), size, required=(0,), tables={"exponentials": 256, "differences": 256})


def build(
    exponentials: IntArray, differences: IntArray, groups: int, depth: int, before: Storage, after: Storage
) -> Built:
    """Both of distances 0, 1, ..., 255 below the largest value: 19 fractional bits, and 26."""
    tables = (
        Table("exponentials", exponentials.astype(np.int32), 8),
        Table("differences", np.maximum(differences, LEAST_DIFFERENCE).astype(np.int32), 8),
    )
    kernel = LogSoftmax(
        inputs=(before,),
        output=after,
        shape_name=f"{groups}x{depth}",
        tables=parameters_of(tables),
        groups=groups,
        depth=depth,
    )
    return Built(kernel, tables)
