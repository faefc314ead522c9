"""Interrupted trainings go on to the same weights as those left alone."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_train.data.dataset import Dataset
from nanou_train.experiments.keys import as_config
from nanou_train.runs.run_folder import read_manifest
from nanou_train.training.checkpoint import TrainingState, load_state, save_state

OVERRIDES: dict[str, Any] = {
    "epochs": 3,
    "teacher_epochs": 2,
    "batch_size": 4,
    "augment": "full",
    "teacher_cache": True,
    "teacher_views": 2,
    "blend": 0.5,
    "quantization_aware": True,
    "weight_average": 0.9,
    "terrain": {"train": 8, "val": 4, "test": 4},
    "input_size": (12, 16),
    "model": {"architecture": "nano_u", "filters": [4], "bottleneck": 4, "skips": False},
    "teacher": {"architecture": "bu_net", "filters": [4], "bottleneck": 4, "skips": True},
}
KILLED_RUN = f"""
import os, signal, sys
from codegen.start_tensorflow import import_tensorflow
options = {{"disable_meta_optimizer": True}}  # as conftest.py has it: other graphs add in another order
import_tensorflow().config.optimizer.set_experimental_options(options)
from nanou_train.training.loop import TrainingLoop
from nanou_train.training.train import train_model
original, calls = TrainingLoop.placed, []
def counted(*arguments):
    calls.append(1)
    if len(calls) > 3 * int(sys.argv[2]):  # three parts of each batch
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
TrainingLoop.placed = counted
train_model(experiment_name="quick_test", output_dir=sys.argv[1], **{OVERRIDES!r})
"""


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


class InterruptedTrainingError(Exception):
    pass


def _fit(data: Dataset, state_path: Path | None, *, interrupt_at: int = 0, **changes: Any) -> tuple[list[Any], Any]:
    """Train a small model; with `interrupt_at`, break off when that batch is asked for."""
    import keras

    from nanou_train.networks.architectures import create_bu_net
    from nanou_train.training import loop, train_network

    keras.utils.set_random_seed(3)
    model = create_bu_net((24, 32, 3), (4,), 4)
    config = as_config({"epochs": 4, "batch_size": 4, "weight_average": 0.8, **changes})
    calls, original = [0], loop.augment_with_logits

    def counted(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == interrupt_at:
            raise InterruptedTrainingError
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "augment_with_logits", counted)
        result = train_network.train_single_model(model, config, data.train, data.val, seed=5, state_path=state_path)
    return model.get_weights(), result


def _equal(first: list[Any], second: list[Any]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("changes", [{}, {"schedule": "plateau", "plateau_patience": 1, "early_stopping": True}])
def test_a_training_broken_off_twice_ends_with_the_same_weights(
    small: Dataset, tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole, result = _fit(small, None, **changes)
    state = tmp_path / "student.npz"
    for batch in (6, 7):  # the second batches of the second and, four batches being done again, third epoch
        with pytest.raises(InterruptedTrainingError):
            _fit(small, state, interrupt_at=batch, **changes)
    weights, resumed = _fit(small, state, **changes)
    assert _equal(whole, weights)
    untimed = [[{**row, "seconds": 0.0} for row in one.history] for one in (result, resumed)]
    assert untimed[0] == untimed[1]
    assert resumed.best_epoch == result.best_epoch
    again, _ = _fit(small, state, interrupt_at=1, **changes)  # finished: no batch is asked for any more
    assert _equal(whole, again)


def test_another_training_does_not_go_on_from_it(small: Dataset, tmp_path: Path) -> None:
    state = tmp_path / "student.npz"
    _fit(small, state, epochs=1)
    with pytest.raises(InterruptedTrainingError):
        _fit(small, state, epochs=1, learning_rate=0.005, interrupt_at=1)


def test_a_damaged_state_is_none(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    state = TrainingState(2, 1, 0.5, ({"epoch": 1.0}, {"epoch": 2.0}), {"student": [np.arange(3.0)], "other": []})
    save_state(state, path, "this")
    loaded = load_state(path, "this")
    assert loaded is not None
    assert (loaded.epoch, loaded.best_epoch, loaded.history) == (2, 1, state.history)
    assert np.array_equal(loaded.arrays["student"][0], np.arange(3.0))
    assert load_state(path, "that") is None
    for damaged in (path.read_bytes()[:-40], b"", b"PK\x03\x04"):
        path.write_bytes(damaged)
        assert load_state(path, "this") is None
    assert load_state(tmp_path / "absent.npz", "this") is None


def test_a_run_killed_twice_ends_as_one_left_alone(tmp_path: Path) -> None:
    """kill -9, once while the teacher learns and once while the student does, in the middle of an epoch."""
    from nanou_train.training.train import train_model

    for allowed in (2, 3):  # batches: the teacher has 2 x 2; the second process goes on in epoch 2 of the teacher
        done = subprocess.run([sys.executable, "-c", KILLED_RUN, str(tmp_path / "killed"), str(allowed)], check=False)
        assert done.returncode == -signal.SIGKILL
    manifests = []
    for name in ("killed", "alone"):
        result = train_model(experiment_name="quick_test", output_dir=tmp_path / name, **OVERRIDES)
        assert result["error"] == ""
        manifests.append(read_manifest(result["experiment_dir"]))
    assert manifests[0]["weights"] == manifests[1]["weights"]
    assert manifests[0]["metrics"] == manifests[1]["metrics"]
    assert not list((tmp_path / "killed" / "quick_test").glob("*.npz"))
