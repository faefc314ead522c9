"""Proposals for labelling: from a model or soft masks, into formats that come back, never over somebody's work."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.files import save_model
from nanou_deploy.assist.folder import RECORD, Style, write_proposals
from nanou_deploy.assist.proposals import Deciding, Proposal, by_soft_masks, propose_masks
from nanou_train.data.annotations.annotation import Annotated, Polygons, Shape
from nanou_train.data.annotations.outline import outlines, simplified
from nanou_train.data.annotations.raster import paint
from nanou_train.data.images import IGNORE, Picture, Pixels
from nanou_train.data.pairs import FileCount
from nanou_train.data.soft_masks import find_soft_masks, logits_of, read_soft_mask, resized, soft_mask_bytes
from nanou_train.data.sources import AnnotationFiles, find_sources
from nanou_train.errors import DataError
from tests.command_line import run, run_json
from tests.train.picture_files import save

HEIGHT, WIDTH = 48, 64


def classes_of(seed: int, count: int) -> Pixels:
    """Blobs of each class, some in holes of others, and of IGNORE."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8), np.uint8)
    wide = np.asarray(Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.int64)
    levels = wide * (count + 1) // 256
    return np.where(levels == count, IGNORE, levels).astype(np.uint8)


def painted(classes: Pixels, indices: tuple[int, ...], **how: float) -> np.ndarray:  # type: ignore[type-arg]
    shapes = tuple(Shape(str(one.index), Polygons((one.points,))) for one in outlines(classes, indices, **how))
    numbers = {str(index): index for index in indices}
    return paint(Annotated("a", Path("a"), Path(), shapes=shapes), numbers, WIDTH, HEIGHT).numbers


def test_outlines_give_the_mask_back() -> None:
    """Also regions within holes within regions, and those at the edge."""
    for seed in range(5):
        classes = classes_of(seed, 3)
        assert np.array_equal(painted(classes, (0, 1, 2, IGNORE)), classes)
        simple = painted(classes, (0, 1, 2, IGNORE), tolerance_px=1.0)
        assert 0 < np.count_nonzero(simple != classes) < 0.06 * classes.size
    ring = np.zeros((HEIGHT, WIDTH), np.uint8)
    ring[10:30, 10:30] = 1
    ring[12:28, 12:28] = 0
    ring[20, 20] = 1
    assert np.array_equal(painted(ring, (0, 1)), ring)
    without_speck = painted(ring, (0, 1), least_px=2.0)
    assert (int(without_speck[20, 20]), int(without_speck[11, 11])) == (0, 1)


def test_simplified_outlines_stay_within_the_tolerance() -> None:
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = 30 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    simple = simplified(circle, 1.0)
    assert 8 <= len(simple) <= 24
    middles = (simple + np.roll(simple, -1, axis=0)) / 2
    assert np.hypot(*middles.T).min() > 30 - 1.01


# ---- Soft masks ------------------------------------------------------------------------------------------------


def test_soft_masks_come_back(tmp_path: Path) -> None:
    shares = np.random.default_rng(0).dirichlet([1, 1, 1], (5, 7)).astype(np.float32)
    binary = np.stack([1 - shares[..., 0], shares[..., 0]], axis=-1)
    for values, suffix, close in ((binary, ".png", 1e-5), (shares, ".npy", 1e-3)):
        kind, data = soft_mask_bytes(values)
        assert kind == suffix
        (tmp_path / f"a{suffix}").write_bytes(data)
        assert np.abs(read_soft_mask(tmp_path / f"a{suffix}", values.shape[2]) - values).max() < close
    np.save(tmp_path / "plain.npy", binary[..., 1].astype(np.float64))
    assert np.allclose(read_soft_mask(tmp_path / "plain.npy"), binary, atol=1e-6)
    assert np.allclose(1 / (1 + np.exp(-logits_of(binary)[..., 0])), binary[..., 1], atol=2e-4)
    softmax = np.exp(logits_of(shares))
    assert np.allclose(softmax / softmax.sum(axis=-1, keepdims=True), shares, atol=2e-3)
    assert np.allclose(resized(binary, 14, 10).mean(axis=(0, 1)), binary.mean(axis=(0, 1)), atol=0.05)


def _npy(values: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)  # type: ignore[arg-type]
    return stream.getvalue()


WRONG = {
    "logits.npy": (_npy(np.full((4, 4), -3.5)), "no probabilities"),
    "nan.npy": (_npy(np.full((4, 4), np.nan)), "no probabilities"),
    "classes.npy": (_npy(np.ones((4, 4), np.int64)), "it holds int64, not floats"),
    "pickle.npy": (_npy(np.array([{}], object)), "it holds object, not floats"),
    "sum.npy": (_npy(np.full((4, 4, 2), 0.3)), "do not add up to 1"),
    "shape.npy": (_npy(np.full((4, 4, 3), 1 / 3)), "is 4x4x3, and there are 2 classes"),
    "short.npy": (_npy(np.zeros((4, 4)))[:-8], "shorter or longer than its header says"),
    "text.npy": (b"no array at all", "cannot read"),
    "empty.npy": (_npy(np.zeros((0, 4))), "is 0x4x2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_soft_mask_is_named(tmp_path: Path, name: str) -> None:
    data, says = WRONG[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=says) as caught:
        read_soft_mask(tmp_path / name)
    assert name in str(caught.value)


def test_a_header_allocates_nothing(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": (10**6, 10**6), "fortran_order": False, "descr": "<f8"})
    (tmp_path / "large.npy").write_bytes(stream.getvalue())
    with pytest.raises(DataError, match="more than 64,000,000 pixels"):
        read_soft_mask(tmp_path / "large.npy")


def test_8_bits_may_be_classes(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.full((4, 4), 1))
    with pytest.raises(DataError, match="not one 16-bit channel"):
        read_soft_mask(tmp_path / "a.png")
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(DataError, match="same name up to the suffix"):
        find_soft_masks(tmp_path)


def test_what_is_uncertain_is_ignored() -> None:
    shares = np.array([[[0.9, 0.1], [0.45, 0.55], [0.2, 0.8]]], np.float32)
    assert Deciding().decide(shares).tolist() == [[0, 1, 1]]
    assert Deciding(0.6).decide(shares).tolist() == [[0, 0, 1]]
    assert Deciding(sure=0.6).decide(shares).tolist() == [[0, IGNORE, 1]]
    three = np.array([[[0.5, 0.3, 0.2], [0.3, 0.3, 0.4]]], np.float32)
    assert Deciding(sure=0.45).decide(three).tolist() == [[0, IGNORE]]


# ---- Folders ---------------------------------------------------------------------------------------------------


def proposal(folder: Path, name: str, classes: Pixels) -> Proposal:
    path = folder / f"{name}.png"
    save(path, np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3)))
    shares = np.stack([1.0 * (classes != 1), 1.0 * (classes == 1)], axis=-1).astype(np.float32)
    return Proposal(name, Picture(path, Image.open(path)), shares, classes)


def test_what_is_written_comes_back_and_corrections_stay(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "assist"
    masks = {name: classes_of(seed, 2) for seed, name in enumerate(("a", "deep/b"))}
    proposals = [proposal(photos, name, mask) for name, mask in masks.items()]
    style = Style(("background", "drivable"), tolerance_px=0.0, least_share=0.0, with_soft=True)
    done = write_proposals(out, photos, proposals, style)
    assert (done.pictures, done.kept) == (2, [])
    for labels in (out / "labelme", out / "masks"):
        found = find_sources(AnnotationFiles(labels, photos), FileCount())
        assert set(found.readers) == {"a", "deep/b"}
        for name, read in found.readers.items():
            assert np.array_equal(read().classes, masks[name])
    label_file = out / "labelme" / "a.json"
    label_file.write_text(label_file.read_text().replace('"drivable"', '"trail"'))
    corrected = label_file.read_bytes()
    other = [proposal(photos, name, 1 - np.minimum(mask, 1)) for name, mask in masks.items()]
    done = write_proposals(out, photos, other, style)
    assert done.kept == ["labelme/a.json"]
    assert label_file.read_bytes() == corrected
    assert read_soft_mask(out / "soft" / "a.png")[..., 1].sum() == (other[0].classes == 1).sum()
    (out / RECORD).unlink()
    before = {path: path.read_bytes() for path in out.rglob("*.json")}
    done = write_proposals(out, photos, proposals, style)
    assert done.files == 0
    assert {path: path.read_bytes() for path in before} == before


def test_the_command_with_soft_masks(tmp_path: Path) -> None:
    for seed, name in enumerate(("a", "b")):
        save(tmp_path / "photos" / f"{name}.png", np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)))
        lower = np.zeros((12, 16), np.uint16)
        lower[6:] = 50_000
        (tmp_path / "soft").mkdir(exist_ok=True)
        Image.fromarray(lower).save(tmp_path / "soft" / f"{name}.png")
    words = ["label-assist", "photos", "--soft-masks", "soft", "--output", "out"]
    code, found = run_json(*words, "--uncertain-below", "0.7", cwd=tmp_path)
    assert (code, found["pictures"], found["kept"]) == (0, 2, [])
    assert 0 < found["uncertain_share"] < 0.2
    document = json.loads((tmp_path / "out" / "labelme" / "a.json").read_text())
    assert document["imagePath"] == "../../photos/a.png"
    assert {shape["label"] for shape in document["shapes"]} == {"drivable", "__ignore__"}
    done = run("prepare", "--labels", "out/labelme", "--images", "photos", "--output", "data", cwd=tmp_path)
    assert "LabelMe: 2 pictures" in done.stdout + done.stderr or "group(s) cannot fill" in done.stderr
    (tmp_path / "soft" / "b.png").unlink()
    done = run(*words, cwd=tmp_path)
    assert "1 of 2 pictures have no soft mask: b" in done.stderr
    assert run(*words, "--executor", "int8", cwd=tmp_path).returncode == 2
    (tmp_path / "out" / RECORD).write_text("{")
    assert "is damaged" in run(*words, cwd=tmp_path).stderr


def test_the_command_with_a_model(tmp_path: Path) -> None:
    """A network that copies the red channel: bright is drivable."""
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), scale=1 / 127, zero_point=0)
    weights, bias = np.array([[[[127, 0, 0]]]], np.int8), np.zeros(1, np.int32)
    output = b.activation((1, 6, 8, 1), scale=0.05, zero_point=0)
    kernel = b.constant(weights, [10 / 127])
    offset = b.constant(bias, [10 / 127 / 127])
    operator = b.operator(
        "CONV_2D",
        [source, kernel, offset],
        output,
        StrideW=1,
        StrideH=1,
        DilationWFactor=1,
        DilationHFactor=1,
        Padding=0,
    )
    model = QuantizedModel("red", b.finish([source], [operator]), segmentation(Preprocessing(6, 8)))
    save_model(model, tmp_path / "red.tflite")
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[24:, :, 0] = 255
    save(tmp_path / "photos" / "a.png", pixels)
    words = ["label-assist", "photos", "--model", "red.tflite", "--executor", "tflm", "--output", "out"]
    done = run(*words, "--save-soft", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "proposed by red by tflm: 1 pictures, background, drivable" in done.stdout
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "SegmentationClass" / "a.png"))
    assert (int(mask[:20].max()), int(mask[28:].min())) == (0, 1)
    assert read_soft_mask(tmp_path / "out" / "soft" / "a.png").shape == (6, 8, 2)
    assert (tmp_path / "out" / "contact_sheet.png").stat().st_size > 1000


def test_a_picture_smaller_than_the_model(tmp_path: Path) -> None:
    """Only a program's soft mask has to be the picture's own shape, or smaller."""
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    pictures = {"a": tmp_path / "a.png"}
    wide = np.full((12, 16, 2), 0.5, np.float32)
    (proposed,) = propose_masks(pictures, lambda _pictures: [wide], Deciding(0.5, 0))
    assert proposed.classes.shape == (6, 8)
    (tmp_path / "soft.png").write_bytes(soft_mask_bytes(wide)[1])
    with pytest.raises(DataError, match="the soft mask of a is 16x12, the picture 8x6"):
        list(propose_masks(pictures, by_soft_masks({"a": tmp_path / "soft.png"}, 2), Deciding(0.5, 0)))
