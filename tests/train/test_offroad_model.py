"""The shipped off-road models: they belong to this code, and are better than position alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.graph.model import QuantizedModel
from codegen.tflite.files import load_model
from codegen.tflite.sidecar import without_paths
from nanou_deploy.build.library import open_model
from nanou_deploy.errors import DeployError
from nanou_deploy.resources import models_folder
from nanou_train.experiments.experiment_file import load_experiment
from nanou_train.experiments.keys import as_config
from nanou_train.runs.run_folder import weights_sha256
from tests.command_line import run

MODELS = ("nano_u_offroad", "nano_u_offroad_small")
# What pruning says otherwise than the experiment: where the last round began, its epochs, its teacher's file.
PRUNED = {
    "student.start_from": "cut", "student.epochs": 75, "teacher.weights": "teacher.keras", "run.restarts": 1,
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> QuantizedModel:
    return load_model(models_folder() / f"{request.param}.tflite")


def test_the_larger_one_is_the_default_and_says_on_what_it_was_trained(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert open_model(None) == load_model(models_folder() / "nano_u_offroad.tflite")
    assert "nano_u_offroad, trained on ycor" in caplog.text


def test_a_shipped_model_is_taken_by_its_name(
    model: QuantizedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_model(Path(model.name)) == model
    with pytest.raises(DeployError, match="there is no run nano_u_road yet") as caught:
        open_model(Path("nano_u_road"))
    assert model.name in caught.value.hint
    (tmp_path / model.name).mkdir()  # one's own of that name comes first
    with pytest.raises(DeployError, match=f"{model.name} holds no"):
        open_model(Path(model.name))


@pytest.mark.parametrize("command", [["card", "--licence", "mine"], ["calibrate", "--images", ".", "--masks", "."]])
def test_a_shipped_model_that_is_named_is_not_changed(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    done = run(*command, "--model", "nano_u_terrain", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert "not yours to change" in done.stderr or "is not changed" in done.stderr


def test_it_names_no_path_of_anybodys_computer(model: QuantizedModel) -> None:
    assert model.provenance["data"]["source"]["root"] == "ycor"
    assert without_paths(model.provenance) == model.provenance


def test_its_scores(model: QuantizedModel) -> None:
    metrics = model.provenance["metrics"]
    assert metrics["int8"]["miou"] > metrics["constant_mask"]["miou"] + 0.1
    assert abs(metrics["fake_quant"]["miou"] - metrics["int8"]["miou"]) < 0.002


def test_its_provenance_names_an_experiment_that_still_says_the_same(model: QuantizedModel) -> None:
    stated = load_experiment(
        Path("config/experiments.yaml"), model.provenance["experiment"], PRUNED if "pruning" in model.provenance else {}
    )
    assert as_config(model.provenance["configuration"]) == stated


def test_its_student_is_beside_it(model: QuantizedModel) -> None:
    pytest.importorskip("tensorflow")
    from nanou_train.networks.saving import load_model as load_student

    student = load_student(models_folder() / f"{model.name}.keras")
    assert weights_sha256(student) == model.provenance["weights"]["student"]
