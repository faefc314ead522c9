"""Random small models: any mixture of the supported operators, with quantization that converters would never choose.

The source of randomness is a seeded `random.Random`: what one machine draws, every other one draws too.
"""

from __future__ import annotations

import math
from random import Random
from typing import Any

import numpy as np

from codegen.tflite.builder import ModelBuilder
from tests.ops import contributions

MAX_BYTES = 4096  # of an activation: beyond it, nothing new happens
KINDS = "conv conv conv depthwise depthwise depthwise pool resize upsample join join pad quantize logistic reshape"
CONTRIBUTED = contributions("random_layer")  # by operator
ACTIVATIONS = ("none", "none", "relu", "relu6", "relu_n1_to_1")


def random_model(rng: Random, most_operators: int = 7) -> bytes:
    """One image in, one image out; any earlier value may come back through a concatenation."""
    b = ModelBuilder()
    shape = (1, rng.randint(1, 12), rng.randint(1, 12), rng.choice([1, 1, 2, 3, 3, 4, 7]))
    values = [b.activation(shape, _scale(rng), _zero_point(rng))]
    for _ in range(rng.randint(1, most_operators)):
        before = len(b.operators)
        made = _operator(rng, b, values)
        if math.prod(b.tensors[made]["shape"]) > MAX_BYTES:
            del b.operators[before:]
        else:
            values.append(made)
    if len(values) == 1:
        values.append(b.quantize(values[0], _scale(rng), _zero_point(rng)))
    return b.finish([values[0]], [values[-1]])


def _operator(rng: Random, b: ModelBuilder, values: list[int]) -> int:
    value = values[-1]
    _, height, width, channels = b.tensors[value]["shape"]
    match rng.choice([*KINDS.split(), *CONTRIBUTED]):
        case "conv":
            return _convolution(rng, b, value, depthwise=False)
        case "depthwise":
            return _convolution(rng, b, value, depthwise=True)
        case "pool":
            window = rng.randint(1, min(4, height)), rng.randint(1, min(4, width))
            stride = rng.randint(1, 4), rng.randint(1, 4)
            return b.max_pool(value, window, stride, rng.choice(["same", "valid"]), rng.choice(ACTIVATIONS))
        case "resize":
            whole = height * rng.randint(1, 3), width * 2
            size = whole if rng.random() < 0.5 else (rng.randint(1, 14), rng.randint(1, 14))
            align = rng.random() < 0.3
            return b.resize_nearest(
                value, size, align_corners=align, half_pixel_centers=not align and rng.random() < 0.7
            )
        case "upsample":  # with what may be folded into it
            if rng.random() < 0.5:
                value = _convolution(rng, b, value, depthwise=False, zero_point=-128)
            height, width = b.tensors[value]["shape"][1:3]
            big = b.resize_nearest(value, (height * rng.choice([2, 2, 3]), width * 2))
            return _convolution(rng, b, big, depthwise=True)
        case "join":
            return _join(rng, b, value, rng.choice(values))
        case "pad":
            return b.pad(value, [(0, 0)] + [(rng.randint(0, 2), rng.randint(0, 2)) for _ in range(3)])
        case "quantize":
            return b.quantize(value, _scale(rng), _zero_point(rng))
        case "logistic":
            return b.logistic(value)
        case "reshape":
            return b.reshape(value, (1, width, height, channels))
        case operator:
            return int(CONTRIBUTED[operator](rng, b, values))


def _join(rng: Random, b: ModelBuilder, value: int, other: int) -> int:
    """A skip connection: `other` gets the size and the quantization of `value`."""
    here, there = b.tensors[value], b.tensors[other]
    if here["shape"][1:3] != there["shape"][1:3]:
        other = b.resize_nearest(other, here["shape"][1:3])
    if (here["scales"], here["zeros"]) != (there["scales"], there["zeros"]):
        other = b.quantize(other, here["scales"][0], here["zeros"][0])
    return b.concatenate([value, other] if rng.random() < 0.5 else [other, value])


def _convolution(rng: Random, b: ModelBuilder, value: int, *, depthwise: bool, zero_point: int | None = None) -> int:
    _, height, width, in_channels = b.tensors[value]["shape"]
    channels = in_channels * rng.choice([1, 1, 1, 2, 3]) if depthwise else rng.choice([1, 2, 3, 4, 4, 5, 8, 9])
    padding = rng.choice(["same", "valid"])
    kernel, stride, dilation = (3, 3) if depthwise else (1, 1), (1, 1), (1, 1)
    if rng.random() < 0.65:  # else what special kernels are made for
        kernel = rng.choice([(1, 1), (2, 2), (3, 3), (3, 3), (5, 5), (rng.randint(1, 6), rng.randint(1, 6))])
        stride, dilation = rng.choice(
            [((1, 1), (1, 1)), ((2, 2), (1, 1)), ((rng.randint(1, 3), rng.randint(1, 3)), (1, 1)), ((1, 1), (2, 3))]
        )
    if any((k - 1) * d >= n for k, d, n in zip(kernel, dilation, (height, width), strict=True)):
        padding = "same"
    shape = (1, *kernel, channels) if depthwise else (channels, *kernel, in_channels)
    weights, scales, bias = _parameters(rng, shape, 3 if depthwise else 0)
    geometry: dict[str, Any] = {"stride": stride, "dilation": dilation, "padding": padding}
    taps = kernel[0] * kernel[1] * (1 if depthwise else in_channels)
    # How many times the output's range the sums reach, if all of them were at their largest.
    reach = math.exp(rng.uniform(math.log(0.05), math.log(50)))
    input_scale = b.tensors[value]["scales"][0]
    scale = input_scale * float(np.mean(scales)) * taps * 60 / reach
    if not (1e-7 < scale < 1e7 and rng.random() < 0.8):
        scale = _scale(rng)
    # Below it, int32 overflows in TFLite's shift to the left, and the compiler refuses the model.
    largest = 255 * 128 * taps + int(np.abs(bias.astype(np.int64)).max())
    return b.convolution(
        value,
        weights,
        scales,
        bias,
        scale=max(scale, input_scale * max(scales) * largest * 2.0**-29),
        zero_point=_zero_point(rng) if zero_point is None else zero_point,
        depthwise=depthwise,
        activation=rng.choice(ACTIVATIONS),
        **geometry,
    )


def _parameters(rng: Random, shape: tuple[int, ...], axis: int) -> tuple[Any, list[float], Any]:
    """Weights, their scales (one, or one for each channel) and biases; some channels dead, constant or at the limit."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    channels = shape[axis]
    weights = np.clip(numbers.normal(0, rng.choice([3, 40, 120]), shape), -127, 127).round()
    by_channel = np.moveaxis(weights, axis, 0)
    scales = np.exp(numbers.uniform(math.log(1e-4), math.log(0.05), channels))
    if rng.random() < 0.3:
        scales = scales[:1].repeat(channels)
    taps = math.prod(shape) // channels
    bias = numbers.integers(-40 * taps - 200, 40 * taps + 200, channels) * rng.choice([0, 1, 1, 60])
    for channel in range(channels):
        match rng.choice(["usual"] * 12 + ["dead", "silent", "largest", "one tap"]):
            case "dead":  # as pruning leaves it
                by_channel[channel], bias[channel] = 0, 0
            case "silent":  # a constant
                by_channel[channel] = 0
            case "largest":
                by_channel[channel] = rng.choice([-127, 127, -128])
            case "one tap":
                by_channel[channel].flat[1:] = 0
    per_tensor = len(set(scales.tolist())) == 1 and rng.random() < 0.5
    kept = scales[:1] if per_tensor else scales
    return weights.astype(np.int8), [float(s) for s in kept], bias.astype(np.int32)


def _scale(rng: Random) -> float:
    return math.exp(rng.uniform(math.log(1e-3), math.log(2.0)))


def _zero_point(rng: Random) -> int:
    return rng.choice([-128, -128, -128, 127, 0, rng.randint(-128, 127)])
