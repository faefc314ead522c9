"""Place ring buffers in the arena by live range: they share bytes wherever no two live rows meet.

Greedy placement in several orders, of which the best is kept: Pisarchyk and Lee, "Efficient Memory Management for Deep
Neural Net Inference", arXiv 2001.03288. There whole tensors meet; here it is slots, so that a tensor which fills row by
row lends the rest of its bytes to others until it needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.plan.schedule import Lifetimes

ALIGNMENT_BYTES = 16

Span = tuple[int, int]  # first and last step


@dataclass(frozen=True)
class Ring:
    """Divides a tensor into slots, row r in slot r % depth; `slots[k]` are the live ranges of slot k."""

    tensor: int
    row_bytes: int
    slots: tuple[tuple[Span, ...], ...]

    @property
    def depth_rows(self) -> int:
        return len(self.slots)

    @property
    def size_bytes(self) -> int:
        return self.row_bytes * len(self.slots)


def make_ring(tensor: int, row_bytes: int, life: Lifetimes) -> Ring:
    """Make the smallest ring for these rows."""
    spans = list(zip(life.made.tolist(), life.wanted.tolist(), strict=True))
    depth = life.depth_rows
    return Ring(tensor, row_bytes, tuple(tuple(spans[slot::depth]) for slot in range(depth)))


def aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def place_rings(rings: Sequence[Ring], steps: int) -> Mapping[int, int]:
    """Find an offset in bytes for each tensor's ring, all within `steps` steps."""
    if not rings:
        return {}
    slots = _Slots(rings, steps)
    duration = [sum(last - first + 1 for slot in ring.slots for first, last in slot) for ring in rings]
    begin = [ring.slots[0][0][0] for ring in rings]
    orders = (
        sorted(range(len(rings)), key=lambda i: (-rings[i].size_bytes, i)),
        sorted(range(len(rings)), key=lambda i: (-rings[i].size_bytes, -i)),
        sorted(range(len(rings)), key=lambda i: (-duration[i], -rings[i].size_bytes)),
        sorted(range(len(rings)), key=lambda i: (-duration[i] * rings[i].row_bytes, i)),
        sorted(range(len(rings)), key=lambda i: (-rings[i].row_bytes, -duration[i])),
        sorted(range(len(rings)), key=lambda i: (begin[i], i)),
    )
    placed = [slots.place(order) for order in dict.fromkeys(map(tuple, orders))]
    best = min(placed, key=lambda offsets: max(o + r.size_bytes for o, r in zip(offsets, rings, strict=True)))
    return {ring.tensor: offset for ring, offset in zip(rings, best, strict=True)}


class _Slots:
    """Lists all slots of all rings, and which of them are live at the same step."""

    def __init__(self, rings: Sequence[Ring], steps: int) -> None:
        self.rings = rings
        self.row_bytes = np.repeat([ring.row_bytes for ring in rings], [ring.depth_rows for ring in rings])
        self.first = np.cumsum([0, *(ring.depth_rows for ring in rings)])
        busy = np.zeros((len(self.row_bytes), steps), np.float32)
        for number, spans in enumerate(spans for ring in rings for spans in ring.slots):
            for first, last in spans:
                busy[number, first : last + 1] = 1
        self.meet: npt.NDArray[np.bool_] = (busy @ busy.T) > 0

    def place(self, order: Iterable[int]) -> list[int]:
        """Put each ring at the lowest offset where none of its slots meets a slot that was placed before."""
        offsets = [0] * len(self.rings)
        starts = np.full(len(self.row_bytes), -1)
        for i in order:
            own = slice(self.first[i], self.first[i + 1])
            within = np.arange(self.rings[i].depth_rows) * self.rings[i].row_bytes
            # Slot k of this ring meets placed slot p: the ring may not start where they would overlap.
            k, p = np.nonzero(self.meet[own] & (starts >= 0))
            low = starts[p] - within[k] - self.rings[i].row_bytes
            high = starts[p] + self.row_bytes[p] - within[k]
            offsets[i] = _lowest_outside(low, high)
            starts[own] = offsets[i] + within
        return offsets


def _lowest_outside(low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> int:
    """Find the lowest aligned offset >= 0 in none of the open intervals (low, high)."""
    if not low.size:
        return 0
    sequence = np.argsort(low, kind="stable")
    ends = np.maximum.accumulate(np.maximum(high[sequence], 0))
    # Behind all intervals that begin before each one: the first such offset that it does not begin before will do.
    free = np.concatenate([[0], -(-ends // ALIGNMENT_BYTES) * ALIGNMENT_BYTES])
    is_free = low[sequence] >= free[:-1]
    return int(free[is_free.argmax() if is_free.any() else -1])
