"""The embedded data set: reproducible, exact, and not solvable by position or color alone."""

from __future__ import annotations

import numpy as np
import pytest

from nanou_train.data import terrain
from nanou_train.evaluation.evaluate import constant_mask

COUNT = 120


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, np.ndarray]:
    return terrain.generate(COUNT, seed=3)


def test_shapes_and_values(scenes: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = scenes
    assert images.shape == (COUNT, 60, 80, 3)
    assert images.dtype == np.uint8
    assert masks.shape == (COUNT, 60, 80)
    assert set(np.unique(masks)) == {0, 1}


def test_a_scene_depends_on_seed_and_index_only(scenes: tuple[np.ndarray, np.ndarray]) -> None:
    images, masks = scenes
    again_images, again_masks = terrain.generate(7, seed=3)
    assert np.array_equal(again_images, images[:7])
    assert np.array_equal(again_masks, masks[:7])
    assert not np.array_equal(terrain.generate(1, seed=4)[0][0], images[0])


def test_splits_never_share_a_seed() -> None:
    seeds = {terrain.split_seed(seed, split) for seed in range(50) for split in ("train", "val", "test")}
    assert len(seeds) == 150


def test_sky_and_objects_are_never_drivable_and_paths_are() -> None:
    rng = np.random.default_rng(0)
    view = terrain._camera(rng, 120, 160)
    rgb, drivable = np.zeros((120, 160, 3), np.float32), np.ones((120, 160), bool)
    terrain._horizon(rng, view, rgb, drivable)
    assert not (drivable & ~view.ground & (rgb.sum(axis=-1) == 0)).any()
    assert terrain._ground(rng, view)[1][~view.ground].sum() == 0
    on_path, _ = terrain._path(np.random.default_rng(5), view)
    assert on_path.any()
    assert not on_path.all()


def test_mask_is_the_majority_of_the_render(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask comes from the same samples as the picture: two of four drivable samples make a drivable pixel."""
    samples = np.zeros((120, 160), bool)
    samples[0, 0] = True  # one of four
    samples[0:2, 2] = True  # two of four
    samples[2:4, 4:6] = True  # all four
    monkeypatch.setattr(terrain, "_ground", lambda rng, view: (np.zeros((120, 160, 3), np.float32), samples))
    monkeypatch.setattr(terrain, "_horizon", lambda *arguments: None)
    monkeypatch.setattr(terrain, "_objects", lambda *arguments: None)
    _, mask = terrain.render_scene(np.random.default_rng(0), 60, 80)
    assert sorted(zip(*np.nonzero(mask), strict=True)) == [(0, 1), (1, 2)]


def test_position_says_little(scenes: tuple[np.ndarray, np.ndarray]) -> None:
    _, masks = scenes
    assert 0.3 < masks.mean() < 0.6
    cover = masks.mean(axis=(1, 2))
    assert (cover < 0.1).sum() >= 5, "scenes with next to nothing drivable are missing"
    assert (cover > 0.7).sum() >= 5, "scenes that are nearly all drivable are missing"
    assert constant_mask(masks[:60], masks[60:])["miou"] < 0.6


def test_color_says_little(scenes: tuple[np.ndarray, np.ndarray]) -> None:
    """A table from quantized color to the likelier class, fitted on half of the scenes, fails on the others."""
    images, masks = scenes
    bins = images.astype(np.int64) // 32
    index = (bins[..., 0] * 8 + bins[..., 1]) * 8 + bins[..., 2]
    fit, test = index[:60].ravel(), index[60:].ravel()
    drivable = np.bincount(fit, weights=masks[:60].ravel(), minlength=512)
    predicted = (drivable > 0.5 * np.bincount(fit, minlength=512))[test]
    truth = masks[60:].ravel() == 1
    iou = [
        (predicted & truth).sum() / (predicted | truth).sum(),
        (~predicted & ~truth).sum() / (~predicted | ~truth).sum(),
    ]
    assert np.mean(iou) < 0.65
