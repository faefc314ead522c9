"""A small U-Net of depthwise-separable blocks, as create_nano_u builds it, with random weights."""

from __future__ import annotations

import numpy as np

from codegen.tflite.builder import ModelBuilder


def separable_u_net(size: tuple[int, int] = (24, 16), widths: tuple[int, ...] = (6, 8), bottleneck: int = 10) -> bytes:
    """int8 (1, height, width, 3) -> (1, height, width, 1), with skip connections; sides divide by 2 at each stage."""
    rng = np.random.default_rng(11)
    b = ModelBuilder()

    def convolution(source: int, channels: int, kernel: int, depthwise: bool, **options: object) -> int:
        width = b.tensors[source]["shape"][3]
        shape = (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, width)
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        scales = list(rng.uniform(0.004, 0.01, channels))
        bias = rng.integers(-300, 300, channels).astype(np.int32)
        settings = {"scale": 0.04, "zero_point": -128, "activation": "relu6", **options}
        return b.convolution(source, weights, scales, bias, depthwise=depthwise, **settings)  # type: ignore[arg-type]

    def block(source: int, channels: int) -> int:
        return convolution(convolution(source, b.tensors[source]["shape"][3], 3, True), channels, 1, False)

    source = b.activation((1, *size, 3), 1 / 127.5, 0)
    value, skips = source, []
    for width in widths:
        value = block(block(value, width), width)
        skips.append(value)
        value = b.max_pool(value, (2, 2), (2, 2))
    value = block(block(value, bottleneck), bottleneck)
    for width, skip in zip(widths[::-1], skips[::-1], strict=True):
        rows, columns = b.tensors[skip]["shape"][1:3]
        value = block(block(b.concatenate([b.resize_nearest(value, (rows, columns)), skip]), width), width)
    return b.finish([source], [convolution(value, 1, 1, False, activation="none", scale=0.1, zero_point=4)])
