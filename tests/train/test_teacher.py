"""A given teacher answers in logits: a last sigmoid or softmax is taken off, what cannot be is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_train.data.dataset import Dataset
from nanou_train.errors import TrainError
from nanou_train.experiments.keys import as_config


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def _teacher(path: Path, last: Callable[[Any, Any], Any]) -> Any:
    import keras

    from nanou_train.networks.saving import save_model

    keras.utils.set_random_seed(3)
    image = keras.Input((24, 32, 3))
    model = keras.Model(image, last(keras, image), name="teacher")
    save_model(model, path)
    return model


LAST: dict[str, Callable[[Any, Any], Any]] = {
    "linear": lambda keras, x: keras.layers.Conv2D(1, 1, name="conv")(x),
    "sigmoid": lambda keras, x: keras.layers.Conv2D(1, 1, activation="sigmoid", name="conv")(x),
    "layer": lambda keras, x: keras.layers.Activation("sigmoid")(keras.layers.Conv2D(1, 1, name="conv")(x)),
    "operation": lambda keras, x: keras.ops.sigmoid(keras.layers.Conv2D(1, 1, name="conv")(x)),
}


def _opened(path: Path, data: Dataset) -> Any:
    from nanou_train.training.given_teacher import open_teacher

    return open_teacher(as_config({"input_size": [24, 32]}), path, data)


@pytest.mark.parametrize("last", LAST)
def test_a_last_sigmoid_is_taken_off(last: str, tmp_path: Path, small: Dataset) -> None:
    saved = _teacher(tmp_path / "te.keras", LAST[last])
    found = _opened(tmp_path / "te.keras", small)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 24, 32, 3)).astype(np.float32)
    kernel, bias = saved.get_layer("conv").get_weights()
    assert found.predict(x, verbose=0) == pytest.approx(x @ kernel[0, 0] + bias, abs=1e-5)


def test_another_activation_is_refused(tmp_path: Path, small: Dataset) -> None:
    _teacher(tmp_path / "te.keras", lambda keras, x: keras.layers.Conv2D(1, 1, activation="relu")(x))
    with pytest.raises(TrainError, match="ends in relu, not in logits"):
        _opened(tmp_path / "te.keras", small)


def _probable(keras: Any, x: Any, channels: int = 1) -> Any:
    name = "sigmoid" if channels == 1 else "softmax"
    return keras.layers.Conv2D(channels, 1, activation=name)(x)


DISGUISED: dict[str, Callable[[Any, Any], Any]] = {
    "enlarged": lambda keras, x: keras.layers.UpSampling2D(2)(_probable(keras, keras.layers.MaxPooling2D(2)(x))),
    "two channels": lambda keras, x: keras.layers.Activation("linear")(_probable(keras, x, 2)),
    "averaged models": lambda keras, x: keras.layers.Average()(
        [keras.Model(image := keras.Input(x.shape[1:]), _probable(keras, image))(x) for _ in range(2)]
    ),
    "clipped": lambda keras, x: keras.ops.clip(keras.layers.Conv2D(1, 1)(x), 0.0, 1.0),  # known by the answers alone
}


@pytest.mark.parametrize("last", DISGUISED)
def test_probabilities_in_disguise_are_refused(last: str, tmp_path: Path, small: Dataset) -> None:
    """Something follows the sigmoid."""
    _teacher(tmp_path / "te.keras", DISGUISED[last])
    with pytest.raises(TrainError, match=r"lies in 0\.\.1: probabilities, not logits"):
        _opened(tmp_path / "te.keras", small)


def test_logits_may_lie_in_0_to_1(tmp_path: Path, small: Dataset) -> None:
    """As a teacher's do that was trained for a moment."""
    saved = _teacher(tmp_path / "te.keras", LAST["linear"])
    saved.get_layer("conv").set_weights([np.full((1, 1, 3, 1), 1e-3), np.full(1, 0.5)])
    saved.save(tmp_path / "te.keras")
    assert _opened(tmp_path / "te.keras", small).predict(np.zeros((1, 24, 32, 3)), verbose=0).max() == 0.5


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_two_channels_are_the_logit_of_the_second(activation: str | None, tmp_path: Path, small: Dataset) -> None:
    """In the data's order; the other order is noticed by the masks."""
    drivable = small.train.masks == 1
    brighter = small.train.images[drivable].mean() > small.train.images[~drivable].mean()
    saved = _teacher(tmp_path / "te.keras", lambda keras, x: keras.layers.Conv2D(2, 1, activation=activation)(x))
    middle = (small.train.images[drivable].mean() + small.train.images[~drivable].mean()) / 2 / 127.5 - 1
    sign = 1.0 if brighter else -1.0
    kernel = np.zeros((1, 1, 3, 2), np.float32)
    kernel[..., 1] = sign
    bias = np.array([0.0, -3 * sign * middle], np.float32)
    saved.layers[-1].set_weights([kernel, bias])
    saved.save(tmp_path / "te.keras")
    found = _opened(tmp_path / "te.keras", small)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 24, 32, 3)).astype(np.float32)
    assert found.predict(x, verbose=0)[..., 0] == pytest.approx(sign * x.sum(axis=-1) + bias[1], abs=1e-4)
    saved.layers[-1].set_weights([kernel[..., ::-1], bias[::-1]])
    saved.save(tmp_path / "te.keras")
    with pytest.raises(TrainError, match="fits 'drivable' better than the second"):
        _opened(tmp_path / "te.keras", small)


def test_a_network_for_any_size_takes_the_students(tmp_path: Path, small: Dataset) -> None:
    import keras

    image = keras.Input((None, None, 3))
    keras.Model(image, keras.layers.Conv2D(1, 3, padding="same")(image)).save(tmp_path / "te.keras")
    assert _opened(tmp_path / "te.keras", small).output_shape == (None, 24, 32, 1)


SHAPES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "two outputs": (lambda keras, x: [keras.layers.Conv2D(1, 1)(x), keras.layers.Conv2D(1, 1)(x)], "2 outputs"),
    "a half": (lambda keras, x: keras.layers.Conv2D(1, 1)(keras.layers.MaxPooling2D(2)(x)), r"answers \(12, 16, 1\)"),
    "channels first": (
        lambda keras, x: keras.layers.Permute((3, 1, 2))(keras.layers.Conv2D(1, 1)(x)), r"answers \(1, 24, 32\)",
    ),
    "a vector": (lambda keras, x: keras.layers.Dense(1)(keras.layers.Flatten()(x)), r"answers \(1,\)"),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_what_gives_no_logit_for_each_pixel_is_refused(shape: str, tmp_path: Path, small: Dataset) -> None:
    last, said = SHAPES[shape]
    _teacher(tmp_path / "te.keras", last)
    with pytest.raises(TrainError, match=said):
        _opened(tmp_path / "te.keras", small)
