"""Copy single bytes by a table of their positions, for what follows no regular strides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table, parameters_of


@dataclass(frozen=True, kw_only=True)
class Gather(Kernel):
    size: int
    ends: tuple[int, ...]  # of the inputs, one behind the other

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        positions = tables["positions"].values.astype(np.int64)
        begins = (0, *self.ends[:-1])
        read = [positions[(positions >= b) & (positions < e)] - b for b, e in zip(begins, self.ends, strict=True)]
        lasts = tuple(int(part.max(initial=-1)) + 1 for part in read)
        return Accesses(lasts, self.size, required=tuple(range(len(lasts))), tables={"positions": self.size})


def build(positions: IntArray, sizes: Sequence[int], storage: Storage, name: str) -> Built:
    """`positions` is (output rows, bytes of each): where in the inputs each byte comes from, one behind the other.

    `sizes` are the inputs', in bytes.
    """
    narrow = np.uint16 if positions.max() <= np.iinfo(np.uint16).max else np.int32
    tables = (Table("positions", positions.reshape(-1).astype(narrow), 16, phases=len(positions)),)
    kernel = Gather(
        inputs=(storage,) * len(sizes),
        output=storage,
        shape_name=name,
        tables=parameters_of(tables),
        size=positions.shape[1],
        ends=tuple(np.cumsum(sizes).tolist()),
    )
    return Built(kernel, tables)
