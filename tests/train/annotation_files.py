"""One scene of polygons, written in every annotation format as its documentation has it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from nanou_train.data.annotations.annotation import Bitmap, Runs
from nanou_train.data.annotations.run_lengths import encode_counts

WIDTH, HEIGHT = 64, 48
LABELS = ("trail", "grass", "rock", "unsure")
# Painted one on the other: each later one is also smaller, which is what lies on top in YOLO files.
SCENE: tuple[tuple[str, tuple[tuple[float, float], ...]], ...] = (
    ("grass", ((0, 20.3), (64, 17.1), (64, 48), (0, 48))),
    ("trail", ((20.25, 47.9), (28.6, 19.7), (36.1, 19.7), (50.8, 47.9))),
    ("rock", ((30.1, 30.2), (38.4, 31.3), (36.2, 38.9), (33.3, 33.4), (29.8, 37.7))),
    ("unsure", ((5.2, 25.3), (9.4, 25.3), (9.4, 30.6), (5.2, 30.6))),
)
STEMS = ("drive0_000", "drive1_000", "drive2_000")


def inside(polygon: tuple[tuple[float, float], ...], x: float, y: float) -> bool:
    """Count crossings to the right: the definition, point by point."""
    odd = False
    for (x0, y0), (x1, y1) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            odd = not odd
    return odd


def bitmap(polygon: tuple[tuple[float, float], ...]) -> Bitmap:
    return np.array([[inside(polygon, x + 0.5, y + 0.5) for x in range(WIDTH)] for y in range(HEIGHT)])


def truth() -> np.ndarray[Any, Any]:
    """The number in LABELS from 1 on, 0 where nothing is."""
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    for label, polygon in SCENE:
        numbers[bitmap(polygon)] = LABELS.index(label) + 1
    return numbers


def write_pictures(folder: Path, suffix: str = ".png") -> list[str]:
    """A picture of noise for each stem; their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, stem in enumerate(STEMS):
        pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{stem}{suffix}")
    return [f"{stem}{suffix}" for stem in STEMS]


def write_labelme(root: Path) -> None:
    """JSON beside each picture; one of the shapes as a mask, another as a rectangle."""
    for name in write_pictures(root):
        shapes = [
            {"label": label, "points": [list(point) for point in polygon], "group_id": None, "shape_type": "polygon"}
            for label, polygon in SCENE
        ]
        left, top, right, bottom = 29, 30, 38, 38
        rock = io.BytesIO()
        Image.fromarray(bitmap(SCENE[2][1])[top : bottom + 1, left : right + 1]).save(rock, "PNG")
        shapes[2] |= {
            "shape_type": "mask",
            "points": [[left, top], [right, bottom]],
            "mask": base64.b64encode(rock.getvalue()).decode(),
        }
        shapes[3] |= {"shape_type": "rectangle", "points": [list(SCENE[3][1][0]), list(SCENE[3][1][2])]}
        shapes.append({"label": "rock", "points": [[3, 3]], "group_id": None, "shape_type": "point"})
        document = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": name,
            "imageData": None,
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        (root / name).with_suffix(".json").write_text(json.dumps(document))


def write_cvat(root: Path) -> None:
    """annotations.xml and images/; z_order says what lies on top, not the order; the rock is a mask, unsure a box."""
    parts = []
    for number, name in enumerate(write_pictures(root / "images")):
        shapes = []
        for level, (label, polygon) in enumerate(SCENE):
            common = f'label="{label}" source="manual" occluded="0" z_order="{level}"'
            text = ";".join(f"{x:.2f},{y:.2f}" for x, y in polygon)
            shapes.append(f'<polygon {common} points="{text}"></polygon>')
        box = bitmap(SCENE[2][1])[28:41, 27:42]
        counts = ", ".join(map(str, Runs.of(box).counts.tolist()))
        common = 'source="manual" occluded="0"'
        shapes[2] = (
            f'<mask label="rock" {common} z_order="2" rle="{counts}" left="27" top="28" width="15" height="13"></mask>'
        )
        shapes[3] = f'<box label="unsure" {common} z_order="3" xtl="5.20" ytl="25.30" xbr="9.40" ybr="30.60"></box>'
        shapes.append(f'<polyline label="rock" {common} z_order="0" points="1.0,1.0;9.0,9.0"></polyline>')
        body = "".join(reversed(shapes))
        parts.append(f'<image id="{number}" name="{name}" width="{WIDTH}" height="{HEIGHT}">{body}</image>')
    labels = "".join(f"<label><name>{label}</name><attributes></attributes></label>" for label in LABELS)
    (root / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>'
        f"<meta><task><mode>annotation</mode><labels>{labels}</labels></task></meta>{''.join(parts)}</annotations>"
    )


def write_coco(root: Path) -> None:
    """The grass in two polygons, trail as polygon, the rock as run lengths, unsure as compressed ones of a crowd."""
    images, annotations = [], []
    for number, name in enumerate(write_pictures(root / "images"), 1):
        images.append({"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT})
        cut = 20.0  # the grass, cut in two at x = 32
        middle = 20.3 + (17.1 - 20.3) * 0.5
        halves = [[0, 20.3, 32, middle, 32, 48, 0, 48], [32, middle, 64, 17.1, 64, 48, 32, 48]]
        flat = [value for point in SCENE[1][1] for value in point]
        rock, unsure = (Runs.of(bitmap(SCENE[index][1]), by_column=True).counts.tolist() for index in (2, 3))
        segmentations: list[Any] = [
            halves,
            [flat],
            {"counts": rock, "size": [HEIGHT, WIDTH]},
            {"counts": encode_counts(unsure), "size": [HEIGHT, WIDTH]},
        ]
        for (label, _), segmentation in zip(SCENE, segmentations, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 7 + LABELS.index(label),
                    "segmentation": segmentation,
                    "area": cut,
                    "bbox": [0, 0, 1, 1],
                    "iscrowd": int(isinstance(segmentation, dict)),
                }
            )
    categories = [{"id": 7 + index, "name": label, "supercategory": ""} for index, label in enumerate(LABELS)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_default.json").write_text(json.dumps(document))


def write_yolo(root: Path) -> None:
    """data.yaml with numbered names, images/train and labels/train; rows in any order, since the smaller is on top."""
    write_pictures(root / "images" / "train")
    (root / "labels" / "train").mkdir(parents=True)
    rows = [
        f"{LABELS.index(label)} " + " ".join(f"{x / WIDTH:.9f} {y / HEIGHT:.9f}" for x, y in polygon)
        for label, polygon in SCENE
    ]
    for stem in STEMS:
        (root / "labels" / "train" / f"{stem}.txt").write_text("\n".join([*reversed(rows), "2 0.5 0.5 0.1 0.1", ""]))
    names = "".join(f"  {index}: {label}\n" for index, label in enumerate(LABELS))
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nnames:\n{names}")


VOC_PALETTE = (
    (0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128),
)  # fmt: skip  # the first rows of VOC's table of colours


def _voc(root: Path) -> np.ndarray[Any, Any]:
    write_pictures(root / "JPEGImages")
    (root / "SegmentationClass").mkdir()
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("\n".join(STEMS))
    return truth()


def write_voc(root: Path) -> None:
    """CVAT's export: labelmap.txt, and masks in RGB."""
    colors = np.array(VOC_PALETTE, np.uint8)
    pixels = colors[_voc(root)]
    for stem in STEMS:
        Image.fromarray(pixels).save(root / "SegmentationClass" / f"{stem}.png")
    lines = [
        f"{label}:{','.join(map(str, color))}::"
        for label, color in zip(("background", *LABELS), VOC_PALETTE, strict=False)
    ]
    (root / "labelmap.txt").write_text("\n".join(["# label:color_rgb:parts:actions", *lines, ""]))


def write_labelme_voc(root: Path) -> None:
    """LabelMe's export: class_names.txt, and masks of indices with VOC's palette, where 255 is __ignore__."""
    numbers = _voc(root)
    numbers[numbers == LABELS.index("unsure") + 1] = 255
    palette = [part for color in VOC_PALETTE for part in color]
    for stem in STEMS:
        image = Image.fromarray(numbers)
        image.putpalette([*palette, *[0] * (3 * 255 - len(palette)), 224, 224, 192])
        image.save(root / "SegmentationClass" / f"{stem}.png")
    (root / "class_names.txt").write_text("\n".join(["_background_", *LABELS[:3], ""]))


def write_roboflow_masks(root: Path) -> None:
    """train/NAME.jpg, NAME_mask.png and _classes.csv."""
    write_pictures(root / "train", ".jpg")
    for stem in STEMS:
        Image.fromarray(truth()).save(root / "train" / f"{stem}_mask.png")
    rows = [f"{index}, {label}" for index, label in enumerate(("background", *LABELS))]
    (root / "train" / "_classes.csv").write_text("\n".join(["Pixel Value, Class", *rows, ""]))


def write_roboflow_coco(root: Path) -> None:
    """train/_annotations.coco.json beside the pictures, an umbrella category of number 0, names with .rf."""
    write_coco(root)
    path = root / "annotations" / "instances_default.json"
    document = json.loads(path.read_text())
    document["categories"].insert(0, {"id": 0, "name": "terrain", "supercategory": "none"})
    (root / "train").mkdir()
    for image in document["images"]:
        old = root / "images" / image["file_name"]
        image["file_name"] = f"{old.stem}_png.rf.0123456789abcdef.png"
        old.rename(root / "train" / image["file_name"])
    path.unlink()
    (root / "train" / "_annotations.coco.json").write_text(json.dumps(document))


WRITERS: dict[str, Callable[[Path], None]] = {
    "labelme": write_labelme,
    "cvat": write_cvat,
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
    "labelme-voc": write_labelme_voc,
    "roboflow-masks": write_roboflow_masks,
    "roboflow-coco": write_roboflow_coco,
}
