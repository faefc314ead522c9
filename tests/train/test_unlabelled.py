"""Pictures without masks: a teacher labels them, those that measure a student are left out, a run names them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.graph.model import Preprocessing
from nanou_train.data.dataset import Dataset, terrain_dataset
from nanou_train.data.images import IGNORE
from nanou_train.errors import ConfigError, DataError
from nanou_train.experiments.keys import as_config
from nanou_train.networks.architectures import create_model_from_config
from nanou_train.networks.saving import save_model
from nanou_train.runs.run_folder import read_manifest
from nanou_train.training import unlabelled
from nanou_train.training.train import train_model
from nanou_train.training.unlabelled import read_unlabelled, with_answers

SIZE = (24, 32)
CONTRACT = Preprocessing(*SIZE)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return terrain_dataset({"train": 8, "val": 3, "test": 3}, seed=0, height_px=SIZE[0], width_px=SIZE[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four pictures, one of them in a folder of its own, and a text."""
    more = terrain_dataset({"train": 4, "val": 1, "test": 1}, seed=9, height_px=SIZE[0], width_px=SIZE[1])
    place = tmp_path / "drive"
    (place / "later").mkdir(parents=True)
    for index, image in enumerate(more.train.images):
        Image.fromarray(image).save(place / ("later" if index == 3 else "") / f"{index}.png")
    (place / "notes.txt").write_text("of a rainy day")
    return place


def test_pictures_are_read_below_a_folder_and_have_no_masks(dataset: Dataset, folder: Path) -> None:
    config = as_config({"data.unlabelled": str(folder)})
    found = read_unlabelled(config, dataset, CONTRACT)
    assert found is not None
    assert found.stems == ("unlabelled/0", "unlabelled/1", "unlabelled/2", "unlabelled/later/3")
    assert (found.masks == IGNORE).all()
    np.testing.assert_array_equal(found.images[0], np.asarray(Image.open(folder / "0.png")))
    assert read_unlabelled(as_config({}), dataset, CONTRACT) is None


@pytest.mark.parametrize("part", ["val", "test"])
def test_what_measures_a_student_is_left_out(dataset: Dataset, folder: Path, part: str) -> None:
    """As it is, or a little brighter and compressed, as another frame of the same drive would be."""
    measured = getattr(dataset, part).images
    Image.fromarray(measured[0]).save(folder / "same.png")
    Image.fromarray(np.minimum(measured[1], 245) + np.uint8(10)).save(folder / "alike.jpg", quality=95)
    found = read_unlabelled(as_config({"data.unlabelled": str(folder)}), dataset, CONTRACT)
    assert found is not None
    assert not {"unlabelled/same", "unlabelled/alike"} & set(found.stems)
    assert len(found) == 4
    for name in "012":
        (folder / f"{name}.png").unlink()
    (folder / "later" / "3.png").unlink()
    with pytest.raises(DataError, match="all pictures"):
        read_unlabelled(as_config({"data.unlabelled": str(folder)}), dataset, CONTRACT)


def test_masks_are_what_the_teacher_decides(dataset: Dataset, folder: Path) -> None:
    teacher = create_model_from_config({"model_name": "nano_u", "input_shape": (*SIZE, 3), "filters": [4]})
    found = read_unlabelled(as_config({"data.unlabelled": str(folder)}), dataset, CONTRACT)
    assert found is not None
    teacher.get_layer("logits").bias.assign([100.0])
    both = with_answers(dataset.train, found, teacher)
    np.testing.assert_array_equal(both.masks[:8], dataset.train.masks)
    assert (both.masks[8:] == 1).all()
    assert both.stems[8:] == found.stems
    assert both.groups == ()
    teacher.get_layer("logits").bias.assign([-100.0])
    grouped = with_answers(replace(dataset.train, groups=("a",) * 8), found, teacher)
    assert (grouped.masks[8:] == 0).all()
    assert grouped.groups == ("a",) * 8 + ("",) * 4


def test_what_cannot_be_learned_from_is_refused(
    dataset: Dataset, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in ({"distillation": {"enabled": False}}, {"teacher": {"soft_masks": "soft"}}):
        with pytest.raises(ConfigError, match="without a teacher"):
            read_unlabelled(as_config({"data.unlabelled": str(folder), **wrong}), dataset, CONTRACT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has 0 pictures"):
        read_unlabelled(as_config({"data.unlabelled": str(tmp_path / "empty")}), dataset, CONTRACT)
    with pytest.raises(DataError, match="no folder"):
        read_unlabelled(as_config({"data.unlabelled": str(tmp_path / "missing")}), dataset, CONTRACT)
    monkeypatch.setattr(unlabelled, "MOST_PICTURES", 3)
    with pytest.raises(DataError, match="has 4 pictures"):
        read_unlabelled(as_config({"data.unlabelled": str(folder)}), dataset, CONTRACT)
    monkeypatch.undo()
    (folder / "torn.png").write_bytes((folder / "0.png").read_bytes()[:60])
    with pytest.raises(DataError, match="torn"):
        read_unlabelled(as_config({"data.unlabelled": str(folder)}), dataset, CONTRACT)


def test_a_run_learns_from_them_and_names_them(
    tmp_path: Path, dataset: Dataset, folder: Path, tiny_presets: None
) -> None:
    """Twelve pictures, four to a batch, are three steps an epoch where eight are two."""
    teacher = create_model_from_config("bu_net_small")
    how = {
        "dataset": dataset, "output_dir": tmp_path, "run_name": "run", "data.unlabelled": folder,
        "teacher.weights": save_model(teacher, tmp_path / "teacher.keras"), "alpha": 1.0, "epochs": 2,
        "batch_size": 4, "distillation.views": 2, "teacher_cache": True, "log_dir": tmp_path / "logs",
        "verbose_logging": True,
    }  # fmt: skip
    result = train_model(**how)  # type: ignore[arg-type]
    assert result["error"] == ""
    assert len(read_manifest(tmp_path / "run")["unlabelled"]) == 64
    assert read_manifest(tmp_path / "run")["data"]["train"]["count"] == 8
    log = next((tmp_path / "logs").rglob("batches.csv")).read_text()
    assert len(log.splitlines()) == 1 + 2 * 3
    (folder / "0.png").unlink()
    assert "unlabelled" in train_model(**how)["error"]  # type: ignore[arg-type]
