"""Copy a row of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class Constant(Kernel):
    size: int  # bytes of a row

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        return Accesses((0,), self.size, tables={"values": self.size})


def build(values: IntArray, rows: int, source: Storage, output: Storage) -> Built:
    """`values`: int8, of all rows. `source`: of the tensor of which nothing is read."""
    stored = (values.reshape(-1) + output.bias).astype(np.uint8 if output.bias else np.int8)
    repeats = bool((stored.reshape(rows, -1) == stored.reshape(rows, -1)[0]).all())
    kept = stored[: len(stored) // rows] if repeats else stored
    tables = (Table("values", kept, 20, phases=1 if repeats else rows),)
    size = len(stored) // rows
    kernel = Constant(inputs=(source,), output=output, shape_name=f"{size}", tables=parameters_of(tables), size=size)
    return Built(kernel, tables)
