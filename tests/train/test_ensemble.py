"""A teacher of several networks: their logits are averaged, and each is a run of its own, as restarts are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nanou_train.data.dataset import Dataset
from nanou_train.errors import ConfigError
from nanou_train.experiments.keys import as_config
from nanou_train.runs.records import read_epochs
from nanou_train.runs.run_folder import load_student, read_manifest
from tests.train.test_restarts import KEYS


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


@pytest.mark.parametrize("validated", [True, False])
def test_the_teacher_is_the_average_of_its_members(tmp_path: Path, small: Dataset, validated: bool) -> None:
    from nanou_train.networks.saving import load_model
    from nanou_train.training.train import train_model

    keys = {**KEYS, "restarts": 1, "teacher.members": 2, "epochs": 1, "data.train_on_validation": not validated}
    result = train_model(**keys, dataset=small, output_dir=tmp_path)
    assert result["error"] == ""
    folder = result["experiment_dir"]
    members = [folder / "teachers" / name for name in ("01", "02")]
    assert [read_manifest(one)["seed"] for one in members] == [1, 1001]
    x = np.random.default_rng(0).uniform(-1, 1, (3, 24, 32, 3)).astype(np.float32)
    logits = [np.asarray(load_student(one)(x)) for one in members]
    assert np.abs(logits[0] - logits[1]).max() > 1e-3
    teacher = load_model(folder / "teacher.keras")
    np.testing.assert_allclose(np.asarray(teacher(x)), (logits[0] + logits[1]) / 2, atol=1e-5)
    assert set(result["final_metrics"]) == {"student", "teacher", "constant_mask"}
    assert {"teacher 01", "teacher 02", "student"} <= set(read_epochs(folder))


def test_several_devices_have_one_network_as_their_teacher(tmp_path: Path, small: Dataset) -> None:
    from nanou_train.training.ensemble import members_of
    from nanou_train.training.teacher_and_student import RunInputs

    config = as_config({"teacher.members": 2, "strategy": "mirrored"})
    with pytest.raises(ConfigError, match=r"teacher.members = 2: with strategy mirrored"):
        members_of(RunInputs(config, small, tmp_path, 0, "two"))
