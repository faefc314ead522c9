"""Make a data set of folders of images and masks: pair, map labels, resize, and split by sequence.

Nothing is written until every pair has been read; the folder appears at once or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.graph.model import Preprocessing
from codegen.library.write import staged_folder
from nanou_train.data.audit import Audit, audit_dataset
from nanou_train.data.dataset import CARD, CARD_SCHEMA, SPLITS, check_pair
from nanou_train.data.images import SUFFIXES, Pixels, camera_pixels, check_contract, open_image, vote
from nanou_train.data.labels import BINARY_CLASSES, LabelMap, binary_mask, class_color, drivable_names, load_label_map
from nanou_train.data.splits import DEFAULT_RATIOS, assign, group_names
from nanou_train.errors import DataError

Progress = Callable[[str, float], None]
_POOL = "pool"  # where pairs wait, inside the staging folder, until their split is known
_SHOWN_ERRORS = 3
DEFAULT_CONTRACT = Preprocessing(60, 80)


@dataclass(frozen=True)
class PrepareSpec:
    """Sources and settings of `prepare`. `group_by` as in splits.group_names; `ratios`: shares of train, val and test.

    A mask has its image's path below `masks`, plus `mask_suffix` ("0017_L.png" with "_L"). Without `label_map`, masks
    are 255 where drivable. `contract` gives size and filter; files are written in RGB whatever its colour order.
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


@dataclass(frozen=True)
class Prepared:
    """The folder that was written, and its audit."""

    output: Path
    audit: Audit


def prepare(spec: PrepareSpec, progress: Progress | None = None) -> Prepared:
    """Write the data set. Raises DataError naming the files that cannot be used, and then writes nothing."""
    labels = load_label_map(spec.label_map) if spec.label_map else None
    classes = labels.classes if labels else BINARY_CLASSES
    check_contract(spec.contract)
    if min(spec.ratios) <= 0:
        raise DataError(f"ratios {spec.ratios} leave a split empty", hint="give three positive numbers")
    pairs = pair_files(spec)
    grouping = group_names(pairs, spec.group_by)
    stems = _stems(pairs)
    _refuse_to_lose(spec)
    try:
        with staged_folder(spec.output) as staging:
            pixels = _fill_pool(staging / _POOL, spec, labels, pairs, stems, progress or _silent)
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
    return Prepared(spec.output, audit)


def pair_files(spec: PrepareSpec) -> dict[str, tuple[Path, Path]]:
    """Pair images and masks by name, the image's path below `images` without suffix. Raises DataError."""
    images, masks = _below(spec.images, "images", ""), _below(spec.masks, "masks", spec.mask_suffix)
    for ours, theirs, what in ((images, masks, "mask"), (masks, images, "image")):
        if alone := sorted(ours.keys() - theirs.keys()):
            shown = ", ".join(str(ours[name]) for name in alone[:_SHOWN_ERRORS])
            raise DataError(
                f"{len(alone)} file(s) have no {what} of the same name: {shown}" + (", ..." if len(alone) > 3 else ""),
                hint="a mask has its image's path up to the suffix; --mask-suffix _L stands for NAME_L.png",
            )
    return {name: (images[name], masks[name]) for name in sorted(images)}


def _below(folder: Path, what: str, suffix: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", hint=f"give the folder of the {what}")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() not in SUFFIXES or path.name.startswith(".") or not name.endswith(suffix):
            continue
        name = name.removesuffix(suffix)
        if name in found:
            raise DataError(f"{found[name]} and {path} have the same name up to the suffix", hint="rename one")
        found[name] = path
    if not found:
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
    progress: Progress,
) -> dict[str, npt.NDArray[np.int64]]:
    """Write each pair, resized, as pool/{img,mask}/STEM.png; return pixels of each class by name."""
    for kind in ("img", "mask"):
        (pool / kind).mkdir(parents=True)
    class_count = len(labels.classes) if labels else 2
    contract = Preprocessing(**{**asdict(spec.contract), "color_order": "RGB"})
    counts: dict[str, npt.NDArray[np.int64]] = {}
    errors: list[DataError] = []
    for number, (name, (image_path, mask_path)) in enumerate(pairs.items(), 1):
        try:
            image, mask = open_image(image_path), open_image(mask_path)
            check_pair(image, image_path, mask, mask_path)
            full = labels.apply(mask, mask_path) if labels else binary_mask(mask, mask_path)
            pixels, small = camera_pixels(image, image_path, contract), vote(full, class_count, contract)
        except DataError as error:
            errors.append(error)
            continue
        _save(pool, stems[name], pixels, small, labels)
        counts[name] = np.bincount(small.reshape(-1), minlength=class_count)
        progress(f"{number} of {len(pairs)} pairs", number / len(pairs))
    if errors:
        shown = "; ".join(str(error) for error in errors[:_SHOWN_ERRORS])
        more = f"; and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        raise DataError(f"{len(errors)} of {len(pairs)} pairs cannot be used: {shown}{more}", hint=errors[0].hint)
    return counts


def _save(pool: Path, stem: str, pixels: Pixels, classes: Pixels, labels: LabelMap | None) -> None:
    """Two classes as 0 and 255; more as indices with a palette, so that the files can be looked at."""
    from PIL import Image

    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(flat).save(pool / "img" / f"{stem}.png")
    if labels is None or len(labels.classes) == 2:
        Image.fromarray(classes * np.uint8(255)).save(pool / "mask" / f"{stem}.png")
        return
    picture = Image.fromarray(classes)
    picture.putpalette([part for color in labels.palette() for part in color])
    picture.save(pool / "mask" / f"{stem}.png")


def _check_classes(classes: tuple[str, ...], pixels: Mapping[str, npt.NDArray[np.int64]]) -> None:
    present = np.flatnonzero(np.sum(list(pixels.values()), axis=0))
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
    palette = labels.palette() if labels else [class_color(index) for index in range(2)]
    card = {
        "schema": CARD_SCHEMA,
        "classes": list(classes),
        "drivable": list(labels.drivable if labels else drivable_names(path, classes, None)),
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
        ours = "prepared" in json.loads((target / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        ours = not any(target.iterdir())
    if not ours or {path.name for path in target.iterdir()} - {*SPLITS, CARD}:
        raise DataError(
            f"{target} holds files that `nanou-deploy prepare` did not write",
            hint="choose another output folder, or use --force to replace it",
        )


def _silent(_message: str, _done: float) -> None:
    pass
