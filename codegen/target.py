"""What the compiler knows of a processor: how many values an inner loop can keep in registers.

Block sizes were chosen by counting instructions of the public Nano-U model (`nanou-deploy bench`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

# Least code, the default in between, or fewest instructions.
Variant = Literal["compact", "balanced", "fast"]


@dataclass(frozen=True)
class Target:
    """Pointwise kernels hold pixels x channels sums and go `inputs_per_step` input channels between jumps; depthwise
    ones go `columns_per_step` columns, of the source where it is upsampled `source_columns_per_step`.

    `splits_rows`: pixels at the end of a row that are no whole block have code of their own; without, the last block
    starts earlier and computes some pixels again. `signed_clamp`: one instruction clamps to the range of int8.
    """

    name: str
    pixels_per_block: int
    channels_per_block: int
    columns_per_step: int
    source_columns_per_step: int = 1
    inputs_per_step: int = 1
    splits_rows: bool = False
    signed_clamp: bool = False


REGISTERS_32 = Target("32 registers", pixels_per_block=4, channels_per_block=4, columns_per_step=3)
REGISTERS_16 = Target("16 registers", pixels_per_block=2, channels_per_block=4, columns_per_step=3)
XTENSA = replace(REGISTERS_16, name="Xtensa", source_columns_per_step=2, inputs_per_step=2, signed_clamp=True)


def find_target(isa: str, variant: Variant = "balanced") -> Target:
    """RISC-V has 32 general registers; Arm, x86-64 and Xtensa (its window) have 16."""
    return VARIANTS[_registers(isa)][variant]


def _registers(isa: str) -> str:
    if isa.startswith("rv"):
        return REGISTERS_32.name
    return XTENSA.name if isa.startswith("xtensa") else REGISTERS_16.name


def _variants(balanced: Target, compact: Target, fast: Target) -> Mapping[Variant, Target]:
    return {"compact": compact, "balanced": balanced, "fast": fast}


VARIANTS: Mapping[str, Mapping[Variant, Target]] = {
    REGISTERS_32.name: _variants(
        REGISTERS_32,
        compact=replace(REGISTERS_32, pixels_per_block=2, columns_per_step=1),
        fast=replace(REGISTERS_32, columns_per_step=5, source_columns_per_step=3, inputs_per_step=16, splits_rows=True),
    ),
    REGISTERS_16.name: _variants(
        REGISTERS_16,
        compact=replace(REGISTERS_16, columns_per_step=1),
        fast=replace(REGISTERS_16, columns_per_step=4, source_columns_per_step=2, inputs_per_step=16, splits_rows=True),
    ),
    XTENSA.name: _variants(
        XTENSA,
        compact=replace(XTENSA, columns_per_step=1, source_columns_per_step=1, inputs_per_step=1),
        fast=replace(XTENSA, columns_per_step=5, source_columns_per_step=4, inputs_per_step=16, splits_rows=True),
    ),
}
