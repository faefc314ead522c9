"""Folder data sets: what is read, and what each mistake says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nanou_train.data.dataset import DatasetSpec, load_dataset, load_split, terrain_dataset
from nanou_train.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two 160x120 pairs per split: left half drivable."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for kind in ("img", "mask"):
            (tmp_path / split / kind).mkdir(parents=True)
        for stem in ("a", "b"):
            Image.fromarray(rng.integers(0, 256, (120, 160, 3), np.uint8)).save(
                tmp_path / split / "img" / f"{stem}.png"
            )
            mask = np.zeros((120, 160), np.uint8)
            mask[:, :80] = 255
            Image.fromarray(mask).save(tmp_path / split / "mask" / f"{stem}.png")
    return tmp_path


def test_images_are_box_averaged_and_masks_vote(root: Path) -> None:
    mask = np.zeros((120, 160), np.uint8)
    mask[0, 0] = 255  # one of four: no
    mask[0:2, 2] = 255  # two of four: yes
    mask[2:4, 4:6] = 200  # at least 128 counts as drivable
    mask[4:6, 6:8] = 127  # less does not
    Image.fromarray(mask).save(root / "train" / "mask" / "a.png")
    split = load_split(DatasetSpec(root), "train")
    assert split.stems == ("a", "b")
    assert split.images.shape == (2, 60, 80, 3)
    assert sorted(zip(*np.nonzero(split.masks[0]), strict=True)) == [(0, 1), (1, 2)]
    pixels = np.asarray(Image.open(root / "train" / "img" / "a.png"), np.float64)
    average = pixels.reshape(60, 2, 80, 2, 3).mean(axis=(1, 3))
    assert np.abs(split.images[0] - average).max() <= 1.0  # Pillow rounds once per axis


def test_any_size_and_jpeg(root: Path) -> None:
    Image.new("RGB", (33, 21), (200, 10, 10)).save(root / "test" / "img" / "c.JPG", "JPEG")
    Image.new("L", (33, 21), 255).save(root / "test" / "mask" / "c.png")
    split = load_split(DatasetSpec(root, height_px=12, width_px=16), "test")
    assert split.images.shape == (3, 12, 16, 3)
    assert split.masks[2].all()
    assert abs(int(split.images[2, 0, 0, 0]) - 200) < 6


def test_orientation_of_a_camera_jpeg_is_applied(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (20, 40)).save(root / "val" / "img" / "c.jpg", exif=exif)
    Image.new("L", (40, 20)).save(root / "val" / "mask" / "c.png")
    assert len(load_split(DatasetSpec(root), "val")) == 3


def test_grey_rgb_mask_is_accepted(root: Path) -> None:
    path = root / "val" / "mask" / "a.png"
    expected = load_split(DatasetSpec(root), "val").masks
    Image.open(path).convert("RGB").save(path)
    assert np.array_equal(load_split(DatasetSpec(root), "val").masks, expected)


def _palette_mask(root: Path) -> None:
    Image.new("P", (160, 120)).save(root / "train" / "mask" / "a.png")


def _color_mask(root: Path) -> None:
    Image.new("RGB", (160, 120), (128, 0, 0)).save(root / "train" / "mask" / "a.png")


def _class_numbers(root: Path) -> None:
    Image.new("L", (160, 120), 1).save(root / "train" / "mask" / "a.png")


def _other_size(root: Path) -> None:
    Image.new("L", (80, 60), 255).save(root / "train" / "mask" / "a.png")


def _same_stem(root: Path) -> None:
    Image.new("RGB", (160, 120)).save(root / "train" / "img" / "a.jpg")


def _no_drivable_pixel(root: Path) -> None:
    for path in (root / "train" / "mask").iterdir():
        Image.new("L", (160, 120), 0).save(path)


def _truncated(root: Path) -> None:
    path = root / "train" / "img" / "b.png"
    path.write_bytes(path.read_bytes()[:500])


def _not_an_image(root: Path) -> None:
    (root / "train" / "img" / "b.png").write_text("hello")


def _empty_folder(root: Path) -> None:
    for path in (root / "train" / "img").iterdir():
        path.unlink()


def _missing_folder(root: Path) -> None:
    _empty_folder(root)
    (root / "train" / "img").rmdir()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_palette_mask, r"a\.png has Pillow mode P"),
        (_color_mask, r"a\.png has Pillow mode RGB"),
        (_class_numbers, r"a\.png has values up to 1"),
        (_other_size, r"a\.png is 160x120, its mask .*a\.png is 80x60"),
        (_same_stem, r"a\.jpg and .*a\.png have the same name"),
        (_no_drivable_pixel, r"every pixel .* is not drivable"),
        (_truncated, r"cannot read .*b\.png"),
        (_not_an_image, r"cannot read .*b\.png"),
        (_empty_folder, r"no images in .*img"),
        (_missing_folder, r"no folder .*img"),
        (lambda root: (root / "train" / "mask" / "b.png").unlink(), r"1 file\(s\) in .*img have no partner .*: b\.png"),
        (lambda root: (root / "train" / "img" / "a.png").unlink(), r"1 file\(s\) in .*mask have no partner .*: a\.png"),
    ],
)
def test_mistakes_are_named(root: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(root)
    with pytest.raises(DataError, match=says) as caught:
        load_dataset(DatasetSpec(root))
    assert caught.value.hint


def test_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set folder"):
        load_dataset(DatasetSpec(tmp_path / "absent"))


def test_hashes_tell_data_apart() -> None:
    counts = {"train": 2, "val": 1, "test": 1}
    first, same, other = (terrain_dataset(counts, seed=seed) for seed in (1, 1, 2))
    assert first.describe() == same.describe()
    assert first.train.sha256 != other.train.sha256
    assert first.train.sha256 != first.val.sha256
