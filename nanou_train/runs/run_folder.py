"""Write and read a run's folder: runs/NAME/{manifest.json, student.keras, teacher.keras, metrics.json, metrics.csv}.

`manifest.json` says what was trained from what: configuration, seed, hashes of data and weights, versions. Its
`status` is "running" from the first moment and "completed" only once everything else is in place, so an interrupted
run is never mistaken for a finished one. Every file is replaced atomically. `epochs/` is what a run
shows of itself while it is under way (nanou_train.runs.records).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import platform
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import codegen
from codegen.atomic_files import write_text
from codegen.graph.model import Preprocessing
from codegen.untrusted import printable, read_json
from nanou_train.data.dataset import Dataset, DatasetSpec, load_dataset, terrain_dataset
from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.keys import validate
from nanou_train.networks.saving import load_model
from nanou_train.runs.claim import LOCK

if TYPE_CHECKING:
    import keras

MANIFEST_SCHEMA = 1
MANIFEST = "manifest.json"
SCORES = "scores.json"  # of a search's point, against its parent's masks
EPOCHS = "epochs"  # folder of what every run keeps of its epochs
UNFINISHED = ("running", "interrupted", "failed")
MANIFEST_BYTES = 16 << 20
# What a run leaves beside its manifest, and what is made of it: gone where --force begins another in its place.
RESULTS = (
    "model", SCORES, "constraints.json", "metrics.json", "metrics.csv", "pruning.json", "student.keras",
    "teacher.keras", "teachers", "restarts", "rounds", "nas_logs", "epochs", "training.html",
)  # fmt: skip
VERSIONS_OF = ("tensorflow", "keras", "numpy", "pillow")


def start_run(folder: Path, facts: Mapping[str, Any], *, force: bool = False) -> None:
    """Claim an empty folder, or one that an unfinished run left, and write the manifest with status "running".

    A completed run is replaced with `force` alone, and what was made of it goes first. The caller holds the folder's
    lock (`claim.locked`). Raises TrainError.
    """
    there = {path.name for path in folder.iterdir()} - {LOCK} if folder.is_dir() else set()
    if (folder.exists() and not folder.is_dir()) or (there and MANIFEST not in there):
        raise TrainError(f"{folder} exists and holds no training run", hint="choose another output folder")
    completed = _completed(folder)
    if completed == {} and not force:
        raise TrainError(f"{folder / MANIFEST} is damaged", hint="choose another output folder, or use --force")
    if completed is not None and not force:
        raise TrainError(
            f"{folder} holds a completed run of other settings: {_differences(completed, facts)}",
            hint="choose another output folder, or replace it with --force",
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_manifest(folder, {**facts, "status": "running"})  # from here on, nobody takes what is there for a run
    for name in RESULTS if completed is not None else ():
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _completed(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a run that may not be replaced unasked; a damaged one may have been complete."""
    try:
        manifest = read_json(folder / MANIFEST, MANIFEST_BYTES)
        return None if manifest["status"] in UNFINISHED else dict(manifest)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Name what two descriptions differ in."""

    def differing(a: Any, b: Any, place: str) -> list[str]:
        if isinstance(a, dict) and isinstance(b, dict):
            return [one for key in sorted({*a, *b}) for one in differing(a.get(key), b.get(key), f"{place}.{key}")]
        return [] if a == b else [place[1:].removeprefix("configuration.")]

    stated = {key: old.get(key) for key in new}
    return printable(", ".join(differing(stated, dict(new), "")) or "its student is damaged", 200)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    write_json(folder / MANIFEST, {"schema": MANIFEST_SCHEMA, **facts})


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a completed run's manifest. Raises TrainError where there is none or the run did not finish."""
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST, MANIFEST_BYTES)
        schema, status = manifest["schema"], manifest["status"]
        if status == "completed":
            _ = manifest["weights"]["student"], manifest["metrics"], manifest["data"]["train"]["sha256"]
    except OSError as error:
        raise TrainError(
            f"{folder} is no training run (no {MANIFEST})", hint="`nanou-deploy train` makes one"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{folder / MANIFEST} is damaged", hint="train again") from error
    if schema != MANIFEST_SCHEMA:
        raise TrainError(
            f"{folder / MANIFEST} has schema {schema}, this version reads {MANIFEST_SCHEMA}", hint="train again"
        )
    if status != "completed":
        why = f": {printable(str(manifest['error']), 300)}" if manifest.get("error") else ""
        raise TrainError(
            f"the training run {folder} is {printable(str(status))}, not completed{why}", hint="train again"
        )
    return manifest


def is_unfinished(folder: Path) -> bool:
    """Tell whether a run was begun in the folder, and may go on."""
    return (folder / MANIFEST).is_file() and _completed(folder) is None


def is_completed(folder: Path, facts: Mapping[str, Any]) -> bool:
    """Tell whether the folder holds a completed run, undamaged, of which all these facts are true."""
    try:
        manifest = read_manifest(folder)
        load_student(folder)
    except TrainError:
        return False
    return all(manifest.get(key) == value for key, value in facts.items())


def completed_metrics(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Find the metrics of a completed run that started from these facts; None where the folder holds no such run."""
    try:
        manifest = read_manifest(folder)
        load_student(folder)
        manifest["configuration"] = configuration(manifest).recorded()
    except TrainError:
        return None
    return manifest["metrics"] if all(manifest.get(key) == value for key, value in facts.items()) else None


def load_student(folder: Path) -> keras.Model:
    """Load the trained student of a completed run. Raises TrainError where it is missing or not the manifest's."""
    manifest = read_manifest(folder)
    model = load_model(folder / "student.keras")
    if weights_sha256(model) != manifest["weights"]["student"]:
        raise TrainError(f"{folder / 'student.keras'} is not the model that {MANIFEST} describes", hint="train again")
    return model


def run_dataset(manifest: Mapping[str, Any], data_root: Path | None = None, dataset: Dataset | None = None) -> Dataset:
    """Render or read again the data that a run was trained on, for calibration and evaluation.

    `data_root` replaces the folder in the manifest (a data set that moved), `dataset` spares the reading. Raises
    DataError, or TrainError where the training part is not what the manifest's hash says.
    """
    contract, source = preprocessing(manifest), manifest["data"]["source"]
    if dataset is not None:
        pass
    elif data_root is None and source["kind"] == "terrain":
        dataset = terrain_dataset(
            source["counts"],
            seed=source["seed"],
            height_px=contract.height_px,
            width_px=contract.width_px,
            channels=contract.channels,
        )
    else:
        dataset = load_dataset(DatasetSpec.of(data_root or Path(source["root"]), contract))
    if configuration(manifest).data.train_on_validation:
        dataset = dataset.with_validation()
    if dataset.train.sha256 != manifest["data"]["train"]["sha256"]:
        raise TrainError(
            f"the data set {dataset.name} is not the one that this run was trained on",
            hint="give the same data with --data, or train again",
        )
    return dataset


def configuration(manifest: Mapping[str, Any]) -> ExperimentConfig:
    """Read a manifest's experiment, also of older runs with flat keys. Raises ConfigError for unknown keys."""
    return validate(manifest["configuration"], where=lambda _: "the run's configuration")


def preprocessing(manifest: Mapping[str, Any]) -> Preprocessing:
    return Preprocessing(**manifest["preprocessing"])


def describe_run(config: ExperimentConfig, dataset: Dataset, contract: Preprocessing, seed: int) -> dict[str, Any]:
    """Describe a run before it trains; JSON types only."""
    return {
        "configuration": config.recorded(),
        "seed": seed,
        "data": dataset.describe(),
        "preprocessing": asdict(contract),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "nanou-deploy": codegen.__version__}
    for package in VERSIONS_OF:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def weights_sha256(model: keras.Model) -> str:
    """Hash all weights in order (a .keras file's own bytes hold the time of saving)."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(str(weight.shape).encode() + weight.tobytes())
    return digest.hexdigest()


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
