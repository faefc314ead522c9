"""Every door reads pictures and masks alike: what is refused, what is skipped and said, what is limited."""

from __future__ import annotations

import logging
import os
import struct
import unicodedata
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from codegen.graph.model import CameraSize, Preprocessing
from nanou_deploy.errors import DeployError
from nanou_deploy.monitor.frames import find_pictures
from nanou_train.data.audit import audit_dataset
from nanou_train.data.dataset import DatasetSpec, load_dataset
from nanou_train.data.images import IGNORE, MOST_PIXELS, read_picture, vote
from nanou_train.data.mask_values import binary_mask
from nanou_train.data.pairs import read_pair
from nanou_train.data.prepare import PrepareSpec, prepare
from nanou_train.data.sources import MaskFolders
from nanou_train.errors import DataError
from tests.train.picture_files import from_source, rgb16_png, save, write_drives

SMALL = Preprocessing(24, 32)


@pytest.fixture
def spec(tmp_path: Path) -> PrepareSpec:
    write_drives(tmp_path, frames=2)
    return PrepareSpec(
        MaskFolders(tmp_path / "images", tmp_path / "masks"), tmp_path / "data", group_by=r"^drive\d+", contract=SMALL
    )


def _huge(path: Path, side: int = 10_000) -> None:
    """A header that promises so many pixels, in 60 bytes."""
    data = bytearray(rgb16_png(0, 8, 8))
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(data)


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _animation(path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(path.with_suffix(".tif"), save_all=True, append_images=frames[1:])
    path.with_suffix(".tif").rename(path)


def _postscript(path: Path) -> None:
    """Pillow would start Ghostscript for it."""
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "huge": (_huge, f"it has 10000x10000 pixels, more than {MOST_PIXELS:,}"),
    "enormous": (lambda path: _huge(path, 2_000_000_000), f"it has more than {MOST_PIXELS:,} pixels"),
    "pipe": (_pipe, "it is a pipe or a device"),
    "animation": (_animation, "it holds 2 pictures"),
    "postscript": (_postscript, "it is no PNG, JPEG, WebP"),
    "folder": (Path.mkdir, "it is a folder"),
    "empty": (Path.touch, "no PNG, JPEG"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_picture_is_refused_before_it_costs_anything(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    make, says = WRONG[kind]
    make(path)
    with pytest.raises(DataError, match=says):
        read_picture(path)


@pytest.mark.parametrize("suffix", ["webp", "bmp", "tif", "ppm"])
def test_formats_of_images_and_masks(spec: PrepareSpec, suffix: str) -> None:
    for folder in (spec.source.images, spec.source.masks):
        for path in list(folder.rglob("*.png"))[::2]:
            options = {"lossless": True} if suffix == "webp" else {}
            Image.open(path).save(path.with_suffix(f".{suffix}"), **options)
            path.unlink()
    prepared = prepare(spec)
    assert prepared.files.used == 10
    assert not prepared.files.skipped


def _odd_files(folder: Path) -> None:
    (folder / "Thumbs.db").write_text("")
    (folder / "._000.png").write_text("")
    (folder / "raw.cr2").write_text("")
    os.mkfifo(folder / "pipe.png")


def test_what_is_skipped_is_counted_and_named(spec: PrepareSpec, caplog: pytest.LogCaptureFixture) -> None:
    _odd_files(spec.source.images / "drive0")
    prepared = prepare(spec)
    assert (prepared.files.used, len(prepared.files.skipped)) == (10, 4)
    said = "2 of no known picture suffix (Thumbs.db, raw.cr2)", "1 hidden (._000.png)", "1 no regular file (pipe.png)"
    assert [one for one in said if one not in str(prepared.files)] == [], str(prepared.files)
    _odd_files(spec.output / "val" / "mask")
    (spec.output / "val" / "mask" / "more").mkdir()
    with caplog.at_level(logging.INFO, logger="nanou_train"):
        load_dataset(DatasetSpec(spec.output, 24, 32))
    assert "10 pairs of image and mask used; 5 files skipped" in caplog.text
    assert "1 subfolder(s) (more)" in caplog.text
    assert "1 no regular file (pipe.png)" in caplog.text
    assert any("5 files skipped" in warning for warning in audit_dataset(spec.output).warnings)
    with caplog.at_level(logging.INFO, logger="nanou_deploy"):
        assert len(find_pictures(spec.source.images / "drive0", CameraSize(16, 12)).paths) == 2
    assert "2 pictures, 4 files skipped" in caplog.text


def test_frames_are_read_like_training_pictures(tmp_path: Path) -> None:
    for name, make in {"a": _huge, "b": _animation}.items():
        make(tmp_path / f"{name}.png")
    Image.fromarray(np.full((12, 16), 4000, np.uint16)).save(tmp_path / "c.png")
    for path, says in zip(sorted(tmp_path.iterdir()), ("pixels", "2 pictures", "more than 8 bits"), strict=True):
        folder = tmp_path / path.stem
        folder.mkdir()
        path.rename(folder / path.name)
        with pytest.raises(DeployError, match=says):
            next(find_pictures(folder, CameraSize(16, 12)).play())


def test_names_pair_in_any_form_of_unicode(spec: PrepareSpec) -> None:
    for folder, form in ((spec.source.images, "NFC"), (spec.source.masks, "NFD")):
        for path in folder.rglob("000.png"):
            path.rename(path.with_name(unicodedata.normalize(form, "Stra\u00dfe_\u00fc.png")))
    assert prepare(spec).files.used == 10
    assert len(load_dataset(DatasetSpec(spec.output, 24, 32)).train.groups) > 0


@pytest.mark.parametrize("layout", ["one folder", "masks within images", "images within masks"])
def test_masks_beside_or_among_images(spec: PrepareSpec, tmp_path: Path, layout: str) -> None:
    images, masks = spec.source.images, spec.source.masks
    if layout == "one folder":
        for path in list(masks.rglob("*.png")):
            target = images / path.relative_to(masks)
            path.rename(target.with_stem(f"{target.stem}_mask"))
        masks = images
        (images / "_classes.csv").write_text("0,background\n")
    else:
        outer, inner = (images, masks) if layout == "masks within images" else (masks, images)
        moved = outer / "inner"
        inner.rename(moved)
        images, masks = (images, moved) if outer == images else (moved, masks)
    suffix = "_mask" if layout == "one folder" else ""
    prepared = prepare(from_source(spec, images=images, masks=masks, mask_suffix=suffix))
    assert prepared.files.used == 10
    assert [path.name for _, path in prepared.files.skipped] == (["_classes.csv"] if suffix else [])


def test_orientation_tags_are_counted_named_and_may_be_ignored(spec: PrepareSpec) -> None:
    def tag(path: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.open(path).save(path.with_suffix(".jpg"), exif=exif)
        path.unlink()

    tag(spec.source.images / "drive0" / "000.png", 3)
    assert "1 images turned upright by their orientation tag" in str(prepare(spec).files)
    tag(spec.source.images / "drive0" / "001.png", 6)
    with pytest.raises(DataError, match=r"is 48x64, turned by its orientation tag \(6\), its mask .* 64x48") as caught:
        prepare(spec)
    assert "--ignore-orientation" in caught.value.hint
    assert prepare(replace(spec, upright=False)).files.turned == 0


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_every_orientation_of_every_format(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Read upright as EXIF numbers it, or as it is stored; Pillow turns TIFF files by itself."""
    path, marked = tmp_path / f"a{suffix}", np.zeros((16, 32), np.uint8)
    marked[:8, :8] = 255
    tag: dict[str, Any] = {"tiffinfo": {0x0112: orientation}} if suffix == ".tif" else {"exif": _tagged(orientation)}
    Image.fromarray(marked).convert("RGB").save(path, quality=100, **tag)
    turned = read_picture(path)
    ways = [lambda a: a, np.fliplr, lambda a: np.rot90(a, 2), np.flipud, np.transpose, lambda a: np.rot90(a, -1),
            lambda a: np.rot90(a, 2).T, np.rot90]  # fmt: skip
    assert np.array_equal(np.asarray(turned.image)[..., 0] > 128, ways[orientation - 1](marked) > 128)
    assert turned.orientation == orientation
    stored = read_picture(path, upright=False)
    assert np.array_equal(np.asarray(stored.image)[..., 0] > 128, marked > 128)
    assert stored.orientation == 1


def _tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_a_mask_with_a_tag_of_its_own_is_refused(tmp_path: Path) -> None:
    image, mask = tmp_path / "a.png", tmp_path / "m.png"
    half = np.zeros((16, 32), np.uint8)
    half[:8] = 255
    Image.fromarray(half).save(mask, exif=_tagged(3))
    Image.fromarray(half).save(image)
    with pytest.raises(DataError, match=r"m\.png has the orientation tag 3, .*a\.png has none") as caught:
        read_pair(image, mask, binary_mask)
    assert "--ignore-orientation" in caught.value.hint
    assert read_pair(image, mask, binary_mask, upright=False).classes[0].all()
    Image.fromarray(half).save(image, exif=_tagged(3))
    assert read_pair(image, mask, binary_mask).classes[-1].all()


def test_a_class_that_resizing_loses_is_named(spec: PrepareSpec, tmp_path: Path) -> None:
    for path in spec.source.masks.rglob("*.png"):
        values = np.array(Image.open(path)) // 255
        values[::8] = 2  # one row of eight
        save(path, values)
    (tmp_path / "labels.yaml").write_text("classes: {rest: [0], drivable: [1], kerb: [2]}")
    prepared = prepare(replace(from_source(spec, label_map=tmp_path / "labels.yaml"), contract=Preprocessing(12, 16)))
    assert "class kerb is 12.500% of all pixels in the masks, and none at 12x16: too thin" in prepared.audit.warnings


def test_no_drivable_class_is_said(spec: PrepareSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "labels.yaml").write_text("classes: {sky: [0], road: [255], rest: [1]}")
    prepared = prepare(from_source(spec, label_map=tmp_path / "labels.yaml"))
    assert any("no class counts as drivable" in warning for warning in prepared.audit.warnings)
    load_dataset(DatasetSpec(spec.output, 24, 32))
    assert "no class counts as drivable" in caplog.text


@pytest.mark.parametrize("ratios", [(0, 1, 1), (np.nan, 1, 1), (1, 1, np.inf), (-1, 1, 1), (1e308, 1e308, 1)])
def test_ratios_are_numbers_to_compute_with(spec: PrepareSpec, ratios: tuple[float, float, float]) -> None:
    with pytest.raises(DataError, match="leave a split empty"):
        prepare(replace(spec, ratios=ratios))
    assert not spec.output.exists()


# ---- Ignored pixels --------------------------------------------------------------------------------------------


def test_a_pixel_is_ignored_where_ignore_has_the_greatest_share() -> None:
    classes = np.array([[0, 1, IGNORE, IGNORE], [1, IGNORE, IGNORE, 0]], np.uint8)
    assert vote(classes, 2, Preprocessing(1, 2)).tolist() == [[1, IGNORE]]
    tie = np.array([[0, IGNORE]], np.uint8)
    assert vote(tie, 2, Preprocessing(1, 1)).tolist() == [[0]]


def test_ignored_pixels_stay_ignored_from_label_map_to_loader(spec: PrepareSpec, tmp_path: Path) -> None:
    for path in spec.source.masks.rglob("*.png"):
        values = np.array(Image.open(path)) // 255
        values[:, :16] = 255
        save(path, values)
    with pytest.raises(DataError, match=r"class numbers|more than the values 0 and 255"):
        prepare(spec)
    (tmp_path / "labels.yaml").write_text("classes: {rest: [0], road: [1]}\nignore: [255]")
    audit = prepare(from_source(spec, label_map=tmp_path / "labels.yaml")).audit
    assert [part.ignored_share for part in audit.balance] == [0.25, 0.25, 0.25]
    assert all(sum(part.class_shares) == pytest.approx(1) for part in audit.balance)
    masks = load_dataset(DatasetSpec(spec.output, 24, 32)).train.masks
    assert np.array_equal(masks == IGNORE, np.broadcast_to(np.arange(32) < 8, masks.shape))
    again = load_dataset(DatasetSpec(spec.output, 12, 16)).train.masks  # resized once more
    assert np.array_equal(again == IGNORE, np.broadcast_to(np.arange(16) < 4, again.shape))
    for path in (spec.output / "train" / "mask").iterdir():
        save(path, np.full((24, 32), IGNORE))
    with pytest.raises(DataError, match="is ignored"):
        load_dataset(DatasetSpec(spec.output, 24, 32))
