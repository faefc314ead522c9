"""What the compiler knows of a processor: how many values an inner loop can keep in registers.

Block sizes were chosen by counting instructions of the public Nano-U model (`nanou-deploy bench`).
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.objective import Optimize


@dataclass(frozen=True)
class Target:
    """Pointwise kernels hold pixels x channels sums; depthwise ones go `columns_per_step` columns between jumps.

    `dual_multiply`: one instruction multiplies two pairs of 16-bit numbers and adds both products to a 32-bit sum, and
    bytes are stored lowest first.
    """

    name: str
    pixels_per_block: int
    channels_per_block: int
    columns_per_step: int
    dual_multiply: bool = False


REGISTERS_32 = Target("32 registers", pixels_per_block=3, channels_per_block=4, columns_per_step=3)
REGISTERS_16 = Target("16 registers", pixels_per_block=2, channels_per_block=4, columns_per_step=3)
ARMV7E_M = Target("Armv7E-M", pixels_per_block=2, channels_per_block=4, columns_per_step=6, dual_multiply=True)


def find_target(isa: str) -> Target:
    """RISC-V has 32 general registers; Arm, x86-64 and Xtensa (its window) have 16. Armv7E-M has SMLAD."""
    if isa == "armv7e-m":
        return ARMV7E_M
    return REGISTERS_32 if isa.startswith("rv") else REGISTERS_16


def find_targets(isa: str, optimize: Optimize) -> tuple[Target, ...]:
    """What to try for an objective: first what suits it best, then what takes less flash."""
    return (find_target(isa),)
