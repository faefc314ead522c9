"""Find the index of the largest or of the smallest of several values, the first of equal ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True, kw_only=True)
class ArgExtremum(Kernel):
    """For each of `groups` and each of `run` neighbours an index, of `size` values `stride` bytes apart."""

    groups: int
    step: int  # bytes from group to group
    run: int
    size: int
    stride: int
    index_bytes: int
    is_maximum: bool

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = (self.groups - 1) * self.step + self.run - 1 + (self.size - 1) * self.stride
        return Accesses((last + 1,), self.groups * self.run * self.index_bytes, required=(0,))


def build(
    pattern: IntArray, size: int, stride: int, index_bytes: int, storage: tuple[Storage, Storage], *, is_maximum: bool
) -> Built:
    """`pattern`: where the first value of each index of a row lies, from the row's first one on."""
    breaks = np.flatnonzero(np.diff(pattern) != 1) + 1
    run = int(breaks[0]) if len(breaks) else len(pattern)
    groups, step = len(pattern) // run, int(pattern[run]) if len(breaks) else 0
    kernel = ArgExtremum(
        inputs=storage[:1],
        output=storage[1],
        shape_name=f"{'max' if is_maximum else 'min'}_{groups}x{run}_of_{size}",
        groups=groups,
        step=step,
        run=run,
        size=size,
        stride=stride,
        index_bytes=index_bytes,
        is_maximum=is_maximum,
    )
    return Built(kernel)
