"""Simplify the student of a completed run into a run of its own, without training (nanou_train.simplify.simplify)."""

from __future__ import annotations

import shutil
from pathlib import Path

from codegen.atomic_files import replacing
from nanou_train.data.dataset import Dataset
from nanou_train.networks.saving import save_model
from nanou_train.networks.structure import structure_of
from nanou_train.pruning.prune_run import open_source
from nanou_train.runs import run_folder as run
from nanou_train.runs.claim import check_apart, locked
from nanou_train.simplify.simplify import Simplified, simplify


def simplify_run(
    folder: Path,
    output: Path | None,
    *,
    data_root: Path | None = None,
    dataset: Dataset | None = None,
    force: bool = False,
) -> Simplified:
    """Simplify the student of the completed run `folder` into the run folder `output`; without one, only look.

    Raises TrainError for a run that is not complete, data that are not the run's, and a folder that holds something
    else, a completed run among it without `force`.
    """
    if output is not None:
        check_apart(output, folder)
    source = open_source(folder, data_root=data_root, dataset=dataset)
    found = simplify(source.student)
    if output is None:
        return found
    manifest = source.manifest
    parts = {"channels": len(found.channels), "parts": list(found.parts), "from": manifest["weights"]["student"]}
    facts = {key: value for key, value in manifest.items() if key not in ("schema", "status", "pruning")}
    facts |= {"simplified": parts, "structure": structure_of(found.model).to_json()}
    metrics = {**manifest["metrics"], "student": source.metrics(found.model, source.dataset.test)}
    weights = {**manifest["weights"], "student": run.weights_sha256(found.model)}
    facts |= {"metrics": metrics, "weights": weights}
    with locked(output):
        if not run.is_completed(output, facts):
            run.start_run(output, facts, force=force)
            save_model(found.model, output / "student.keras")
            if source.teacher_path is not None:
                with replacing(output / "teacher.keras") as partial:
                    shutil.copyfile(source.teacher_path, partial)
            run.write_json(output / "metrics.json", {"test": metrics})
            run.write_manifest(output, {**facts, "status": "completed"})
    return found
