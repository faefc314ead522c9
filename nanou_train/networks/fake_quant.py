"""Train with fake quantization in Keras 3: the network computes in float what the int8 model will compute.

Weights: symmetric int8 per output channel, scale = max |w| / 127, so the converter finds the same grid again. Batch
normalization needs no second convolution to be folded: it multiplies each output channel by one factor, and rounding
to a grid that follows the largest weight commutes with that, Q(f w) = f Q(w). Activations: uint8-like affine grids
whose range is an exponential moving average of batch extremes, or is learned by gradient (Choi et al. 2018, PACT,
arXiv 1805.06085). With `requantization` "power_of_two", behind ReLU the step of a range is a power of two, and the step
of a channel's folded weights is the least power of two that holds them (`networks.power_of_two`). Rounding passes
gradients straight through (Bengio et al. 2013, arXiv 1308.3432); both as in Jacob et al. 2018 (arXiv 1712.05877).
`quantization_aware` puts these layers into a model wherever TFLite will round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from codegen.start_tensorflow import import_tensorflow
from nanou_train.errors import ConfigError
from nanou_train.networks.distribution import largest
from nanou_train.networks.inference import forget_graph
from nanou_train.networks.layers import DepthToSpace, FusedBatchNormalization
from nanou_train.networks.power_of_two import covering_exponent, nearest_exponent, power_of_two, weight_unit

tf = import_tensorflow()
import keras  # noqa: E402
import numpy as np  # noqa: E402

Tensor = Any
Ranges = Literal["ema", "learned"]
Requantization = Literal["any", "power_of_two"]
LEVELS = 127.0  # of a symmetric int8 weight, to each side of 0
# Scale 1/127, zero point 0. With the range -1..1, whose scale is 1/127.5, every 8-bit pixel would lie in the middle
# between two steps, and which one it gets would hang on the last bit of a float.
INPUT_RANGE = (-128.0 / 127.0, 1.0)
POWER_OF_TWO_INPUT_RANGE = (-1.0, 127.0 / 128.0)  # scale 1/128; the brightest of 256 values is the second brightest too
PACKAGE = "nanou_train"
_KEEP_GRID = (
    "AveragePooling2D", "Concatenate", "Cropping2D", "DepthToSpace", "Dropout", "MaxPooling2D", "Resize",
    "UpSampling2D", "ZeroPadding2D",
)  # fmt: skip


@tf.custom_gradient
def _rounded(values: Tensor) -> Any:
    return tf.round(values), lambda upstream: upstream


def kernel_scale(kernel: Tensor, channel_axes: tuple[int, ...], unit: Tensor | None = None) -> Tensor:
    """Find the step of each output channel's int8 grid, (.., C): largest weight / 127, or 2^k times `unit`."""
    others = [axis for axis in range(len(kernel.shape)) if axis not in channel_axes]
    top = tf.reduce_max(tf.abs(tf.stop_gradient(kernel)), others, keepdims=True)
    step = tf.where(top > 0, top, tf.ones_like(top)) / LEVELS
    return step if unit is None else power_of_two(covering_exponent(step / unit)) * unit


def fake_quantized_kernel(kernel: Tensor, channel_axes: tuple[int, ...], unit: Tensor | None = None) -> Tensor:
    """Round a kernel to int8 grids, one per output channel; same shape. All-zero channels stay zero."""
    scale = kernel_scale(kernel, channel_axes, unit)
    return _rounded(kernel / scale) * scale


@dataclass(frozen=True, eq=False)
class DeviceArithmetic:
    """One convolution in TFLite's integers, with its normalization folded in (networks.device_arithmetic).

    `kernel` holds int8 values as float32; `multiplier` (output steps per accumulator step, signed as the folded
    factor), `bias` (output steps) and `halves` (2^k for the k bits of the second rounding) are float64 (C,).
    """

    input_step: float
    output_step: float
    kernel: Any
    multiplier: Any
    bias: Any
    halves: Any

    def outputs(self, convolution: Callable[[Tensor, Tensor], Tensor], inputs: Tensor) -> Tensor:
        """float32 on the output's grid. Accumulators are integers, exact in float32 below 2^24."""
        accumulators = convolution(tf.round(inputs / self.input_step), tf.constant(self.kernel))
        steps = tf.cast(accumulators, tf.float64) * self.multiplier + self.bias
        once = tf.floor(tf.abs(steps) * self.halves + 0.5)
        twice = tf.sign(steps) * tf.floor(once / self.halves + 0.5)
        return tf.cast(twice * self.output_step, tf.float32)


@keras.saving.register_keras_serializable(package=PACKAGE)
class FakeQuantConv2D(keras.layers.Conv2D):
    """Conv2D whose kernel is rounded to int8 per output channel on every call. `enabled` turns that off."""

    enabled = True
    device: DeviceArithmetic | None = None

    def kernel_for_call(self) -> Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        return fake_quantized_kernel(kernel, (3,), weight_unit(self)) if self.enabled else kernel

    def call(self, inputs: Tensor) -> Tensor:
        if self.device is not None:
            return self.device.outputs(self.convolution_op, inputs)
        outputs = self.convolution_op(inputs, self.kernel_for_call())
        return outputs + self.bias if self.use_bias else outputs


@keras.saving.register_keras_serializable(package=PACKAGE)
class FakeQuantDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D whose kernel is rounded to int8 per channel on every call. `enabled` turns that off."""

    enabled = True
    device: DeviceArithmetic | None = None

    def kernel_for_call(self) -> Tensor:
        kernel = tf.convert_to_tensor(self.kernel)
        return fake_quantized_kernel(kernel, (2, 3), weight_unit(self)) if self.enabled else kernel

    def call(self, inputs: Tensor) -> Tensor:
        if self.device is not None:
            return self.device.outputs(self._convolution, inputs)
        outputs = self._convolution(inputs, self.kernel_for_call())
        return outputs + self.bias if self.use_bias else outputs

    def _convolution(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        return keras.ops.depthwise_conv(
            inputs, kernel, strides=self.strides, padding=self.padding, dilation_rate=self.dilation_rate
        )


@keras.saving.register_keras_serializable(package=PACKAGE)
class FakeQuant(keras.layers.Layer):
    """Rounds activations to 256 levels of a range that it keeps: any shape in, the same shape out.

    The range starts at (low, high) and follows the smallest and largest value of each training batch with `momentum`
    (`ranges` "ema"), or gradients move it ("learned"). A low end of 0, behind ReLU, stays there. A range is always
    widened to contain 0, which TFLite must represent exactly. With `power_of_two` its high end is the nearest 255 *
    2^k, not above `high`, where the activation clamps. `enabled` turns rounding off, `frozen` stops updates; both are
    plain attributes, read when a graph is traced.
    """

    def __init__(
        self,
        low: float,
        high: float,
        *,
        ranges: Ranges = "ema",
        fixed: bool = False,
        momentum: float = 0.98,
        power_of_two: bool = False,
        **names: Any,
    ) -> None:
        super().__init__(**names)
        self.settings = {"low": low, "high": high, "ranges": ranges, "fixed": fixed, "momentum": momentum}
        self.power_of_two = power_of_two
        self.momentum, self.moves_low, self.clamp = momentum, low < 0, high
        self.observes = ranges == "ema" and not fixed
        self.enabled, self.frozen = True, False
        learned = ranges == "learned" and not fixed
        self.high = self.add_weight(name="high", initializer=_constant(high), trainable=learned)
        self.low = self.add_weight(name="low", initializer=_constant(low), trainable=learned and self.moves_low)

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:
        if training and self.observes and self.trainable and not self.frozen:
            self._observe(tf.stop_gradient(inputs))
        if not self.enabled:
            return inputs
        low, high = self.ends()
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=8)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Give the ends of the range that rounding takes; gradients pass to those that are kept."""
        low, high = tf.minimum(self.low, 0.0), tf.maximum(self.high, 1e-3)
        if self.power_of_two:
            exponent = nearest_exponent(high / 255.0, at_most=self.clamp / 255.0)
            high = tf.stop_gradient(255.0 * power_of_two(exponent)) + (high - tf.stop_gradient(high))
        return low, high

    def step(self) -> float:
        """Give the scale that the converter makes of the range: computed in float32, as the file holds it."""
        low, high = self.ends()
        return float(np.float32((float(high) - float(low)) / 255.0))

    def _observe(self, inputs: Tensor) -> None:
        ends = [(self.high, largest(tf.reduce_max(inputs)))]
        if self.moves_low:
            ends.append((self.low, -largest(-tf.reduce_min(inputs))))
        for end, extreme in ends:
            end.assign(end * self.momentum + extreme * (1.0 - self.momentum))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.settings, "power_of_two": self.power_of_two}


def quantization_aware(
    model: keras.Model, *, ranges: Ranges = "ema", requantization: Requantization = "any"
) -> keras.Model:
    """Copy a float model, its weights too, into one that rounds where the int8 model will.

    Rounded are the input (-1..1, the preprocessing contract's), every kernel, the output of every ReLU, and the
    logits. Poolings, resizes and depth to space only move values and keep their input's grid; tensors that are
    concatenated share one.
    Raises ConfigError for a layer that this does not know how to treat.
    """
    shared, logits = _shared_ranges(model), _logits_of(model)
    made: dict[int, Any] = {}
    values: dict[int, Any] = {}
    for operation in model.operations:
        node = operation._inbound_nodes[0]
        source, result = node.input_tensors, node.output_tensors[0]
        if not source:
            inputs = keras.Input(result.shape[1:], name=operation.name)
            values[id(result)] = FakeQuant(*INPUT_RANGE, fixed=True, name=f"{operation.name}_range")(inputs)
            continue
        given = [values[id(tensor)] for tensor in source]
        copy = _quantized_operation(operation)
        out = copy(given if type(operation).__name__ == "Concatenate" else given[0])
        is_output = result is logits
        if isinstance(operation, keras.layers.ReLU) or is_output:
            group = shared.get(id(result), id(result))
            if group not in made:
                ends = (-8.0, 8.0) if is_output else (0.0, float(operation.max_value or 6.0))
                made[group] = FakeQuant(*ends, ranges=ranges, name=f"{operation.name}_range")
            out = made[group](out)
        values[id(result)] = out
    quantized = keras.Model(inputs, values[id(model.outputs[0])], name=model.name)
    copy_weights(model, quantized)
    set_requantization(quantized, requantization)
    return quantized


def set_requantization(model: keras.Model, requantization: Requantization) -> None:
    """Let the scales of a quantization-aware model be powers of two, or any again; counts for graphs traced afterwards.

    The logits' scale stays any: with results of both signs, a power of two would gain nothing.
    """
    is_power = requantization == "power_of_two"
    for layer in model.layers:
        if isinstance(layer, FakeQuant) and layer.settings["fixed"]:
            layer.low.assign((POWER_OF_TWO_INPUT_RANGE if is_power else INPUT_RANGE)[0])
            layer.high.assign((POWER_OF_TWO_INPUT_RANGE if is_power else INPUT_RANGE)[1])
        elif isinstance(layer, FakeQuant):
            layer.power_of_two = is_power and not layer.moves_low
    forget_graph(model)


def requantization_of(model: keras.Model) -> Requantization:
    """Tell which scales a model has; "any" for one that is not quantization-aware."""
    is_power = any(layer.power_of_two for layer in model.layers if isinstance(layer, FakeQuant))
    return "power_of_two" if is_power else "any"


def is_quantization_aware(model: keras.Model) -> bool:
    return any(isinstance(layer, FakeQuant) for layer in model.layers)


def set_rounding(model: keras.Model, enabled: bool) -> None:
    """Let a model round, or compute as the float network that it came from; affects graphs traced afterwards."""
    layers = [x for x in model.layers if isinstance(x, FakeQuant | FakeQuantConv2D | FakeQuantDepthwiseConv2D)]
    if any(layer.enabled != enabled for layer in layers):
        forget_graph(model)
    for layer in layers:
        layer.enabled = enabled


def set_frozen(model: keras.Model, frozen: bool) -> None:
    """Set whether training keeps ranges and moving statistics and normalizes by them; read when tracing."""
    for layer in model.layers:
        if isinstance(layer, FakeQuant | FusedBatchNormalization):
            layer.frozen = frozen


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Copy the weights of layers that both models have, by layer name."""
    for layer in target.layers:
        if layer.weights and not isinstance(layer, FakeQuant):
            layer.set_weights(source.get_layer(layer.name).get_weights())


def _logits_of(model: keras.Model) -> Tensor:
    """Find what the last convolution gives: the output, or what depth to space makes the output of."""
    output = model.outputs[0]
    operation, node_index, _ = output._keras_history
    return operation._inbound_nodes[node_index].input_tensors[0] if isinstance(operation, DepthToSpace) else output


def _quantized_operation(operation: Any) -> Any:
    """Return the layer to use in place of `operation`: a copy, unless it has a kernel."""
    kinds: dict[type, Any] = {
        keras.layers.Conv2D: FakeQuantConv2D,
        keras.layers.DepthwiseConv2D: FakeQuantDepthwiseConv2D,
    }
    if type(operation) in kinds and operation.activation is keras.activations.linear:
        return kinds[type(operation)].from_config(operation.get_config())
    is_relu = isinstance(operation, keras.layers.ReLU) and not operation.negative_slope
    if is_relu or isinstance(operation, keras.layers.BatchNormalization) or type(operation).__name__ in _KEEP_GRID:
        return operation.from_config(operation.get_config())
    inside = f" with its activation {operation.activation.__name__} inside" if type(operation) in kinds else ""
    raise ConfigError(
        f"no quantization-aware form of {type(operation).__name__} ({operation.name}){inside}",
        hint="train with student.quantization.aware: false, or choose another student.preset",
    )


def _shared_ranges(model: keras.Model) -> dict[int, int]:
    """Tensor -> the concatenation whose grid it must use, for every ReLU output that reaches one unchanged."""
    producers = {id(op._inbound_nodes[0].output_tensors[0]): op for op in model.operations}
    shared: dict[int, int] = {}

    def reach(tensor: Any, group: int) -> None:
        operation = producers[id(tensor)]
        if isinstance(operation, keras.layers.ReLU):
            shared[id(tensor)] = group
        elif type(operation).__name__ in _KEEP_GRID:
            for source in operation._inbound_nodes[0].input_tensors:
                reach(source, group)

    for operation in model.operations:
        if type(operation).__name__ == "Concatenate":
            reach(operation._inbound_nodes[0].output_tensors[0], id(operation))
    return shared


def _constant(value: float) -> Any:
    return keras.initializers.Constant(value)
