"""Annotations of labelling tools: equal masks from every format, and what is uncertain, damaged or hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from codegen.graph.model import Preprocessing
from codegen.untrusted import parse_xml
from nanou_deploy.cli.source_options import FORMATS as COMMAND_FORMATS
from nanou_train.data.annotations import mask_files
from nanou_train.data.annotations.annotation import Annotated, Annotations, Polygons, Runs, Shape, ellipse, rectangle
from nanou_train.data.annotations.match import match_pictures
from nanou_train.data.annotations.meaning import decide
from nanou_train.data.annotations.raster import fill, paint
from nanou_train.data.annotations.recognize import FORMATS, read_annotations
from nanou_train.data.annotations.run_lengths import decode_counts, encode_counts
from nanou_train.data.images import IGNORE
from nanou_train.data.pairs import FileCount
from nanou_train.data.prepare import PrepareSpec, prepare
from nanou_train.data.sources import AnnotationFiles, Sources, find_sources
from nanou_train.errors import DataError
from tests.command_line import run, run_json
from tests.train import annotation_files as scene
from tests.train.annotation_files import HEIGHT, LABELS, STEMS, WIDTH, WRITERS

NAMED = {"labelme-voc": "voc", "roboflow-coco": "coco"}


def sources(root: Path, **how: Any) -> tuple[Sources, FileCount]:
    count = FileCount()
    how = {"drivable": ("trail", "grass"), "ignore": ("unsure",), **how}
    return find_sources(AnnotationFiles(root, **how), count), count


def expected(unlabelled: int = 0) -> np.ndarray[Any, Any]:
    """Class indices: trail and grass 1, rock 0, unsure ignored."""
    return np.array([unlabelled, 1, 1, 0, IGNORE], np.uint8)[scene.truth()]


# ---- Every format ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WRITERS)
def test_equal_masks_from_every_format(tmp_path: Path, kind: str) -> None:
    """One scene, written by each format's documentation: the same pixels as the definition gives."""
    WRITERS[kind](tmp_path / "export")
    ignore = () if kind == "labelme-voc" else ("unsure",)  # its masks have 255 there
    found, count = sources(tmp_path / "export", ignore=ignore)
    assert len(found.readers) == len(STEMS)
    assert {tuple(name.rsplit("/", 1)[-1].split("_png.rf.")[0] for name in found.readers)} == {STEMS}
    for read in found.readers.values():
        assert np.array_equal(read().classes, expected())
    assert found.annotations is not None
    assert found.annotations.format.startswith(FORMATS[NAMED.get(kind, kind)])
    assert found.annotations.labels["rock"] == "background"
    chosen, _ = sources(tmp_path / "export", ignore=ignore, format=NAMED.get(kind, kind), unlabelled="ignore")
    for read in chosen.readers.values():
        assert np.array_equal(read().classes, expected(IGNORE))
    assert not count.skipped


def test_all_formats_have_a_writer_and_a_choice() -> None:
    assert {NAMED.get(kind, kind) for kind in WRITERS} == set(FORMATS) == set(COMMAND_FORMATS)


def test_what_has_no_area_is_counted(tmp_path: Path) -> None:
    for kind, what in (("labelme", "point"), ("cvat", "polyline"), ("yolo", "box")):
        WRITERS[kind](tmp_path / kind)
        found, _ = sources(tmp_path / kind)
        assert found.annotations is not None
        assert found.annotations.left_out == {what: 3}
        assert any(f"3 {what}" in line for line in found.annotations.lines())


def test_several_classes_by_a_label_map_of_names(tmp_path: Path) -> None:
    scene.write_cvat(tmp_path / "export")
    path = tmp_path / "labels.yaml"
    path.write_text(
        "classes: {other: [rock, unlabelled], grass: grass, trail: [trail]}\nignore: unsure\ndrivable: [trail]"
    )
    found, _ = sources(tmp_path / "export", drivable=(), ignore=(), label_map=path)
    assert (found.classes, found.drivable) == (("other", "grass", "trail"), ("trail",))
    table = np.array([0, 2, 1, 0, IGNORE], np.uint8)
    assert all(np.array_equal(read().classes, table[scene.truth()]) for read in found.readers.values())
    path.write_text("classes: {other: [rock], trail: [trail]}")
    with pytest.raises(DataError, match="does not list grass, unsure, unlabelled"):
        sources(tmp_path / "export", drivable=(), ignore=(), label_map=path)
    path.write_text("classes: {other: [rok], trail: [trail]}\ndefault: other")
    with pytest.raises(DataError, match="lists 'rok', which no label is called") as caught:
        sources(tmp_path / "export", drivable=(), ignore=(), label_map=path)
    assert "trail, grass, rock, unsure" in caught.value.hint


def test_prepare_takes_annotations(tmp_path: Path) -> None:
    scene.write_coco(tmp_path / "export")
    source = AnnotationFiles(tmp_path / "export", drivable=("trail", "grass"), ignore=("unsure",))
    spec = PrepareSpec(source, tmp_path / "data", group_by=r"drive\d", contract=Preprocessing(HEIGHT, WIDTH))
    prepared = prepare(spec)
    assert prepared.files.used == 3
    for path in (tmp_path / "data").rglob("mask/*.png"):
        assert np.array_equal(np.asarray(Image.open(path)), expected())
    with pytest.raises(DataError, match="holds the source"):
        prepare(replace(spec, output=tmp_path, force=True))


def test_copies_of_one_picture_stay_together(tmp_path: Path) -> None:
    scene.write_roboflow_coco(tmp_path / "export")
    train = tmp_path / "export" / "train"
    document = json.loads((train / "_annotations.coco.json").read_text())
    copy = {**document["images"][0], "id": 99, "file_name": f"{STEMS[0]}_png.rf.copy.png"}
    document["images"].append(copy)
    document["annotations"] += [
        {**one, "id": 1000 + one["id"], "image_id": 99} for one in document["annotations"] if one["image_id"] == 1
    ]
    (train / "_annotations.coco.json").write_text(json.dumps(document))
    Image.open(train / document["images"][0]["file_name"]).rotate(180).save(train / copy["file_name"])
    done, found = run_json("prepare", "--labels", "export", "--drivable", "trail", "--output", "data", cwd=tmp_path)
    assert (done, found["files"]["used"]) == (0, 4)
    groups = json.loads((tmp_path / "data" / "dataset.json").read_text())["groups"]
    assert sorted(groups.values()) == sorted([f"{STEMS[0]}_png", *(f"{stem}_png" for stem in STEMS)])


# ---- The command -----------------------------------------------------------------------------------------------


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    scene.write_cvat(tmp_path / "export")
    Image.new("RGB", (8, 8)).save(tmp_path / "export" / "images" / "extra.png")
    words = ["prepare", "--labels", "export", "--output", "data"]
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert (
        "which labels are drivable? CVAT 1.1 for images has trail (3), grass (3), rock (3), unsure (3)" in done.stderr
    )
    assert "--drivable" in done.stderr
    done = run(*words, "--drivable", "gras", cwd=tmp_path)
    assert "no label is called gras" in done.stderr
    done = run(*words, "--drivable", "grass", "--drivable", "trail", "--ignore", "unsure", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "CVAT 1.1 for images: 3 pictures; trail is drivable, grass is drivable, rock is background" in done.stdout
    assert "unsure is ignored" in done.stdout
    assert "1 without annotation (extra.png)" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--images", "a"],
        ["--masks", "m", "--labels", "l"],
        ["--masks", "m"],
        ["--images", "a", "--masks", "m", "--drivable", "x"],
        ["--labels", "l", "--mask-suffix", "_L"],
        ["--labels", "l", "--format", "png"],
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, words: list[str]) -> None:
    assert run("prepare", "--output", "out", *words, cwd=tmp_path).returncode == 2


# ---- Uncertain -------------------------------------------------------------------------------------------------


def test_two_formats_are_asked_about(tmp_path: Path) -> None:
    scene.write_coco(tmp_path)
    (tmp_path / "annotations.xml").write_text("<annotations><image name='a.png' width='8' height='8'/></annotations>")
    with pytest.raises(DataError, match=r"holds COCO \(3 pictures\) and CVAT 1.1 for images \(1 pictures\)") as caught:
        sources(tmp_path)
    assert "--format coco or cvat" in caught.value.hint
    assert len(sources(tmp_path, format="coco")[0].readers) == 3


def test_pictures_without_shapes_are_left_out_or_taken(tmp_path: Path) -> None:
    scene.write_labelme(tmp_path)
    path = tmp_path / f"{STEMS[0]}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "shapes": []}))
    found, count = sources(tmp_path)
    assert (len(found.readers), str(count)) == (2, "0 pairs of image and mask used; 1 file skipped: "
                                                  f"1 annotated with nothing ({STEMS[0]}.png)")  # fmt: skip
    found, count = sources(tmp_path, with_empty=True)
    assert not found.readers[STEMS[0]]().classes.any()


def test_boxes_alone_are_no_masks(tmp_path: Path) -> None:
    scene.write_yolo(tmp_path)
    for path in tmp_path.rglob("labels/train/*.txt"):
        path.write_text("1 0.5 0.5 0.2 0.2\n")
    with pytest.raises(DataError, match="has nothing but 'box' on 3 pictures"):
        sources(tmp_path)


def test_masks_without_a_palette_or_names(tmp_path: Path) -> None:
    scene.write_voc(tmp_path)
    (tmp_path / "labelmap.txt").unlink()
    for path in tmp_path.rglob("SegmentationClass/*.png"):
        Image.fromarray(scene.truth()).save(path)
    with pytest.raises(DataError, match=r"without VOC's palette, and no labelmap\.txt") as caught:
        sources(tmp_path)
    assert "--label-map" in caught.value.hint
    (tmp_path / "class_names.txt").write_text("\n".join(["_background_", *LABELS]))
    assert np.array_equal(sources(tmp_path)[0].readers[STEMS[0]]().classes, expected())


def test_vocs_own_classes_and_colors() -> None:
    """The first colours of its development kit, and void."""
    assert [f"{mask_files.voc_color(index):06x}" for index in (0, 1, 2, 7, 15, 20, 255)] == [
        "000000", "800000", "008000", "808080", "c08080", "004080", "e0e0c0",
    ]  # fmt: skip
    assert (mask_files.VOC_CLASSES[7], mask_files.VOC_CLASSES[15]) == ("car", "person")


def test_overlaps_without_an_order_are_said(tmp_path: Path) -> None:
    scene.write_coco(tmp_path)
    found, _ = sources(tmp_path)
    for read in found.readers.values():
        read()
    assert found.annotations is not None
    assert any("under several labels: the last one counts" in line for line in found.annotations.lines())


def one(name: str, folder: str = "labels") -> Annotated:
    return Annotated(name, Path(folder) / "a.json", Path(folder))


def test_names_are_matched_from_their_end_and_never_opened() -> None:
    files = [Path("x/a/1.jpg"), Path("x/b/1.jpg"), Path("x/b/2.JPG")]
    found, skipped = match_pictures([one("..\\b\\1.jpg"), one("../../etc/2.png"), one("/etc/passwd")], files)
    assert {path: which.name for path, which in found.items()} == {
        files[1]: "..\\b\\1.jpg",
        files[2]: "../../etc/2.png",
    }
    assert [reason for reason, _ in skipped] == ["annotated, but not there", "without annotation"]
    with pytest.raises(DataError, match="which may be"):
        match_pictures([one("1.jpg")], files)
    with pytest.raises(DataError, match="is annotated by"):
        match_pictures([one("b/1.jpg"), one("b/1.jpg", "more")], files)


# ---- Pixels ----------------------------------------------------------------------------------------------------


def test_polygons_cover_pixel_centres() -> None:
    """Random outlines, some crossing themselves or leaving the picture, against the definition."""
    rng = np.random.default_rng(5)
    for points in (3, 4, 7, 12):
        ring = rng.uniform(-8, 72, (points, 2))
        top, left, found = fill(ring, WIDTH, HEIGHT)
        canvas = np.zeros((HEIGHT, WIDTH), bool)
        canvas[top : top + found.shape[0], left : left + found.shape[1]] = found
        assert np.array_equal(canvas, scene.bitmap(tuple(map(tuple, ring))))


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    """Also where the common edge goes through centres."""

    def covered(ring: Any) -> np.ndarray[Any, Any]:
        canvas = np.zeros((10, 10), int)
        top, left, found = fill(np.array(ring, float), 10, 10)
        canvas[top : top + found.shape[0], left : left + found.shape[1]] = found
        return canvas

    assert (
        covered([[0, 0], [4.5, 0], [4.5, 10], [0, 10]]) + covered([[4.5, 0], [10, 0], [10, 10], [4.5, 10]]) == 1
    ).all()
    assert (covered([[0, 0], [10, 0], [0, 10]]) + covered([[10, 0], [10, 10], [0, 10]]) == 1).all()
    assert covered([[1, 1], [4, 1], [4, 4], [1, 4]]).sum() == 9  # a box from 1 to 4 is three pixels wide


def test_turned_boxes_and_ellipses() -> None:
    upright = fill(rectangle(2, 4, 8, 6), 10, 10).inside
    turned = fill(rectangle(2, 4, 8, 6, 90), 10, 10).inside
    assert np.array_equal(upright.T, turned)
    corner = rectangle(0, 0, 4, 2, 30)[1] - (2, 1)  # the upper right one goes down: clockwise, as one sees it
    assert corner[1] > -1
    assert abs(fill(ellipse(32, 24, 20, 10), WIDTH, HEIGHT).inside.sum() / (np.pi * 200) - 1) < 0.01


def test_cocos_compressed_counts() -> None:
    """Texts of cocoapi for small masks, and all lengths back and forth."""
    assert decode_counts("52203", "") == [5, 2, 2, 2, 5]
    assert encode_counts([5, 2, 2, 2, 5]) == "52203"
    rng = np.random.default_rng(0)
    for most in (3, 40, 5000, 10**7):
        counts = rng.integers(0, most, 50).tolist()
        assert decode_counts(encode_counts(counts), "") == counts
    for text in ("o", "5\x7f", "5 2", "o" * 20 + "0"):
        with pytest.raises(DataError, match="a compressed mask"):
            decode_counts(text, "here")


def test_runs_go_by_row_or_by_column() -> None:
    bitmap = np.array([[1, 1, 0], [0, 1, 0]], bool)
    assert Runs.of(bitmap).counts.tolist() == [0, 2, 2, 1, 1]
    assert Runs.of(bitmap, by_column=True).counts.tolist() == [0, 1, 1, 2, 2]
    for by_column in (True, False):
        assert np.array_equal(Runs.of(bitmap, by_column=by_column).bitmap(), bitmap)


def test_labelmes_ignore_label_and_a_label_called_drivable() -> None:
    shapes = tuple(Shape(label, Polygons(())) for label in ("Drivable", "tree", "__ignore__"))
    annotations = Annotations("LabelMe", ("Drivable", "tree", "__ignore__"), (replace(one("a.png"), shapes=shapes),))
    meaning = decide(annotations)
    assert meaning.table.tolist() == [0, 1, 0, IGNORE]
    with pytest.raises(DataError, match="tree is both drivable and ignored"):
        decide(annotations, drivable=("tree",), ignore=("tree",))


# ---- Damaged and hostile ---------------------------------------------------------------------------------------


def _edited(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / "annotations" / "instances_default.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def _set(index: int, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["annotations"][index].update(segmentation=value)


WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "sum": (_set(2, {"counts": [5], "size": [HEIGHT, WIDTH]}), "run lengths make 5 pixels, not 64x48"),
    "negative": (_set(2, {"counts": [-1, 1], "size": [HEIGHT, WIDTH]}), "are no whole numbers"),
    "huge": (_set(2, {"counts": [1], "size": [10**6, 10**6]}), "a mask is 1000000x1000000"),
    "size": (_set(2, {"counts": [64], "size": [8, 8]}), "another size than the picture"),
    "odd": (_set(1, [[1, 2, 3]]), "no pairs of x and y"),
    "far": (_set(1, [[1, 2, 1e300, 4, 5, 6]]), "points beyond"),
    "text": (_set(1, [["a", "b", "c", "d", "e", "f"]]), "are no numbers"),
    "points": (_set(1, [[0.5] * 200_002]), "more than 100,000 points"),
    "category": (lambda document: document["categories"].pop(), "names category 10"),
    "name": (lambda document: document["images"][0].update(file_name=3), "is no name"),
    "id": (lambda document: document["images"][0].update(id="x"), "id is 'x'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_damaged_coco_is_named(tmp_path: Path, kind: str) -> None:
    scene.write_coco(tmp_path)
    change, says = WRONG[kind]
    _edited(tmp_path, change)
    with pytest.raises(DataError, match=says) as caught:
        sources(tmp_path)
    assert "instances_default.json" in str(caught.value)
    assert caught.value.hint


HOSTILE = {
    "deep.json": ("[" * 200 + "]" * 200, "nested more than 32 deep"),
    "cut.json": ('{"shapes": [', "cannot be read as JSON"),
    "entities.xml": ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "declares a document type"),
    "deep.xml": ("<a>" * 50 + "</a>" * 50, "nested more than 32 deep"),
    "video.xml": ("<annotations><meta/><track id='0'/></annotations>", "CVAT for video"),
    "rle.xml": (
        "<annotations><image name='a' width='8' height='8'><mask label='x' rle='1, x' left='0' top='0' width='2' "
        "height='2'/></image></annotations>",
        "are no whole numbers",
    ),
    "nan.xml": (
        "<annotations><image name='a' width='8' height='8'><box label='x' xtl='nan' ytl='0' xbr='1' ybr='1'/></image>"
        "</annotations>",
        "xtl is 'nan'",
    ),
    "mask.json": (
        json.dumps({"shapes": [{"label": "a", "shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "AAAA"}],
                    "imagePath": "a.png"}),
        "as an image",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, name: str) -> None:
    text, says = HOSTILE[name]
    (tmp_path / name).write_text(text)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=says):
            read_annotations(path)


def test_xml_is_bounded() -> None:
    with pytest.raises(ValueError, match="more than 3 elements"):
        parse_xml(b"<a><b/><b/><b/></a>", most_elements=3)
    assert parse_xml(b"<a>x<b c='1'/></a>").find("b") is not None


def test_painting_is_bounded() -> None:
    zigzag = np.stack([np.arange(90_000) % 50, np.arange(90_000) % 2 * 7000.0], axis=1)
    shapes = tuple(Shape("a", Polygons((zigzag,))) for _ in range(1))
    with pytest.raises(DataError, match="too many to paint"):
        paint(replace(one("a.png"), shapes=shapes), {"a": 1}, 8000, 8000)
    whole = Shape("a", Polygons((rectangle(0, 0, 8000, 8000),)))
    with pytest.raises(DataError, match="too many to paint"):
        paint(replace(one("a.png"), shapes=(whole,) * 100), {"a": 1}, 8000, 8000)


def test_an_archive_is_not_unpacked(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("annotations.xml", "<annotations/>")
    with pytest.raises(DataError, match="is an archive"):
        read_annotations(tmp_path / "export.zip")
