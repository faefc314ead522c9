"""Copy single bytes by a table of their positions, for what follows no regular strides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class Gather(Kernel):
    size: int
    row_bytes: int  # behind the one row pointer

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = int(tables["positions"].values.max()) + 1
        return Accesses((last,), self.size, required=(0,), tables={"positions": self.size})


def build(positions: IntArray, row_bytes: int, storage: Storage, name: str) -> Built:
    """`positions` is (output rows, bytes of each): where in the whole input each byte comes from."""
    narrow = np.uint16 if positions.max() <= np.iinfo(np.uint16).max else np.int32
    tables = (Table("positions", positions.reshape(-1).astype(narrow), 16, phases=len(positions)),)
    kernel = Gather(
        inputs=(storage,),
        output=storage,
        shape_name=name,
        tables=parameters_of(tables),
        size=positions.shape[1],
        row_bytes=row_bytes,
    )
    return Built(kernel, tables)
