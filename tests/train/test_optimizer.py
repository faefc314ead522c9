"""One update of vectors is the same as many updates of small tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nanou_train.training.optimizer import VectorAdamW, flattened, unflattened


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def _variables() -> list[Any]:
    import keras

    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape), name=f"weight{i}") for i, shape in enumerate([(3, 2), (4,)])]
    layer = keras.layers.Layer(name="conv_range")
    return [*variables, layer.add_weight(shape=(), initializer=keras.initializers.Constant(2.0), name="high")]


def test_keras_adamw_on_each_variable_gives_the_same() -> None:
    import keras

    gradients = np.random.default_rng(1).normal(size=(5, 11)).astype(np.float32)
    ours, theirs = _variables(), _variables()
    vector = VectorAdamW(ours, 0.1, weight_decay=0.5)
    reference = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    reference.exclude_from_weight_decay(var_names=["high"])
    reference.build(theirs)
    for row in gradients:
        vector.apply(flattened(unflattened(row, ours)))
        reference.apply_gradients(zip(unflattened(row, theirs), theirs, strict=True))
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.array(mine), np.array(other), rtol=1e-6)


def test_without_gradient_weights_only_decay() -> None:
    variables = _variables()
    before = [np.array(variable) for variable in variables]
    VectorAdamW(variables, 0.1, weight_decay=0.5).apply(np.zeros(11, np.float32))
    for variable, value, factor in zip(variables, before, (0.95, 0.95, 1.0), strict=True):
        np.testing.assert_allclose(np.array(variable), value * factor, rtol=1e-6)
