"""Make a data set of pictures and their masks or annotations: pair, map labels, resize, and split by sequence.

Nothing is written until every pair has been read; the folder appears at once or not at all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from codegen.graph.model import Preprocessing
from codegen.library.write import staged_folder
from codegen.untrusted import read_json, shown
from nanou_train.data.audit import Audit, audit_dataset
from nanou_train.data.dataset import CARD, CARD_BYTES, CARD_SCHEMA, SPLITS
from nanou_train.data.images import IGNORE, Pixels, check_contract
from nanou_train.data.pairs import Counts, FileCount, count_classes, lost_classes
from nanou_train.data.sources import AnnotationFacts, AnnotationFiles, MaskFolders, Sources, find_sources
from nanou_train.data.splits import DEFAULT_RATIOS, assign, group_names
from nanou_train.errors import DataError

Progress = Callable[[str, float], None]
_LOG = logging.getLogger(__name__)
_POOL = "pool"  # where pairs wait, inside the staging folder, until their split is known
_SHOWN_ERRORS = 3
_MOST_RATIO = 1e9
_IGNORED_COLOR = (255, 0, 255)
DEFAULT_CONTRACT = Preprocessing(60, 80)


@dataclass(frozen=True)
class PrepareSpec:
    """Sources and settings of `prepare`. `group_by` as in splits.group_names; `ratios`: shares of train, val and test.

    `contract` gives size and filter; files are written in RGB whatever its colour order. Without `upright`, pictures
    stay as they are stored, whatever their orientation tag says. `licence` and `attribution` are the pictures' terms.
    """

    source: MaskFolders | AnnotationFiles
    output: Path
    group_by: str = ""
    contract: Preprocessing = DEFAULT_CONTRACT
    ratios: tuple[float, float, float] = DEFAULT_RATIOS
    seed: int = 0
    force: bool = False
    upright: bool = True
    licence: str = ""
    attribution: str = ""


@dataclass(frozen=True)
class Prepared:
    """The folder that was written, its audit, what of the sources went into it, and what annotations there were.

    `group_by` is the pattern that was used.
    """

    output: Path
    audit: Audit
    files: FileCount
    annotations: AnnotationFacts | None = None
    group_by: str = ""


def prepare(spec: PrepareSpec, progress: Progress | None = None) -> Prepared:
    """Write the data set. Raises DataError naming the files that cannot be used, and then writes nothing."""
    check_contract(spec.contract)
    if not (min(spec.ratios) > 0 and sum(spec.ratios) < _MOST_RATIO):
        raise DataError(f"ratios {spec.ratios} leave a split empty", hint="give three positive numbers, such as 7 2 1")
    files = FileCount()
    sources = find_sources(spec.source, files, upright=spec.upright)
    spec = replace(spec, group_by=spec.group_by or sources.own_group_by)
    grouping = group_names(sources.readers, spec.group_by)
    if grouping.unused:
        listed = shown(", ".join(grouping.unused[:3]))
        _LOG.warning("%s lists %d image(s) that are not there: %s", spec.group_by, len(grouping.unused), listed)
    stems = _stems(sources.readers)
    _refuse_to_lose(spec)
    try:
        with staged_folder(spec.output) as staging:
            pixels, lost = _fill_pool(staging / _POOL, spec.contract, sources, stems, files, progress or _silent)
            _check_classes(sources.classes, pixels)
            splits = assign(grouping, pixels, spec.ratios, seed=spec.seed)
            _sort_pool(staging, stems, splits)
            groups = {stems[name]: group for name, group in grouping.groups.items() if group != name}
            _write_card(staging / CARD, spec, sources, groups)
            audit = audit_dataset(staging)
    except OSError as error:
        raise DataError(
            f"cannot write {spec.output}: {error.strerror or error}", hint="check the path, its rights and the disk"
        ) from error
    audit = replace(audit, warnings=(*audit.warnings, *lost))
    return Prepared(spec.output, audit, files, sources.annotations, spec.group_by)


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
    wanted: Preprocessing,
    sources: Sources,
    stems: Mapping[str, str],
    files: FileCount,
    progress: Progress,
) -> tuple[dict[str, Counts], tuple[str, ...]]:
    """Write each pair, resized, as pool/{img,mask}/STEM.png; pixels of each class by name, and what resizing lost."""
    for kind in ("img", "mask"):
        (pool / kind).mkdir(parents=True)
    classes, readers = sources.classes, sources.readers
    contract = Preprocessing(**{**asdict(wanted), "color_order": "RGB"})
    counts: dict[str, Counts] = {}
    before = np.zeros(len(classes) + 1, np.int64)
    errors: list[DataError] = []
    for number, (name, read) in enumerate(readers.items(), 1):
        try:
            pair = read()
            pixels, small = pair.resized(contract, len(classes))
        except DataError as error:
            errors.append(error)
            continue
        _save(pool, stems[name], pixels, small, sources.palette)
        before += pair.counts(len(classes))
        counts[name] = count_classes(small, len(classes))
        files.turned += pair.picture.orientation > 1
        progress(f"{number} of {len(readers)} pairs", number / len(readers))
    if errors:
        shown = "; ".join(str(error) for error in errors[:_SHOWN_ERRORS])
        more = f"; and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        raise DataError(f"{len(errors)} of {len(readers)} pairs cannot be used: {shown}{more}", hint=errors[0].hint)
    files.used = len(counts)
    size = f"{contract.height_px}x{contract.width_px}"
    after = np.sum(list(counts.values()), axis=0)
    return {name: found[:-1] for name, found in counts.items()}, lost_classes(classes, before, after, size)


def _save(pool: Path, stem: str, pixels: Pixels, classes: Pixels, colors: Sequence[tuple[int, int, int]]) -> None:
    """Masks are class indices with a palette, so that the files can be looked at."""
    from PIL import Image

    flat = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    Image.fromarray(flat).save(pool / "img" / f"{stem}.png")
    picture = Image.fromarray(classes)
    palette = [part for color in colors for part in color]
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


def _write_card(path: Path, spec: PrepareSpec, sources: Sources, groups: Mapping[str, str]) -> None:
    card = {
        "schema": CARD_SCHEMA,
        "classes": list(sources.classes),
        "drivable": list(sources.drivable),
        "ignore": IGNORE,
        "colors": ["#{:02x}{:02x}{:02x}".format(*color) for color in sources.palette],
        "groups": dict(sorted(groups.items())),
        **{key: text for key in ("licence", "attribution") if (text := getattr(spec, key))},
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
    """Refuse to replace anything but an empty folder or an earlier prepared data set, unless by force."""
    target = spec.output
    for source in spec.source.folders:
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
