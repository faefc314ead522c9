"""Find run folders, and say of each what it is: status, epoch, scores, network, size. Nothing is trained or loaded.

A run may be under way or damaged: what its files do not say is None, and its status says what it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from codegen.untrusted import printable, read_json
from nanou_train.errors import TrainError
from nanou_train.runs.int8_model import int8_path
from nanou_train.runs.records import read_epochs
from nanou_train.runs.run_folder import MANIFEST, MANIFEST_BYTES

MOST_FOLDERS, MOST_DEPTH = 20_000, 6
_WITHIN = ("teachers", "restarts", "rounds", "epochs", "nas_logs", "model")  # of a run: no runs of their own


@dataclass(frozen=True)
class RunSummary:
    """What a run folder says. Scores are mIoU: of the float student on the validation part (the best epoch) and on the
    test part, of int8 on the test part, and of the constant mask there. `size_bytes` is the .tflite file's."""

    folder: Path
    status: str
    experiment: str = ""
    network: str = ""
    data: str = ""
    seed: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    miou_val: float | None = None
    miou_test: float | None = None
    miou_int8: float | None = None
    miou_constant: float | None = None
    size_bytes: int | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"folder": str(self.folder)}


def find_runs(root: Path) -> Iterator[Path]:
    """Yield the run folders in and below `root`, in the order of their paths, of searches and sweeps too.

    At most MOST_FOLDERS folders are looked at, MOST_DEPTH deep; links are not followed. Raises TrainError where `root`
    is no folder.
    """
    if not root.is_dir():
        raise TrainError(f"there is no folder {root}", hint="give the folder that runs are in")
    for count, (name, below, files) in enumerate(os.walk(root)):
        folder = Path(name)
        if MANIFEST in files and _read_manifest(folder)[0] != "no run":
            yield folder
            below[:] = [one for one in below if one not in _WITHIN]
        too_deep = count >= MOST_FOLDERS or len(folder.relative_to(root).parts) >= MOST_DEPTH
        below[:] = [] if too_deep else sorted(one for one in below if not one.startswith("."))


def summarize_run(folder: Path) -> RunSummary:
    """Say what a folder's manifest, records and int8 model tell; status "damaged" or "no run" where they do not."""
    status, manifest = _read_manifest(folder)
    if not manifest:
        return RunSummary(folder, status)
    student = _part(_part(manifest, "configuration"), "student")
    trained = [row for name, rows in read_epochs(folder).items() if name != "teacher" for row in rows]
    metrics, int8 = _part(manifest, "metrics"), int8_path(folder)
    sidecar = _sidecar(int8.with_suffix(".json"))
    return RunSummary(
        folder,
        status,
        _text(manifest.get("experiment")),
        _text(student.get("preset") or _part(manifest, "configuration").get("model_name")),
        _text(_part(manifest, "data").get("name")),
        _whole(manifest.get("seed")),
        int(trained[-1].get("epoch", 0)) if trained else None,
        _whole(student.get("epochs")),
        max((row["val_miou"] for row in trained if "val_miou" in row), default=None),
        _miou(metrics, "student"),
        _miou(_part(_part(sidecar, "provenance"), "metrics"), "int8"),
        _miou(metrics, "constant_mask"),
        int8.stat().st_size if int8.is_file() else None,
    )


def _read_manifest(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """Read a folder's manifest and the status that it states; "damaged" or "no run" where it states none."""
    try:
        manifest = read_json(folder / MANIFEST, MANIFEST_BYTES)
    except FileNotFoundError:
        return "no run", {}
    except (OSError, ValueError):
        return "damaged", {}
    if not isinstance(manifest, dict) or not isinstance(manifest.get("status"), str):
        return "no run", {}
    return printable(manifest["status"], 20), manifest


@dataclass(frozen=True)
class Difference:
    """A key that two runs have different values of; None where one has none."""

    key: str
    first: Any
    second: Any


def compare_runs(first: Path, second: Path) -> tuple[Difference, ...]:
    """List what differs in how two runs were made: configuration, seed, data, picture, versions; by key.

    Raises TrainError where a folder is no run.
    """
    facts = [_facts(folder) for folder in (first, second)]
    keys = sorted({*facts[0], *facts[1]})
    found = (Difference(key, facts[0].get(key), facts[1].get(key)) for key in keys)
    return tuple(one for one in found if one.first != one.second)


def _facts(folder: Path) -> dict[str, Any]:
    summary = summarize_run(folder)
    if summary.status in ("no run", "damaged"):
        what = "is no training run" if summary.status == "no run" else f"has a damaged {MANIFEST}"
        raise TrainError(f"{folder} {what}", hint="give a run's folder")
    manifest = read_json(folder / MANIFEST, MANIFEST_BYTES)
    flat: dict[str, Any] = {}
    for name in ("experiment", "seed", "configuration", "data", "preprocessing", "versions"):
        _flatten("" if name == "configuration" else name, manifest.get(name), flat)
    return flat


def _flatten(path: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            _flatten(f"{path}.{key}" if path else str(key), inner, into)
    else:
        into[path] = value


def _sidecar(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _part(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _miou(metrics: Mapping[str, Any], role: str) -> float | None:
    value = _part(metrics, role).get("miou")
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def _text(value: Any) -> str:
    return printable(value, 60) if isinstance(value, str) else ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
