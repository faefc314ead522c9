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


@pytest.mark.parametrize("last", LAST)
def test_a_last_sigmoid_is_taken_off(last: str, tmp_path: Path, small: Dataset) -> None:
    from nanou_train.training.start import check_teacher, given_teacher

    saved = _teacher(tmp_path / "te.keras", LAST[last])
    found = given_teacher(as_config({}), tmp_path / "te.keras")
    x = np.random.default_rng(0).uniform(-1, 1, (2, 24, 32, 3)).astype(np.float32)
    kernel, bias = saved.get_layer("conv").get_weights()
    assert found.predict(x, verbose=0) == pytest.approx(x @ kernel[0, 0] + bias, abs=1e-5)
    check_teacher(found, tmp_path / "te.keras", small, (24, 32, 3))


def test_another_activation_is_refused(tmp_path: Path) -> None:
    from nanou_train.training.start import given_teacher

    _teacher(tmp_path / "te.keras", lambda keras, x: keras.layers.Conv2D(1, 1, activation="relu")(x))
    with pytest.raises(TrainError, match="ends in relu, not in logits"):
        given_teacher(as_config({}), tmp_path / "te.keras")


def test_probabilities_in_disguise_are_refused(tmp_path: Path, small: Dataset) -> None:
    """Something follows the sigmoid."""
    from nanou_train.training.start import check_teacher, given_teacher

    def disguised(keras: Any, x: Any) -> Any:
        probable = keras.layers.Conv2D(1, 1, activation="sigmoid")(keras.layers.MaxPooling2D(2)(x))
        return keras.layers.UpSampling2D(2)(probable)

    _teacher(tmp_path / "te.keras", disguised)
    teacher = given_teacher(as_config({}), tmp_path / "te.keras")
    with pytest.raises(TrainError, match=r"lies in 0\.\.1: probabilities, not logits"):
        check_teacher(teacher, tmp_path / "te.keras", small, (24, 32, 3))
