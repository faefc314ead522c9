"""Label maps: which value means which class, and what each mistake in one says."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from nanou_train.data.images import IGNORE
from nanou_train.data.labels import LabelMap, binary_mask, class_color, load_label_map
from nanou_train.errors import DataError
from tests.train.picture_files import GRASS, ROAD, SKY, color_mask

COLORS = """
classes:
  sky: ["#0158ff"]
  plants: [[0, 160, 0], [40, 80, 0]]
  road: [[156, 76, 30]]
"""


def load(folder: Path, text: str, name: str = "map.yaml") -> LabelMap:
    (folder / name).write_text(text)
    return load_label_map(folder / name)


def test_colors_become_indices(tmp_path: Path) -> None:
    labels = load(tmp_path, COLORS)
    assert labels.classes == ("sky", "plants", "road")
    classes = labels.apply(color_mask(), Path("m.png"))
    assert [int(classes[row, 0]) for row in (0, 20, 47)] == [0, 1, 2]
    assert labels.palette() == [SKY, GRASS, ROAD]


def test_a_palette_mask_is_read_by_color_or_by_number(tmp_path: Path) -> None:
    mask = color_mask().quantize(3)
    by_color = load(tmp_path, COLORS).apply(mask, Path("m.png"))
    assert [int(by_color[row, 0]) for row in (0, 20, 47)] == [0, 1, 2]
    numbers = np.asarray(mask)
    table = f"classes: {{sky: [{numbers[0, 0]}], plants: [{numbers[20, 0]}], road: {numbers[47, 0]}}}"
    assert np.array_equal(load(tmp_path, table).apply(mask, Path("m.png")), by_color)


def test_16_bit_numbers_and_json(tmp_path: Path) -> None:
    labels = load(tmp_path, json.dumps({"classes": {"no": [0], "yes": [7000]}}), "map.json")
    values = np.zeros((2, 3), np.uint16)
    values[0] = 7000
    assert labels.apply(Image.fromarray(values), Path("m.png")).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_default_takes_what_is_not_listed(tmp_path: Path) -> None:
    labels = load(tmp_path, "classes: {other: , road: [[156, 76, 30]]}\ndefault: other")
    assert labels.apply(color_mask(), Path("m.png")).sum() == 16 * 64


def test_unlisted_values_are_named_and_counted(tmp_path: Path) -> None:
    labels = load(tmp_path, 'classes: {sky: ["#0158ff"], road: [[156, 76, 30]]}')
    with pytest.raises(DataError, match=r"m\.png: 1024 pixels have 1 value.*#00a000"):
        labels.apply(color_mask(), Path("m.png"))


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("classes: {a: [0], b: [1]}", "RGB", "label map lists numbers"),
        (COLORS, "I;16", "label map lists colours"),
    ],
)
def test_masks_of_the_other_kind(tmp_path: Path, text: str, mode: str, says: str) -> None:
    mask = color_mask() if mode == "RGB" else Image.fromarray(np.zeros((4, 4), np.uint16))
    with pytest.raises(DataError, match=says) as caught:
        load(tmp_path, text).apply(mask, Path("m.png"))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("classes: [", "line 1: not YAML"),
        ("just text", 'no mapping "classes"'),
        ("classes: {one: [0]}", "2 to 32 entries"),
        ("classes: {a: [0], b: [0]}", "0 means both a and b"),
        ("classes: {a: [0], b: [[1, 2, 3]]}", "numbers and colours"),
        ("classes: {a: , b: }", "no values"),
        ("classes: {a: [0], b: ['#12']}", "class b lists '#12'"),
        ("classes: {a: [0], b: ['#zzzzzz']}", "class b lists"),
        ("classes: {a: [0], b: [-1]}", "class b lists -1"),
        ("classes: {a: [0], b: [1]}\ndefault: c", "default 'c' is none"),
        ("classes: {true: [0], yes: [1]}", "the key True is no text"),
        ("classes: {a: [0], b: [1]}\nignored: a", "unknown key 'ignored'"),
        ("classes: {a: [0], b: [1]}\nignore: a", "class ignore lists 'a'"),
        ("classes: {a: [0], b: [1]}\nignore: [1]", "1 means both b and ignore"),
        ("classes: {a: [0], b: [1]}\ndrivable: [a, b]", "the second is the drivable one, and it alone"),
        ("classes: {a: [0], b: [1]}\ndrivable: []", "the second is the drivable one, and it alone"),
        ('classes: {a: [0], "b\\a": [1]}', "is no class name"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        load(tmp_path, text)
    assert "map.yaml" in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("stated", ["", "drivable: [Drivable]\n"])
def test_of_two_classes_the_drivable_one_is_second(tmp_path: Path, stated: str) -> None:
    labels = load(tmp_path, f"classes: {{Drivable: [7], rest: [0]}}\n{stated}default: rest\nignore: 9\n")
    assert (labels.classes, labels.drivable) == (("rest", "Drivable"), ("Drivable",))
    mask = Image.fromarray(np.array([[7, 0, 9, 5]], np.uint8))
    assert labels.apply(mask, Path("m.png")).tolist() == [[1, 0, IGNORE, 0]]


def test_what_is_not_listed_may_be_ignored(tmp_path: Path) -> None:
    labels = load(tmp_path, "classes: {sky: ['#0158ff'], road: [[156, 76, 30]]}\ndefault: ignore")
    assert np.unique(labels.apply(color_mask(), Path("m.png"))).tolist() == [0, 1, IGNORE]
    assert len(labels.palette()) == 2


def test_a_repeated_key_of_json_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'road' twice"):
        load(tmp_path, '{"classes": {"road": [0], "road": [1], "sky": [2]}}', "map.json")


def _blurred() -> Image.Image:
    return _halves().filter(ImageFilter.GaussianBlur(2))


def _halves(low: int = 0, high: int = 255) -> Image.Image:
    values = np.full((60, 80), low, np.uint8)
    values[30:, 10:70] = high
    return Image.fromarray(values)


def _jpeg(quality: int) -> Image.Image:
    stream = io.BytesIO()
    _halves().save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def _with_level(level: int, rows: slice, halves: tuple[int, int] = (0, 255)) -> Image.Image:
    values = np.array(_halves(*halves))
    values[rows] = level
    return Image.fromarray(values)


@pytest.mark.parametrize(
    "mask",
    [_halves(), _blurred(), *map(_jpeg, (10, 50, 75, 95)), _halves().resize((41, 33)), _with_level(128, slice(29, 31)),
     _halves().convert("RGB"), _halves().convert("1")],
)  # fmt: skip
def test_masks_of_two_levels(mask: Image.Image) -> None:
    """Soft edges and what a JPEG scatters are split at 128."""
    drivable = binary_mask(mask, Path("m.png"))
    assert 0.3 < drivable.mean() < 0.45


def _train_ids() -> Image.Image:
    values = np.arange(60 * 80).reshape(60, 80) // 260
    values[:8] = 255
    return Image.fromarray(values.astype(np.uint8))


@pytest.mark.parametrize(
    "mask",
    [
        _with_level(255, slice(0, 8), (0, 1)),  # 0, 1, 255 = ignore
        _with_level(255, slice(0, 8), (0, 1)).convert("RGB"),
        _with_level(1, slice(57, 60)),
        _with_level(128, slice(0, 4)),
        _with_level(200, slice(0, 60)),
        _train_ids(),
        Image.linear_gradient("L"),
    ],
)
def test_masks_of_more_levels_need_a_label_map(mask: Image.Image) -> None:
    with pytest.raises(DataError, match=r"more than the values 0 and 255: \d+ \(") as caught:
        binary_mask(mask, Path("m.png"))
    assert "--label-map" in caught.value.hint


def test_class_colors_differ() -> None:
    assert len({class_color(index) for index in range(1, 16)}) == 15
