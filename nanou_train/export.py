"""From a completed training run to an int8 model that says where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codegen.contract import decision_threshold, input_lookup
from codegen.load import load_graph
from codegen.model import QuantizedModel
from codegen.quantize import quantize
from codegen.reference import run_builtin_ref
from nanou_train import run
from nanou_train.data import Dataset, Split
from nanou_train.evaluate import Metrics, evaluate_outputs

CALIBRATION_COUNT = 100


def quantize_run(
    folder: Path, *, name: str = "", data_root: Path | None = None, dataset: Dataset | None = None
) -> QuantizedModel:
    """Quantize the student of a completed run, calibrated on its own training images, and measure it.

    `dataset` (already loaded) or `data_root` (a folder that moved) stand in for the data that the manifest names;
    either must be the same data. The name is by default the model preset's and the data set's. `provenance` gets the
    run's manifest and, under "metrics", test metrics of `int8` (BUILTIN_REF), `float` (the same student), `teacher`
    and `constant_mask`. Raises TrainError, or CodegenError from quantization.
    """
    manifest = run.read_manifest(folder)
    student = run.load_student(folder)
    dataset = run.run_dataset(manifest, data_root, dataset)
    contract, threshold = run.preprocessing(manifest), manifest["configuration"]["threshold"]
    chosen = np.linspace(0, len(dataset.train) - 1, min(CALIBRATION_COUNT, len(dataset.train))).astype(int)
    representative = contract.normalize(dataset.train.images[chosen])
    name = name or re.sub(r"\W+", "_", f"{manifest['configuration']['model_name']}_{dataset.name}")
    model = quantize(student, representative, name=name, preprocessing=contract, threshold=threshold, provenance={})
    metrics = {"float" if role == "student" else role: values for role, values in manifest["metrics"].items()}
    metrics["int8"] = evaluate_quantized(model, dataset.test)
    return QuantizedModel(
        name, model.flatbuffer, contract, threshold, _provenance(manifest, metrics, len(representative))
    )


def evaluate_quantized(model: QuantizedModel, split: Split) -> Metrics:
    """Metrics of the int8 model on BUILTIN_REF, pixels entering through the contract's lookup table."""
    graph = load_graph(model.flatbuffer)
    outputs = run_builtin_ref(model.flatbuffer, input_lookup(model, graph)[split.images])
    return evaluate_outputs(outputs, split.masks, decision_threshold(model, graph))


def _provenance(manifest: Mapping[str, Any], metrics: Mapping[str, Metrics], calibrated_on: int) -> dict[str, Any]:
    kept = ("experiment", "configuration", "seed", "data", "versions", "weights")
    rounded = {role: {key: round(value, 6) for key, value in values.items()} for role, values in metrics.items()}
    return {
        "source": "nanou_train",
        **{key: manifest[key] for key in kept},
        "metrics": rounded,
        "calibration": {
            "images": calibrated_on,
            "method": "post-training, full int8, ranges of evenly spaced train images",
        },
    }
