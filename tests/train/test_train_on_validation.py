"""Training on the validation part as well: nothing is validated, and nothing chosen by what is trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_deploy.report.training import read_training, render_training
from nanou_train.data.dataset import Dataset
from nanou_train.errors import ConfigError, DataError, TrainError
from nanou_train.experiments.keys import as_config
from nanou_train.runs.records import read_data
from nanou_train.runs.run_folder import read_manifest, run_dataset

KEY = "data.train_on_validation"


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def test_its_pictures_join_the_training_part(small: Dataset) -> None:
    both = small.with_validation()
    assert (len(both.train), len(both.val), both.test) == (20, 0, small.test)
    np.testing.assert_array_equal(both.train.images[16:], small.val.images)
    np.testing.assert_array_equal(both.train.masks[:16], small.train.masks)
    assert both.train.stems[16:] == tuple(f"val_{stem}" for stem in small.val.stems)
    assert both.with_validation() is both
    taken = replace(small.train, stems=("val_c", *small.train.stems[1:]))
    with pytest.raises(DataError, match="two pictures would be"):
        replace(small, val=replace(small.val, stems=tuple("abcd")), train=taken).with_validation()
    grouped = replace(small, train=replace(small.train, groups=("a",) * 16), val=replace(small.val, groups=("b",) * 4))
    assert grouped.with_validation().train.groups == ("a",) * 16 + ("b",) * 4


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"restarts": 2}, "run.restarts = 2"),
        ({"sweep": {"epochs": [1, 2]}}, "a sweep"),
        ({KEY: False, "sweep": {KEY: [False, True]}}, "a sweep"),
    ],
)
def test_nothing_is_chosen_by_what_is_trained_on(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=f"{says}: no pictures are left to choose by") as caught:
        as_config({KEY: True, **keys})
    assert caught.value.hint


@pytest.fixture
def folder(tmp_path: Path, small: Dataset, tiny_presets: None) -> Path:
    """A run with a teacher, of its own and one epoch each."""
    from nanou_train.training.train import train_model

    keys = {KEY: True, "epochs": 1, "teacher_epochs": 1, "batch_size": 8, "teacher_name": "bu_net_small"}
    result = train_model(dataset=small, output_dir=tmp_path, run_name="run", use_nas=True, **keys)
    assert result["error"] == ""
    return result["experiment_dir"]


def test_a_run_validates_with_nothing(folder: Path, small: Dataset, tmp_path: Path) -> None:
    from nanou_train.pruning.prune_run import PruneSettings, prune_run
    from nanou_train.runs.quantize_run import quantize_run
    from nanou_train.runs.threshold import with_threshold

    data = read_manifest(folder)["data"]
    assert (data["train"]["count"], data["val"]["count"]) == (20, 0)
    assert not any("val_miou" in row for row in json.loads((folder / "metrics.json").read_text())["history"])
    stated = read_data(folder)
    assert stated is not None
    assert stated["constant_val_miou"] is None
    page = render_training(read_training(folder))
    assert "Training pictures at the model's resolution" in page.replace("&#39;", "'")
    assert "Validation" not in page
    found = run_dataset(read_manifest(folder), dataset=small)
    assert len(found.train) == 20
    model = quantize_run(folder, dataset=found)
    assert with_threshold(model, found, threshold=0.4).threshold == 0.4
    with pytest.raises(TrainError, match="no validation pictures are left"):
        with_threshold(model, found, objective="f1")
    pruned = prune_run(folder, tmp_path / "pruned", PruneSettings(to=0.7, rounds=1, final_epochs=1), dataset=small)
    assert [(one.miou_before, one.miou_cut, one.miou_trained) for one in pruned.rounds] == [(None, None, None)]
    assert read_manifest(pruned.folder)["data"] == data


def test_it_is_no_parent_of_a_search(folder: Path, small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from nanou_train.search import train_trial

    opened = train_trial.open_source(folder, dataset=small)
    monkeypatch.setattr(train_trial, "open_source", lambda _folder, data_root: opened)
    with pytest.raises(TrainError, match="no pictures are left to choose candidates by"):
        train_trial.open_parent(folder, None)
