"""Make a data set of folders of images and masks: pair, map labels, resize, and split by sequence.

Nothing is written until every pair has been read; the folder appears at once or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from codegen.graph.model import Preprocessing
from codegen.library.write import staged_folder
from codegen.untrusted import read_json
from nanou_train.data.audit import Audit, audit_dataset
from nanou_train.data.dataset import CARD, CARD_BYTES, CARD_SCHEMA, SPLITS
from nanou_train.data.images import IGNORE, SUFFIXES, Pixels, check_contract
from nanou_train.data.labels import BINARY_CLASSES, LabelMap, binary_mask, class_color, drivable_names, load_label_map
from nanou_train.data.pairs import (
    Counts,
    FileCount,
    PictureFiles,
    count_classes,
    find_pictures,
    lost_classes,
    read_pair,
)
from nanou_train.data.splits import DEFAULT_RATIOS, assign, group_names
from nanou_train.errors import DataError

Progress = Callable[[str, float], None]
_POOL = "pool"  # where pairs wait, inside the staging folder, until their split is known
_SHOWN_ERRORS = 3
_MOST_RATIO = 1e9
_BINARY_PALETTE = [class_color(index) for index in range(2)]
_IGNORED_COLOR = (255, 0, 255)
DEFAULT_CONTRACT = Preprocessing(60, 80)


@dataclass(frozen=True)
class PrepareSpec:
    """Sources and settings of `prepare`. `group_by` as in splits.group_names; `ratios`: shares of train, val and test.

    A mask has its image's path below `masks`, plus `mask_suffix` ("0017_L.png" with "_L"). Without `label_map`, masks
    are 255 where drivable. `contract` gives size and filter; files are written in RGB whatever its colour order.
    Without `upright`, pictures stay as they are stored, whatever their orientation tag says.
    """

    images: Path
    masks: Path
    output: Path
    label_map: Path | None = None
    group_by: str = ""
    mask_suffix: str = ""
    contract: Preprocessing = DEFAULT_CONTRACT
    ratios: tuple[float, float, float] = DEFAULT_RATIOS
    seed: int = 0
    force: bool = False
    upright: bool = True


@dataclass(frozen=True)
class Prepared:
    """The folder that was written, its audit, and what of the sources went into it."""

    output: Path
    audit: Audit
    files: FileCount


def prepare(spec: PrepareSpec, progress: Progress | None = None) -> Prepared:
    """Write the data set. Raises DataError naming the files that cannot be used, and then writes nothing."""
    labels = load_label_map(spec.label_map) if spec.label_map else None
    classes = labels.classes if labels else BINARY_CLASSES
    check_contract(spec.contract)
    if not (min(spec.ratios) > 0 and sum(spec.ratios) < _MOST_RATIO):
        raise DataError(f"ratios {spec.ratios} leave a split empty", hint="give three positive numbers, such as 7 2 1")
    files = FileCount()
    pairs = pair_files(spec, files)
    grouping = group_names(pairs, spec.group_by)
    stems = _stems(pairs)
    _refuse_to_lose(spec)
    try:
        with staged_folder(spec.output) as staging:
            pixels, lost = _fill_pool(staging / _POOL, spec, labels, pairs, stems, files, progress or _silent)
            _check_classes(classes, pixels)
            splits = assign(grouping, pixels, spec.ratios, seed=spec.seed)
            _sort_pool(staging, stems, splits)
            groups = {stems[name]: group for name, group in grouping.groups.items() if group != name}
            _write_card(staging / CARD, spec, labels, classes, groups)
            audit = audit_dataset(staging)
    except OSError as error:
        raise DataError(
            f"cannot write {spec.output}: {error.strerror or error}", hint="check the path, its rights and the disk"
        ) from error
    return Prepared(spec.output, replace(audit, warnings=(*audit.warnings, *lost)), files)


def pair_files(spec: PrepareSpec, count: FileCount) -> dict[str, tuple[Path, Path]]:
    """Pair images and masks by name, the image's path below `images` without suffix. Raises DataError.

    `count` gets what was skipped.
    """
    image_files = _below(spec.images, "images", "", partial(_is_mask, spec))
    mask_files = _below(spec.masks, "masks", spec.mask_suffix, partial(_is_image, spec))
    shared = {path for _, path in image_files.skipped} & {path for _, path in mask_files.skipped}
    theirs_too = {*image_files.files.values(), *mask_files.files.values()}
    found = [*image_files.skipped, *(one for one in mask_files.skipped if one[1] not in shared)]
    count.skipped += [one for one in found if one[1] not in theirs_too]
    images, masks = image_files.files, mask_files.files
    for ours, theirs, what in ((images, masks, "mask"), (masks, images, "image")):
        if alone := sorted(ours.keys() - theirs.keys()):
            shown = ", ".join(str(ours[name]) for name in alone[:_SHOWN_ERRORS])
            raise DataError(
                f"{len(alone)} file(s) have no {what} of the same name: {shown}" + (", ..." if len(alone) > 3 else ""),
                hint="a mask has its image's path up to the suffix; --mask-suffix _L stands for NAME_L.png",
            )
    return {name: (images[name], masks[name]) for name in sorted(images)}


def _is_mask(spec: PrepareSpec, path: Path) -> str:
    """The reason why a file among the images is none: it lies in the masks' folder, or beside them and has their name.

    Roboflow, among others, exports NAME.jpg and NAME_mask.png into one folder.
    """
    if spec.masks.resolve() == spec.images.resolve():
        return "masks" if spec.mask_suffix and path.stem.endswith(spec.mask_suffix) else ""
    return "masks" if _lies_in(path, spec.masks, spec.images) else ""


def _is_image(spec: PrepareSpec, path: Path) -> str:
    return "images" if _lies_in(path, spec.images, spec.masks) else ""


def _lies_in(path: Path, inner: Path, outer: Path) -> bool:
    """Tell whether `inner` is a folder within `outer`, and the path is in it."""
    place = inner.resolve()
    return outer.resolve() in place.parents and place in path.resolve().parents


def _below(folder: Path, what: str, suffix: str, skip: Callable[[Path], str]) -> PictureFiles:
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", hint=f"give the folder of the {what}")
    found = find_pictures(folder, deep=True, suffix=suffix, skip=skip)
    if not found.files:
        raise DataError(f"no {what} in {folder}", hint=f"put {', '.join(SUFFIXES)} files there")
    return found


def _stems(names: Mapping[str, object]) -> dict[str, str]:
    """File stems in the data set, by name: folders become part of the stem."""
    stems = {name: name.replace("/", "_") for name in names}
    owners: dict[str, str] = {}
    for name, stem in stems.items():
        if owners.setdefault(stem, name) != name:
            raise DataError(f"{owners[stem]} and {name} would both become {stem}", hint="rename one")
    return stems


def _fill_pool(
    pool: Path,
    spec: PrepareSpec,
    labels: LabelMap | None,
    pairs: Mapping[str, tuple[Path, Path]],
    stems: Mapping[str, str],
    files: FileCount,
    progress: Progress,
) -> tuple[dict[str, Counts], tuple[str, ...]]:
    """Write each pair, resized, as pool/{img,mask}/STEM.png; pixels of each class by name, and what resizing lost."""
    for kind in ("img", "mask"):
        (pool / kind).mkdir(parents=True)
    classes = labels.classes if labels else BINARY_CLASSES
    contract = Preprocessing(**{**asdict(spec.contract), "color_order": "RGB"})
    counts: dict[str, Counts] = {}
    before = np.zeros(len(classes) + 1, np.int64)
    errors: list[DataError] = []
    for number, (name, (image_path, mask_path)) in enumerate(pairs.items(), 1):
        try:
            classes_of = labels.apply if labels else binary_mask
            pair = read_pair(image_path, mask_path, classes_of, upright=spec.upright)
            pixels, small = pair.resized(contract, len(classes))
        except DataError as error:
            errors.append(error)
            continue
        _save(pool, stems[name], pixels, small, labels)
        before += pair.counts(len(classes))
        counts[name] = count_classes(small, len(classes))
        files.turned += pair.picture.orientation > 1
        progress(f"{number} of {len(pairs)} pairs", number / len(pairs))
    if errors:
        shown = "; ".join(str(error) for error in errors[:_SHOWN_ERRORS])
        more = f"; and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        raise DataError(f"{len(errors)} of {len(pairs)} pairs cannot be used: {shown}{more}", hint=errors[0].hint)
    files.used = len(counts)
    size = f"{contract.height_px}x{contract.width_px}"
    after = np.sum(list(counts.values()), axis=0)
    return {name: found[:-1] for name, found in counts.items()}, lost_classes(classes, before, after, size)


def _save(pool: Path, stem: str, pixels: Pixels, classes: Pixels, labels: LabelMap | None) -> None:
    """Masks are class indices with a palette, so that the files can be looked at."""
    from PIL import Image

    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(flat).save(pool / "img" / f"{stem}.png")
    picture = Image.fromarray(classes)
    palette = [part for color in (labels.palette() if labels else _BINARY_PALETTE) for part in color]
    picture.putpalette([*palette, *[0] * (3 * IGNORE - len(palette)), *_IGNORED_COLOR])
    picture.save(pool / "mask" / f"{stem}.png")


def _check_classes(classes: tuple[str, ...], pixels: Mapping[str, Counts]) -> None:
    present = np.flatnonzero(np.sum(list(pixels.values()), axis=0))
    if not len(present):
        raise DataError("every pixel of every mask is ignored", hint="look at a mask and at the label map's ignore")
    if len(present) == 1:
        raise DataError(
            f"every pixel of every mask is of class {classes[present[0]]}",
            hint="look at a mask and at the label map: do their values agree?",
        )


def _sort_pool(staging: Path, stems: Mapping[str, str], splits: Mapping[str, str]) -> None:
    for split in SPLITS:
        for kind in ("img", "mask"):
            (staging / split / kind).mkdir(parents=True)
    for name, split in splits.items():
        for kind in ("img", "mask"):
            file = f"{stems[name]}.png"
            (staging / _POOL / kind / file).rename(staging / split / kind / file)
    for folder in (staging / _POOL / "img", staging / _POOL / "mask", staging / _POOL):
        folder.rmdir()


def _write_card(
    path: Path, spec: PrepareSpec, labels: LabelMap | None, classes: tuple[str, ...], groups: Mapping[str, str]
) -> None:
    palette = labels.palette() if labels else _BINARY_PALETTE
    card = {
        "schema": CARD_SCHEMA,
        "classes": list(classes),
        "drivable": list(labels.drivable if labels else drivable_names(path, classes, None)),
        "ignore": IGNORE,
        "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in palette],
        "groups": dict(sorted(groups.items())),
        "prepared": {
            "height_px": spec.contract.height_px,
            "width_px": spec.contract.width_px,
            "resize_filter": spec.contract.resize_filter,
            "group_by": spec.group_by,
            "ratios": list(spec.ratios),
            "seed": spec.seed,
        },
    }
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def _refuse_to_lose(spec: PrepareSpec) -> None:
    """A folder that is not there, empty, or an earlier prepared data set may be replaced; others only by force."""
    target = spec.output
    for source in (spec.images, spec.masks):
        if target.resolve() in (source.resolve(), *source.resolve().parents):
            raise DataError(f"{target} holds the source {source}", hint="choose another output folder")
    if not target.exists() or (spec.force and target.is_dir()):
        return
    if not target.is_dir():
        raise DataError(f"{target} is a file", hint="choose another output folder")
    try:
        ours = "prepared" in read_json(target / CARD, CARD_BYTES)
    except (OSError, ValueError, TypeError):
        ours = not any(target.iterdir())
    if not ours or {path.name for path in target.iterdir()} - {*SPLITS, CARD}:
        raise DataError(
            f"{target} holds files that `nanou-deploy prepare` did not write",
            hint="choose another output folder, or use --force to replace it",
        )


def _silent(_message: str, _done: float) -> None:
    pass
