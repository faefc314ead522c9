"""Fake quantization: its arithmetic, where it is put, and that the int8 model computes what the trained graph does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.errors import ModelError
from codegen.graph.contract import input_lookup
from codegen.graph.model import Preprocessing
from codegen.tflite.interpreters import run_builtin_ref
from codegen.tflite.load import load_graph
from codegen.tflite.quantize import quantize
from nanou_train.data import terrain
from nanou_train.data.dataset import Split, terrain_dataset
from nanou_train.errors import ConfigError
from nanou_train.experiments.keys import as_config

HEIGHT, WIDTH = 24, 32


@pytest.fixture(autouse=True)
def _seeded(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    from codegen.start_tensorflow import import_tensorflow

    import_tensorflow()
    import keras

    keras.utils.set_random_seed(4)


def _float_model(*, skips: bool = False, filters: tuple[int, ...] = (4, 6), stem: int = 0) -> Any:
    from nanou_train.networks.architectures import create_nano_u

    return create_nano_u((HEIGHT, WIDTH, 3), filters, 8, skips=skips, stem=stem)


def _ranges(model: Any) -> list[Any]:
    from nanou_train.networks.fake_quant import FakeQuant

    return [layer for layer in model.layers if isinstance(layer, FakeQuant)]


def test_kernels_lie_on_one_grid_per_channel_and_commute_with_channel_factors() -> None:
    import tensorflow as tf

    from nanou_train.networks.fake_quant import fake_quantized_kernel

    kernel = tf.random.normal((1, 1, 8, 5)) * tf.constant([1e-3, 0.1, 1.0, 30.0, 0.0])
    rounded = fake_quantized_kernel(kernel, (3,)).numpy()
    top = np.abs(kernel.numpy()).max(axis=(0, 1, 2))
    steps = rounded[..., :4] / (top[:4] / 127)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
    assert np.abs(steps).max() == pytest.approx(127)
    assert (rounded[..., 4] == 0).all()
    assert (np.abs(rounded - kernel.numpy()) <= top / 254 * 1.0001).all()
    factors = tf.constant([2.0, -0.3, 7.0, 1e-2, 5.0])
    np.testing.assert_allclose(fake_quantized_kernel(kernel * factors, (3,)), rounded * factors.numpy(), rtol=1e-5)


def test_rounding_passes_the_gradient_straight_through() -> None:
    import tensorflow as tf

    from nanou_train.networks.fake_quant import FakeQuant, fake_quantized_kernel

    kernel, upstream = tf.random.normal((3, 3, 4, 1)), tf.random.normal((3, 3, 4, 1))
    inside = tf.constant([[-0.5, 0.2, 0.9]])
    layer = FakeQuant(-1.0, 1.0)
    with tf.GradientTape() as tape:
        tape.watch([kernel, inside])
        value = tf.reduce_sum(fake_quantized_kernel(kernel, (2, 3)) * upstream) + tf.reduce_sum(3 * layer(inside))
    gradients = tape.gradient(value, [kernel, inside])
    np.testing.assert_allclose(gradients[0], upstream)
    np.testing.assert_allclose(gradients[1], 3.0)


def test_ranges_follow_batches_until_they_are_frozen() -> None:
    from nanou_train.networks.fake_quant import FakeQuant

    layer = FakeQuant(0.0, 6.0, momentum=0.5)
    x = np.array([[0.0, 1.0, 2.0]], np.float32)
    layer(x)
    assert float(layer.high) == 6.0, "inference must not move a range"
    layer(x, training=True)
    assert (float(layer.low), float(layer.high)) == (0.0, 4.0)
    layer.frozen = True
    layer(x, training=True)
    assert float(layer.high) == 4.0
    fixed = FakeQuant(-1.0, 1.0, fixed=True)
    fixed(x, training=True)
    assert (float(fixed.low), float(fixed.high), fixed.trainable_variables) == (-1.0, 1.0, [])


def test_learned_ranges_get_a_gradient_from_what_they_clip() -> None:
    import tensorflow as tf

    from nanou_train.networks.fake_quant import FakeQuant

    layer = FakeQuant(0.0, 2.0, ranges="learned")
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(tf.constant([[0.5, 3.0, 5.0]]), training=True))
    assert [variable.name for variable in layer.trainable_variables] == ["high"]
    assert float(tape.gradient(value, layer.trainable_variables)[0]) == 2.0
    assert float(layer.high) == 2.0


def test_without_rounding_it_is_the_float_network() -> None:
    from nanou_train.networks.fake_quant import quantization_aware, set_rounding

    model = _float_model(skips=True)
    x = np.random.default_rng(0).uniform(-1, 1, (2, HEIGHT, WIDTH, 3)).astype(np.float32)
    quantized = quantization_aware(model)
    rounded = quantized(x).numpy()
    set_rounding(quantized, False)
    np.testing.assert_allclose(quantized(x), model(x), atol=1e-6)
    assert np.abs(rounded - model(x)).max() > 1e-4


def test_the_graph_that_infers_follows_what_is_set() -> None:
    from nanou_train.networks.fake_quant import quantization_aware, set_rounding
    from nanou_train.networks.inference import infer

    model = quantization_aware(_float_model(filters=(4,)))
    x = np.random.default_rng(0).uniform(-1, 1, (3, HEIGHT, WIDTH, 3)).astype(np.float32)
    rounded = infer(model, x, 2)
    np.testing.assert_allclose(rounded, model(x), atol=1e-6)
    set_rounding(model, False)
    np.testing.assert_allclose(infer(model, x, 2), model(x), atol=1e-6)
    assert np.abs(rounded - model(x)).max() > 1e-4


def test_concatenated_tensors_share_one_range() -> None:
    from nanou_train.networks.fake_quant import quantization_aware

    model = quantization_aware(_float_model(skips=True))
    counts = {layer.name: len(layer._inbound_nodes) for layer in _ranges(model)}
    assert sorted(counts.values())[-2:] == [2, 2], counts
    assert sum(counts.values()) == 2 + 2 * 10  # input and logits, and two ReLUs in each of ten blocks


@pytest.mark.parametrize("layer", ["UpSampling2D", "AveragePooling2D", "ZeroPadding2D", "Dropout"])
def test_what_keeps_values_keeps_the_range_they_share(layer: str) -> None:
    """On its way to a concatenation: another range there would be a QUANTIZE operator on the device."""
    import keras

    from nanou_train.networks.fake_quant import quantization_aware

    inputs = keras.Input((8, 8, 3))
    near, far = (keras.layers.ReLU(6.0)(keras.layers.Conv2D(2, 1, use_bias=False)(inputs)) for _ in range(2))
    given = {"ZeroPadding2D": 1, "Dropout": 0.1}.get(layer, 2)
    sides = [getattr(keras.layers, layer)(given)(side) for side in (near, far)]
    model = quantization_aware(
        keras.Model(inputs, keras.layers.Conv2D(1, 1)(keras.layers.Concatenate()(sides)), name="small")
    )
    assert sorted(len(range_._inbound_nodes) for range_ in _ranges(model)) == [1, 1, 2]


UNKNOWN: dict[str, Callable[[Any, Any], Any]] = {
    r"Conv2DTranspose \(x\)": lambda layers, x: layers.Conv2DTranspose(1, 2, name="x")(x),
    r"Add \(x\)": lambda layers, x: layers.Add(name="x")([x, x]),
    r"Rescaling \(x\)": lambda layers, x: layers.Rescaling(2.0, name="x")(x),
    r"Conv2D \(x\) with its activation relu": lambda layers, x: layers.Conv2D(1, 1, activation="relu", name="x")(x),
    r"ReLU \(x\)": lambda layers, x: layers.ReLU(negative_slope=0.1, name="x")(x),
}  # fmt: skip


@pytest.mark.parametrize("said", UNKNOWN)
def test_a_layer_that_it_does_not_know_is_refused(said: str) -> None:
    """It would compute in float what the device rounds, or leave an activation out."""
    import keras

    from nanou_train.networks.fake_quant import quantization_aware

    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, UNKNOWN[said](keras.layers, inputs))
    with pytest.raises(ConfigError, match=f"no quantization-aware form of {said}"):
        quantization_aware(model)


@pytest.mark.parametrize(
    ("skips", "ranges", "requantization", "stem"),
    [(False, "ema", "any", 4), (True, "learned", "power_of_two", 0)],
)
def test_the_int8_model_computes_what_the_trained_graph_computes(
    tmp_path: Path, skips: bool, ranges: Any, requantization: Any, stem: int
) -> None:
    """Trained a little, saved, loaded, converted: same operators, same ranges, and the same logits, byte for byte.

    Those of the graph alone, without what integer arithmetic adds, are the same almost everywhere. Where scales are
    trained to be powers of two, so are all factors of the file but the logits'.
    """
    import tensorflow as tf

    from nanou_train.networks.fake_quant import quantization_aware, requantization_of, set_frozen
    from nanou_train.networks.saving import load_model, save_model
    from nanou_train.runs.quantize_run import logit_agreement
    from nanou_train.runs.run_folder import weights_sha256
    from nanou_train.training.train import train_single_model

    data = terrain_dataset({"train": 32, "val": 4, "test": 4}, seed=0, height_px=HEIGHT, width_px=WIDTH)
    model = quantization_aware(
        _float_model(skips=skips, filters=(4,), stem=stem), ranges=ranges, requantization=requantization
    )
    config = as_config({"epochs": 3, "batch_size": 8, "learning_rate": 0.01, "freeze_epochs": 1})
    train_single_model(model, config, data.train)
    set_frozen(model, False)
    observe = tf.function(lambda x: model(x, training=True), autograph=False)
    for _ in range(200):  # ranges and statistics that a longer training would have reached
        observe(Preprocessing(HEIGHT, WIDTH).normalize(data.train.images[:16]))
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert weights_sha256(loaded) == weights_sha256(model)

    contract = Preprocessing(HEIGHT, WIDTH)
    pixels = np.concatenate(
        [
            np.random.default_rng(1).integers(0, 256, (8, HEIGHT, WIDTH, 3), np.uint8),
            terrain.generate(16, seed=9, height_px=HEIGHT, width_px=WIDTH)[0],
        ]
    )
    is_power = requantization_of(loaded) == "power_of_two"
    int8 = quantize(loaded, None, name="t", preprocessing=contract, provenance={}, power_of_two=is_power)
    graph = load_graph(int8.flatbuffer)
    *hidden, _logits = [_factors(graph, operator) for operator in graph.operators if "conv_2d" in operator.stem]
    mantissas = np.frexp(np.concatenate(hidden))[0]
    assert np.all(mantissas == 0.5) if requantization == "power_of_two" else np.all(mantissas != 0.5)
    assert not [operator.label for operator in graph.operators if operator.stem == "quantize"]
    last = _ranges(loaded)[-1]
    assert graph.output.scale == pytest.approx((float(last.high) - float(last.low)) / 255, rel=1e-5)
    device = run_builtin_ref(int8.flatbuffer, input_lookup(int8, graph)[pixels])
    assert device.astype(np.float32).std() > 5, "logits that hardly vary would prove nothing"
    split = Split(pixels, np.zeros(pixels.shape[:3], np.uint8), ("",) * len(pixels))
    found = logit_agreement(loaded, int8, split)
    assert found["matched"]["equal"] > 0.999, found  # 1, but for a scale that the converter rounded otherwise
    assert found["as_trained"]["within_1"] > 0.4, found  # so little trained, one step off soon becomes many


def _factors(graph: Any, operator: Any) -> Any:
    """By what each channel's accumulator is multiplied, as TFLite computes it."""
    source, weights, output = (graph.tensor(i) for i in (*operator.inputs[:2], operator.outputs[0]))
    return np.array(weights.scales, np.float64) * source.scale / output.scale


def test_scales_are_powers_of_two_where_they_are_asked_for_and_any_again() -> None:
    from nanou_train.networks.fake_quant import quantization_aware, requantization_of, set_requantization

    model = quantization_aware(_float_model(), requantization="power_of_two")
    first, *hidden, _logits = [layer.step() for layer in _ranges(model)]
    assert first == 2.0**-7
    assert set(hidden) == {2.0**-6}  # ReLU6 ends at 6: 255 steps of 2**-5 would end at 7.97, behind it
    set_requantization(model, "any")
    assert requantization_of(model) == "any"
    assert _ranges(model)[0].step() == pytest.approx(1 / 127)
    with pytest.raises(ConfigError, match=r"requantization"):
        as_config({"requantization": "power_of_two"})


def test_a_missing_range_is_noticed() -> None:
    import keras

    from nanou_train.networks.fake_quant import FakeQuant

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 1)(FakeQuant(-1.0, 1.0)(inputs))
    x = keras.layers.Conv2D(1, 1)(x)  # from here to the next range, nobody said what rounds how
    model = keras.Model(inputs, FakeQuant(-4.0, 4.0)(x), name="gap")
    with pytest.raises(ModelError, match="gap lacks a range"):
        quantize(model, None, name="t", preprocessing=Preprocessing(8, 8), provenance={})
