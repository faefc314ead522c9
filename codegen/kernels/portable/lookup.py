"""Look up any function of one byte in a table of 256, for QUANTIZE, LOGISTIC and all that map each value by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class Lookup(Kernel):
    size: int  # bytes of a row

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        """Every byte has a place in a table of 256."""
        return Accesses((self.size,), self.size, required=(0,), tables={"lookup": 256})


def build(outputs: IntArray, size: int, before: Storage, after: Storage) -> Built:
    """Build the kernel. `outputs`: the int8 results for -128, -127, ..., 127; `size`: bytes of a row."""
    stored = (outputs + after.bias).astype(np.uint8 if after.bias else np.int8)
    tables = (Table("lookup", stored, 16),)
    kernel = Lookup(inputs=(before,), output=after, shape_name=f"{size}", tables=parameters_of(tables), size=size)
    return Built(kernel, tables)
