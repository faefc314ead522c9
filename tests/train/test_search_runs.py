"""A search on a real run: candidates inherit and are trained, what was interrupted goes on, points are built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from nanou_deploy.errors import EXIT_INTERRUPTED
from nanou_train.networks.structure import structure_of
from nanou_train.runs.int8_model import int8_path
from nanou_train.search.search import Job
from nanou_train.search.space import Space, structure_key
from tests import command_line

pytestmark = pytest.mark.slow
TINY = {"architecture": "nano_u", "filters": [4], "bottleneck": 6, "skips": False}
RECIPE: dict[str, Any] = {
    "model": TINY, "teacher": {**TINY, "architecture": "bu_net", "filters": [6]}, "input_size": (24, 32), "epochs": 4,
    "teacher_epochs": 2, "teacher.members": 1, "teacher_views": 2, "batch_size": 8, "freeze_epochs": 0, "restarts": 1,
    "terrain": {"train": 32, "val": 8, "test": 8},
}  # fmt: skip


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A quantization-aware run that takes seconds."""
    pytest.importorskip("tensorflow")
    from nanou_train.training.train import train_model

    folder = tmp_path_factory.mktemp("runs")
    result = train_model(experiment_name="accurate", output_dir=folder, run_name="parent", **RECIPE)
    assert result["status"] == "completed", result["error"]
    return folder / "parent"


@pytest.fixture
def job(parent: Path, tmp_path: Path) -> Callable[..., Job]:
    """A job for a narrower and smaller network; `go_on` is asked after each rung."""
    from nanou_train.runs import run_folder as run

    space = Space(structure_of(run.load_student(parent)))
    structure = space.structure({**space.parent_values(), "width_encoder1": 3, "skip_1": True, "size": "18x24"})

    def make(name: str, go_on: Callable[[int, float], bool]) -> Job:
        return Job(structure, structure_key(structure), tmp_path / name, (1, 2), go_on)

    return make


def test_a_candidate_that_was_interrupted_goes_on_to_the_same_end(
    parent: Path, job: Callable[..., Job], tmp_path: Path
) -> None:
    from nanou_train.runs import run_folder as run
    from nanou_train.search.train_trial import STATE, TrialTraining, views_at

    training = TrialTraining(parent, None, tmp_path / "cache")
    reached: list[tuple[int, float]] = []

    def note(rung: int, miou: float) -> bool:
        reached.append((rung, miou))
        return True

    miou = training.evaluate(job("alone", note))
    assert [rung for rung, _ in reached] == [0, 1]
    assert miou == reached[-1][1]
    assert structure_of(run.load_student(tmp_path / "alone")) == job("alone", note).structure
    assert training.evaluate(job("alone", note)) == miou  # its worker died before the result was stored
    assert len(reached) == 2

    def die(rung: int, _miou: float) -> bool:
        if rung == 1:
            raise KeyboardInterrupt
        return True

    with pytest.raises(KeyboardInterrupt):
        training.evaluate(job("killed", die))
    assert (tmp_path / "killed" / STATE).is_file()
    assert training.evaluate(job("killed", note)) == miou
    assert [rung for rung, _ in reached] == [0, 1, 1]  # the first rung was not trained again
    weights = [run.read_manifest(tmp_path / name)["weights"] for name in ("alone", "killed")]
    assert weights[0] == weights[1]

    stopped = training.evaluate(job("stopped", lambda _rung, _miou: False))
    assert stopped == pytest.approx(reached[0][1])
    assert list((tmp_path / "stopped").iterdir()) == []

    views = views_at(parent, None, (18, 24), tmp_path / "cache")
    assert views is not None
    assert isinstance(views.logits, np.memmap)
    assert views.logits.shape == (2, 32, 18, 24, 1)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_decisions_of_another_size_are_compared_by_nearest_neighbour(parent: Path) -> None:
    from nanou_train.search.train_trial import metrics_at, open_parent

    dataset = open_parent(parent, None).source.dataset
    assert metrics_at(dataset.val.masks, dataset.val, dataset)["miou"] == 1.0
    doubled = dataset.val.masks.repeat(2, axis=1).repeat(2, axis=2)
    assert metrics_at(doubled, dataset.val, dataset)["miou"] == 1.0
    halved = dataset.val.masks[:, 1::2, 1::2]
    expected = halved.repeat(2, axis=1).repeat(2, axis=2)
    assert metrics_at(halved, dataset.val, dataset)["accuracy"] == np.mean(expected == dataset.val.masks)


def test_the_command_ends_with_points_within_limits_and_the_same_command_again_only_tells(
    parent: Path, tmp_path: Path, require_tool: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.build.library import open_model
    from nanou_deploy.cli import cli
    from nanou_deploy.errors import DeployError
    from nanou_deploy.measure.bench import bench
    from nanou_train.search.pareto import Point, read_front

    require_tool("riscv64-unknown-elf-gcc")
    require_tool("qemu-system-riscv32")
    monkeypatch.setenv("NANOU_CACHE", str(tmp_path / "costs"))
    output = tmp_path / "search"

    def run(*changes: object) -> Any:
        where = ["--run", parent, "--output", output, "--board", "rv32-qemu", "--max-ram", 1248]
        how = ["--trials", 2, "--vary", "width", "--rungs", 1, "--finish", 1, "--finish-epochs", 1]
        arguments = [str(argument) for argument in ("search", *where, *how, *changes, "--json")]
        return CliRunner().invoke(cli, arguments, catch_exceptions=False)

    result = run()
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["counts"]["complete"] == 2
    (point,) = found["points"]
    built = bench(open_model(output / point["run"]), find_board("rv32-qemu"))
    counted = point["costs"]["rv32-qemu"]
    assert (counted["ram_bytes"], counted["instructions"]) == (built.ram_bytes, built.instructions)
    assert counted["ram_bytes"] <= 1248
    assert read_front(output).points == (Point.from_json(point),)
    assert int8_path(output / point["run"]).is_file()
    manifest = json.loads((output / point["run"] / "manifest.json").read_text())
    assert (manifest["status"], manifest["made_by"]) == ("completed", "search")

    times = {path: path.stat().st_mtime_ns for path in output.rglob("*.keras")}
    again = json.loads(run().stdout)
    assert again["points"] == found["points"]
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.keras")} == times
    assert json.loads(run("--finish", 0).stdout)["points"] == []
    with pytest.raises(DeployError, match=r"none of 1 candidates keeps all limits.*ram_bytes 1,696"):
        run("--output", tmp_path / "tight", "--max-ram", 100, "--trials", 1)


def test_ctrl_c_says_what_is_kept(parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nanou_deploy.choose import counted_search

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(counted_search, "search_with_costs", interrupt)
    result = command_line.run("search", "--run", parent, "--output", tmp_path / "search", cwd=tmp_path)
    assert result.returncode == EXIT_INTERRUPTED
    assert f"interrupted: {tmp_path / 'search'} keeps all trials" in result.stderr
