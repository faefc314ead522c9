"""Copy each output column from the source column that a table names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class ResizeNearestNeighbor(Kernel):
    out_width: int
    channels: int

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = int(tables["source_column"].values[: self.out_width].max())
        return Accesses(
            ((last + 1) * self.channels,),
            self.out_width * self.channels,
            required=(0,),
            tables={"source_column": self.out_width},
        )


def build(columns: IntArray, in_width: int, channels: int, storage: Storage) -> Built:
    """Build the kernel. `columns`: the source column of each output column."""
    tables = (Table("source_column", columns.astype(np.uint8 if in_width <= 256 else np.uint16), 20),)
    kernel = ResizeNearestNeighbor(
        inputs=(storage,),
        output=storage,
        shape_name=f"{in_width}x{channels}_to_{len(columns)}",
        tables=parameters_of(tables),
        out_width=len(columns),
        channels=channels,
    )
    return Built(kernel, tables)
