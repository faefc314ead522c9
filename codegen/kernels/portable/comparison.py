"""Compare two values of any scales, element by element, with broadcasting: each value's rank comes from a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.kernels.broadcast import BroadcastKernel, Operand, constants_of, lay_out
from codegen.program.kernel import Built, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class Comparison(BroadcastKernel):
    symbol: str  # C's

    def table_elements(self, tables: Mapping[str, Table]) -> dict[str, int]:
        return {"ranks_0": 256, "ranks_1": 256}


def build(operands: tuple[Operand, Operand], output: Storage, ranks: tuple[IntArray, IntArray], symbol: str) -> Built:
    """`ranks`: of either operand's values -128 .. 127, among those of both."""
    tables = (*constants_of(operands), *(Table(f"ranks_{i}", ranks[i].astype(np.int16), 16) for i in range(2)))
    kernel = Comparison(**lay_out(operands), output=output, tables=parameters_of(tables), symbol=symbol)
    return Built(kernel, tables)
