"""Keep what a run shows of itself while it is under way: its data, its epochs, and masks of a few pictures.

RUN/epochs/data.json is written here, ROLE.csv and ROLE.npz by nanou_train.training.logs. Nothing is computed from them:
a run without them is as good.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codegen.untrusted import read_bounded, read_json
from nanou_train.data.dataset import SPLITS, Dataset
from nanou_train.data.images import Pixels
from nanou_train.evaluation.evaluate import constant_mask
from nanou_train.runs.run_folder import EPOCHS, write_json

DATA = "data.json"
CSV_BYTES, SAMPLE_BYTES = 16 << 20, 64 << 20


@dataclass(frozen=True, eq=False)
class Samples:
    """What a network decided of a few validation pictures: `masks` uint8 (E, K, H, W) at `epochs`."""

    images: Pixels
    truth: Pixels
    epochs: tuple[int, ...]
    masks: Pixels


@dataclass(frozen=True, eq=False)
class Records:
    """What is kept of the epochs of one training, and its samples."""

    rows: tuple[dict[str, float], ...]
    samples: Samples | None


def record_data(dataset: Dataset, folder: Path) -> None:
    """Write what the run in `folder` is trained on: pictures and class shares of each split, and the constant mask."""
    splits = {}
    for name in SPLITS:
        split = getattr(dataset, name)
        counts = np.bincount(split.masks.ravel(), minlength=256)[: len(dataset.classes)]
        shares = counts / max(1, counts.sum())
        splits[name] = {"images": len(split.images), "shares": dict(zip(dataset.classes, shares.tolist(), strict=True))}
    val = dataset.validation
    constant = None if val is None else constant_mask(dataset.train.masks, val.masks, dataset.classes)["miou"]
    write_json(folder / EPOCHS / DATA, {"name": dataset.name, "splits": splits, "constant_val_miou": constant})


def read_data(folder: Path) -> Mapping[str, Any] | None:
    """Read what `record_data` wrote; None where that is not there."""
    try:
        document = read_json(folder / EPOCHS / DATA)
        splits = {
            str(name): {"images": int(one["images"]), "shares": {str(k): float(v) for k, v in one["shares"].items()}}
            for name, one in document["splits"].items()
        }
        constant = document["constant_val_miou"]
        constant = None if constant is None else float(constant)
        return {"name": str(document["name"]), "splits": splits, "constant_val_miou": constant}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def read_records(folder: Path) -> dict[str, Records]:
    """Read the records of a run's teacher and student, and of each restart's student, in that order."""
    stems = _stems(folder)
    return {name: Records(rows, _read_samples(stems[name])) for name, rows in _epochs(stems).items()}


def read_epochs(folder: Path) -> dict[str, tuple[dict[str, float], ...]]:
    """Read the rows of `read_records` alone, without samples."""
    return _epochs(_stems(folder))


def _epochs(stems: Mapping[str, Path]) -> dict[str, tuple[dict[str, float], ...]]:
    found = {name: tuple(_rows(stem.with_suffix(".csv"))) for name, stem in stems.items()}
    return {name: rows for name, rows in found.items() if rows}


def _stems(folder: Path) -> dict[str, Path]:
    """Where the records of each training of a run are, without suffix."""
    stems = {role: folder / EPOCHS / role for role in ("teacher", "student")}
    restarts = {f"student {place.name}": place / EPOCHS / "student" for place in sorted(folder.glob("restarts/*"))}
    members = {f"teacher {place.name}": place / EPOCHS / "student" for place in sorted(folder.glob("teachers/*"))}
    return stems | members | restarts


def _read_samples(stem: Path) -> Samples | None:
    try:
        return _samples(read_bounded(stem.with_suffix(".npz"), SAMPLE_BYTES))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _rows(path: Path) -> Iterator[dict[str, float]]:
    try:
        text = read_bounded(path, CSV_BYTES).decode()
        for row in csv.DictReader(io.StringIO(text)):
            yield {key: float(value) for key, value in row.items() if value not in ("", None)}
    except (OSError, ValueError, TypeError):
        return


def _samples(data: bytes) -> Samples:
    """Read samples. Raises ValueError or KeyError where arrays are missing or contradict each other."""
    with np.load(io.BytesIO(data), allow_pickle=False) as kept:
        images, truth, masks = (kept[name] for name in ("images", "truth", "masks"))
        epochs = tuple(int(epoch) for epoch in kept["epochs"])
    if images.ndim != 4 or truth.shape != images.shape[:3] or masks.shape != (len(epochs), *truth.shape):
        raise ValueError("its arrays have other shapes")
    return Samples(images.astype(np.uint8), truth.astype(np.uint8), epochs, masks.astype(np.uint8))
