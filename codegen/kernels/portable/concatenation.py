"""Join rows by column or channel, or take each from one input: copy blocks of the inputs, one behind the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True, kw_only=True)
class Concatenation(Kernel):
    blocks: int  # of each input in a row
    block_bytes: tuple[int, ...]  # of each input
    is_by_rows: bool  # each row comes from one input, the others' pointers are NULL

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        rows = tuple(self.blocks * size if there else 0 for size, there in zip(self.block_bytes, present, strict=True))
        return Accesses(rows, sum(rows), required=() if self.is_by_rows else tuple(range(len(present))))


def build_within_rows(blocks: int, block_bytes: tuple[int, ...], storage: Storage) -> Built:
    """Build the kernel whose every output row takes a part of the same row of every input."""
    name = f"{blocks}_blocks_of_{'_'.join(map(str, block_bytes))}"
    return _build(blocks, block_bytes, storage, name, is_by_rows=False)


def build_by_rows(row_bytes: int, inputs: int, storage: Storage) -> Built:
    """Build the kernel whose every output row is a row of one of the inputs."""
    return _build(1, (row_bytes,) * inputs, storage, f"rows_of_{row_bytes}_from_{inputs}", is_by_rows=True)


def _build(blocks: int, block_bytes: tuple[int, ...], storage: Storage, name: str, *, is_by_rows: bool) -> Built:
    kernel = Concatenation(
        inputs=(storage,) * len(block_bytes),
        output=storage,
        shape_name=name,
        blocks=blocks,
        block_bytes=block_bytes,
        is_by_rows=is_by_rows,
    )
    return Built(kernel)
