"""Label maps: which value means which class, and what each mistake in one says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nanou_train.data.labels import LabelMap, class_color, load_label_map
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
        ("classes: {a: [0], b: [1]}\nignore: a", "unknown key 'ignore'"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        load(tmp_path, text)
    assert "map.yaml" in str(caught.value)
    assert caught.value.hint


def test_class_colors_differ() -> None:
    assert len({class_color(index) for index in range(1, 16)}) == 15
