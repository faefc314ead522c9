"""Set the decision threshold of an int8 model: a given one, or the best on validation data."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from codegen.graph.model import QuantizedModel
from codegen.tflite.interpreters import run_builtin_ref
from codegen.tflite.load import load_graph
from nanou_train.data.dataset import Dataset, Split
from nanou_train.errors import TrainError
from nanou_train.evaluation.curves import OBJECTIVES, best_threshold, sweep
from nanou_train.evaluation.evaluate import int8_predictor
from nanou_train.runs.quantize_run import scored


def with_threshold(
    model: QuantizedModel, dataset: Dataset, *, threshold: float | None = None, objective: str = ""
) -> QuantizedModel:
    """Return the model with `threshold`, or with the best one for `objective` on the validation part.

    `provenance` says which it was, and its test metrics of `int8` are measured anew. Raises TrainError for an unknown
    objective, and for a model of several output channels, which has no threshold.
    """
    check_threshold(model, objective)
    origin = "given"
    if objective:
        threshold = choose_threshold(model, dataset.val, objective)
        origin = f"best {objective} of the int8 model on the validation part"
    changed = model if threshold is None else model.deciding(threshold=threshold)
    return scored(replace(changed, provenance={**model.provenance, "threshold": origin}), dataset)


def choose_threshold(model: QuantizedModel, split: Split, objective: str) -> float:
    """Find the probability threshold with the best `objective` of the int8 model, on BUILTIN_REF, on a split."""
    check_threshold(model, objective)
    if not len(split):
        raise TrainError("no validation pictures are left to choose a threshold by", hint="give it with --threshold")
    predictor = int8_predictor("int8", model, partial(run_builtin_ref, model.flatbuffer))
    return best_threshold(sweep(predictor.logits(split.images), split.masks, predictor.cut), objective)


def check_threshold(model: QuantizedModel, objective: str = "") -> None:
    """Raise TrainError for a model that decides by no threshold, and for an unknown objective."""
    if load_graph(model.flatbuffer).output.shape[-1] > 1:
        raise TrainError(
            f"{model.name} tells {len(model.classes)} classes apart by the highest output, not by a threshold",
            hint="leave the threshold out",
        )
    if objective and objective not in OBJECTIVES:
        raise TrainError(f"{objective} is no objective for a threshold", hint=f"use one of {', '.join(OBJECTIVES)}")
