"""How long compiling takes, from a file's bytes to rendered C, proofs included: processor seconds by number of weights.

    python -m tests.property.compile_time [FILE.tflite ...] [--board rv32-qemu]

Without files: networks like MobileNetV1 at 96x96 with random weights, of widths 0.25, 0.5 and 0.75, whose weights grow
ninefold while their operators stay the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from codegen.compile import compile_model
from codegen.graph.model import QuantizedModel
from codegen.library.render import render_aot
from codegen.program.target import find_target
from codegen.tflite.builder import ModelBuilder
from nanou_deploy.boards.boards import find_board

WIDTHS = 0.25, 0.5, 0.75
# Channels at width 1, and stride, of each depthwise convolution and the pointwise one behind it.
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)),
    *((512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1)),
)


def separable_network(width: float, size: int = 96) -> bytes:
    """MobileNetV1's body, random weights, without its classifier."""
    rng, b = np.random.default_rng(0), ModelBuilder()

    def layer(source: int, shape: tuple[int, ...], stride: int, *, depthwise: bool) -> int:
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        channels, taps = (shape[3], shape[1] * shape[2]) if depthwise else (shape[0], int(np.prod(shape[1:])))
        scales = (rng.uniform(0.5, 1.5, channels) / 74 / np.sqrt(taps)).tolist()
        return b.convolution(
            source, weights, scales, np.zeros(channels, np.int32),
            scale=0.02, zero_point=-128, depthwise=depthwise, stride=(stride, stride), activation="relu6",
        )  # fmt: skip

    source = b.activation((1, size, size, 3), 1 / 127.5, -1)
    channels = round(32 * width)
    value = layer(source, (channels, 3, 3, 3), 2, depthwise=False)
    for block, stride in BLOCKS:
        value = layer(value, (1, 3, 3, channels), stride, depthwise=True)
        value = layer(value, (round(block * width), 1, 1, channels), 1, depthwise=False)
        channels = round(block * width)
    return b.finish([source], [value])


def compile_s(flatbuffer: bytes, board: str) -> tuple[int, float]:
    """(weights of its layers, processor seconds)."""
    begun = time.process_time()
    compiled = compile_model(QuantizedModel("timed", flatbuffer), find_target(find_board(board).isa))
    render_aot(compiled)
    taken = time.process_time() - begun
    graph = compiled.graph
    constants = {i for op in graph.operators for i in op.inputs if i >= 0 and graph.tensor(i).dtype == "int8"}
    return sum(t.data.size for t in map(graph.tensor, constants) if t.data is not None), taken


def _networks(files: list[Path]) -> Iterator[tuple[str, bytes]]:
    for path in files:
        yield path.stem, path.read_bytes()
    for width in () if files else WIDTHS:
        yield f"width {width:g}", separable_network(width)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--board", default="rv32-qemu")
    options = parser.parse_args(arguments)
    print("| network | weights | processor time | per 100,000 weights |\n|---|--:|--:|--:|")
    for name, flatbuffer in _networks(options.files):
        weights, taken = compile_s(flatbuffer, options.board)
        print(f"| {name} | {weights:,} | {taken:.1f} s | {taken / weights * 1e5:.2f} s |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
