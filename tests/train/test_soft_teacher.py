"""Soft masks as the teacher: read by the pictures' names, moved along with augmentation, part of what a run is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codegen.graph.model import Preprocessing
from nanou_train.data.dataset import Dataset, terrain_dataset
from nanou_train.data.soft_masks import soft_mask_bytes
from nanou_train.errors import ConfigError, DataError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.keys import as_config
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.runs.run_folder import load_student, read_manifest
from nanou_train.training.soft_teacher import soft_answers
from nanou_train.training.train import train_model

SIZE = (24, 32)
CONTRACT = Preprocessing(*SIZE)
RECIPE = {
    "alpha": 1.0,
    "temperature": 1.0,
    "epochs": 20,
    "batch_size": 4,
    "augment": "light",
    "learning_rate": 0.03,
    "keep": "last",
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return terrain_dataset({"train": 12, "val": 4, "test": 4}, seed=0, height_px=SIZE[0], width_px=SIZE[1])


def write(folder: Path, dataset: Dataset, certain: float) -> Path:
    """A soft mask of each training picture, at twice its size, `certain` where it is drivable."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, mask in zip(dataset.train.stems, dataset.train.masks, strict=True):
        wide = np.kron(mask, np.ones((2, 2)))
        drivable = np.where(wide == 1, certain, 1 - certain).astype(np.float32)
        suffix, data = soft_mask_bytes(np.stack([1 - drivable, drivable], axis=-1))
        (folder / f"{stem}{suffix}").write_bytes(data)
    return folder


def test_answers_are_the_logits_of_what_is_said(tmp_path: Path, dataset: Dataset) -> None:
    config = as_config({"teacher": {"soft_masks": str(write(tmp_path / "soft", dataset, 0.9))}})
    assert not config.trains_teacher
    assert config.created == ("student",)
    found = soft_answers(config, dataset, CONTRACT)
    assert found is not None
    assert found.logits.shape == (1, 12, *SIZE, 1)
    expected = np.where(dataset.train.masks == 1, 1.0, -1.0) * np.log(9)
    np.testing.assert_allclose(found.logits[0, ..., 0], expected, atol=0.01)
    other = soft_answers(replaced(config, write(tmp_path / "more", dataset, 0.8)), dataset, CONTRACT)
    assert other is not None
    assert other.identity != found.identity
    assert soft_answers(as_config({}), dataset, CONTRACT) is None


def replaced(config: ExperimentConfig, folder: Path) -> ExperimentConfig:
    return config.model_copy(update={"teacher": config.teacher.model_copy(update={"soft_masks": folder})})


def test_what_cannot_be_is_said(tmp_path: Path, dataset: Dataset) -> None:
    folder = write(tmp_path / "soft", dataset, 0.9)
    with pytest.raises(ConfigError, match=r"beside teacher\.weights"):
        as_config({"teacher": {"soft_masks": str(folder), "weights": "teacher.keras"}})
    views = as_config({"teacher": {"soft_masks": str(folder)}, "distillation": {"views": 3}})
    with pytest.raises(ConfigError, match=r"distillation\.views is 3"):
        soft_answers(views, dataset, CONTRACT)
    config = as_config({"teacher": {"soft_masks": str(folder)}})
    with pytest.raises(DataError, match="and there are 3 classes"):
        soft_answers(config, replace(dataset, classes=("a", "b", "c")), CONTRACT)
    next(folder.iterdir()).unlink()
    with pytest.raises(DataError, match="1 of 12 training pictures have no soft mask"):
        soft_answers(config, dataset, CONTRACT)


def test_a_student_learns_what_soft_masks_say(tmp_path: Path, dataset: Dataset, tiny_presets: None) -> None:
    """With alpha 1 masks count for nothing: told the contrary, it learns the contrary."""
    folder = write(tmp_path / "contrary", dataset, 0.03)
    how = {
        "dataset": dataset,
        "output_dir": tmp_path,
        "run_name": "run",
        "teacher.soft_masks": folder,
        "input_size": SIZE,
    }
    result = train_model(**how, **RECIPE)  # type: ignore[arg-type]
    assert result["error"] == ""
    assert set(result["final_metrics"]) == {"constant_mask", "student"}
    manifest = read_manifest(tmp_path / "run")
    assert len(manifest["soft_masks"]) == 16
    assert not (tmp_path / "run" / "teacher.keras").exists()
    student = load_student(tmp_path / "run")
    x = preprocessing_of(student).normalize(dataset.train.images)
    drivable = np.asarray(student.predict(x, verbose=0))[..., 0] > 0
    assert np.mean(drivable == (dataset.train.masks == 1)) < 0.4
    assert train_model(**how, **RECIPE)["error"] == ""  # type: ignore[arg-type]
    write(folder, dataset, 0.97)
    again = train_model(**how, **RECIPE)  # type: ignore[arg-type]
    assert "soft_masks" in again["error"]
