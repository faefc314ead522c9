"""Generated libraries to look at: models that between them use every kernel, and every way to requantize."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np

from codegen.compile import Compilation, compile_model
from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.target import find_target
from codegen.tflite.builder import ModelBuilder
from nanou_deploy.build.library import open_model
from tests.exactness import compile_bytes
from tests.ops import contributions


def every_kernel() -> bytes:
    """All operators, fast kernels and general ones; zero points of every kind; int16 and int32 weights, 64 bits."""
    rng = np.random.default_rng(11)
    b = ModelBuilder()

    def conv(source: int, channels: int, kernel: tuple[int, int], depthwise: bool = False, **options: object) -> int:
        width = b.tensors[source]["shape"][3]
        shape = (1, *kernel, channels) if depthwise else (channels, *kernel, width)
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        bias = rng.integers(-900, 900, channels).astype(np.int32)
        settings = {"scale": 0.04, "zero_point": -128, **options}
        return b.convolution(
            source, weights, list(rng.uniform(0.002, 0.01, channels)), bias, depthwise=depthwise, **settings
        )

    source = b.activation((1, 10, 14, 3), 1 / 127.5, -1)
    value = conv(source, 3, (3, 3), depthwise=True, zero_point=3)
    value = conv(value, 6, (1, 1), activation="relu6")
    value = conv(value, 12, (3, 2), depthwise=True, stride=(1, 1), padding="same", zero_point=-20)
    value = conv(value, 7, (1, 1), zero_point=10, scale=0.05)
    value = conv(b.pad(value, [(0, 0), (1, 0), (0, 2), (1, 0)]), 8, (3, 3), stride=(2, 2), padding="valid")
    value = b.max_pool(value, (2, 3), (2, 2), "same")
    value = conv(value, 8, (1, 1))
    height, width = b.tensors[value]["shape"][1:3]
    value = conv(b.resize_nearest(value, (3 * height, 2 * width)), 8, (3, 3), depthwise=True)
    value = conv(value, 4, (2, 2), dilation=(2, 2), padding="same", scale=1e-3, zero_point=0)
    value = b.concatenate([value, value], axis=1)
    value = b.concatenate([value, b.quantize(value, 1e-3, 0)], axis=3)
    shape = b.tensors[value]["shape"]
    value = b.reshape(value, (1, shape[2], shape[1], shape[3]))
    value = b.resize_nearest(value, (5, 9))
    return b.finish([source], [b.logistic(conv(value, 2, (1, 1), scale=0.1, zero_point=5))])


def u_net() -> bytes:
    """Skips, QUANTIZE at one of them, PAD with a strided convolution, LOGISTIC at the end."""
    rng = np.random.default_rng(5)
    b = ModelBuilder()

    def conv(source: int, channels: int, kernel: int, depthwise: bool = False, **options: object) -> int:
        width = b.tensors[source]["shape"][3]
        shape = (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, width)
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        scales = list(rng.uniform(0.002, 0.01, channels))
        bias = rng.integers(-900, 900, channels).astype(np.int32)
        settings = {"scale": 0.04, "zero_point": -128, "activation": "relu6", **options}
        return b.convolution(source, weights, scales, bias, depthwise=depthwise, **settings)

    source = b.activation((1, 16, 24, 3), 1 / 127.5, 0)
    first = conv(source, 4, 3)
    skip = conv(conv(first, 4, 3, depthwise=True), 6, 1)
    down = conv(b.pad(skip, [(0, 0), (0, 1), (0, 1), (0, 0)]), 8, 3, stride=(2, 2), padding="valid")
    deep = conv(b.max_pool(down, (2, 2), (2, 2)), 8, 3, dilation=(2, 2), scale=0.06)
    up = b.resize_nearest(deep, (16, 24))
    joined = b.concatenate([b.quantize(skip, 0.06, -128), up])
    logits = conv(joined, 1, 1, activation="none", scale=0.1, zero_point=5)
    return b.finish([source], [b.logistic(logits)])


_GRAPHS = {"u_net": u_net, "every_kernel": every_kernel}
MODELS = ("default", *_GRAPHS)


def small_model() -> QuantizedModel:
    """`u_net` as a whole model, where what is tested does not depend on the network: in a tenth of the time."""
    return QuantizedModel("u_net", u_net(), segmentation(Preprocessing(16, 24), values="probabilities"))


@cache
def compiled(which: str, isa: str = "x86_64") -> Compilation:
    """ "default", "u_net", "every_kernel" or the sample of an operator's test, for a processor."""
    graphs = {**_GRAPHS, **contributions("sample")}
    model = open_model(None) if which == "default" else compile_bytes(graphs[which]()).model
    return compile_model(model, find_target(isa))


def write_library(model: Compilation, folder: Path) -> Path:
    write_project(render_aot(model), folder / "library")
    return folder / "library"


def flip_weight(library: Path, layer: int) -> None:
    """Change one weight of one layer in the generated C, as a bit flip in flash would."""
    (path,) = (library / "src").glob("*_weights.c")
    pattern = re.compile(rf"(\w+_layer_{layer:02d}_weights\[\d+\] = \{{\s*)(-?(?:0x[0-9a-f]+|\d+))")
    text, changed = pattern.subn(lambda m: f"{m[1]}{int(m[2], 0) ^ 0x40}", path.read_text())
    assert changed == 1
    path.write_text(text)
