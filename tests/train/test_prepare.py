"""`prepare`: what it writes, that it writes all or nothing, and every kind of bad data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.errors import ModelError
from codegen.graph.model import Preprocessing
from nanou_train.data.audit import audit_dataset
from nanou_train.data.dataset import DatasetSpec, load_dataset, load_split
from nanou_train.data.images import Picture, camera_pixels, vote
from nanou_train.data.prepare import PrepareSpec, prepare
from nanou_train.data.sources import MaskFolders
from nanou_train.errors import DataError, TrainError
from tests.train.picture_files import color_mask, from_source, rgb16_png, save, write_drives

LABELS = "classes: {sky: ['#0158ff'], plants: [[0, 160, 0]], road: [[156, 76, 30]]}\n"


@pytest.fixture
def spec(tmp_path: Path) -> PrepareSpec:
    write_drives(tmp_path)
    small = Preprocessing(24, 32)
    return PrepareSpec(
        MaskFolders(tmp_path / "images", tmp_path / "masks"), tmp_path / "data", group_by=r"^drive\d+", contract=small
    )


def stems(root: Path) -> dict[str, tuple[str, ...]]:
    return {split: load_split(DatasetSpec(root, 24, 32), split).stems for split in ("train", "val", "test")}


def test_what_is_written_is_what_training_reads(spec: PrepareSpec) -> None:
    prepared = prepare(spec)
    dataset = load_dataset(DatasetSpec(spec.output, 24, 32))
    assert sum(map(len, (dataset.train, dataset.val, dataset.test))) == 20
    assert not prepared.audit.leaks
    for split in (dataset.train, dataset.val, dataset.test):
        assert split.groups == tuple(stem.split("_")[0] for stem in split.stems)
    stem = dataset.val.stems[0]
    image = Image.open(spec.source.images / f"{stem.replace('_', '/')}.png")
    assert np.array_equal(dataset.val.images[0], image.resize((32, 24), Image.Resampling.BOX))
    written = Image.open(spec.output / "val" / "mask" / f"{stem}.png")
    assert (written.mode, set(np.unique(written))) == ("P", {0, 1})


def test_the_same_input_gives_the_same_bytes(spec: PrepareSpec) -> None:
    def content() -> dict[str, bytes]:
        return {
            str(path.relative_to(spec.output)): path.read_bytes() for path in spec.output.rglob("*") if path.is_file()
        }

    prepare(spec)
    first = content()
    prepare(spec)  # over its own earlier output
    assert content() == first


def test_several_classes_by_color(spec: PrepareSpec, tmp_path: Path) -> None:
    for path in spec.source.masks.rglob("*.png"):
        color_mask().save(path)
    (tmp_path / "labels.yaml").write_text(LABELS)
    prepare(from_source(spec, label_map=tmp_path / "labels.yaml"))
    dataset = load_dataset(DatasetSpec(spec.output, 24, 32))
    assert dataset.classes == ("sky", "plants", "road")
    assert [int(dataset.test.masks[0, row, 5]) for row in (0, 12, 23)] == [0, 1, 2]
    written = Image.open(next((spec.output / "test" / "mask").iterdir()))
    assert written.mode == "P"  # indices, with colours for whoever looks at it
    assert written.convert("RGB").getpixel((0, 0)) == (1, 88, 255)


def test_mask_suffix_and_csv_splits(spec: PrepareSpec, tmp_path: Path) -> None:
    for path in list(spec.source.masks.rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_L.png"))
    rows = [
        f"drive{drive}/{frame:03d},{('train', 'val', 'test')[drive % 3]}" for drive in range(5) for frame in range(4)
    ]
    (tmp_path / "splits.csv").write_text("\n".join(["image,split", *rows]))
    prepare(replace(from_source(spec, mask_suffix="_L"), group_by=str(tmp_path / "splits.csv")))
    assert {split: {stem[5] for stem in found} for split, found in stems(spec.output).items()} == {
        "train": {"0", "3"},
        "val": {"1", "4"},
        "test": {"2"},
    }


def test_filter_and_color_order_are_the_contracts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8))
    for name, order in (("bilinear", "RGB"), ("lanczos", "BGR"), ("nearest", "RGB")):
        contract = Preprocessing(24, 32, resize_filter=name, color_order=order)
        expected = np.asarray(image.resize((32, 24), Image.Resampling[name.upper()]))
        expected = expected[..., ::-1] if order == "BGR" else expected
        assert np.array_equal(camera_pixels(Picture(Path("i"), image), contract), expected)
    grey = camera_pixels(Picture(Path("i"), image), Preprocessing(24, 32, channels=1))
    assert grey.shape == (24, 32, 1)
    for wrong in ({"resize_filter": "sinc"}, {"color_order": "GRB"}, {"channels": 4}):
        with pytest.raises((DataError, ModelError), match="contract has"):
            camera_pixels(Picture(Path("i"), image), Preprocessing(24, 32, **wrong))  # type: ignore[arg-type]


def test_the_loader_follows_the_contract(spec: PrepareSpec) -> None:
    prepare(spec)
    red_first = load_split(DatasetSpec(spec.output, 24, 32), "test")
    contract = Preprocessing(24, 32, color_order="BGR")
    blue_first = load_split(DatasetSpec.of(spec.output, contract), "test")
    assert np.array_equal(red_first.images[..., ::-1], blue_first.images)


def test_a_prepared_filter_is_the_models(
    spec: PrepareSpec, tmp_path: Path, require_module: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data resized by one filter are no data for a contract that says another."""
    prepare(replace(spec, contract=Preprocessing(60, 80, resize_filter="lanczos")))
    with pytest.raises(DataError, match="was resized with lanczos, the preprocessing contract says box"):
        load_split(DatasetSpec(spec.output), "test")
    require_module("tensorflow")
    from nanou_train.training import train

    def stop(*_: object) -> None:
        raise TrainError("far enough")

    monkeypatch.setattr(train, "train_teacher_and_student", stop)
    result = train.train_model(data_root=spec.output, output_dir=tmp_path / "runs")
    assert result["error"] == "far enough"
    manifest = json.loads((result["experiment_dir"] / "manifest.json").read_text())
    assert manifest["preprocessing"]["resize_filter"] == "lanczos"


def test_classes_vote_by_area() -> None:
    classes = np.array([[0, 1, 2, 2], [1, 1, 0, 1]], np.uint8)  # two blocks of 2x2
    assert vote(classes, 3, Preprocessing(1, 2)).tolist() == [[1, 2]]
    tie = np.array([[0, 2]], np.uint8)
    assert vote(tie, 3, Preprocessing(1, 1)).tolist() == [[2]]


def test_16_bit_rgb_is_read_by_its_high_bytes(spec: PrepareSpec) -> None:
    (spec.source.images / "drive0" / "000.png").write_bytes(rgb16_png(0x80FF))
    prepare(spec)
    (found,) = spec.output.rglob("img/drive0_000.png")
    assert Image.open(found).getpixel((3, 3)) == (0x80, 0, 0)


def test_mixed_sizes_are_squeezed_and_said(spec: PrepareSpec, tmp_path: Path) -> None:
    write_drives(tmp_path, drives=1, size=(30, 90))
    prepare(spec)
    sizes = {Image.open(path).size for path in spec.output.rglob("*.png")}
    assert sizes == {(32, 24)}
    write_drives(tmp_path / "raw", drives=1, frames=1)
    for split in ("train", "val", "test"):
        for kind, folder in (("img", "images"), ("mask", "masks")):
            (tmp_path / "raw" / folder / "drive0" / "000.png").rename(spec.output / split / kind / "large.png")
        write_drives(tmp_path / "raw", drives=1, frames=1)
    audit = audit_dataset(spec.output)
    assert audit.sizes_px == {"32x24": 20, "64x48": 3}
    assert any("2 different sizes" in warning for warning in audit.warnings)


def _no_mask(folder: Path) -> None:
    (folder / "masks" / "drive1" / "002.png").unlink()


def _no_image(folder: Path) -> None:
    (folder / "images" / "drive1" / "002.png").unlink()


def _corrupt(folder: Path) -> None:
    path = folder / "images" / "drive1" / "002.png"
    path.write_bytes(path.read_bytes()[:200])


def _rgb_mask(folder: Path) -> None:
    color_mask().save(folder / "masks" / "drive1" / "002.png")


def _palette_mask(folder: Path) -> None:
    color_mask().quantize(3).save(folder / "masks" / "drive1" / "002.png")


def _sixteen_bits(folder: Path) -> None:
    Image.fromarray(np.full((48, 64), 4000, np.uint16)).save(folder / "images" / "drive1" / "002.png")


def _sixteen_bit_mask(folder: Path) -> None:
    Image.fromarray(np.full((48, 64), 65535, np.uint16)).save(folder / "masks" / "drive1" / "002.png")


def _other_size(folder: Path) -> None:
    save(folder / "masks" / "drive1" / "002.png", np.zeros((20, 30)))


def _one_class(folder: Path) -> None:
    for path in (folder / "masks").rglob("*.png"):
        save(path, np.zeros((48, 64)))


def _class_numbers(folder: Path) -> None:
    save(folder / "masks" / "drive1" / "002.png", np.ones((48, 64)))


def _no_images(folder: Path) -> None:
    for path in (folder / "images").rglob("*.png"):
        path.rename(path.with_suffix(".txt"))


def _two_drives(folder: Path) -> None:
    for kind in ("images", "masks"):
        for drive in (2, 3, 4):
            for path in (folder / kind / f"drive{drive}").iterdir():
                path.unlink()


def _name_clash(folder: Path) -> None:
    for kind in ("images", "masks"):
        path = folder / kind / "drive1" / "002.png"
        path.rename(folder / kind / "drive1_001.png")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_no_mask, r"1 of 20 files have no mask of the same name: .*images/drive1/002\.png"),
        (_no_image, r"1 of 20 files have no image of the same name: .*masks/drive1/002\.png"),
        (_corrupt, r"1 of 20 pairs cannot be used: cannot read .*drive1/002\.png as an image"),
        (_rgb_mask, r"1 of 20 pairs .*Pillow mode RGB"),
        (_palette_mask, r"1 of 20 pairs .*Pillow mode P"),
        (_sixteen_bits, r"image .*drive1/002\.png has Pillow mode I;16: more than 8 bits"),
        (_sixteen_bit_mask, r"mask .*drive1/002\.png has Pillow mode I;16"),
        (_other_size, r"is 64x48, its mask .* is 30x20"),
        (_one_class, r"every pixel of every mask is of class background"),
        (_class_numbers, r"values up to 1: class numbers"),
        (_no_images, r"no images in .*images"),
        (_two_drives, r"2 group\(s\) cannot fill train, val, test"),
        (_name_clash, r"drive1/001 and drive1_001 would both become drive1_001"),
    ],
)
def test_bad_data_is_named_and_nothing_is_written(
    spec: PrepareSpec, tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DataError, match=says) as caught:
        prepare(spec)
    assert caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_images_without_masks_are_left_out_where_that_is_said(spec: PrepareSpec, tmp_path: Path) -> None:
    for number in range(1, 4):
        (tmp_path / "masks" / "drive2" / f"00{number}.png").unlink()
    with pytest.raises(DataError, match="3 of 20 files have no mask") as caught:
        prepare(spec)
    assert "--unmasked skip" in caught.value.hint
    prepared = prepare(from_source(spec, unmasked="skip"))
    assert (prepared.files.used, len(prepared.files.skipped)) == (17, 3)
    assert "3 without a mask (001.png, 002.png, 003.png)" in str(prepared.files)
    (tmp_path / "images" / "drive2" / "001.png").unlink()
    (tmp_path / "masks" / "drive2" / "other.png").write_bytes((tmp_path / "masks" / "drive1" / "001.png").read_bytes())
    with pytest.raises(DataError, match="1 of 18 files have no image"):  # a mask without an image is a mistake
        prepare(from_source(replace(spec, force=True), unmasked="skip"))
    for path in (tmp_path / "masks").rglob("*.png"):
        path.rename(path.with_name(f"{path.stem}_L.png"))
    with pytest.raises(DataError, match="of 19 files have no mask") as caught:  # names, not missing work
        prepare(from_source(replace(spec, force=True), unmasked="skip"))
    assert "--mask-suffix" in caught.value.hint


def test_a_wrong_label_map_is_named(spec: PrepareSpec, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text("classes: {free: [0], road: [1]}")
    with pytest.raises(DataError, match=r"20 of 20 pairs .*does not list: 255"):
        prepare(from_source(spec, label_map=tmp_path / "labels.yaml"))
    (tmp_path / "labels.yaml").write_text("classes: {free: [0], road: [1]}\ndefault: free")
    with pytest.raises(DataError, match="every pixel of every mask is of class free"):
        prepare(from_source(spec, label_map=tmp_path / "labels.yaml"))
    assert not spec.output.exists()


def test_somebody_elses_folder_is_kept(spec: PrepareSpec) -> None:
    spec.output.mkdir()
    (spec.output / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="did not write"):
        prepare(spec)
    assert (spec.output / "notes.txt").read_text() == "mine"
    prepare(replace(spec, force=True))
    assert not (spec.output / "notes.txt").exists()
    with pytest.raises(DataError, match="holds the source"):
        prepare(replace(spec, output=spec.source.images.parent, force=True))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is damaged"),
        ('{"schema": 9}', "has schema 9"),
        ('{"schema": 1, "classes": ["one"]}', "has not 2 to 32 classes"),
        ('{"schema": 1, "classes": 3}', "has not 2 to 32 classes"),
        ('{"schema": 2, "classes": ["drivable", "rest"]}', "the second is the drivable one, and it alone"),
        ('{"schema": true}', "has schema True"),
        ('{"schema": 2, "drivables": []}', "unknown key 'drivables'"),
        ('{"schema": 2, "ignore": 0}', "ignore is 0, which can be 255 only"),
        ('{"schema": 2, "schema": 1}', "is damaged: it has the key .schema. twice"),
    ],
)
def test_a_damaged_card_is_named(spec: PrepareSpec, text: str, says: str) -> None:
    prepare(spec)
    (spec.output / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=says):
        load_dataset(DatasetSpec(spec.output))


def test_an_index_beyond_the_classes_is_named(spec: PrepareSpec) -> None:
    prepare(spec)
    path = next((spec.output / "train" / "mask").iterdir())
    save(path, np.full((24, 32), 7))
    with pytest.raises(DataError, match=r"has the value 7, dataset.json names 2 classes \(0 to 1, 255 is ignored\)"):
        load_dataset(DatasetSpec(spec.output))


# ---- The audit -------------------------------------------------------------------------------------------------


def test_duplicates_and_look_alikes_across_splits(spec: PrepareSpec) -> None:
    prepare(spec)
    found = stems(spec.output)
    train, test = found["train"][0], found["test"][0]
    for kind in ("img", "mask"):
        source = spec.output / "train" / kind / f"{train}.png"
        (spec.output / "val" / kind / "copy.png").write_bytes(source.read_bytes())
    brighter = np.asarray(Image.open(spec.output / "test" / "img" / f"{test}.png")).astype(int) + 2
    save(spec.output / "train" / "img" / "brighter.png", np.clip(brighter, 0, 255))
    save(spec.output / "train" / "mask" / "brighter.png", np.full((24, 32), 1))
    audit = audit_dataset(spec.output)
    assert audit.leaks
    assert [(pair.first, pair.second) for pair in audit.duplicates_across] == [(f"train/{train}", "val/copy")]
    assert ("train/brighter", f"test/{test}") in [(p.first, p.second) for p in audit.near_duplicates_across]


def test_a_split_through_a_sequence_is_found(spec: PrepareSpec) -> None:
    prepare(replace(spec, group_by=""))  # by image, as one should not
    audit = audit_dataset(spec.output, group_by=r"^drive\d+")
    assert audit.groups_across
    assert audit.near_duplicates_across  # frames of one drive differ by noise
    assert any("no sequences are known" in warning for warning in audit_dataset(spec.output).warnings)


def test_balance_counts_pixels(spec: PrepareSpec) -> None:
    audit = prepare(spec).audit
    for part in audit.balance:
        masks = load_split(DatasetSpec(spec.output, 24, 32), part.split).masks
        assert part.class_pixels == (int((masks == 0).sum()), int((masks == 1).sum()))
        assert part.images == len(masks)
        assert sum(part.class_shares) == pytest.approx(1)
    assert audit.sizes_px == {"32x24": 20}


@pytest.mark.parametrize(
    ("name", "pattern", "crossing"), [("ycor", r"^c\d+", set()), ("camvid", "^[^_]+", {"0001TP", "0016E5"})]
)
def test_public_data(shared_data: Callable[[str], Path], name: str, pattern: str, crossing: set[str]) -> None:
    """CamVid's official split divides two drives; YCOR was split here by place."""
    audit = audit_dataset(shared_data(name), group_by=pattern)
    assert set(audit.groups_across) == crossing
    assert audit.duplicates_across == ()
    assert len(audit.near_duplicates_across) == (1 if name == "camvid" else 0)


def test_a_split_by_image_leaks_on_public_data(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    """The figures of docs/DATA.md: all YCOR pictures in one folder, split at random and by place."""
    for kind, name in (("img", "images"), ("mask", "masks")):
        (tmp_path / name).mkdir()
        for path in shared_data("ycor").glob(f"*/{kind}/*.png"):
            (tmp_path / name / path.name).symlink_to(path)
    spec = PrepareSpec(MaskFolders(tmp_path / "images", tmp_path / "masks"), tmp_path / "data")
    assert len(prepare(spec).audit.near_duplicates_across) == 65
    assert prepare(replace(spec, group_by=r"^c\d+")).audit.near_duplicates_across == ()
