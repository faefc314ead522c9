"""Copy parts of rows to other places: runs of bytes at regular strides, as transposing, slicing and tiling need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

import numpy as np

from codegen.graph.graph import IntArray
from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table

MAX_LOOPS = 4  # of one segment, one inside the other


@dataclass(frozen=True)
class Loop:
    """`count` repetitions, of which each begins so many bytes further on."""

    count: int
    source_step: int
    output_step: int


@dataclass(frozen=True)
class Segment:
    """Runs of `run` bytes from row pointer `row`: nested `loops`, outermost first, from two first bytes on."""

    row: int
    source: int
    output: int
    run: int
    loops: tuple[Loop, ...]

    @property
    def source_end(self) -> int:
        return self.source + self.run + sum((loop.count - 1) * max(loop.source_step, 0) for loop in self.loops)

    @property
    def source_begin(self) -> int:
        return self.source + sum((loop.count - 1) * min(loop.source_step, 0) for loop in self.loops)

    @property
    def output_end(self) -> int:
        return self.output + self.run + sum((loop.count - 1) * loop.output_step for loop in self.loops)


@dataclass(frozen=True, kw_only=True)
class StridedCopy(Kernel):
    segments: tuple[Segment, ...]
    row_count: int  # row pointers

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        ends = [max((s.source_end for s in self.segments if s.row == row), default=0) for row in range(self.row_count)]
        assert all(segment.source_begin >= 0 for segment in self.segments)
        output = max(segment.output_end for segment in self.segments)
        return Accesses(tuple(ends), output, required=tuple(range(self.row_count)))


def segments_of(rows: IntArray, sources: IntArray) -> tuple[Segment, ...] | None:
    """Segments that copy byte `sources[x]` of row pointer `rows[x]` to byte x; None where loops cannot say it."""
    found: list[Segment] = []
    for row in sorted(set(rows.tolist())):
        outputs = np.flatnonzero(rows == row)
        segment = _segment(row, sources[outputs], outputs)
        if segment is None:
            return None
        found.append(segment)
    return tuple(found)


def _segment(row: int, sources: IntArray, outputs: IntArray) -> Segment | None:
    breaks = np.flatnonzero((np.diff(sources) != 1) | (np.diff(outputs) != 1)) + 1
    run = gcd(len(sources), *breaks.tolist())
    first = int(sources[0]), int(outputs[0])
    loops: list[Loop] = []
    sources, outputs = sources[::run], outputs[::run]
    while len(sources) > 1:
        steps = np.stack([np.diff(sources), np.diff(outputs)])
        irregular = np.flatnonzero((steps != steps[:, :1]).any(0)) + 1
        count = gcd(len(sources), *irregular.tolist())
        if count == 1 or len(loops) == MAX_LOOPS:
            return None
        loops.append(Loop(count, int(steps[0, 0]), int(steps[1, 0])))
        sources, outputs = sources[::count], outputs[::count]
    return Segment(row, *first, run, tuple(reversed(loops)))


def build(segments: tuple[Segment, ...], row_count: int, inputs: int, storage: Storage, name: str) -> Built:
    """`row_count` row pointers into `inputs` tensors."""
    return Built(
        StridedCopy(inputs=(storage,) * inputs, output=storage, shape_name=name, segments=segments, row_count=row_count)
    )
