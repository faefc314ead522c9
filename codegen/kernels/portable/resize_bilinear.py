"""Bilinear interpolation between two rows and two columns, in 10 fractional bits each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class ResizeBilinear(Kernel):
    out_width: int
    channels: int

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = max(int(tables[name].values.max()) for name in ("left_column", "right_column"))
        row = (last + 1) * self.channels
        columns = dict.fromkeys(("left_column", "right_column", "right_weight"), self.out_width)
        sizes = {**columns, "lower_weight": 1}
        return Accesses((row, row), self.out_width * self.channels, required=(0, 1), tables=sizes)


def build(
    left: IntArray, right: IntArray, right_weight: IntArray, lower_weight: IntArray, channels: int, storage: Storage
) -> Built:
    """Source columns and 1024 times the weight of the right one, by output column; of the lower row by output row."""
    tables = (
        Table("left_column", left.astype(np.uint16), 16),
        Table("right_column", right.astype(np.uint16), 16),
        Table("right_weight", right_weight.astype(np.int16), 16),
        Table("lower_weight", lower_weight.astype(np.int16), 16, phases=len(lower_weight)),
    )
    kernel = ResizeBilinear(
        inputs=(storage,),
        output=storage,
        shape_name=f"to_{len(left)}x{channels}",
        tables=parameters_of(tables),
        out_width=len(left),
        channels=channels,
    )
    return Built(kernel, tables)
