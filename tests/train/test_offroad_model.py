"""The model that is used where none is given: it belongs to this code, and was better than position alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.graph.model import QuantizedModel
from codegen.tflite.files import load_model
from nanou_deploy.build.library import open_model
from nanou_deploy.resources import models_folder
from nanou_train.experiments.experiment_file import load_experiment
from nanou_train.experiments.keys import as_config
from nanou_train.runs.run_folder import weights_sha256

MODEL = models_folder() / "nano_u_offroad.tflite"


@pytest.fixture(scope="module")
def model() -> QuantizedModel:
    return load_model(MODEL)


def test_it_is_the_default_and_says_on_what_it_was_trained(
    model: QuantizedModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        assert open_model(None) == model
    assert "nano_u_offroad, trained on ycor" in caplog.text
    assert model.provenance["data"]["source"]["root"] == "ycor"  # no path of anybody's computer


def test_its_scores(model: QuantizedModel) -> None:
    metrics = model.provenance["metrics"]
    assert metrics["int8"]["miou"] > metrics["constant_mask"]["miou"] + 0.1
    assert abs(metrics["fake_quant"]["miou"] - metrics["int8"]["miou"]) < 0.002


def test_its_provenance_names_an_experiment_that_still_says_the_same(model: QuantizedModel) -> None:
    stated = load_experiment(Path("config/experiments.yaml"), model.provenance["experiment"])
    assert as_config(model.provenance["configuration"]) == stated


def test_its_student_is_beside_it(model: QuantizedModel) -> None:
    pytest.importorskip("tensorflow")
    from nanou_train.networks.saving import load_model as load_student

    assert weights_sha256(load_student(MODEL.with_suffix(".keras"))) == model.provenance["weights"]["student"]
