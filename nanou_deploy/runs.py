"""Decisions and accuracy: of an int8 model, of the float model it came from, and of a constant mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen import reference
from codegen.contract import decision_threshold, input_lookup
from codegen.load import load_graph
from codegen.model import QuantizedModel
from nanou_train.data import Dataset, DatasetSpec, Split, load_dataset
from nanou_train.evaluate import constant_mask, decide, evaluate_model, segmentation_metrics

Metrics = Mapping[str, float]
Masks = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Accuracy:
    """Metrics in 0..1 on one split; `floating` is None where there is no Keras model to ask."""

    dataset: str
    split: str
    images: int
    constant_mask: Metrics
    floating: Metrics | None
    int8: Metrics

    @property
    def rows(self) -> Mapping[str, Metrics]:
        """By name, from the least to the most that was learned."""
        floating = {} if self.floating is None else {"float": self.floating}
        return {"constant mask": self.constant_mask, **floating, "int8": self.int8}


def predict_masks(model: QuantizedModel, images: npt.NDArray[np.uint8]) -> Masks:
    """uint8 (N, H, W) of 0 and 1: the int8 model's decisions, by TFLM, through the preprocessing contract."""
    graph = load_graph(model.flatbuffer)
    outputs = reference.run_tflm(model.flatbuffer, input_lookup(model, graph)[images])
    drivable: npt.NDArray[np.bool_] = outputs[..., 0] >= decision_threshold(model, graph)
    return drivable.astype(np.uint8)


def predict_float_masks(folder: Path, images: npt.NDArray[np.uint8]) -> Masks:
    """uint8 (N, H, W) of 0 and 1: the run's Keras student's decisions."""
    from nanou_train import run

    manifest = run.read_manifest(folder)
    threshold = manifest["configuration"]["threshold"]
    return decide(run.load_student(folder), images, run.preprocessing(manifest), threshold)


def model_dataset(model: QuantizedModel, data_root: Path) -> Dataset:
    """A folder data set, read as the model's preprocessing contract says."""
    return load_dataset(DatasetSpec.of(data_root, model.preprocessing))


def evaluate(
    model: QuantizedModel, dataset: Dataset, *, split: str = "test", run_folder: Path | None = None
) -> Accuracy:
    """Accuracy of the int8 model, of the float model it came from if there is one, and of the constant mask."""
    part: Split = getattr(dataset, split)
    floating = None
    if run_folder is not None:
        from nanou_train import run

        contract = model.preprocessing
        student = run.load_student(run_folder)
        floating = evaluate_model(student, part.images, part.masks, contract, threshold=model.threshold)
    return Accuracy(
        dataset.name,
        split,
        len(part.images),
        constant_mask(dataset.train.masks, part.masks),
        floating,
        segmentation_metrics(part.masks, predict_masks(model, part.images)),
    )
