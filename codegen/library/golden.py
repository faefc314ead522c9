"""Make a library's self-test: an input from a seed, and checksums of what each layer computes from it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codegen.graph.graph import Graph
from codegen.program.program import Program, Stage

GOLDEN_SEED = 0x6E616E6F  # "nano"


@dataclass(frozen=True)
class GoldenLayer:
    """States the CRC-32 of one operator's output for the golden input, as the arena stores it."""

    name: str
    operator_index: int
    crc32: int
    bias: int  # what is stored is the value plus this


def golden_frame(size_bytes: int, seed: int = GOLDEN_SEED) -> npt.NDArray[np.int8]:
    """Make the self-test's inputs, int8 (size_bytes,): top bytes of a 32-bit LCG (Numerical Recipes constants)."""
    state, values = seed, np.empty(size_bytes, np.uint8)
    for i in range(size_bytes):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = state >> 24
    return values.view(np.int8)


def golden_inputs(graph: Graph) -> npt.NDArray[np.uint8]:
    """Make all inputs of the self-test as the file takes them, one behind the other: uint8 (1, bytes).

    float32 gets multiples of 1/128, one for each byte that int8 would get. As `nanou_golden_input`.
    """
    tensors = [graph.tensor(index) for index in graph.inputs]
    counts = [tensor.size_bytes // (4 if tensor.dtype == "float32" else 1) for tensor in tensors]
    parts = np.split(golden_frame(sum(counts)).view(np.uint8), np.cumsum(counts)[:-1])
    floats = [((part.astype(np.float32) - 128) / 128).view(np.uint8) for part in parts]
    chosen = [f if t.dtype == "float32" else p for t, p, f in zip(tensors, parts, floats, strict=True)]
    return np.concatenate(chosen).reshape(1, -1)


def golden_crc32(*outputs: npt.NDArray[np.generic]) -> int:
    """Compute the IEEE CRC-32 of all outputs for `golden_frame`, one behind the other."""
    return zlib.crc32(b"".join(output.tobytes() for output in outputs))


def traced_stages(program: Program) -> tuple[Stage, ...]:
    """List stages that give an operator's whole output for the first time, in the file's order.

    Diagnostic builds show these. Left out are parts of operators that were split, rows that are computed again, and
    rows in blocks of pixels or with padding, where some bytes are nobody's.
    """
    whole = (stage for stage in program.stages if stage.gives_operator)
    shown = (stage for stage in whole if stage.kernel.output.layout == "interleaved")
    return tuple(sorted(shown, key=lambda stage: stage.operator_index))


def golden_layers(program: Program, values: Mapping[int, npt.NDArray[np.generic]]) -> tuple[GoldenLayer, ...]:
    """Make the checksum of each of `traced_stages`. `values`: the oracle's, by tensor."""
    stages = traced_stages(program)
    stored = [(values[s.output].astype(np.int16) + s.kernel.output.bias).astype(np.uint8).tobytes() for s in stages]
    return tuple(
        GoldenLayer(
            f"{stage.operator_index} {stage.stem}", stage.operator_index, zlib.crc32(data), stage.kernel.output.bias
        )
        for stage, data in zip(stages, stored, strict=True)
    )
