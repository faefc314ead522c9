"""Copy a row from one layout to the other: channels side by side, or blocks of 16 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.blocks import Blocks, blocks_of
from codegen.program.kernel import BLOCK_PX, Accesses, Built, Kernel, Present, Storage, Table, blocks_of_row


@dataclass(frozen=True, kw_only=True)
class CopyBlocks(Kernel):
    """`pixel_blocks`: pixels of each block. `flips_sign`: one side is int8, the other bytes plus 128."""

    channels: int
    pixel_blocks: tuple[Blocks, ...]

    @property
    def to_blocks(self) -> bool:
        return self.output.is_blocked

    @property
    def flips_sign(self) -> bool:
        return self.inputs[0].bias != self.output.bias

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = self.pixel_blocks[-1]
        blocked = last.end // -BLOCK_PX * -BLOCK_PX * self.channels
        inside = blocked - BLOCK_PX + last.size
        interleaved = last.end * self.channels
        rows, output = (interleaved, inside) if self.to_blocks else (inside, interleaved)
        return Accesses((rows,), output, required=(0,))


def build(width: int, channels: int, before: Storage, after: Storage) -> Built:
    blocks = blocks_of(width, BLOCK_PX)
    assert sum(block.count for block in blocks) == blocks_of_row(width)
    direction = "to" if after.is_blocked else "from"
    kernel = CopyBlocks(
        inputs=(before,),
        output=after,
        shape_name=f"{direction}_{width}x{channels}",
        channels=channels,
        pixel_blocks=blocks,
    )
    return Built(kernel)
