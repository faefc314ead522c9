"""Groups are never divided, the shares come near to what was asked, and each mistake is named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from nanou_train.data.splits import Grouping, assign, group_names
from nanou_train.errors import DataError

NAMES = tuple(f"drive{drive}/{frame:03d}" for drive in range(20) for frame in range(3 + drive % 5))


def class_pixels(names: tuple[str, ...] = NAMES) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    """A third of the drives are mostly of class 1, so that chance alone would balance badly."""
    rich = [int(name[5:].split("/")[0]) % 3 == 0 for name in names]
    return {name: np.array([20, 80] if high else [90, 10]) for name, high in zip(names, rich, strict=True)}


def test_no_group_is_divided_and_shares_are_near() -> None:
    splits = assign(group_names(NAMES, r"^drive\d+"), class_pixels())
    assert splits.keys() == set(NAMES)
    where: dict[str, set[str]] = {}
    for name, split in splits.items():
        where.setdefault(name.split("/")[0], set()).add(split)
    assert all(len(found) == 1 for found in where.values())
    counts = Counter(splits.values())
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        assert counts[split] / len(NAMES) == pytest.approx(share, abs=0.05)
        pixels = sum(class_pixels()[name] for name in NAMES if splits[name] == split)
        whole = sum(class_pixels().values())
        assert pixels[1] / pixels.sum() == pytest.approx(whole[1] / whole.sum(), abs=0.08)


def test_the_seed_decides_and_repeats() -> None:
    grouping = group_names(NAMES, r"^drive\d+")
    assert assign(grouping, class_pixels(), seed=3) == assign(grouping, class_pixels(), seed=3)
    assert assign(grouping, class_pixels(), seed=3) != assign(grouping, class_pixels(), seed=4)


def test_no_split_stays_empty_with_three_groups() -> None:
    names = tuple(f"drive{drive}/0" for drive in range(3))
    assert set(assign(group_names(names, ""), class_pixels(names)).values()) == {"train", "val", "test"}


def test_groups_of_a_pattern() -> None:
    assert group_names(["a1_0007"], r"^[a-z](\d)_(\d+)").groups == {"a1_0007": "1_0007"}
    assert group_names(["a1_0007"], r"^[a-z]\d").groups == {"a1_0007": "a1"}


def test_groups_and_splits_of_a_csv(tmp_path: Path) -> None:
    file = tmp_path / "groups.csv"
    file.write_text("image,group,split\nx/1.png,a,train\nx/2,a,train\nx/3,b,val\nx/4,,test\n")
    grouping = group_names(["x/1", "x/2", "x/3", "x/4"], str(file))
    assert grouping.groups == {"x/1": "a", "x/2": "a", "x/3": "b", "x/4": "x/4"}
    assert assign(grouping, {}) == {"x/1": "train", "x/2": "train", "x/3": "val", "x/4": "test"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image,place\n1,a\n", "has the columns 'image, place'"),
        ("", "has the columns 'none'"),
        ("image,group\n1,a\n", r"does not list 2 image"),
        ("image,split\n1,train\n2,train\n3,dev\n", "'dev' is no split"),
        ("image,split\n1,train\n2,train\n3,\n", "gives a split to 2 of 3"),
        ("image,split\n1,train\n2,train\n3,val\n", "no image is given to test"),
        ("image,group,split\n1,a,train\n2,a,val\n3,c,test\n", "group a is in train and, with 2, in val"),
        ("image,group\n1,a\n2,b\n3", r"row 4 has 1 fields, the header 2: '3'"),
        ("image,group\n1,a\n2,b,x\n3,c", "row 3 has 3 fields"),
        ("image,group\n1,a\n,b\n2,b\n3,c", "row 3 names no image"),
        ("image,group\n1.png,a\n2,b\n3,c\n1.webp,b", "row 5 contradicts an earlier one of '1'"),
        ("image,group,group\n1,a,b\n", "has the columns 'image, group, group'"),
        ("image;group\n1;a\n", "has the columns 'image;group'"),
        ('image,group\n1,"a\n', "is no CSV file"),
        ("image,group\n1,a\n2,\n3,c\n", "gives no group to 1 of 3 images: '2'"),
        ("image,group\n1,a\n2,A\n3,c\n", "the groups 'a' and 'A' differ in case alone"),
        ("image,group\nx/1,a\nx/2,b\nx/3,c\n", r"does not list 3 image\(s\): '1, 2, 3'; it lists 'x/1, x/2, x/3'"),
    ],
)
def test_mistakes_in_a_csv(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "groups.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=says) as caught:
        assign(group_names(["1", "2", "3"], str(file)), {})
    assert caught.value.hint


def test_a_csv_of_a_spreadsheet(tmp_path: Path) -> None:
    """A byte-order mark, blank rows, the same row twice, names in another form of Unicode, backslashes."""
    text = "\ufeffimage,group\r\n1.JPG,a\r\n,\r\n1.JPG,a\r\n\r\nu\u0308ber\\2.png, b \r\n"
    (tmp_path / "groups.CSV").write_bytes(text.encode())
    grouping = group_names(["1", "\u00fcber/2"], str(tmp_path / "groups.CSV"))
    assert grouping.groups == {"1": "a", "\u00fcber/2": "b"}


def test_accents_in_one_form(tmp_path: Path) -> None:
    """A group's name as much as an image's; rows that name no image are told."""
    (tmp_path / "groups.csv").write_text("image,group\n1,\u00e9\n2,e\u0301\nold,b\n", encoding="utf-8")
    grouping = group_names(["1", "2"], str(tmp_path / "groups.csv"))
    assert (set(grouping.groups.values()), grouping.unused) == ({"\u00e9"}, ("old",))
    assert group_names(["\u00e9_1"], "^e\u0301").groups == {"\u00e9_1": "\u00e9"}


@pytest.mark.parametrize(
    ("group_by", "says"),
    [("(", "no regular expression"), ("^walk", r"matches nothing in 'drive0/000'"), ("absent.csv", "cannot read")],
)
def test_mistakes_in_the_option(group_by: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        group_names(NAMES, group_by)


def test_too_few_groups() -> None:
    with pytest.raises(DataError, match=r"2 group\(s\) cannot fill train, val, test"):
        assign(Grouping({"1": "a", "2": "a", "3": "b"}, {}), {})
