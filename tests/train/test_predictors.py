"""Evaluations and comparisons of predictors, Keras-like and int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from codegen.graph.contract import decide_classes, decision_threshold
from codegen.graph.model import logit
from codegen.tflite.files import load_model
from codegen.tflite.load import load_graph
from codegen.tflite.oracle import run_oracle
from nanou_train.data.dataset import Split, terrain_dataset
from nanou_train.data.labels import BINARY_CLASSES
from nanou_train.data.terrain import generate
from nanou_train.errors import TrainError
from nanou_train.evaluation.evaluate import (
    Predictor,
    compare,
    constant_mask,
    evaluate_logits,
    int8_predictor,
    segmentation_metrics,
)
from nanou_train.runs.quantize_run import scored
from tests.conftest import REPOSITORY

FLOAT = Predictor("float", lambda images: images[..., 0].astype(np.float64), logit)


def split_of(masks: np.ndarray, groups: tuple[str, ...] = ()) -> Split:  # type: ignore[type-arg]
    images = np.zeros((*masks.shape, 3), np.uint8)
    return Split(images, masks, tuple(f"image{index}" for index in range(len(masks))), groups)


def test_evaluation_by_sequence_and_worst_image() -> None:
    masks = np.zeros((3, 4, 4), np.uint8)
    masks[:, 2:] = 1
    logits = np.where(masks, 2.0, -2.0)
    logits[2] *= -1  # the third image is entirely wrong
    found = evaluate_logits(FLOAT, logits, split_of(masks, ("a", "a", "b")), BINARY_CLASSES, threshold=0.5)
    assert found.confusion == ((16, 8), (8, 16))
    assert found.metrics["miou"] == pytest.approx(0.5)
    assert [(one.group, one.images, one.metrics["miou"]) for one in found.sequences] == [("a", 2, 1.0), ("b", 1, 0.0)]
    assert found.sequence_spread == {"mean_miou": 0.5, "std_miou": 0.5, "min_miou": 0.0}
    assert (found.worst[0].stem, found.worst[0].group, found.worst[0].miou) == ("image2", "b", 0.0)
    assert found.sweep[49].miou == found.metrics["miou"]


def test_evaluation_of_three_classes() -> None:
    masks = np.array([[[0, 1], [2, 2]]], np.uint8)
    logits = np.eye(3)[masks] * 5.0
    logits[0, 1, 1] = (5.0, 0.0, 0.0)
    found = evaluate_logits(FLOAT, logits, split_of(masks), ("sky", "tree", "road"), threshold=0.5)
    assert found.metrics["accuracy"] == 0.75
    assert [one.name for one in found.classes] == ["sky", "tree", "road"]
    assert found.confusion[2] == (1, 0, 1)
    assert found.sweep == ()
    assert found.average_precision is None
    assert found.calibration.ece == pytest.approx(np.exp(5) / (np.exp(5) + 2) - 0.75, abs=1e-6)


def test_constant_mask_of_three_classes() -> None:
    train = np.array([[[0, 2]], [[1, 2]], [[1, 0]]], np.uint8)
    assert constant_mask(train, np.array([[[1, 2]]], np.uint8), ("a", "b", "c"))["accuracy"] == 1.0


def test_comparison_counts_pixels_and_steps() -> None:
    masks = np.array([[[0, 1, 1, 0]]], np.uint8)
    ours, theirs = np.array([[[-1.0, 1.0, 0.1, -1.0]]]), np.array([[[-1.0, 1.0, -0.1, -1.0]]])
    int8 = replace(FLOAT, name="int8", is_int8=True, step=0.1)
    found = compare(FLOAT, int8, (ours, theirs), masks, BINARY_CLASSES, 0.5)
    assert (found.pixels, found.differing_pixels, found.differing_outputs) == (4, 1, None)
    assert found.max_difference_steps == pytest.approx(2)
    assert found.mean_difference_steps == pytest.approx(0.5)
    assert (found.first_miou, found.second_miou) == (1.0, pytest.approx((1 / 2 + 2 / 3) / 2))
    assert compare(int8, int8, (ours, theirs), masks, BINARY_CLASSES, 0.5).differing_outputs == 1


@pytest.mark.parametrize("threshold", [0.02, 0.31, 0.5, 0.77, 0.999])
def test_int8_decisions_are_the_firmwares(threshold: float) -> None:
    """`logits >= cut` must be `output >= NANOU_THRESHOLD_Q` for every pixel, at any threshold."""
    model = load_model(REPOSITORY / "models" / "nano_u_terrain.tflite").deciding(threshold=threshold)
    graph = load_graph(model.flatbuffer)
    images, masks = generate(2, seed=1, height_px=60, width_px=80)
    kept = []

    def run(frames: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        kept.append(run_oracle(graph, frames))
        return kept[0]

    predictor = int8_predictor("oracle", model, run)
    decided = predictor.decide(predictor.logits(images), threshold)
    constant = decision_threshold(model, graph)
    assert np.array_equal(decided, kept[0][..., 0] >= constant)
    split = Split(images, masks, ("a", "b"))
    metrics = evaluate_logits(predictor, predictor.logits(images), split, BINARY_CLASSES, threshold=threshold).metrics
    assert metrics["miou"] == segmentation_metrics(masks, decide_classes(kept[0], constant))["miou"]


def test_the_threshold_is_chosen_on_validation(require_module: Callable[[str], None]) -> None:
    """Against every threshold tried one by one; another objective, another choice."""
    require_module("tensorflow")
    from nanou_train.runs.threshold import choose_threshold, with_threshold

    model = load_model(REPOSITORY / "models" / "nano_u_terrain.tflite")
    dataset = terrain_dataset({"train": 1, "val": 4, "test": 1}, seed=3)
    chosen = {objective: choose_threshold(model, dataset.val, objective) for objective in ("f05", "f2")}
    assert chosen["f2"] < chosen["f05"]  # recall weighs more in F2, precision in F0.5
    for objective, threshold in chosen.items():
        found = with_threshold(model, dataset, objective=objective)
        assert found.threshold == threshold
        assert f"best {objective}" in found.provenance["threshold"]
        assert found.provenance["metrics"]["int8"]["miou"] != model.provenance["metrics"]["int8"]["miou"]
        as_test = replace(dataset, test=dataset.val)
        scores = [
            scored(model.deciding(threshold=other), as_test).provenance["metrics"]["int8"][objective]
            for other in (threshold, 0.2, 0.8)
        ]
        assert scores[0] == max(scores)
    with pytest.raises(TrainError, match="no objective"):
        choose_threshold(model, dataset.val, "beauty")
