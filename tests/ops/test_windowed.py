"""Convolutions of any window: every geometry on every compiler target, from whole frames and row by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import ModelError
from codegen.kernels import epilogue
from codegen.kernels.blocks import Blocks
from codegen.kernels.portable.conv_2d import Conv2D
from codegen.program.target import REGISTERS_32
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.interpreters import run_tflm
from tests.exactness import assert_exact_every_way, assert_interpreters_agree, compile_bytes, frames_for

pytestmark = pytest.mark.usefixtures("compiler")


def build(
    kernel: tuple[int, int],
    size: tuple[int, int],
    channels: tuple[int, int] = (3, 6),
    *,
    depthwise: bool,
    input_zero_point: int = -20,
    **options: Any,
) -> bytes:
    """`channels` are those before and after, when depthwise the second is a multiple of the first."""
    rng = np.random.default_rng(8)
    b = ModelBuilder()
    source = b.activation((1, *size, channels[0]), 0.02, input_zero_point)
    shape = (1, *kernel, channels[1]) if depthwise else (channels[1], *kernel, channels[0])
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    bias = rng.integers(-3000, 3000, channels[1]).astype(np.int32)
    options = {"scale": 0.05, "zero_point": 10, **options}
    scales = list(rng.uniform(0.001, 0.02, channels[1]))
    return b.finish([source], [b.convolution(source, weights, scales, bias, depthwise=depthwise, **options)])


def conv_2d_of(flatbuffer: bytes) -> Conv2D:
    """As a processor without room for two channels in a word has it."""
    target = replace(REGISTERS_32, paired_products=False)
    kernel = compile_bytes(flatbuffer, target=target).program.stages[0].kernel
    assert isinstance(kernel, Conv2D)
    return kernel


GEOMETRIES = [
    pytest.param({"kernel": (3, 3), "size": (5, 9)}, id="same"),
    pytest.param({"kernel": (5, 4), "size": (6, 7), "padding": "valid"}, id="valid-even"),
    pytest.param({"kernel": (3, 5), "size": (7, 8), "stride": (1, 2)}, id="stride"),
    pytest.param({"kernel": (1, 1), "size": (5, 7), "stride": (2, 3)}, id="pointwise-stride"),
    pytest.param({"kernel": (3, 3), "size": (6, 15), "dilation": (2, 4)}, id="dilation"),
    pytest.param({"kernel": (2, 3), "size": (8, 9), "dilation": (3, 2), "padding": "valid"}, id="dilation-valid"),
    pytest.param({"kernel": (5, 7), "size": (2, 3)}, id="every-window-overhangs"),
    pytest.param({"kernel": (2, 2), "size": (3, 3), "dilation": (1, 5)}, id="a-window-without-a-pixel"),
    pytest.param({"kernel": (2, 2), "size": (4, 1), "dilation": (2, 3)}, id="no-window-with-a-pixel"),
    pytest.param({"kernel": (4, 4), "size": (4, 4), "padding": "valid"}, id="whole-image"),
    pytest.param({"kernel": (3, 3), "size": (4, 6), "channels": (1, 1)}, id="one-channel"),
    pytest.param({"kernel": (3, 3), "size": (4, 6), "channels": (2, 10), "stride": (2, 2)}, id="many-channels"),
    pytest.param({"kernel": (1, 9), "size": (2, 12), "channels": (2, 4)}, id="wide"),
    pytest.param({"kernel": (1, 33), "size": (1, 40), "channels": (1, 2)}, id="wider-than-a-block-may-be"),
    pytest.param({"kernel": (3, 3), "size": (5, 9), "stride": (2, 2), "input_zero_point": -128}, id="input-minus-128"),
    pytest.param({"kernel": (3, 3), "size": (5, 9), "stride": (2, 2), "input_zero_point": 0}, id="padding-is-0"),
    pytest.param({"kernel": (3, 2), "size": (5, 9), "zero_point": -128, "activation": "relu6"}, id="relu6"),
    pytest.param({"kernel": (3, 2), "size": (5, 9), "scale": 2e-4}, id="left-shift"),
]


@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
@pytest.mark.parametrize("options", GEOMETRIES)
def test_exact(options: dict[str, Any], depthwise: bool, tmp_path: Path) -> None:
    flatbuffer = build(depthwise=depthwise, **options)
    compiled = compile_bytes(flatbuffer)
    frames = frames_for(compiled)
    truth = assert_interpreters_agree(compiled, frames)
    assert_exact_every_way(flatbuffer, tmp_path, frames, truth)


@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
def test_two_roundings_are_exact_too(depthwise: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is known for which no layer of one multiply exists, so the search is kept from finding one."""
    monkeypatch.setattr(epilogue, "find_layer", lambda *_, **__: None)
    flatbuffer = build((3, 2), (5, 6), depthwise=depthwise)
    compiled = compile_bytes(flatbuffer)
    assert compiled.program.stages[0].kernel.requires[0] == "requantize"
    frames = frames_for(compiled)
    truth = assert_interpreters_agree(compiled, frames)
    assert assert_exact_every_way(flatbuffer, tmp_path, frames, truth) == 0


def test_columns_at_the_borders_alone_are_computed_apart() -> None:
    same, valid = (
        conv_2d_of(build((3, 3), (5, 20), depthwise=False, padding=padding)) for padding in ("same", "valid")
    )
    assert (same.interior, same.borders) == (range(1, 19), 2)
    assert (valid.interior, valid.borders) == (range(18), 0)
    assert same.padding_value == -20
    assert valid.padding_value is None


def test_unit_of_work_is_a_block() -> None:
    """Four output channels share each value, and two or three pixels each weight; ten channels are 4 + 4 + 2."""
    kernel = conv_2d_of(build((3, 3), (5, 20), (2, 10), depthwise=False))
    assert kernel.channel_blocks == (Blocks(4, 2), Blocks(2, 1, first=8))
    assert kernel.interior_pixels == (3, 6)


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_are_exact(groups: int, tmp_path: Path) -> None:
    """Weights of a group are 0 for the channels of the others."""
    b = ModelBuilder()
    source = b.activation((1, 5, 6, 8), 0.02, -20)
    rng = np.random.default_rng(groups)
    weights = rng.integers(-128, 128, (8, 3, 3, 8 // groups)).astype(np.int8)
    bias = rng.integers(-3000, 3000, 8).astype(np.int32)
    flatbuffer = b.finish([source], [b.convolution(source, weights, [0.01] * 8, bias, scale=0.05, zero_point=10)])
    frames = frames_for(compile_bytes(flatbuffer))
    assert_exact_every_way(flatbuffer, tmp_path, frames, run_tflm(flatbuffer, frames))


@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
def test_dead_channels_of_negative_scales_are_exact(depthwise: bool, tmp_path: Path) -> None:
    """As old converters leave them: tiny, 0, and such that are not tiny."""
    rng, b = np.random.default_rng(0), ModelBuilder()
    source = b.activation((1, 5, 6, 8), 0.02, -3)
    weights = rng.integers(-128, 128, (1, 3, 3, 8) if depthwise else (8, 3, 3, 8)).astype(np.int8)
    weights.reshape(-1)[:40] = -128
    bias = rng.integers(-3000, 3000, 8).astype(np.int32)
    scales = [-0.01, 0.01, -1e-12, 0.0, 0.002, -0.003, 1e-13, 0.01]
    made = b.convolution(source, weights, scales, bias, depthwise=depthwise, scale=0.05, zero_point=10)
    flatbuffer = b.finish([source], [made])
    frames = frames_for(compile_bytes(flatbuffer))
    assert_exact_every_way(flatbuffer, tmp_path, frames, run_tflm(flatbuffer, frames))


def test_a_negative_scale_elsewhere_is_refused() -> None:
    b = ModelBuilder()
    source = b.activation((1, 4), 0.1, 0)
    other = b.constant(np.ones((1, 4), np.int8), [-0.1])
    with pytest.raises(ModelError, match="not a positive number"):
        compile_bytes(b.finish([source], [b.operator("ADD", [source, other], b.activation((1, 4), 0.2, 0))]))
