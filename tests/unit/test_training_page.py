"""The page of a training: while it goes on, when it has failed, and from files that somebody has damaged."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_deploy.cli.training_output import LivePage
from nanou_deploy.errors import DeployError
from nanou_deploy.report.training import read_training, render_training
from nanou_train.data.dataset import terrain_dataset
from nanou_train.runs.records import read_data, read_records, record_data
from nanou_train.runs.run_folder import EPOCHS, write_csv, write_json

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three epochs, of which one teacher and two restarts have told."""
    folder = tmp_path / "mine"
    dataset = terrain_dataset({"train": 4, "val": 4, "test": 4}, seed=0, height_px=12, width_px=16)
    record_data(dataset, folder)
    manifest(folder, status="running")
    for role, stem in (("teacher", folder), ("student", folder / "restarts/01"), ("student", folder / "restarts/02")):
        rows = [
            {"epoch": epoch, "loss": 1 / epoch, "val_miou": 0.2 * epoch, "learning_rate": 0.01} for epoch in (1, 2, 3)
        ]
        (stem / EPOCHS).mkdir(parents=True, exist_ok=True)
        write_csv(stem / EPOCHS / f"{role}.csv", rows)
        masks = np.stack([dataset.val.masks, 1 - dataset.val.masks])
        np.savez(
            stem / EPOCHS / f"{role}.npz", images=dataset.val.images, truth=dataset.val.masks, epochs=[1, 3],
            masks=masks,
        )  # fmt: skip
    return folder


def manifest(folder: Path, **facts: Any) -> None:
    data = {"classes": ["background", "drivable"]}
    write_json(folder / "manifest.json", {"schema": 1, "experiment": "default", "seed": 0, "data": data, **facts})


def test_a_training_under_way(run: Path) -> None:
    page = render_training(read_training(run))
    assert 'http-equiv="refresh"' in page
    assert "Under way" in page
    for name in ("teacher", "student 01", "student 02"):
        assert f"What the {name} sees" in page
    assert page.count(">IoU 100.0 %<") == page.count(">IoU 0.0 %<") == 12  # four pictures of each: right, then inverted
    assert page == render_training(read_training(run))


def scores(student: float) -> dict[str, Any]:
    return {"status": "completed", "metrics": {"student": {"miou": student}, "constant_mask": {"miou": 0.5}}}


@pytest.mark.parametrize(
    ("facts", "said", "css"),
    [
        ({"status": "interrupted", "error": ""}, "interrupted: the same command goes on", "bad"),
        ({"status": "failed", "error": HOSTILE}, "failed: &lt;script&gt;", "bad"),
        (
            {"status": "completed", "metrics": {"student": {"miou": 0.9}, "constant_mask": {"miou": 0.5}}},
            "90.0",
            "good",
        ),
        (scores(0.4), "40.0", "bad"),
    ],
)
def test_a_training_that_has_ended(run: Path, facts: dict[str, Any], said: str, css: str) -> None:
    manifest(run, **facts)
    page = render_training(read_training(run))
    (verdict,) = re.findall(r'<p class="verdict (\w+)">(.*?)</p>', page)
    assert (verdict[0], said in verdict[1]) == (css, True)
    assert "http-equiv" not in page
    assert HOSTILE not in page


def test_names_are_text(run: Path) -> None:
    data = json.loads((run / EPOCHS / "data.json").read_text())
    shares = {HOSTILE: 1.0}
    data |= {"name": HOSTILE, "splits": {"train": {"images": 1, "shares": shares}}}
    write_json(run / EPOCHS / "data.json", data)
    page = render_training(read_training(run))
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("content", [b"", b"epoch,loss\n1,one\n", b"\xff" * 100, b"PK\x03\x04 and no more"])
@pytest.mark.parametrize("name", ["teacher.csv", "teacher.npz", "data.json"])
def test_damaged_records_are_left_out(run: Path, name: str, content: bytes) -> None:
    (run / EPOCHS / name).write_bytes(content)
    page = render_training(read_training(run))
    assert "student 01" in page
    if name == "teacher.csv":
        assert "teacher" not in read_records(run)
    if name == "data.json":
        assert read_data(run) is None


def test_where_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="no training run"):
        read_training(tmp_path)
    with LivePage(tmp_path).watching(lambda _message, _done: None) as tell:
        tell("rendering terrain", 0.0)
    assert not list(tmp_path.iterdir())


def test_the_page_is_written_at_the_end_however_that_comes(run: Path) -> None:
    page = LivePage(run)
    with suppress(KeyboardInterrupt), page.watching(lambda _message, _done: None) as tell:
        tell("student epoch 1", 0.1)
        page.path.unlink()
        raise KeyboardInterrupt
    assert "Under way" in page.path.read_text()


def test_a_training_that_never_began_leaves_the_page_of_another_one(run: Path) -> None:
    page = LivePage(run)
    with suppress(DeployError), page.watching(lambda _message, _done: None):
        raise DeployError("the run is there", hint="another folder")
    assert not page.path.exists()
