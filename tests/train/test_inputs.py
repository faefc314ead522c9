"""What is fed is checked: shapes, normalization, masks; and arrays train as their data set does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nanou_train.data.dataset import Split, terrain_dataset
from nanou_train.errors import DataError

SHAPE = (24, 32, 3)
PIXELS = terrain_dataset({"train": 8, "val": 1, "test": 1}, seed=0, height_px=24, width_px=32).train
X = (PIXELS.images.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
Y = PIXELS.masks


@pytest.fixture(scope="module")
def model() -> Any:
    pytest.importorskip("tensorflow")
    from nanou_train.networks.architectures import create_bu_net

    return create_bu_net(SHAPE, (4,), 4)


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


WRONG = [
    (X * 127.5 + 127.5, Y, "values from .* to 255, not normalized", "normalize"),
    (PIXELS.images, Y, "x is uint8: pixels", "normalize"),
    (np.where(X > 0, np.nan, X), Y, "not finite", "makes it"),
    (X[0], Y, r"x is \(24, 32, 3\), bu_net takes \(N, 24, 32, 3\)", "x[None]"),
    (np.moveaxis(X, -1, 1), Y, r"x is \(8, 3, 24, 32\)", "channels come last"),
    (X[:, :12], Y[:, :12], r"x is \(8, 12, 32, 3\)", "resize"),
    (X, Y * 255, "y has 0 and 255 only", "divide"),
    (X, Y[:4], r"y is \(4, 24, 32\), x is \(8, 24, 32, 3\)", "one mask"),
    (X, np.eye(2)[Y], r"y is \(8, 24, 32, 2\)", "one mask"),
]


@pytest.mark.parametrize(("x", "y", "says", "hint"), WRONG, ids=[case[2] for case in WRONG])
def test_a_step_refuses_what_is_not_normalized_or_of_another_shape(
    model: Any, x: Any, y: Any, says: str, hint: str
) -> None:
    import keras

    from nanou_train.training.train import train_step

    before = model.get_weights()
    with pytest.raises(DataError, match=says) as caught:
        train_step(model, None, x, y, keras.optimizers.SGD(0.1))
    assert hint in caught.value.hint
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_a_compiled_step_refuses_shapes_and_types(model: Any) -> None:
    import keras
    import tensorflow as tf

    from nanou_train.training.train import train_step

    def update(x: Any, y: Any) -> Any:
        return train_step(model, None, x, y, keras.optimizers.SGD(0.1))

    for x in (tf.constant(PIXELS.images), tf.constant(X[:, :, :16])):
        step = tf.function(update, autograph=False)  # AutoGraph would make an error of its own of it
        with pytest.raises(DataError, match="x is"):
            step(x, tf.constant(Y))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ((X * 127.5 + 127.5, Y), "not normalized"),
        ((X / 2 + np.float32(0.5), Y), "scaled to 0..1"),
        ((PIXELS.images[0], Y), r"x is \(24, 32, 3\)"),
        ((PIXELS.images, Y * 255), "y has 0 and 255 only"),
        (Split(X, Y, PIXELS.stems), "float32, not uint8"),
        ([], "are empty"),
        (7, "are a int"),
    ],
)
def test_a_training_refuses_arrays_that_are_not(model: Any, data: Any, says: str) -> None:
    from nanou_train.training.train import train_single_model

    with pytest.raises(DataError, match=says):
        train_single_model(model, {"epochs": 1}, data)


def test_pixels_normalized_arrays_and_batches_are_the_same_data(model: Any) -> None:
    import tensorflow as tf

    from nanou_train.training.inputs import as_split

    batches = tf.data.Dataset.from_tensor_slices((X, Y[..., None].astype(np.float32))).batch(3)
    for data in ((PIXELS.images, Y), (X, Y), batches):
        split = as_split(data, model, "training")
        assert np.array_equal(split.images, PIXELS.images)
        assert np.array_equal(split.masks, Y)
        assert len(split) == 8
    assert as_split(PIXELS, model, "training") is PIXELS


def test_arrays_train(model: Any) -> None:
    from nanou_train.training.train import train_single_model

    keys = {"epochs": 2, "batch_size": 4, "debug_mode": True}
    result = train_single_model(model, keys, (X, Y), (PIXELS.images[:2], Y[:2]))
    assert [row["epoch"] for row in result.history] == [1.0, 2.0]
    assert all(0 <= row["val_miou"] <= 1 for row in result.history)
