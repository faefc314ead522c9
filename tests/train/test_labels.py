"""Label maps: which value means which class, and what each mistake in one says."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from nanou_train.data.images import IGNORE, Picture, read_picture
from nanou_train.data.labels import LabelMap, class_color, load_label_map
from nanou_train.data.mask_values import binary_mask, index_mask
from nanou_train.errors import DataError
from tests.train.picture_files import GRASS, ROAD, SKY, color_mask

COLORS = """
classes:
  sky: ["#0158ff"]
  plants: [[0, 160, 0], [40, 80, 0]]
  road: [[156, 76, 30]]
"""

INDICES = "classes: {a: [0], b: [1]}\ndefault: a"
BLACK_AND_WHITE = 'classes: {a: ["#000000"], b: ["#ffffff"]}'


def load(folder: Path, text: str, name: str = "map.yaml") -> LabelMap:
    (folder / name).write_text(text)
    return load_label_map(folder / name)


def test_colors_become_indices(tmp_path: Path) -> None:
    labels = load(tmp_path, COLORS)
    assert labels.classes == ("sky", "plants", "road")
    classes = labels.apply(Picture(Path("m.png"), color_mask()))
    assert [int(classes[row, 0]) for row in (0, 20, 47)] == [0, 1, 2]
    assert labels.palette() == [SKY, GRASS, ROAD]


def test_a_palette_mask_is_read_by_color_or_by_number(tmp_path: Path) -> None:
    mask = color_mask().quantize(3)
    by_color = load(tmp_path, COLORS).apply(Picture(Path("m.png"), mask))
    assert [int(by_color[row, 0]) for row in (0, 20, 47)] == [0, 1, 2]
    numbers = np.asarray(mask)
    table = f"classes: {{sky: [{numbers[0, 0]}], plants: [{numbers[20, 0]}], road: {numbers[47, 0]}}}"
    assert np.array_equal(load(tmp_path, table).apply(Picture(Path("m.png"), mask)), by_color)


def test_16_bit_numbers_and_json(tmp_path: Path) -> None:
    labels = load(tmp_path, json.dumps({"classes": {"no": [0], "yes": [7000]}}), "map.json")
    values = np.zeros((2, 3), np.uint16)
    values[0] = 7000
    assert labels.apply(Picture(Path("m.png"), Image.fromarray(values))).tolist() == [[1, 1, 1], [0, 0, 0]]


def test_default_takes_what_is_not_listed(tmp_path: Path) -> None:
    labels = load(tmp_path, "classes: {other: , road: [[156, 76, 30]]}\ndefault: other")
    assert labels.apply(Picture(Path("m.png"), color_mask())).sum() == 16 * 64


def test_unlisted_values_are_named_and_counted(tmp_path: Path) -> None:
    labels = load(tmp_path, 'classes: {sky: ["#0158ff"], road: [[156, 76, 30]]}')
    with pytest.raises(DataError, match=r"m\.png: 1024 pixels have 1 value.*#00a000"):
        labels.apply(Picture(Path("m.png"), color_mask()))


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
        load(tmp_path, text).apply(Picture(Path("m.png"), mask))
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
        ('classes: {a: [0], "drivable ": [1]}', "begins or ends with a space"),
        ("classes: {Road: [0], road: [1]}", "'Road' and 'road' are spelled alike"),
        ('classes: {"\u00e9": [0], "e\u0301": [1]}', "are spelled alike"),
        ("classes: {ignore: [0], road: [1]}", "a class is called ignore"),
        ("classes: {road: [0], not_drivable: [1]}", "nothing says which is drivable"),
        ("classes: {path: [0], Background: [1]}", "nothing says which is drivable"),
        ("classes: {a: ['#  0000'], b: ['#010101']}", "class a lists"),
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
    assert labels.apply(Picture(Path("m.png"), mask)).tolist() == [[1, 0, IGNORE, 0]]


def test_what_is_not_listed_may_be_ignored(tmp_path: Path) -> None:
    labels = load(tmp_path, "classes: {sky: ['#0158ff'], road: [[156, 76, 30]]}\ndefault: ignore")
    assert np.unique(labels.apply(Picture(Path("m.png"), color_mask()))).tolist() == [0, 1, IGNORE]
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
    drivable = binary_mask(Picture(Path("m.png"), mask, lossy=mask.format == "JPEG"))
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
        _with_level(254, slice(57, 60)),  # ignored, by another convention
        _with_level(254, slice(59, 60)),
        _with_level(1, slice(5, 6)),
        _train_ids(),
        Image.linear_gradient("L"),
    ],
)
def test_masks_of_more_levels_need_a_label_map(mask: Image.Image) -> None:
    with pytest.raises(DataError, match=r"more than the values 0 and 255: \d+ \(") as caught:
        binary_mask(Picture(Path("m.png"), mask))
    assert "--label-map" in caught.value.hint


def test_class_colors_differ() -> None:
    assert len({class_color(index) for index in range(1, 16)}) == 15


def _in_colour(value: tuple[int, ...]) -> Image.Image:
    image = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    image.putpixel((0, 0), value)
    return image


@pytest.mark.parametrize(
    ("mask", "text", "says"),
    [
        (Image.new("F", (4, 3), 0.6), INDICES, "floating-point values such as 0.6"),
        (Image.new("F", (4, 3), float("nan")), INDICES, "floating-point values such as nan"),
        (Image.new("F", (4, 3), 1e30), INDICES, "floating-point values such as 1e\\+30"),
        (_in_colour((255, 255, 255, 0)), BLACK_AND_WHITE, "1 transparent pixels with a colour, such as #ffffff"),
    ],
)
def test_what_a_mask_s_file_leaves_open(tmp_path: Path, mask: Image.Image, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        load(tmp_path, text).apply(Picture(Path("m.png"), mask))


def test_what_a_mask_s_file_says(tmp_path: Path) -> None:
    numbers, colours = load(tmp_path, INDICES), load(tmp_path, BLACK_AND_WHITE)
    assert numbers.apply(Picture(Path("m.tif"), Image.new("F", (4, 3), 1.0))).all()
    assert colours.apply(Picture(Path("m.png"), _in_colour((255, 255, 255, 255)))).sum() == 1
    white = Image.new("1", (4, 3), 1)
    assert load(tmp_path, "classes: {a: [0], b: [255]}").apply(Picture(Path("m.png"), white)).all()


def test_a_lossy_file_has_no_class_by_default(tmp_path: Path) -> None:
    """Red that JPEG has changed would become background."""
    path = tmp_path / "m.jpg"
    _halves().convert("RGB").save(path, quality=75)
    with pytest.raises(DataError, match="does not list") as caught:
        load(tmp_path, 'classes: {a: ["#000000"], b: ["#ffffff"]}\ndefault: a').apply(read_picture(path))
    assert "PNG" in caught.value.hint
    with pytest.raises(DataError, match="compression changes values"):
        index_mask(read_picture(path), 2, ignores=True)


@pytest.mark.parametrize(("name", "settings", "lossy"), [
    ("m.jpg", {}, True), ("m.webp", {"quality": 50}, True), ("m.webp", {"lossless": True}, False), ("m.png", {}, False),
    ("m.webp", {"lossless": True, "icc_profile": b"VP8 "}, False),
    ("m.webp", {"icc_profile": b"VP8L", "quality": 50}, True),
])  # fmt: skip
def test_what_compression_changes(tmp_path: Path, name: str, settings: dict[str, object], lossy: bool) -> None:
    _halves().save(tmp_path / name, **settings)
    assert read_picture(tmp_path / name).lossy == lossy
