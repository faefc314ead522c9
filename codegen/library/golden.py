"""The self-test of a library: an input made from a seed, and what each layer and the whole model compute from it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.program.program import Program, Stage

GOLDEN_SEED = 0x6E616E6F  # "nano"


@dataclass(frozen=True)
class GoldenLayer:
    """What one layer computes for the golden input: CRC-32 of its operator's output as the arena stores it."""

    name: str
    operator_index: int
    crc32: int


def golden_frame(size_bytes: int, seed: int = GOLDEN_SEED) -> npt.NDArray[np.int8]:
    """int8 (size_bytes,): the self-test input, the top bytes of a 32-bit LCG (Numerical Recipes constants)."""
    state, values = seed, np.empty(size_bytes, np.uint8)
    for i in range(size_bytes):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = state >> 24
    return values.view(np.int8)


def golden_crc32(output: npt.NDArray[np.int8]) -> int:
    """IEEE CRC-32 of the output frame for `golden_frame`."""
    return zlib.crc32(output.tobytes())


def traced_stages(program: Program) -> tuple[Stage, ...]:
    """Stages that give an operator's whole output for the first time, in the file's order: what diagnostic builds show.

    Left out are parts of operators that were split, and rows that are computed again.
    """
    return tuple(sorted((s for s in program.stages if s.gives_operator), key=lambda stage: stage.operator_index))


def golden_layers(program: Program, values: Mapping[int, npt.NDArray[np.int8]]) -> tuple[GoldenLayer, ...]:
    """One for each of `traced_stages`. `values`: the oracle's, by tensor."""
    stages = traced_stages(program)
    stored = [(values[s.output].astype(np.int16) + s.kernel.output.bias).astype(np.uint8).tobytes() for s in stages]
    return tuple(
        GoldenLayer(f"{stage.operator_index} {stage.stem}", stage.operator_index, zlib.crc32(data))
        for stage, data in zip(stages, stored, strict=True)
    )
