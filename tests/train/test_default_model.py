"""The committed model: it belongs to this code, and on scenes that it never saw it beats position alone by far."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.graph.contract import decide_classes
from codegen.graph.model import Quantization, QuantizedModel, logit, threshold_q
from codegen.tflite.files import load_model
from codegen.tflite.interpreters import run_tflm
from codegen.tflite.load import load_graph
from nanou_train.data import terrain
from nanou_train.evaluation.evaluate import constant_mask, segmentation_metrics
from nanou_train.experiments.experiment_file import load_experiment
from nanou_train.experiments.keys import as_config

MODEL = Path(__file__).resolve().parents[2] / "models" / "nano_u_terrain.tflite"


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    return load_model(MODEL)


def test_it_beats_the_constant_mask_by_15_points(model: QuantizedModel) -> None:
    images, masks = terrain.generate(80, seed=2**40)
    graph = load_graph(model.flatbuffer)
    source, sink = (Quantization(end.scale, end.zero_point) for end in (graph.input, graph.output))
    outputs = run_tflm(model.flatbuffer, model.preprocessing.lookup_table(source)[images])
    threshold = threshold_q(logit(model.threshold), sink)
    ours = segmentation_metrics(masks, decide_classes(outputs.reshape(*masks.shape, 1), threshold))
    baseline = constant_mask(terrain.generate(200, seed=2**41)[1], masks)
    assert ours["miou"] > baseline["miou"] + 0.15
    assert abs(ours["miou"] - model.provenance["metrics"]["int8"]["miou"]) < 0.08


def test_quantization_cost_next_to_nothing(model: QuantizedModel) -> None:
    metrics = model.provenance["metrics"]
    assert metrics["float"]["miou"] - metrics["int8"]["miou"] < 0.01


def test_its_provenance_names_an_experiment_that_still_says_the_same(model: QuantizedModel) -> None:
    """Keys that came later have the value that means what happened before them."""
    stated = load_experiment(Path("config/experiments.yaml"), model.provenance["experiment"])
    assert as_config(model.provenance["configuration"]) == stated
