"""Divide loops into blocks: as many whole ones as fit, then one of what is left."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Blocks:
    """`count` blocks of `size` elements, one behind the other from element `first` on."""

    size: int
    count: int
    first: int = 0

    @property
    def end(self) -> int:
        return self.first + self.size * self.count

    @property
    def spans(self) -> tuple[range, ...]:
        return tuple(range(x, x + self.size) for x in range(self.first, self.end, self.size))


def blocks_of(total: int, size: int) -> tuple[Blocks, ...]:
    """Divide `total` elements into as many whole blocks as fit, then one smaller."""
    whole, rest = divmod(total, size)
    found = (Blocks(size, whole), Blocks(rest, 1, whole * size))
    return tuple(blocks for blocks in found if blocks.size and blocks.count)


def even_size(count: int, limit: int) -> int:
    """Choose the block size, at most `limit`, with which the last one overlaps the one before least; 0 for nothing."""
    return -(-count // -(-count // limit)) if count else 0


def split(span: range, size: int) -> tuple[range, ...]:
    """Split a range into parts of `size`, the last one perhaps smaller."""
    return tuple(range(x, min(x + size, span.stop)) for x in span[::size])
