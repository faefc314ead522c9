"""The teacher that begins with ImageNet's weights: its encoder is what it claims to be, for pictures of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nanou_train.errors import ConfigError, TrainError
from nanou_train.experiments.keys import as_config
from nanou_train.networks.architectures import PRESETS, create_model_from_config, preprocessing_of
from nanou_train.networks.saving import load_model, save_model
from nanou_train.training.start import initial_student

keras = pytest.importorskip("keras")
# Of another implementation of EfficientNet-Lite0 with the weights in float32 (PyTorch), for the input of `waves`: the
# mean and deviation of each stage's features, and three of one pixel's.
REFERENCE = {
    "block00_project_bn": (0.199387, 7.780862, (-1.371557, -1.212503, -1.915046)),
    "block02_sum": (0.262299, 9.831392, (-0.467296, 10.684022, -4.504447)),
    "block04_sum": (-0.580377, 9.330694, (-0.022398, -8.836260, 2.065065)),
}


def waves() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rows, columns = np.mgrid[0:120, 0:160].astype(np.float32)
    return np.stack([np.sin(rows / 7), np.cos(columns / 11), np.sin((rows + columns) / 13)], axis=-1)[None]


def test_the_encoder_computes_what_another_implementation_does() -> None:
    model = create_model_from_config("efficientnet_lite0")
    enlarged = model.get_layer("stem").input
    features = keras.Model(enlarged, [model.get_layer(name).output for name in REFERENCE])(waves(), training=False)
    for found, (mean, deviation, pixel) in zip(features, REFERENCE.values(), strict=True):
        values = np.asarray(found)
        assert values.mean() == pytest.approx(mean, abs=3e-3)
        assert values.std() == pytest.approx(deviation, rel=1e-3)
        np.testing.assert_allclose(values[0, 2, 3, :3], pixel, atol=0.04)  # kernels are kept in float16


@pytest.mark.parametrize(("shape", "classes"), [((60, 80, 3), 2), ((37, 51, 1), 4)])
def test_logits_are_of_the_pictures_size(tmp_path: Path, shape: tuple[int, int, int], classes: int) -> None:
    model = create_model_from_config({"model_name": "efficientnet_lite0", "input_shape": shape, "classes": classes})
    assert model.outputs[0].shape[1:] == (*shape[:2], 1 if classes == 2 else classes)
    again = load_model(save_model(model, tmp_path / "teacher.keras"))
    pixels = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    x = preprocessing_of(model).normalize(pixels)
    np.testing.assert_array_equal(model(x, training=False), again(x, training=False))


def test_grey_is_seen_as_colour() -> None:
    keras.utils.set_random_seed(0)
    colour = create_model_from_config({"model_name": "efficientnet_lite0", "input_shape": (24, 32, 3)})
    grey = create_model_from_config({"model_name": "efficientnet_lite0", "input_shape": (24, 32, 1)})
    grey.set_weights(colour.get_weights())
    x = np.random.default_rng(0).uniform(-1, 1, (1, 24, 32, 1)).astype(np.float32)
    np.testing.assert_allclose(grey(x), colour(np.repeat(x, 3, axis=-1)), rtol=1e-5, atol=1e-5)


def test_seeds_differ_in_the_decoder_alone() -> None:
    made = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        made.append(create_model_from_config({"model_name": "efficientnet_lite0", "input_shape": (24, 32, 3)}))
    same = {
        one.path for one, other in zip(*(model.weights for model in made), strict=True) if np.array_equal(one, other)
    }
    kernels = {one.path for one in made[0].weights if one.name == "kernel"}
    assert kernels - same == {f"{name}/kernel" for name in ("deepest", "up1", "up2", "up3", "pixel_logits")}


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(TrainError, match="decoder of 2 stages"):
        create_model_from_config({"model_name": "efficientnet_lite0", "filters": (8, 8)})
    config = as_config({"model_name": "efficientnet_lite0", "student": {"quantization": {"aware": True}}})
    with pytest.raises(ConfigError, match="no quantization-aware form of Rescaling"):
        initial_student(config, 2)
    assert PRESETS["efficientnet_lite0"].architecture == "efficientnet"
