"""`experiment`, `model-size`, `bench-train` as somebody types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nanou_deploy.cli import cli
from nanou_train.errors import ConfigError
from nanou_train.experiments.experiment_file import experiment_names
from nanou_train.experiments.keys import as_config
from nanou_train.runs import run_folder as run

DOCUMENTED = (
    *("default", "standard", "distillation", "nas", "debug_test", "quick_test", "distillation_nas"),
    *("hyperparameter_sweep", "esp32_deployment"),
)


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def _json(result: Result) -> Any:
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout)


def test_the_documented_experiments_are_listed_and_are_what_they_say() -> None:
    assert set(DOCUMENTED) <= set(experiment_names())
    listed = _json(_run("experiment", "--list", "--json"))["experiments"]
    assert not listed["standard"]["use_distillation"]
    assert listed["distillation"]["use_distillation"]
    assert not listed["distillation"]["use_nas"]
    assert listed["nas"]["use_nas"]
    assert not listed["nas"]["use_distillation"]
    assert listed["distillation_nas"]["use_nas"]
    assert listed["distillation_nas"]["use_distillation"]
    assert listed["debug_test"]["debug_mode"]
    assert set(listed["hyperparameter_sweep"]["sweep"]) == {"learning_rate", "alpha"}
    assert set(listed["esp32_deployment"]["constraints"]) == {"max_parameters", "max_bytes", "min_miou"}
    table = _run("experiment", "--list").stdout
    assert all(name in table for name in DOCUMENTED)


def test_experiments_run_one_after_the_other(tmp_path: Path, tiny_presets: None) -> None:
    (tmp_path / "mine.yaml").write_text(
        "experiments:\n"
        "  base: {use_distillation: false, debug_mode: true, epochs: 1, terrain: {train: 8, val: 4, test: 4}}\n"
        "  swept: {extends: base, sweep: [{learning_rate: 0.01}, {batch_size: 4}]}\n"
    )
    arguments = ("experiment", "--config", tmp_path / "mine.yaml", "--experiment", "base", "--experiment", "swept")
    found = _json(_run(*arguments, "--output", tmp_path / "out", "--set", "batch_size=8", "--json"))
    assert {name: one["status"] for name, one in found["runs"].items()} == {"base": "completed", "swept": "completed"}
    assert len(found["sweeps"]["swept"]["runs"]) == 2
    configuration = json.loads((tmp_path / "out" / "base" / "manifest.json").read_text())["configuration"]
    assert configuration["student"]["batch_size"] == 8


def test_mistakes_are_found_before_anything_runs(tmp_path: Path) -> None:
    names = ("--experiment", "quick_test", "--experiment", "quick_tset")
    result = _run("experiment", *names, "--output", tmp_path / "out")
    assert isinstance(result.exception, ConfigError)
    assert "quick_test" in result.exception.hint
    assert not (tmp_path / "out").exists()
    assert _run("experiment", "--experiment", "default", "--set", "epochs").exit_code == 2
    result = _run("experiment", "--experiment", "default", "--set", "epoch=3")
    assert isinstance(result.exception, ConfigError)
    assert "epochs" in result.exception.hint


def test_sizes_are_counted(tmp_path: Path) -> None:
    from nanou_train.networks.architectures import create_model_from_config
    from nanou_train.networks.saving import save_model

    save_model(create_model_from_config("nano_u"), tmp_path / "model.keras")
    preset, file = _json(_run("model-size", "nano_u", tmp_path / "model.keras", "--json"))["models"]
    assert preset["int8_parameters"] == 3357
    assert preset["int8_bytes"] == 3063 + 4 * (288 + 6)
    assert preset["trainable_parameters"] == 3063 + 1 + 2 * 287
    assert preset["float_bytes"] == 4 * (3063 + 1 + 4 * 287)  # moving mean and variance as well
    assert {**file, "model": ""} == {**preset, "model": ""}
    assert "3,357" in _run("model-size", "nano_u").stdout


def test_training_speed_is_measured(tmp_path: Path) -> None:
    (tmp_path / "speed.yaml").write_text(
        "experiments: {speed: {use_distillation: false, batch_size: 4, debug_mode: true, input_size: [24, 32],"
        " model: {architecture: nano_u, filters: [4], bottleneck: 4}, terrain: {train: 8, val: 1, test: 1}}}"
    )
    arguments = ("bench-train", "--config", tmp_path / "speed.yaml", "--experiment", "speed")
    (one,) = _json(_run(*arguments, "--cores", 1, "--steps", 2, "--json"))["results"]
    assert (one["cores"], one["images"], one["batch_size"]) == (1, 8, 4)
    assert all(one[f"{what}images_per_s"] > 0 for what in ("", "preparation_", "step_"))
    assert one["epoch_s"] == pytest.approx(8 / one["images_per_s"])
    assert 0 < one["busy_cores"] < 1.5  # it may use one
    assert isinstance(_run(*arguments, "--cores", 10_000).exception, ConfigError)


def test_a_search_takes_what_no_option_says_from_the_run(tmp_path: Path) -> None:
    from nanou_deploy.cli.search import _with_recipe, search

    recorded = as_config({"search": {"trials": 7, "eta": 3, "vary": ["width"], "sizes": [[24, 32]]}}).recorded()
    run.start_run(tmp_path / "run", {"configuration": recorded})
    digest = {"sha256": "0" * 64}
    about = {"status": "completed", "weights": {"student": ""}, "metrics": {}, "data": {"train": digest}}
    run.write_manifest(tmp_path / "run", {"configuration": recorded, **about})
    given = ["--run", str(tmp_path / "run"), "--eta", "4", "--size", "48x64"]
    found = _with_recipe(search.make_context("search", given).params)
    assert (found["trials"], found["eta"], found["vary"], found["sizes"]) == (7, 4, ("width",), ((48, 64),))
    assert (found["rungs"], found["finish_epochs"], found["parent"]) == ((2, 6, 18), None, tmp_path / "run")
