"""Kernels with dual 16-bit multiply-accumulate: against every interpreter, on this computer and on Cortex-M4."""

from __future__ import annotations

import ctypes
import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.kernels.armv7e_m.pairs import pack_pairs
from codegen.library.resources import render_template
from codegen.program.target import ARMV7E_M, REGISTERS_16
from codegen.tflite.builder import ModelBuilder
from tests.exactness import assert_exact, compile_bytes

pytestmark = pytest.mark.usefixtures("compiler")


def pointwise(
    channels: tuple[int, int], width: int = 5, input_zero_point: int = 3, *, storage: str = "int8", **options: Any
) -> bytes:
    """A 1x1 convolution of a frame, or (uint8) of what another one left behind."""
    rng = np.random.default_rng(6)
    b = ModelBuilder()
    inputs, outputs = channels
    source = value = b.activation((1, 2, width, inputs), 0.02, input_zero_point)
    if storage == "uint8":
        value = _pass_on(b, value, inputs)
    weights = _with_extremes(rng.integers(-127, 128, (outputs, 1, 1, inputs)))
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
    scales = list(rng.uniform(0.001, 0.01, outputs))
    return b.finish(
        [source], [b.convolution(value, weights, scales, bias, **{"scale": 0.04, "zero_point": 10, **options})]
    )


def depthwise(
    size: tuple[int, int],
    channels: int = 3,
    input_zero_point: int = 3,
    *,
    storage: str = "int8",
    factors: tuple[int, int] | None = None,
    **options: Any,
) -> bytes:
    """A 3x3 depthwise convolution, behind nearest upsampling where there are `factors`."""
    rng = np.random.default_rng(7)
    b = ModelBuilder()
    source = value = b.activation((1, *size, channels), 0.02, input_zero_point)
    if storage == "uint8":
        value = _pass_on(b, value, channels)
    if factors:
        value = b.resize_nearest(value, (size[0] * factors[0], size[1] * factors[1]))
    weights = _with_extremes(rng.integers(-127, 128, (1, 3, 3, channels)))
    bias = rng.integers(-3000, 3000, channels).astype(np.int32)
    scales = list(rng.uniform(0.001, 0.01, channels))
    options = {"scale": 0.04, "zero_point": 10, **options}
    return b.finish([source], [b.convolution(value, weights, scales, bias, depthwise=True, **options)])


def _pass_on(b: ModelBuilder, value: int, channels: int) -> int:
    """A layer whose output has zero point -128, so it is stored as uint8; each channel goes through as it is."""
    weights = (127 * np.eye(channels)).astype(np.int8).reshape(channels, 1, 1, channels)
    none = np.zeros(channels, np.int32)
    return b.convolution(value, weights, [1 / 127] * channels, none, scale=0.02, zero_point=-128)


def _with_extremes(weights: Any) -> Any:
    """The first output channel has weights of the largest magnitude only, of one sign; a second one both signs."""
    channels = weights if weights.shape[0] > 1 else np.moveaxis(weights, -1, 0)
    channels[0] = 127
    if len(channels) > 1:
        channels[1] = -127
    return weights.astype(np.int8)


INT8_AND_UINT8 = ("int8", "uint8")
# Outputs so fine that only factors beyond int16 weights would do.
FINEST_SCALE = 3e-7
CASES = [
    *(
        pytest.param(pointwise((inputs, 5), 1 + inputs % 4, storage=storage), id=f"pointwise-{inputs}-{storage}")
        for inputs, storage in zip((2, 3, 3, 4, 4, 5, 6, 7, 8, 13, 16), itertools.cycle(INT8_AND_UINT8), strict=False)
    ),
    pytest.param(pointwise((8, 1), 1), id="pointwise-one-output-one-pixel"),
    pytest.param(pointwise((8, 4), 8, activation="relu6", zero_point=-128), id="pointwise-relu6"),
    pytest.param(pointwise((8, 4), 8, scale=FINEST_SCALE), id="pointwise-two-roundings"),
    pytest.param(pointwise((4, 2), 8, input_zero_point=-128), id="pointwise-frame-of-minus-128"),
    *(
        pytest.param(depthwise((3, width), storage=storage), id=f"depthwise-{width}-{storage}")
        for width, storage in zip((2, 2, 3, 4, 7, 8, 8, 9, 14), itertools.cycle(INT8_AND_UINT8), strict=False)
    ),
    pytest.param(depthwise((1, 9), 2, activation="relu6"), id="depthwise-one-row-relu6"),
    pytest.param(depthwise((4, 9), 1, input_zero_point=0), id="depthwise-zero-point-0"),
    pytest.param(depthwise((4, 9), 1, input_zero_point=-128), id="depthwise-frame-of-minus-128"),
    pytest.param(depthwise((4, 9), 2, scale=FINEST_SCALE), id="depthwise-two-roundings"),
    *(
        pytest.param(depthwise((3, width), factors=(rows, 2), storage="uint8"), id=f"upsampled-{width}-{rows}x2")
        for width, rows in ((1, 2), (2, 3), (4, 5))
    ),
    pytest.param(depthwise((3, 4), factors=(2, 2), input_zero_point=0), id="upsampled-int8"),
    pytest.param(depthwise((3, 4), factors=(2, 2), storage="uint8", scale=FINEST_SCALE), id="upsampled-two-roundings"),
]


@pytest.mark.parametrize("flatbuffer", CASES)
def test_exact(flatbuffer: bytes, tmp_path: Path) -> None:
    assert_exact(flatbuffer, tmp_path, target=ARMV7E_M)


@pytest.mark.parametrize(
    "flatbuffer",
    [
        pytest.param(pointwise((13, 5), 5), id="pointwise-int8"),
        pytest.param(pointwise((7, 6), 5, storage="uint8"), id="pointwise-uint8"),
        pytest.param(depthwise((3, 9)), id="depthwise-int8"),
        pytest.param(depthwise((3, 14), storage="uint8"), id="depthwise-uint8"),
        pytest.param(depthwise((3, 5), factors=(3, 2), storage="uint8"), id="upsampled"),
    ],
)
def test_exact_with_the_instructions(flatbuffer: bytes, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("qemu-system-arm")
    require_tool("arm-none-eabi-gcc")
    assert_exact(flatbuffer, tmp_path, board="cortex-m4-qemu", target=ARMV7E_M)


def _last(flatbuffer: bytes, target: Any = ARMV7E_M) -> Any:
    return compile_bytes(flatbuffer, target=target).program.stages[-1]


def test_which_layers_take_it() -> None:
    assert _last(pointwise((2, 3))).kernel.template == "armv7e_m/conv_2d_pointwise"
    assert _last(pointwise((1, 3))).kernel.template == "portable/conv_2d_pointwise"  # nothing to pair
    assert _last(pointwise((2, 3), stride=(1, 2))).kernel.template == "armv7e_m/conv_2d"
    assert _last(depthwise((3, 2))).kernel.template == "armv7e_m/depthwise_conv_2d_3x3"
    assert _last(depthwise((3, 1))).kernel.template == "portable/depthwise_conv_2d"  # no column beside the first
    upsampled = depthwise((3, 4), factors=(2, 2), storage="uint8")
    assert _last(upsampled).kernel.template == "armv7e_m/depthwise_conv_2d_3x3_upsampled"
    assert _last(upsampled, REGISTERS_16).kernel.template == "portable/depthwise_conv_2d_3x3_upsampled"


def test_weights_stay_within_int16() -> None:
    """The portable kernel takes factors whose weights need int32; this one then ends in two roundings, with none."""
    flatbuffer = pointwise((8, 4), 8, scale=FINEST_SCALE)
    portable, dual = _last(flatbuffer, REGISTERS_16), _last(flatbuffer)
    assert {table.name: table.values.dtype for table in portable.tables}["weights"] == np.int32
    assert "high_mul" in portable.kernel.requires
    assert "requantize" in dual.kernel.requires


def test_pairs_that_do_not_fit_are_refused() -> None:
    assert pack_pairs(np.array([-1, 32767]), np.array([-32767, 2])).tolist() == [0x8001FFFF, 0x00027FFF]
    with pytest.raises(OverflowError, match="32768 is no int16 weight"):
        pack_pairs(np.array([0]), np.array([32768]))


def test_portable_arithmetic_is_what_the_instructions_do(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    names = {"smlad": "uint32_t a, uint32_t b, int32_t c", "smladx": "uint32_t a, uint32_t b, int32_t c"}
    text = "#include <stdint.h>\n#include <string.h>\n"
    text += "".join(render_template(f"aot/arithmetic/{name}.c.j2") for name in (*names, "load_word"))
    text += "".join(f"int32_t call_{name}({args}) {{ return {name}(a, b, c); }}\n" for name, args in names.items())
    text += "".join(f"uint32_t call_{n}(uint32_t word) {{ return {n}(word); }}\n" for n in ("even_bytes", "odd_bytes"))
    text += "uint32_t call_load_word(const uint8_t *bytes) { return load_word(bytes); }\n"
    (tmp_path / "arithmetic.c").write_text(text)
    command = [
        require_tool("gcc", "clang", "cc"),
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        "-pedantic",
    ]
    command += ["-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-shared", "-fPIC"]
    subprocess.run([*command, "arithmetic.c", "-o", "arithmetic.so"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "arithmetic.so"))

    def half(word: int, high: bool) -> int:
        value = word >> 16 if high else word & 0xFFFF
        return value - 0x10000 if value & 0x8000 else value

    halves = (0, 1, 255, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
    words = [low | high << 16 for low, high in itertools.product(halves, halves)]
    for a, b in itertools.product(words, words):
        straight = half(a, False) * half(b, False) + half(a, True) * half(b, True)
        crossed = half(a, False) * half(b, True) + half(a, True) * half(b, False)
        for name, products in (("smlad", straight), ("smladx", crossed)):
            for total in (-(2**31), -1, 0, 2**31 - 1):
                start = total - products
                # Where the kernels are proven to stay: no partial sum leaves int32.
                if all(-(2**31) <= partial < 2**31 for partial in _partial_sums(start, a, b, name == "smladx", half)):
                    assert getattr(library, f"call_{name}")(ctypes.c_uint32(a), ctypes.c_uint32(b), start) == total
    for word in (0, 0xFFFFFFFF, 0x80FF017F, 0x01020304):
        data = word.to_bytes(4, "little")
        for name, pair in (("even_bytes", data[0] | data[2] << 16), ("odd_bytes", data[1] | data[3] << 16)):
            assert getattr(library, f"call_{name}")(ctypes.c_uint32(word)) & 0xFFFFFFFF == pair
        for offset in range(4):
            unaligned = ctypes.create_string_buffer(bytes(offset) + data)
            assert library.call_load_word(ctypes.byref(unaligned, offset)) & 0xFFFFFFFF == word


def _partial_sums(start: int, a: int, b: int, crossed: bool, half: Callable[[int, bool], int]) -> tuple[int, ...]:
    first = half(a, False) * half(b, crossed)
    return start, start + first, start + first + half(a, True) * half(b, not crossed)
