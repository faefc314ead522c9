"""Describe a processor to the compiler: how many values an inner loop can keep in registers.

Block sizes were chosen by counting instructions of the public Nano-U model (`nanou-deploy bench`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from codegen.program.objective import Optimize

Variant = Literal["compact", "balanced", "fast"]


@dataclass(frozen=True)
class Target:
    """Pointwise kernels hold pixels x channels sums and go `inputs_per_step` input channels between jumps; depthwise
    ones go `columns_per_step` columns, of the source where it is upsampled `source_columns_per_step`.

    `splits_rows`: pixels at the end of a row that are no whole block have code of their own; without, the last block
    starts earlier and computes some pixels again. `signed_clamp`: one instruction clamps to the range of int8.
    `dual_multiply`: one instruction multiplies two pairs of 16-bit numbers and adds both products to a 32-bit sum, and
    bytes are stored lowest first. `vector_blocks`: the ESP32-S3's vector instructions, for rows in blocks of 16 pixels.
    `paired_products`: there are registers for sums of two channels in one word.
    """

    name: str
    pixels_per_block: int
    channels_per_block: int
    columns_per_step: int
    source_columns_per_step: int = 1
    inputs_per_step: int = 1
    splits_rows: bool = False
    signed_clamp: bool = False
    dual_multiply: bool = False
    vector_blocks: bool = False
    paired_products: bool = False


REGISTERS_32 = Target(
    "32 registers", pixels_per_block=4, channels_per_block=4, columns_per_step=3, paired_products=True
)
REGISTERS_16 = Target("16 registers", pixels_per_block=2, channels_per_block=4, columns_per_step=3)
ARMV7E_M = replace(REGISTERS_16, name="Armv7E-M", columns_per_step=6, dual_multiply=True)
XTENSA = replace(REGISTERS_16, name="Xtensa", source_columns_per_step=2, inputs_per_step=2, signed_clamp=True)
ESP32S3 = replace(XTENSA, name="ESP32-S3", vector_blocks=True)

# Least code, what is compiled by default, fewest instructions.
VARIANTS: Mapping[str, Mapping[Variant, Target]] = {
    REGISTERS_32.name: {
        "compact": replace(REGISTERS_32, pixels_per_block=2, columns_per_step=1, paired_products=False),
        "balanced": REGISTERS_32,
        "fast": replace(
            REGISTERS_32, columns_per_step=5, source_columns_per_step=3, inputs_per_step=16, splits_rows=True
        ),
    },
    REGISTERS_16.name: {
        "compact": replace(REGISTERS_16, columns_per_step=1),
        "balanced": REGISTERS_16,
        "fast": replace(
            REGISTERS_16, columns_per_step=4, source_columns_per_step=2, inputs_per_step=16, splits_rows=True
        ),
    },
    ARMV7E_M.name: {
        "compact": replace(ARMV7E_M, columns_per_step=2),
        "balanced": ARMV7E_M,
        "fast": replace(ARMV7E_M, columns_per_step=12, inputs_per_step=16),
    },
    XTENSA.name: {
        "compact": replace(XTENSA, columns_per_step=1, source_columns_per_step=1, inputs_per_step=1),
        "balanced": XTENSA,
        "fast": replace(XTENSA, columns_per_step=5, source_columns_per_step=4, inputs_per_step=16, splits_rows=True),
    },
    ESP32S3.name: {
        "compact": replace(ESP32S3, columns_per_step=1, source_columns_per_step=1, inputs_per_step=1),
        "balanced": ESP32S3,
        "fast": replace(ESP32S3, columns_per_step=5, source_columns_per_step=4, inputs_per_step=16, splits_rows=True),
    },
}


def find_target(isa: str, variant: Variant = "balanced") -> Target:
    """Find the target of an instruction set.

    RISC-V has 32 general registers; Arm, x86-64 and Xtensa (its window) have 16. Armv7E-M has SMLAD.
    """
    if isa == "armv7e-m":
        base = ARMV7E_M
    elif isa == "xtensa-esp32s3":
        base = ESP32S3
    elif isa.startswith("xtensa"):
        base = XTENSA
    else:
        base = REGISTERS_32 if isa.startswith("rv") else REGISTERS_16
    return VARIANTS[base.name][variant]


def find_targets(isa: str, optimize: Optimize) -> tuple[Target, ...]:
    """List what to try for an objective: first what suits it best, then what takes less flash."""
    variants: tuple[Variant, ...] = ("fast", "balanced", "compact") if optimize == "time" else ("balanced", "compact")
    return tuple(find_target(isa, variant) for variant in variants)
