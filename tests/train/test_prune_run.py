"""`prune`: from a run to a narrower run, in rounds, and again after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nanou_deploy.cli import cli
from nanou_train.errors import TrainError
from nanou_train.experiments.keys import as_config
from nanou_train.networks.channel_graph import structure_macs
from nanou_train.networks.structure import structure_of
from nanou_train.runs import run_folder as run
from nanou_train.runs.quantize_run import quantize_run
from tests.train.networks import plant_constant

TINY = {
    "epochs": 2,
    "teacher_epochs": 1,
    "teacher_cache": True,
    "batch_size": 8,
    "quantization_aware": True,
    "terrain": {"train": 8, "val": 4, "test": 4},
    "prune": {"to": 0.7, "layers": "uniform"},
}


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tensorflow")
    from nanou_train.networks.architectures import PRESETS, ModelConfig
    from nanou_train.training.train import train_model

    with pytest.MonkeyPatch.context() as patch:
        for name, architecture in (("nano_u", "nano_u"), ("bu_net_small", "bu_net")):
            patch.setitem(PRESETS, name, ModelConfig(architecture, (24, 32, 3), (6,), 6))  # type: ignore[arg-type]
        result = train_model(experiment_name="quick_test", output_dir=tmp_path_factory.mktemp("runs"), **TINY)
    assert result["status"] == "completed"
    return result["experiment_dir"]


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    from nanou_train.networks.architectures import PRESETS, ModelConfig

    require_module("tensorflow")
    for name, architecture in (("nano_u", "nano_u"), ("bu_net_small", "bu_net")):
        monkeypatch.setitem(PRESETS, name, ModelConfig(architecture, (24, 32, 3), (6,), 6))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_becomes_a_narrower_run_in_rounds(parent: Path, tmp_path: Path) -> None:
    from nanou_train.pruning.prune_run import PruneSettings, prune_run

    output, settings = tmp_path / "half", PruneSettings(to=0.5, rounds=2, epochs=1, final_epochs=1)
    seen: list[tuple[str, float]] = []
    result = prune_run(parent, output, settings, progress=lambda *event: seen.append(event))
    before, after = (structure_macs(structure_of(run.load_student(one))) for one in (parent, output))
    assert after <= 0.5 * before
    assert [one.cost_after for one in result.rounds][-1] == after
    assert result.rounds[0].cost_after <= before * 0.5**0.5
    assert result.rounds[1].before == result.rounds[0].after
    assert all(one.miou_trained is not None for one in result.rounds)
    manifest = run.read_manifest(output)
    assert manifest["pruning"]["from"] == run.read_manifest(parent)["weights"]["student"]
    assert manifest["metrics"]["teacher"] == run.read_manifest(parent)["metrics"]["teacher"]
    assert [done for _, done in seen] == sorted(done for _, done in seen)
    assert json.loads((output / "pruning.json").read_text())["rounds"][1]["cost_after"] == after

    # The same call does nothing again but what is missing: here the last round, as after a kill.
    first = output / "rounds" / "01"
    times = {path: path.stat().st_mtime_ns for path in first.rglob("student.keras")}
    assert len(times) == 2
    weights = manifest["weights"]["student"]
    run.write_manifest(output, {**manifest, "status": "running"})
    again = prune_run(parent, output, settings)
    assert again.rounds == result.rounds
    assert run.read_manifest(output)["weights"]["student"] == weights
    assert {path: path.stat().st_mtime_ns for path in first.rglob("student.keras")} == times

    said = quantize_run(output).provenance
    assert said["pruning"] == manifest["pruning"]
    assert said["configuration"]["student"]["start_from"] == "cut"
    assert str(tmp_path) not in json.dumps(said)  # whom the model is given to need not know the maker's folders


def test_the_command_shows_a_cut_and_writes_nothing(parent: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in parent.rglob("*")}
    found = CliRunner().invoke(cli, ["prune", "--run", str(parent), "--to", "0.6", "--dry-run", "--json"])
    assert found.exit_code == 0, found.output
    (shown,) = json.loads(found.stdout)["rounds"]
    assert shown["cost_after"] <= 0.6 * shown["cost_before"]
    assert shown["miou_trained"] is None
    assert {path: path.stat().st_mtime_ns for path in parent.rglob("*")} == before
    settings = json.loads(found.stdout)["settings"]  # an option, the run's experiment, what nobody has said
    assert (settings["to"], settings["layers"], settings["rounds"]) == (0.6, "uniform", 3)
    table = CliRunner().invoke(cli, ["prune", "--run", str(parent), "--to", "0.6", "--dry-run"])
    assert "encoder1a_pw" in table.stdout
    assert CliRunner().invoke(cli, ["prune", "--run", str(parent)]).exit_code == 2


def test_exact_removes_only_what_has_no_effect(parent: Path, tmp_path: Path) -> None:
    from nanou_train.networks.saving import save_model

    source = tmp_path / "planted"
    source.mkdir()
    for name in ("teacher.keras", "metrics.json"):
        (source / name).write_bytes((parent / name).read_bytes())
    student: Any = run.load_student(parent)
    plant_constant(student, "bottleneck_a", 3)
    save_model(student, source / "student.keras")
    manifest = run.read_manifest(parent)
    manifest["weights"]["student"] = run.weights_sha256(student)
    run.write_manifest(source, manifest)
    output = tmp_path / "exact"
    found = CliRunner().invoke(cli, ["prune", "--run", str(source), "--exact", "--output", str(output), "--json"])
    assert found.exit_code == 0, found.output
    assert {"block": "bottleneck_a", "channel": 3, "kind": "zero", "twin": None} in json.loads(found.stdout)["channels"]
    smaller = structure_of(run.load_student(output))
    assert smaller.bottleneck[0].width < 6


def test_nonsense_is_refused_in_words(parent: Path, tmp_path: Path) -> None:
    from nanou_train.pruning.prune_run import PruneSettings, prune_run

    with pytest.raises(TrainError, match=r"prune\.to = 1\.0: .* less than 1"):
        as_config({"prune": {"to": 1.0}})
    with pytest.raises(TrainError, match="no channel is left"):
        prune_run(parent, tmp_path / "wrong", PruneSettings(to=0.01, rounds=1))
    with pytest.raises(TrainError, match="no training run"):
        prune_run(tmp_path / "absent", tmp_path / "out", PruneSettings())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(TrainError, match="holds no training run"):
        prune_run(parent, tmp_path / "mine", PruneSettings())
