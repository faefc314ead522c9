"""Our batch normalization against Keras' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

SHAPE = (4, 6, 5, 3)


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    from codegen.start_tensorflow import import_tensorflow

    import_tensorflow()


def _layers(**options: Any) -> list[Any]:
    import keras

    from nanou_train.networks.layers import FusedBatchNormalization

    layers = [kind(momentum=0.9, **options) for kind in (FusedBatchNormalization, keras.layers.BatchNormalization)]
    rng = np.random.default_rng(0)
    weights = [rng.uniform(0.5, 1.5, 3), rng.normal(size=3), rng.normal(size=3), rng.uniform(0.5, 1.5, 3)]
    for layer in layers:
        layer.build(SHAPE)
        layer.set_weights(weights)
    return layers


@pytest.mark.parametrize("training", [True, False])
def test_outputs_gradients_and_statistics_are_those_of_keras(training: bool) -> None:
    import tensorflow as tf

    rng = np.random.default_rng(1)
    x, upstream = (tf.constant(rng.normal(2, 3, SHAPE).astype(np.float32)) for _ in range(2))
    results = []
    for layer in _layers():
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
        gradients = tape.gradient(y, [x, *layer.trainable_variables], upstream)
        results.append([y, *gradients, layer.moving_mean])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


def test_the_moving_variance_is_of_the_unbiased_estimate() -> None:
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    layer = _layers()[0]
    before = layer.moving_variance.numpy()
    layer(x, training=True)
    expected = 0.9 * before + 0.1 * x.reshape(-1, 3).var(axis=0, ddof=1)
    np.testing.assert_allclose(layer.moving_variance, expected, rtol=1e-5)


def test_frozen_it_uses_and_keeps_its_moving_statistics() -> None:
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    layer = _layers()[0]
    layer.frozen = True
    before = layer.get_weights()
    np.testing.assert_allclose(layer(x, training=True), layer(x, training=False))
    assert all(np.array_equal(one, other) for one, other in zip(before, layer.get_weights(), strict=True))
