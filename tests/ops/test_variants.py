"""Every variant of every target: the fast kernels at widths and channel counts that no block size divides."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.kernels.blocks import Blocks
from codegen.kernels.portable.conv_2d_pointwise import Conv2DPointwise
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.target import VARIANTS, XTENSA, Target, find_target
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

TARGETS = [
    pytest.param(target, id=f"{family}-{variant}".replace(" ", "-"))
    for family, variants in VARIANTS.items()
    for variant, target in variants.items()
]


def build(width: int, zero_point: int, activation: str = "none") -> bytes:
    """Pointwise, depthwise, pooling, upsampling into depthwise, pointwise."""
    rng, b = np.random.default_rng(width), ModelBuilder()

    def convolution(source: int, shape: tuple[int, ...], scale: float, zero_point: int, depthwise: bool) -> int:
        channels = shape[3 if depthwise else 0]
        return b.convolution(
            source,
            rng.integers(-127, 128, shape).astype(np.int8),
            list(rng.uniform(0.001, 0.004, channels)),
            rng.integers(-3000, 3000, channels).astype(np.int32),
            scale=scale,
            zero_point=zero_point,
            depthwise=depthwise,
            activation=activation,
        )

    source = b.activation((1, 6, width, 3), 0.02, -3)
    value = convolution(source, (21, 1, 1, 3), 0.01, zero_point, False)
    value = convolution(value, (1, 3, 3, 21), 0.01, zero_point, True)
    window = (2, min(2, width))
    value = b.max_pool(value, window, window)
    _, height, width, _ = b.tensors[value]["shape"]
    value = convolution(value, (5, 1, 1, 21), 0.02, -128, False)
    value = b.resize_nearest(value, (2 * height, 2 * width))
    value = convolution(value, (1, 3, 3, 5), 0.02, zero_point, True)
    return b.finish([source], [convolution(value, (6, 1, 1, 5), 0.02, zero_point, False)])


def sample() -> bytes:
    """Every kernel of rows in blocks; the last block is only in part of the row."""
    return build(36, -128)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize(("width", "zero_point"), [(1, -128), (27, 20)])
@pytest.mark.parametrize("target", TARGETS)
def test_exact(target: Target, width: int, zero_point: int, tmp_path: Path) -> None:
    compiled = assert_exact(build(width, zero_point), tmp_path, target=target)
    templates = {stage.kernel.template for stage in compiled.program.stages}
    general = {"portable/conv_2d", "portable/depthwise_conv_2d", "portable/max_pool_2d"}
    has_neighbours = width > 1 or target.vector_blocks  # the S3 puts channels into lanes where there are no columns
    assert templates & general == (set() if has_neighbours else {"portable/depthwise_conv_2d"})
    folded = any("/depthwise_conv_2d_3x3_upsampled" in template for template in templates)
    assert folded == (width > 1) or target.vector_blocks  # which layouts take least there is another question


@pytest.mark.parametrize("target", TARGETS)
def test_generated_c_is_clean(target: Target, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    write_project(render_aot(compile_bytes(build(27, -128), target=target)), tmp_path / "library")
    flags = ("-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-fsyntax-only")
    sources = [str(tmp_path / "library" / "src" / "sample.c"), f"-I{tmp_path / 'library' / 'include'}"]
    done = subprocess.run([require_tool("gcc", "clang"), *flags, *sources], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("zero_point", [-128, 20])
@pytest.mark.parametrize("activation", ["none", "relu_n1_to_1"])
def test_xtensa_clamps_exactly(
    zero_point: int, activation: str, tmp_path: Path, require_tool: Callable[..., str]
) -> None:
    """CLAMPS in bytes of both storages, and other limits without it."""
    for tool in ("clang-22", "llc-22", "llvm-mc-22", "xtensa-lx106-elf-ld", "qemu-system-xtensa", "gcc"):
        require_tool(tool)
    flatbuffer = build(7, zero_point, activation)
    assert_exact(flatbuffer, tmp_path, board="xtensa-qemu", target=XTENSA)


def test_isas_find_their_target() -> None:
    for isa, family in (
        ("rv32imc", "32 registers"),
        ("native", "16 registers"),
        ("armv7e-m", "Armv7E-M"),
        ("xtensa-lx6", "Xtensa"),
        ("xtensa-esp32s3", "ESP32-S3"),
    ):
        assert find_target(isa) is find_target(isa, "balanced") is VARIANTS[family]["balanced"]
        assert len({find_target(isa, variant) for variant in ("compact", "balanced", "fast")}) == 3


def test_a_split_row_computes_no_pixel_twice() -> None:
    """11 pixels in blocks of 4: the default steps back by one pixel, the fast variant has code for 3."""
    flatbuffer = build(11, 20)
    balanced, fast = (
        compile_bytes(flatbuffer, target=find_target("rv32imc", variant)).program.stages[0].kernel
        for variant in ("balanced", "fast")
    )
    assert isinstance(balanced, Conv2DPointwise)
    assert isinstance(fast, Conv2DPointwise)
    assert (balanced.pixel_blocks, balanced.step_back_pixels) == ((Blocks(4, 3),), 1)
    assert (fast.pixel_blocks, fast.step_back_pixels) == ((Blocks(4, 2), Blocks(3, 1, first=8)), 0)
