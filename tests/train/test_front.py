"""From finished runs to a front, by the command line; and that a stand-in costs what the trained network costs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from codegen.compile import compile_model
from nanou_deploy.boards.boards import find_board
from nanou_deploy.choose import front as fronts
from nanou_deploy.choose.scores import Scores, write_scores
from nanou_deploy.cli.pareto import pareto
from nanou_deploy.errors import DeployError
from nanou_train.errors import TrainError
from nanou_train.networks.cost import Cost
from nanou_train.networks.random_weights import stand_in_model
from nanou_train.networks.structure import Block, Level, Structure, build_model
from nanou_train.runs.int8_model import load_int8, save_int8
from nanou_train.runs.run_folder import read_manifest
from nanou_train.search.pareto import Front, read_front

STRUCTURES = {
    "skips": Structure("nano_u", (12, 16, 3), (Level((Block(4),), (2, 2), (Block(3),), True),), (Block(5),)),
    "uneven": Structure(
        "nano_u",
        (24, 32, 3),
        (Level((Block(3), Block(5, 5)), (2, 4), ()), Level((Block(6),), (3, 2), (Block(7), Block(2)), True)),
        (Block(4),),
        3,
    ),
    "stem": Structure(
        "nano_u", (12, 16, 3), (Level((Block(4),), (2, 2), (Block(3),), True),), (Block(5),), stem=Block(6)
    ),
    "stem_of_classes": Structure("bu_net", (12, 16, 3), (Level((), (3, 2), ()),), (Block(5),), 3, stem=Block(6, 5)),
    "plain": Structure("bu_net", (12, 16, 3), (Level((Block(4),), (3, 2), (Block(3),), True),), ()),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_stand_in_is_planned_like_the_converted_network(name: str) -> None:
    pytest.importorskip("tensorflow")
    import numpy as np

    from codegen.graph.model import Preprocessing
    from codegen.tflite.quantize import quantize

    structure = STRUCTURES[name]
    frames = np.random.default_rng(0).uniform(-1, 1, (4, *structure.input_shape)).astype(np.float32)
    contract = Preprocessing(*structure.input_shape)
    trained = quantize(build_model(structure, name), frames, name=name, preprocessing=contract, provenance={})
    real, invented = compile_model(trained), compile_model(stand_in_model(structure))
    assert [stage.summary for stage in real.program.stages] == [stage.summary for stage in invented.program.stages]
    for figure in ("macs", "working_bytes", "io_bytes", "rows_arena_bytes", "schedule"):
        assert getattr(real.plan, figure) == getattr(invented.plan, figure), figure


@pytest.fixture
def runs(tmp_path: Path, tiny_presets: None) -> list[Path]:
    """Two runs of one network, the second a copy that claims another seed and better scores."""
    pytest.importorskip("tensorflow")
    from nanou_train.training.train import train_model

    settings = {"epochs": 1, "batch_size": 8, "use_distillation": False, "terrain": {"train": 16, "val": 8, "test": 8}}
    result = train_model(experiment_name="quick_test", output_dir=tmp_path, run_name="run0", seed=0, **settings)
    assert result["error"] == ""
    shutil.copytree(tmp_path / "run0", tmp_path / "run1")
    for name, key, value in (("manifest.json", "seed", 1), ("metrics.json", "history", [{}])):
        file = tmp_path / "run1" / name
        document = json.loads(file.read_text())
        document[key] = value if key == "seed" else [{**row, "val_miou": 0.9} for row in document[key]]
        file.write_text(json.dumps(document))
    return [tmp_path / "run0", tmp_path / "run1"]


def check_one_score(folder: Path, tmp_path: Path) -> None:
    """What a search measured against its parent's masks stands in the run, for `pareto` as well."""
    model = fronts.quantized_model(folder)
    own = fronts.point_of(folder, model, [], tmp_path)
    scores = Scores((60, 80), 0.5, 0.25, None)
    write_scores(folder, model, scores)
    point = fronts.point_of(folder, model, [], tmp_path)
    assert Scores(point.masks_px, point.val_miou, point.int8_miou, point.float_miou) == scores
    assert Front("", (own, point)).masks_px == (own.masks_px, (60, 80))
    write_scores(folder, replace(model, flatbuffer=b"another"), scores)
    assert fronts.point_of(folder, model, [], tmp_path) == own
    for damage in ("[]", "{", '{"int8_sha256": 1', f'{{"int8_sha256": "{model.sha256}", "masks_px": [1]}}'):
        (folder / "scores.json").write_text(damage)
        with pytest.raises(DeployError, match=r"scores.json is damaged"):
            fronts.point_of(folder, model, [], tmp_path)
    (folder / "scores.json").unlink()


def test_runs_are_gathered(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def costs_of(asked: Any) -> Any:
        return (Cost(board.name, 7, 100, 3, 4, 5, 6, 7) for _, board in asked)

    monkeypatch.setattr(fronts, "costs_of", costs_of)
    boards = ("rv32-qemu", "esp32c3")
    apart = fronts.point_of(runs[0], fronts.quantized_model(runs[0]), [], tmp_path / "front")
    assert apart.run == "../run0"
    model = load_int8(runs[0])  # was quantized
    weights = {"weights": read_manifest(runs[1])["weights"]}
    save_int8(runs[1], replace(model, provenance={**model.provenance, **weights}))
    arguments = [*map(str, runs), *(f"--board={board}" for board in boards), "--output", str(tmp_path / "front")]
    done = CliRunner().invoke(pareto, [*arguments, "--json"], standalone_mode=False)
    assert done.exception is None, done.exception
    document: dict[str, Any] = json.loads(done.stdout)
    assert tuple(document["boards"]) == boards
    (point,) = read_front(tmp_path / "front").points
    assert (point.seeds, point.made_by, point.run) == ((0, 1), "train", "../run1")
    assert point.val_miou == pytest.approx((apart.val_miou + 0.9) / 2)
    assert point.int8_miou is not None
    assert point.float_miou is not None
    assert point.masks_px == (model.image.height_px, model.image.width_px)
    assert "run1" in (tmp_path / "front" / "pareto.html").read_text()
    asked: list[str] = []
    front, board = read_front(tmp_path / "front"), find_board("cortex-m4-qemu")
    (more,) = fronts.with_costs(front, board, tmp_path / "front", progress=asked.append).points
    assert tuple(more.costs) == (*boards, "cortex-m4-qemu")
    assert len(asked) == 1
    assert fronts.with_costs(front, find_board("esp32c3"), tmp_path / "front", progress=asked.append) == front
    assert len(asked) == 1
    check_one_score(runs[0], tmp_path)


def test_what_is_no_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="is no training run"):
        fronts.gather_front([tmp_path], [find_board("rv32-qemu")], tmp_path / "front")
    with pytest.raises(DeployError, match="at least one run"):
        fronts.gather_front([], [], tmp_path / "front")
    assert not (tmp_path / "front").exists()
