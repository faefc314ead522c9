"""Kernels of dense convolutions and fully connected layers that read windows as adjacent bytes, over their geometry."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.program.target import ARMV7E_M, REGISTERS_32, VARIANTS, Target
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")

FINEST_SCALE = 3e-7  # outputs so fine that there is no factor: two roundings


def dense(
    shape: tuple[int, int, int], outputs: int, kernel: tuple[int, int], zero_point: int = 3, **options: Any
) -> bytes:
    """One convolution. Its first output channels have the largest weights, of one sign and of both."""
    rng = np.random.default_rng(9)
    b = ModelBuilder()
    source = b.activation((1, *shape), 0.02, zero_point)
    weights = rng.integers(-127, 128, (outputs, *kernel, shape[2])).astype(np.int8)
    weights[0], weights[1 % outputs] = 127, -127
    weights[2 % outputs] = 127 * (-1) ** np.arange(weights[0].size).reshape(weights[0].shape)
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
    scales = list(rng.uniform(0.2, 1, outputs) * 0.04 / np.sqrt(weights[0].size))
    settings = {"scale": 0.04, "zero_point": 10, **options}
    return b.finish([source], [b.convolution(source, weights, scales, bias, **settings)])


def vector(inputs: int, outputs: int, zero_point: int = 3, weight: int | None = None) -> bytes:
    """A fully connected layer."""
    rng = np.random.default_rng(8)
    b = ModelBuilder()
    source = b.activation((1, inputs), 0.02, zero_point)
    weights = rng.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    weights[0] = 127 if weight is None else weight
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
    constants = [b.constant(weights, [0.002]), b.constant(bias, [0.00004])]
    output = b.activation((1, outputs), 0.05, -4)
    return b.finish([source], [b.operator("FULLY_CONNECTED", [source, *constants], output, FusedActivationFunction=0)])


def sample(zero_point: int = -128) -> bytes:
    """Borders and rows outside, an odd number of values, channels and columns, a vector."""
    rng = np.random.default_rng(10)
    b = ModelBuilder()
    source = value = b.activation((1, 7, 9, 3), 0.02, zero_point)
    for outputs, kernel, stride in ((13, (3, 3), (1, 1)), (24, (3, 2), (2, 2)), (10, (1, 1), (1, 1))):
        weights = rng.integers(-127, 128, (outputs, *kernel, b.tensors[value]["shape"][3])).astype(np.int8)
        scales = list(rng.uniform(0.002, 0.01, outputs))
        bias = rng.integers(-900, 900, outputs).astype(np.int32)
        value = b.convolution(value, weights, scales, bias, scale=0.04, zero_point=zero_point, stride=stride)
    height, width, channels = b.tensors[value]["shape"][1:]
    value = b.reshape(value, (1, height * width * channels))
    matrix = b.constant(rng.integers(-127, 128, (5, height * width * channels)).astype(np.int8), [0.001])
    output = b.activation((1, 5), 0.05, 2)
    return b.finish([source], [b.operator("FULLY_CONNECTED", [value, matrix], output, FusedActivationFunction=0)])


CASES = [
    *(
        pytest.param(
            dense((5, width, inputs), outputs, kernel, zero, padding=padding, stride=stride),
            id=f"{kernel[0]}x{kernel[1]}-{width}x{inputs}-to-{outputs}-{padding}-stride-{stride[1]}-zero-{zero}",
        )
        for (kernel, inputs, width, outputs), stride, padding, zero in zip(
            (
                ((3, 3), 1, 9, 5),
                ((3, 3), 3, 7, 16),
                ((3, 3), 4, 6, 17),
                ((1, 5), 3, 19, 4),
                ((4, 7), 3, 3, 6),
                ((3, 3), 5, 1, 7),
                ((1, 1), 25, 3, 33),
            ),
            itertools.cycle(((1, 1), (1, 1), (2, 2))),
            itertools.cycle(("same", "same", "same", "valid", "same", "same", "valid", "same", "same")),
            itertools.cycle((-128, 3, 127, -1)),
            strict=False,
        )
    ),
    pytest.param(dense((3, 5, 6), 6, (3, 3), scale=FINEST_SCALE), id="two-roundings"),
    pytest.param(dense((3, 5, 6), 6, (3, 3), activation="relu6", zero_point=-128, scale=0.02), id="relu6"),
    pytest.param(dense((7, 5, 6), 6, (3, 2), dilation=(2, 1)), id="dilated-rows"),
    *(pytest.param(vector(i, o, zero), id=f"vector-{i}-to-{o}") for i, o, zero in ((24, 3, -128), (63, 40, 5))),
]


@pytest.mark.parametrize("flatbuffer", CASES)
@pytest.mark.parametrize(
    ("target", "template"),
    [
        pytest.param(REGISTERS_32, "portable/conv_2d_paired", id="paired"),
        pytest.param(ARMV7E_M, "armv7e_m/conv_2d", id="dual"),
    ],
)
def test_exact(flatbuffer: bytes, target: Target, template: str, tmp_path: Path) -> None:
    compiled = assert_exact(flatbuffer, tmp_path, target=target)
    assert compiled.program.stages[-1].kernel.template == template


@pytest.mark.parametrize("zero_point", [-128, 3])
@pytest.mark.parametrize("board", ["rv32-qemu", "cortex-m4-qemu"])
def test_exact_where_it_runs(board: str, zero_point: int, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool({"rv32-qemu": "qemu-system-riscv32", "cortex-m4-qemu": "qemu-system-arm"}[board])
    target = {"rv32-qemu": REGISTERS_32, "cortex-m4-qemu": ARMV7E_M}[board]
    assert_exact(sample(zero_point), tmp_path, board=board, target=target)


def _template(flatbuffer: bytes, target: Target = REGISTERS_32) -> str:
    return compile_bytes(flatbuffer, target=target).program.stages[-1].kernel.template


def test_which_layers_take_them() -> None:
    assert _template(vector(24, 3)) == "portable/conv_2d_paired"
    assert _template(vector(16, 3)) == "portable/conv_2d_pointwise"  # splitting costs more than it saves
    assert _template(vector(24, 3, weight=-128)) == "portable/conv_2d_pointwise"  # 2 * 128 * 128 needs 17 bits
    assert _template(dense((3, 9, 2), 4, (3, 3), dilation=(1, 2))) == "portable/conv_2d"  # taps are not adjacent
    assert _template(dense((3, 9, 128), 4, (3, 3))) == "portable/conv_2d"  # too large a window to copy at borders
    assert _template(dense((3, 9, 128), 4, (3, 3), padding="valid")) == "portable/conv_2d_paired"
    assert _template(vector(24, 3, weight=-128), ARMV7E_M) == "armv7e_m/conv_2d"
    assert _template(dense((3, 9, 2), 4, (3, 3), dilation=(1, 2)), ARMV7E_M) == "portable/conv_2d"
    assert _template(vector(24, 3), VARIANTS[REGISTERS_32.name]["compact"]) == "portable/conv_2d_pointwise"


def test_sums_that_do_not_fit_are_found() -> None:
    stage = compile_bytes(vector(24, 4)).program.stages[-1]
    tables = {table.name: table for table in stage.tables}
    assert stage.kernel.differences(tables) == ()
    words = tables["weights"].values.copy()
    words[5] = 128
    tables["weights"] = replace(tables["weights"], values=words)
    assert stage.kernel.differences(tables) == ("the sum of two products reaches 32768, beyond 16 bits",)
