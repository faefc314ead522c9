"""Sums and extrema that grow row by row in place of windows of many rows: same bytes, less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.compile import Compilation
from codegen.program.objective import Objective
from codegen.program.target import ESP32S3
from codegen.tflite.builder import ModelBuilder
from tests.exactness import EMULATED_CORES, assert_exact, compile_bytes
from tests.ops.single_operator import constant, drawn

LEAST_RAM = Objective("ram")


def fully_connected(b: ModelBuilder, source: int, depth: int, out: int, zero_point: int, *, weights_at: int = 0) -> int:
    rng = np.random.default_rng(out)
    values = rng.integers(-127, 128, (out, depth)).astype(np.int8)
    weights = b.constant(
        values, [drawn(rng, 0.002, 0.05) for _ in range(1 if weights_at else out)], zero_point=weights_at
    )
    hidden = b.activation((1, out), 0.4, zero_point)
    return b.operator("FULLY_CONNECTED", [source, weights, -1], hidden, "FullyConnectedOptions")


def reduced(b: ModelBuilder, name: str, source: int, shape: tuple[int, ...], axes: list[int], zero_point: int) -> int:
    scale = 0.1 if name.startswith("REDUCE") else 0.07
    output = b.activation(shape, scale, zero_point)
    return b.operator(name, [source, b.constant(constant(axes))], output, "ReducerOptions", KeepDims=len(shape) == 4)


def pooled(b: ModelBuilder, name: str, source: int, shape: tuple[int, ...], zero_point: int, **fields: int) -> int:
    output = b.activation(shape, 0.1, zero_point)
    return b.operator(name, [source], output, "Pool2DOptions", Padding=1, **fields)


def window(height: int, width: int, stride: int, activation: int = 0) -> dict[str, int]:
    fields = {"FilterHeight": height, "FilterWidth": width, "StrideH": stride, "StrideW": width}
    return {**fields, "FusedActivationFunction": activation}


def model(which: str, zero_point: int) -> bytes:
    """A map of 12 rows of 6 pixels, which has to be made, and what is taken of it."""
    b = ModelBuilder()
    source = b.activation((1, 12, 6, 5), 0.1, 3)
    made = b.quantize(source, 0.1, zero_point)
    result = {
        "MEAN": lambda: reduced(b, "MEAN", made, (1, 5), [1, 2], zero_point),
        "SUM of all": lambda: reduced(b, "SUM", made, (1, 1, 1, 1), [1, 2, 3], 5),
        "MEAN of columns": lambda: reduced(b, "MEAN", made, (1, 1, 6, 5), [1], -11),
        "MEAN but of columns": lambda: reduced(b, "MEAN", made, (1, 1, 6, 1), [1, 3], -11),
        "REDUCE_MAX": lambda: reduced(b, "REDUCE_MAX", made, (1, 1, 1, 5), [1, 2], zero_point),
        "REDUCE_MIN": lambda: reduced(b, "REDUCE_MIN", made, (1, 5), [1, 2], zero_point),
        "whole AVERAGE_POOL_2D": lambda: pooled(
            b, "AVERAGE_POOL_2D", made, (1, 1, 1, 5), zero_point, **window(12, 6, 1)
        ),
        "AVERAGE_POOL_2D": lambda: pooled(b, "AVERAGE_POOL_2D", made, (1, 2, 1, 5), zero_point, **window(5, 6, 6, 1)),
        "whole MAX_POOL_2D": lambda: pooled(b, "MAX_POOL_2D", made, (1, 1, 1, 5), zero_point, **window(12, 6, 2)),
        "MAX_POOL_2D": lambda: pooled(b, "MAX_POOL_2D", made, (1, 3, 3, 5), zero_point, **window(4, 2, 4)),
        "FULLY_CONNECTED": lambda: fully_connected(b, made, 360, 7, zero_point),
        "FULLY_CONNECTED of old files": lambda: fully_connected(b, made, 360, 3, zero_point, weights_at=-9),
    }[which]()
    return b.finish([source], [result])


WHICH = (
    "MEAN", "SUM of all", "MEAN of columns", "MEAN but of columns", "REDUCE_MAX", "REDUCE_MIN", "whole AVERAGE_POOL_2D",
    "AVERAGE_POOL_2D", "whole MAX_POOL_2D", "MAX_POOL_2D", "FULLY_CONNECTED", "FULLY_CONNECTED of old files",
)  # fmt: skip


def runs(compiled: Compilation) -> list[str]:
    return [stage.number for stage in compiled.program.stages if stage.part]


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("zero_point", [-128, 4])
@pytest.mark.parametrize("which", WHICH)
def test_the_map_never_exists(which: str, zero_point: int, tmp_path: Path) -> None:
    compiled = assert_exact(model(which, zero_point), tmp_path, builtin_ref=False, objective=LEAST_RAM)
    assert runs(compiled) == ["1a"]
    assert compiled.plan.working_bytes < 12 * 6 * 5
    assert compiled.proofs.failures == ()


def sample(zero_point: int = -128) -> bytes:
    """A convolution, and a fully connected layer of its map that is a small part of the work."""
    rng, b = np.random.default_rng(5), ModelBuilder()
    source = b.activation((1, 12, 6, 5), 0.1, 3)
    weights = rng.integers(-127, 128, (6, 3, 3, 5)).astype(np.int8)
    value = b.convolution(source, weights, [0.004] * 6, None, scale=0.2, zero_point=zero_point)
    return b.finish([source], [fully_connected(b, value, 432, 5, 4)])


@pytest.mark.usefixtures("compiler")
@EMULATED_CORES
def test_emulated(board: str, tools: tuple[str, ...], require_tool: Any, tmp_path: Path) -> None:
    for tool in tools:
        require_tool(tool)
    assert runs(assert_exact(sample(), tmp_path, board=board, builtin_ref=False)) == ["1a"]


def test_what_costs_more_time_than_it_saves_memory_stays_whole() -> None:
    """Alone, the layer is all of the work, and running products take longer."""
    large = model("FULLY_CONNECTED", 4)
    assert runs(compile_bytes(large)) == []
    assert runs(compile_bytes(large, objective=Objective("time"))) == []
    needed = compile_bytes(large).plan.working_bytes
    assert runs(compile_bytes(large, objective=Objective(max_ram_bytes=needed - 100))) == ["1a"]
    assert runs(compile_bytes(model("MEAN", 4), objective=Objective("time"))) == ["1a"]


def test_vectors_are_faster_than_memory_is_scarce() -> None:
    assert runs(compile_bytes(sample(), target=ESP32S3)) == []


def test_two_cores_wait_for_sums_so_far() -> None:
    compiled = compile_bytes(sample(), objective=Objective(cores=2))
    assert runs(compiled) == ["1a"]
    assert len(set(compiled.plan.cores)) == 2
    assert compiled.proofs.failures == ()
