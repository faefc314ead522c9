"""Other colours, the same geometry: what a changed picture keeps, and whose colours it takes."""

from __future__ import annotations

import numpy as np
import pytest

from nanou_train.data.appearance import _take_palette, _take_spectrum, change_appearance
from nanou_train.data.dataset import terrain_dataset
from nanou_train.experiments.keys import as_config
from nanou_train.networks.architectures import create_model_from_config
from nanou_train.training.loop import TrainingLoop

SCENES = terrain_dataset({"train": 16, "val": 1, "test": 1}, seed=3).train


def test_a_share_changes_and_the_rest_stays() -> None:
    before = SCENES.images.copy()
    changed = change_appearance(SCENES.images, np.random.default_rng(1), 0.5)
    same = (changed == SCENES.images).all(axis=(1, 2, 3))
    assert 0 < same.sum() < len(SCENES)
    assert changed.dtype == np.uint8
    assert np.array_equal(SCENES.images, before)
    assert np.array_equal(changed, change_appearance(SCENES.images, np.random.default_rng(1), 0.5))
    assert change_appearance(SCENES.images, np.random.default_rng(1), 0.0) is SCENES.images


def test_edges_stay_where_they_are() -> None:
    def edges(images: np.ndarray) -> np.ndarray:
        grey = images.mean(axis=-1)
        return np.abs(np.diff(grey, axis=1))[:, :, :-1] + np.abs(np.diff(grey, axis=2))[:, :-1]

    changed = change_appearance(SCENES.images, np.random.default_rng(2), 1.0)
    own = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(edges(SCENES.images), edges(changed), strict=True)]
    moved = edges(np.roll(changed, 2, axis=2))
    other = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(edges(SCENES.images), moved, strict=True)]
    assert np.mean(own) > 0.8
    assert np.mean(own) > np.mean(other) + 0.3


def test_a_palette_is_the_donors_and_a_spectrum_keeps_the_phase() -> None:
    class Most(np.random.Generator):
        """Draws the upper end of each range."""

        def uniform(self, low: float, high: float, size: object = None) -> np.ndarray:  # type: ignore[override]
            return np.full(size, high)  # type: ignore[call-overload, no-any-return]

    rng = Most(np.random.PCG64(0))
    own, donors = SCENES.images[:4].astype(np.float32), SCENES.images[4:8].astype(np.float32)
    palette = _take_palette(own, donors, rng)
    assert np.allclose(palette.mean(axis=(1, 2)), donors.mean(axis=(1, 2)), atol=0.1)
    assert np.allclose(palette.std(axis=(1, 2)), donors.std(axis=(1, 2)), rtol=0.25)
    mixed = np.fft.rfft2(_take_spectrum(own, donors, rng), axes=(1, 2))
    before, other = np.fft.rfft2(own, axes=(1, 2)), np.fft.rfft2(donors, axes=(1, 2))
    assert np.allclose(np.abs(mixed[:, 1, 2]), np.abs(other[:, 1, 2]), rtol=1e-3)
    assert np.allclose(np.angle(mixed[:, 1, 2]), np.angle(before[:, 1, 2]), atol=1e-3)
    assert np.allclose(mixed[:, 20, 20], before[:, 20, 20], rtol=1e-2, atol=1)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_students_see_other_colours_and_the_same_masks(share: float) -> None:
    config = as_config({"epochs": 1, "batch_size": 8, "augment": "off", "data": {"appearance": share}})
    student = create_model_from_config("nano_u")
    images, masks, _ = next(TrainingLoop(student, None, config, SCENES, 0, None).batches(1))
    order = np.random.default_rng([0, 1]).permutation(len(SCENES))[:8]
    plain = config_pixels(SCENES.images[order])
    assert np.array_equal(masks, SCENES.masks[order])
    assert np.array_equal(images, plain) == (share == 0.0)


def test_grey_pictures_have_light_alone() -> None:
    grey = SCENES.images[..., :1]
    assert change_appearance(grey, np.random.default_rng(4), 1.0).shape == grey.shape


def config_pixels(images: np.ndarray) -> np.ndarray:
    """As the student's contract has them."""
    from nanou_train.networks.architectures import preprocessing_of

    return preprocessing_of(create_model_from_config("nano_u")).normalize(images)
