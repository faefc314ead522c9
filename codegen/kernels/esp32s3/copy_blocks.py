"""Copy a row from one layout to another: channels side by side, with or without padding, or blocks of 16 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.kernels.blocks import Blocks, blocks_of
from codegen.program.kernel import BLOCK_PX, Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True, kw_only=True)
class CopyBlocks(Kernel):
    """`pixel_blocks`: pixels of each block. `flips_sign`: one side is int8, the other bytes plus 128."""

    channels: int
    pixel_blocks: tuple[Blocks, ...]

    @property
    def flips_sign(self) -> bool:
        return self.inputs[0].bias != self.output.bias

    def pixel_step(self, storage: Storage) -> int:
        """From one pixel to the next of its block."""
        return 1 if storage.is_blocked else storage.pixel_bytes(self.channels)

    def channel_step(self, storage: Storage) -> int:
        return BLOCK_PX if storage.is_blocked else 1

    def skipped(self, storage: Storage, pixels: int) -> int:
        """From behind the last pixel of a block of so many to the next block."""
        return BLOCK_PX * self.channels - pixels if storage.is_blocked else 0

    def _reached(self, storage: Storage) -> int:
        last = self.pixel_blocks[-1]
        if storage.is_blocked:
            return last.end // -BLOCK_PX * -BLOCK_PX * self.channels - BLOCK_PX + last.size
        return (last.end - 1) * storage.pixel_bytes(self.channels) + self.channels

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        return Accesses((self._reached(self.inputs[0]),), self._reached(self.output), required=(0,))


def build(width: int, channels: int, before: Storage, after: Storage) -> Built:
    kernel = CopyBlocks(
        inputs=(before,),
        output=after,
        shape_name=f"{before.layout}_to_{after.layout}_{width}x{channels}",
        channels=channels,
        pixel_blocks=blocks_of(width, BLOCK_PX),
    )
    return Built(kernel)
