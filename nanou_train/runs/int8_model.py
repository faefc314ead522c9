"""Keep a run's int8 model, RUN/model/model.tflite with its sidecar: derived from the student, exchanged as one."""

from __future__ import annotations

import shlex
from pathlib import Path

from codegen.graph.model import QuantizedModel
from codegen.library.write import staged_folder
from codegen.tflite.files import load_model, save_model
from nanou_train.errors import TrainError
from nanou_train.runs import run_folder as run
from nanou_train.runs.claim import locked

FOLDER, FILE = "model", "model.tflite"


def int8_path(folder: Path) -> Path:
    """Where the int8 model of the run `folder` is, or would be."""
    return folder / FOLDER / FILE


def save_int8(folder: Path, model: QuantizedModel) -> Path:
    """Put a model that `quantize_run` made beside its student; a kill leaves the old one whole, or the new one.

    Raises TrainError where the run has become another one meanwhile, or nothing can be written.
    """
    path = int8_path(folder)
    with locked(folder):
        _check_student(folder, model, path)
        try:
            with staged_folder(path.parent) as staging:
                save_model(model, staging / FILE)
        except OSError as error:
            raise TrainError(
                f"cannot write {path}: {error.strerror or error}", hint="check its rights and the disk, or --output"
            ) from error
    return path


def load_int8(folder: Path) -> QuantizedModel:
    """Read the int8 model of a completed run. Raises TrainError where it was made of another student than the run's."""
    path = int8_path(folder)
    model = load_model(path)
    _check_student(folder, model, path)
    return model


def _check_student(folder: Path, model: QuantizedModel, path: Path) -> None:
    weights, own = model.provenance.get("weights"), run.read_manifest(folder)["weights"]["student"]
    if not isinstance(weights, dict) or weights.get("student") != own:
        raise TrainError(
            f"{path} was not made of the student in {folder}",
            hint=f"make it again with `nanou-deploy quantize --run {shlex.quote(str(folder))}`",
        )
