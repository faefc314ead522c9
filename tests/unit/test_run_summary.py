"""`runs`: what run folders say of themselves, whatever state they are in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nanou_train.errors import TrainError
from nanou_train.runs.run_summary import compare_runs, find_runs, summarize_run
from tests.command_line import run, run_json


def make_run(folder: Path, **changes: Any) -> Path:
    """A run folder as `train` leaves it, as far as a summary reads it."""
    folder.mkdir(parents=True)
    manifest: dict[str, Any] = {
        "schema": 1,
        "status": "completed",
        "experiment": "quick",
        "seed": 0,
        "configuration": {"student": {"preset": "nano_u", "epochs": 3, "learning_rate": 0.01}},
        "data": {"name": "field", "test": {"count": 4, "sha256": "aa"}},
        "metrics": {"student": {"miou": 0.75}, "constant_mask": {"miou": 0.5}},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))
    (folder / "epochs").mkdir()
    (folder / "epochs/student.csv").write_text("epoch,loss,val_miou\n1,0.5,0.6\n2,0.4,0.8\n3,0.3,0.7\n")
    return folder


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    one = summarize_run(make_run(tmp_path / "a"))
    assert (one.status, one.epoch, one.epochs, one.network, one.data) == ("completed", 3, 3, "nano_u", "field")
    assert (one.miou_val, one.miou_test, one.miou_int8, one.miou_constant) == (0.8, 0.75, None, 0.5)


@pytest.mark.parametrize(
    ("text", "status"),
    [("{", "damaged"), ('{"status": 7}', "no run"), ('{"status": "running", "metrics": 3, "data": [1]}', "running")],
)
def test_what_is_damaged_is_said(tmp_path: Path, text: str, status: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert summarize_run(tmp_path).status == status


def test_runs_are_found_and_their_parts_are_none(tmp_path: Path) -> None:
    make_run(tmp_path / "search/trial_1", status="interrupted")
    make_run(make_run(tmp_path / "b") / "restarts/01")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [path.name for path in find_runs(tmp_path)] == ["b", "trial_1"]
    with pytest.raises(TrainError, match="no folder"):
        list(find_runs(tmp_path / "none"))


def test_differences_of_two_runs(tmp_path: Path) -> None:
    first = make_run(tmp_path / "a")
    second = make_run(
        tmp_path / "b", seed=1, configuration={"student": {"preset": "nano_u", "epochs": 9, "learning_rate": 0.01}}
    )
    found = [(one.key, one.first, one.second) for one in compare_runs(first, second)]
    assert found == [("seed", 0, 1), ("student.epochs", 3, 9)]
    with pytest.raises(TrainError, match="no training run"):
        compare_runs(first, tmp_path)


def test_the_command_lists_and_compares(tmp_path: Path) -> None:
    make_run(tmp_path / "runs/a")
    make_run(tmp_path / "runs/b", seed=1, metrics={"student": {"miou": 0.8}})
    shown = run("runs", cwd=tmp_path).stdout
    assert "a    completed    3/3  80.0  75.0     -  nano_u   field" in shown
    code, document = run_json("runs", "runs/a", "runs/b", cwd=tmp_path)
    assert (code, [one["key"] for one in document["differences"]]) == (0, ["seed"])
    assert "\ntest           75.0  80.0        +5.0\n" in run("runs", "runs/a", "runs/b", cwd=tmp_path).stdout
    assert run("runs", "a", "b", "c", cwd=tmp_path).returncode == 2
    assert len(run_json("runs", cwd=tmp_path)[1]["runs"]) == 2
