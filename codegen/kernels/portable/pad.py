"""Copy a row into a row of one value, zero for most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.program.kernel import Accesses, Built, Kernel, Present, Storage, Table


@dataclass(frozen=True, kw_only=True)
class Pad(Kernel):
    in_width: int
    in_channels: int
    out_width: int
    out_channels: int
    left: int
    front: int  # channels of padding before the first one
    fill: int  # as stored

    def accesses(self, tables: Mapping[str, Table], present: Present) -> Accesses:
        last = (self.left + self.in_width - 1) * self.out_channels + self.front + self.in_channels if present[0] else 0
        output = max(self.out_width * self.out_channels, last)
        return Accesses((self.in_width * self.in_channels * present[0],), output)


def build(
    before: tuple[int, int], after: tuple[int, int], *, left: int, front: int, fill: int, storage: Storage
) -> Built:
    """Build the kernel. `before` and `after`: width and channels."""
    kernel = Pad(
        inputs=(storage,),
        output=storage,
        shape_name=f"{before[0]}x{before[1]}_to_{after[0]}x{after[1]}_at_{left}_{front}",
        in_width=before[0],
        in_channels=before[1],
        out_width=after[0],
        out_channels=after[1],
        left=left,
        front=front,
        fill=fill + storage.bias,
    )
    return Built(kernel)
