"""Quantize the student of a completed run into an int8 model that says where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.graph.contract import decide_classes, decision_threshold, quantize_pixels
from codegen.graph.model import QuantizedModel
from codegen.tflite.interpreters import builtin_ref_available, run_builtin_ref, run_tflm
from codegen.tflite.load import load_graph
from codegen.tflite.quantize import quantize
from codegen.tflite.sidecar import without_paths
from nanou_train.data.dataset import Dataset, Split
from nanou_train.data.labels import drivable_names
from nanou_train.errors import TrainError
from nanou_train.evaluation.evaluate import (
    Metrics,
    constant_mask,
    evaluate_model,
    predict_logits,
    segmentation_metrics,
)
from nanou_train.evaluation.sequences import CONSTANT_MASK, sequence_scores
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.runs import run_folder as run

if TYPE_CHECKING:
    import keras

CALIBRATION_COUNT = 100


def quantize_run(
    folder: Path, *, name: str = "", data_root: Path | None = None, dataset: Dataset | None = None
) -> QuantizedModel:
    """Quantize the student of a completed run, and measure it.

    Activation ranges are those that the student was trained with, if it was trained with fake quantization, or else
    measured on its own training images.

    `dataset` (already loaded) or `data_root` (a folder that moved) stand in for the data that the manifest names;
    either must be the same data. The name is by default the model preset's and the data set's. `provenance` gets the
    run's manifest and, under "metrics", test metrics of `int8` (BUILTIN_REF), `float` (the same student), `teacher`
    and `constant_mask`; for a quantization-aware student also `fake_quant`, as it was trained, while `float` is the
    same weights without rounding, and under "agreement" what `logit_agreement` finds; under "sequences" scores by
    sequence, where the data set has any. Raises TrainError, or CodegenError from quantization.
    """
    manifest = run.read_manifest(folder)
    from nanou_train.networks.fake_quant import requantization_of

    student = run.load_student(folder)
    dataset = run.run_dataset(manifest, data_root, dataset)
    contract, config = run.preprocessing(manifest), run.configuration(manifest)
    threshold, representative = config.student.threshold, None
    if not config.student.quantization.aware:
        chosen = np.linspace(0, len(dataset.train) - 1, min(CALIBRATION_COUNT, len(dataset.train))).astype(int)
        representative = contract.normalize(spanning(dataset.train.images[chosen]))
    # ASCII alone: the name goes into C files. Others' letters stay in the manifest's name of the data set.
    name = name or re.sub(r"[^A-Za-z0-9]+", "_", f"{config.student.preset}_{dataset.name}").strip("_")[:60]
    data = manifest["data"]
    model = quantize(
        student,
        representative,
        name=name,
        preprocessing=contract,
        threshold=threshold,
        provenance={},
        classes=tuple(data["classes"]),
        drivable=drivable_names("manifest", tuple(data["classes"]), data.get("drivable")),
        power_of_two=requantization_of(student) == "power_of_two",
    )
    metrics = {"float" if role == "student" else role: values for role, values in manifest["metrics"].items()}
    agreement = {}
    if representative is None:
        agreement = {"agreement": logit_agreement(student, model, dataset.test)}
        metrics["fake_quant"] = metrics["float"]
        metrics["float"] = _evaluate_unrounded(student, dataset.test, threshold, dataset.classes)
    provenance = _provenance(manifest, metrics, representative) | agreement
    return scored(replace(model, provenance=provenance), dataset)


def spanning(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the pictures uint8 (N, H, W, C), one corner of the first black and one white where none has such a pixel.

    The input's range is then that of any camera, not of these pictures alone, which may be dim.
    """
    if images.min() == 0 and images.max() == 255:
        return images
    spanned = images.copy()
    spanned[0, 0, 0], spanned[0, -1, -1] = 0, 255
    return spanned


def logit_agreement(student: keras.Model, model: QuantizedModel, split: Split) -> dict[str, dict[str, float]]:
    """Measure how often the logits of a quantization-aware student are those of its int8 model (BUILTIN_REF).

    For the graph `as_trained` and with the device's integer arithmetic (`matched`): the fraction `equal`, the fraction
    `within_1` step, and the `largest` difference in steps.
    """
    from nanou_train.networks.device_arithmetic import match_device

    graph = load_graph(model.flatbuffer)
    device = run_builtin_ref(model.flatbuffer, quantize_pixels(model, graph, split.images)).astype(np.int64)
    found = {}
    for name, matched in (("as_trained", False), ("matched", True)):
        match_device(student, matched)
        steps = np.round(predict_logits(student, split.images, model.image) / graph.output.scale)
        apart = np.abs(steps.astype(np.int64).reshape(device.shape) + graph.output.zero_point - device)
        found[name] = {
            "equal": float((apart == 0).mean()),
            "within_1": float((apart <= 1).mean()),
            "largest": float(apart.max()),
        }
    match_device(student, False)
    return found


def _evaluate_unrounded(student: keras.Model, split: Split, threshold: float, classes: tuple[str, ...]) -> Metrics:
    """Metrics of the float network with the weights of a student that was trained to round."""
    from nanou_train.networks.fake_quant import set_rounding

    set_rounding(student, False)
    contract = preprocessing_of(student)
    metrics = evaluate_model(student, split.images, split.masks, contract, threshold=threshold, classes=classes)
    set_rounding(student, True)
    return metrics


def scored(model: QuantizedModel, dataset: Dataset) -> QuantizedModel:
    """Measure the int8 model on the test part, and put that into its provenance: "metrics" of `int8`, "sequences"."""
    decided = decide_quantized(model, dataset.test)
    own = _rounded(segmentation_metrics(dataset.test.masks, decided, dataset.classes))
    metrics = {**model.provenance.get("metrics", {}), "int8": own}
    sequences = sequence_scores(dataset, {"int8": decided})
    said = {"metrics": metrics} | ({"sequences": sequences} if sequences else {})
    return replace(model, provenance={**model.provenance, **said})


def card_scores(model: QuantizedModel, dataset: Dataset, others: Sequence[QuantizedModel] = ()) -> dict[str, Any]:
    """Measure a model and `others` on one test part, for a provenance: metrics, "beside" and "sequences".

    Where the pictures are not those that the provenance names as its own test part, its other metrics are dropped, and
    "scored_on" says which they are. Raises TrainError for a model of other classes or size.
    """
    for one in (model, *others):
        if one.image.height_px != model.image.height_px or one.image.width_px != model.image.width_px:
            raise TrainError(f"{one.name} takes pictures of another size than {model.name}", hint="score it by itself")
        if len(one.classes) != len(dataset.classes):
            raise TrainError(
                f"{one.name} tells {len(one.classes)} classes apart, the data set {len(dataset.classes)}",
                hint="give data with the model's classes",
            )
    names = ["int8", *(one.name for one in others)]
    if len({*names, CONSTANT_MASK}) <= len(names):
        raise TrainError("two of these models have the same name", hint="`nanou-deploy describe MODEL --name` renames")
    decided = {name: decide_quantized(one, dataset.test) for name, one in zip(names, (model, *others), strict=True)}
    stated = model.provenance.get("data")
    is_own = isinstance(stated, dict) and stated.get("test", {}).get("sha256") == dataset.test.sha256
    truth, classes = dataset.test.masks, dataset.classes
    scores = {name: _rounded(segmentation_metrics(truth, masks, classes)) for name, masks in decided.items()}
    floor = {"constant_mask": _rounded(constant_mask(dataset.train.masks, truth, classes))}
    return {
        "metrics": {**(model.provenance.get("metrics", {}) if is_own else {}), **floor, "int8": scores.pop("int8")},
        "scored_on": f"{len(dataset.test):,} test pictures of {dataset.name}",
        "beside": scores,
        "sequences": sequence_scores(dataset, decided),
    }


def _rounded(metrics: Mapping[str, float]) -> Metrics:
    return {key: round(value, 6) for key, value in metrics.items()}


def decide_quantized(model: QuantizedModel, split: Split) -> npt.NDArray[np.uint8]:
    """Decide class indices uint8 (N, H, W) by BUILTIN_REF, pixels entering through the contract's lookup table.

    Without TensorFlow by TFLite Micro.
    """
    graph, run_int8 = load_graph(model.flatbuffer), run_builtin_ref if builtin_ref_available() else run_tflm
    outputs = run_int8(model.flatbuffer, quantize_pixels(model, graph, split.images))
    return decide_classes(outputs, decision_threshold(model, graph))


def _provenance(
    manifest: Mapping[str, Any], metrics: Mapping[str, Metrics], representative: npt.NDArray[np.float32] | None
) -> dict[str, Any]:
    kept = ("experiment", "configuration", "seed", "data", "versions", "weights", "pruning")
    stated: dict[str, Any] = without_paths({key: manifest[key] for key in kept if key in manifest})
    return {
        "source": "nanou_train",
        **stated,
        "metrics": {role: _rounded(values) for role, values in metrics.items()},
        "calibration": {
            "images": 0 if representative is None else len(representative),
            "method": "post-training, full int8, ranges of evenly spaced train images"
            if representative is not None
            else "quantization-aware training, full int8, the student's own ranges",
        },
    }
