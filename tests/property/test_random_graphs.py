"""Random small graphs: every interpreter agrees with the oracle, the plan proves itself, and compiled C is exact.

One compiled program costs half a second, so most examples stop at the interpreters and the plan.
"""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codegen.compile import Compiled
from codegen.objective import OPTIMIZE, Objective, Optimize
from codegen.target import VARIANTS, Target
from tests.exactness import assert_exact, assert_interpreters_agree, compile_bytes, frames_for
from tests.model_builder import ModelBuilder

ZERO_POINTS = st.sampled_from([-128, -127, -35, 0, 3, 64, 127])
SCALES = st.floats(math.log(1e-3), math.log(2.0)).map(math.exp)


@st.composite
def graphs(draw: st.DrawFn) -> bytes:
    """One to six operators over one image; concatenation joins with any earlier value of the same size."""
    b = ModelBuilder()
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    source = value = b.activation((1, height, width, draw(st.integers(1, 4))), draw(SCALES), draw(ZERO_POINTS))
    values = [source]
    for _ in range(draw(st.integers(1, 6))):
        value = _operator(draw, b, value, values)
        values.append(value)
    return b.finish([source], [value])


def _operator(draw: st.DrawFn, b: ModelBuilder, value: int, values: list[int]) -> int:
    shape = b.tensors[value]["shape"]
    kinds = ["conv", "depthwise", "pool", "resize", "concatenation", "pad", "quantize", "logistic", "reshape"]
    match draw(st.sampled_from(kinds)):
        case "conv" | "depthwise" as kind:
            return _convolution(draw, b, value, kind == "depthwise")
        case "pool":
            window = draw(st.integers(1, min(3, shape[1]))), draw(st.integers(1, min(3, shape[2])))
            stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
            return b.max_pool(value, window, stride, draw(st.sampled_from(["same", "valid"])))
        case "resize":
            whole = shape[1] * draw(st.integers(1, 3)), shape[2] * 2
            size = whole if draw(st.booleans()) else (draw(st.integers(1, 12)), draw(st.integers(1, 12)))
            align = draw(st.booleans())
            return b.resize_nearest(
                value, size, align_corners=align, half_pixel_centers=not align and draw(st.booleans())
            )
        case "concatenation":
            tensor = b.tensors[value]
            alike = [v for v in values if _joinable(b.tensors[v], tensor)]
            return b.concatenate([value, draw(st.sampled_from(alike))])
        case "pad":
            amounts = [(0, 0)] + [(draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in range(3)]
            return b.pad(value, amounts)
        case "quantize":
            return b.quantize(value, draw(SCALES), draw(ZERO_POINTS))
        case "logistic":
            return b.logistic(value)
        case _:
            return b.reshape(value, (1, shape[2], shape[1], shape[3]))


def _joinable(a: dict[str, object], b: dict[str, object]) -> bool:
    same = all(a[key] == b[key] for key in ("scales", "zeros"))
    return same and tuple(a["shape"])[:3] == tuple(b["shape"])[:3]  # type: ignore[arg-type]


def _convolution(draw: st.DrawFn, b: ModelBuilder, value: int, depthwise: bool) -> int:
    _, height, width, in_channels = b.tensors[value]["shape"]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    padding = draw(st.sampled_from(["same", "valid"]))
    limit = 4 if padding == "same" else 3
    kernel = draw(st.integers(1, min(limit, height))), draw(st.integers(1, min(limit, width)))
    channels = in_channels * draw(st.integers(1, 2)) if depthwise else draw(st.integers(1, 5))
    shape = (1, *kernel, channels) if depthwise else (channels, *kernel, in_channels)
    if draw(st.booleans()):  # what fast kernels are made for
        shape = (1, 3, 3, in_channels) if depthwise else (channels, 1, 1, in_channels)
        return _add_convolution(draw, b, value, rng, shape, depthwise, {"padding": "same"})
    dilated = padding == "same" and draw(st.booleans())
    stride = (1, 1) if dilated else (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    geometry = {"stride": stride, "dilation": (2, 2) if dilated else (1, 1), "padding": padding}
    return _add_convolution(draw, b, value, rng, shape, depthwise, geometry)


def _add_convolution(
    draw: st.DrawFn,
    b: ModelBuilder,
    value: int,
    rng: np.random.Generator,
    shape: tuple[int, ...],
    depthwise: bool,
    geometry: dict[str, Any],
) -> int:
    channels = shape[3 if depthwise else 0]
    return b.convolution(
        value,
        rng.integers(-127, 128, shape).astype(np.int8),
        list(np.exp(rng.uniform(math.log(1e-4), math.log(0.05), channels))),
        rng.integers(-20000, 20000, channels).astype(np.int32),
        scale=draw(SCALES),
        zero_point=draw(ZERO_POINTS),
        depthwise=depthwise,
        activation=draw(st.sampled_from(["none", "relu", "relu6", "relu_n1_to_1"])),
        **geometry,
    )


def _interpreters_differ(compiled: Compiled) -> bool:
    """Whether TFLM and BUILTIN_REF are known to disagree: see test_logistic.test_coarse_scales."""
    logistics = (op for op in compiled.graph.operators if op.stem == "logistic")
    return any(compiled.graph.tensor(op.inputs[0]).scale > 0.5 for op in logistics)


@settings(max_examples=150)
@given(graphs())
def test_interpreters_agree(flatbuffer: bytes) -> None:
    compiled = compile_bytes(flatbuffer)
    frames = frames_for(compiled, count=3)
    assert_interpreters_agree(compiled, frames, builtin_ref=not _interpreters_differ(compiled))
    together = sum(-(-p.size_bytes // 16) * 16 for p in compiled.plan.placements if p.region == "work")
    assert compiled.plan.working_bytes <= together
    assert all(1 <= p.depth_rows <= p.rows for p in compiled.plan.placements)
    least = compile_bytes(flatbuffer, objective=Objective("ram")).plan  # every plan proves itself
    assert least.working_bytes <= compiled.plan.working_bytes


@pytest.mark.usefixtures("compiler")
@settings(max_examples=60)
@given(
    graphs(),
    st.sampled_from([target for family in VARIANTS.values() for target in family.values()]),
    st.sampled_from(OPTIMIZE),
)
def test_compiled_c_is_exact(flatbuffer: bytes, target: Target, optimize: Optimize) -> None:
    with TemporaryDirectory() as folder:
        differ = _interpreters_differ(compile_bytes(flatbuffer))
        objective = Objective(optimize)
        assert_exact(flatbuffer, Path(folder), builtin_ref=not differ, target=target, objective=objective)
