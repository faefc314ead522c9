"""Several replicas train as one: two logical CPUs in one process, and two processes that talk over loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_train.errors import ConfigError
from nanou_train.networks.distribution import check_batch, find_strategy, is_chief
from nanou_train.runs.run_folder import read_manifest

# TensorFlow divides its devices before its first operation, so each of these is a process of its own.
MIRRORED = """
import sys, json
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
import numpy as np
from pathlib import Path
from nanou_train.training.train_network import train_with_distillation
from nanou_train.training import loop
from nanou_train.experiments.keys import as_config
from nanou_train.data.dataset import terrain_dataset
from nanou_train.networks.fake_quant import quantization_aware
from nanou_train.networks.structure import Block, Level, Structure, build_model

# One block each: TensorFlow takes longest to trace the step, once for every replica.
LEVELS = (Level((Block(4),), (2, 2), ()),)
tf.config.experimental.enable_op_determinism()
data = terrain_dataset({"train": 12, "val": 4, "test": 4}, seed=0, height_px=12, width_px=16)

def train(strategy, *, rounding, state=None, stop_after=0):
    keras.utils.set_random_seed(3)
    student, teacher = (build_model(Structure(kind, (12, 16, 3), LEVELS, ()), kind) for kind in ("nano_u", "bu_net"))
    student = quantization_aware(student) if rounding else student
    config = as_config(
        {
            "epochs": 2, "batch_size": 4, "weight_average": 0.8, "tversky": 0.3, "strategy": strategy,
            "quantization_aware": rounding,
        }
    )
    calls, original = [], loop.augment_with_logits
    def counted(*arguments):
        calls.append(1)
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        return original(*arguments)
    loop.augment_with_logits = counted
    try:
        result = train_with_distillation(student, teacher, config, data.train, data.val, seed=5, state_path=state)
    except KeyboardInterrupt:
        return None
    finally:
        loop.augment_with_logits = original
    weights = np.concatenate([w.ravel() for w in student.get_weights()])
    return [row["loss"] for row in result.history], weights.tolist()

found = {
    "replicas": loop.find_strategy("mirrored").num_replicas_in_sync,
    "float": [train(strategy, rounding=False) for strategy in ("none", "mirrored")],
}
state = Path(sys.argv[1]) / "state.npz"
stopped = train("mirrored", rounding=True, state=state, stop_after=5)
assert stopped is None and state.exists()
found["rounding"] = [train("mirrored", rounding=True, state=state), train("mirrored", rounding=True)]
print(json.dumps(found))
"""
WORK: dict[str, Any] = {
    "experiment_name": "quick_test", "use_distillation": False, "epochs": 2, "batch_size": 4, "input_size": (12, 16),
    "model": {"architecture": "nano_u", "filters": [4], "bottleneck": 4, "skips": False},
    "terrain": {"train": 8, "val": 4, "test": 4},
}  # fmt: skip
WORKER = f"""
import sys
from nanou_train.training.train import train_model
result = train_model(output_dir=sys.argv[1], strategy="multi_worker", **{WORK})
assert result["error"] == "", result["error"]
"""


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


@pytest.mark.slow
def test_two_replicas_learn_what_one_learns(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", MIRRORED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["replicas"] == 2
    (one, one_weights), (two, two_weights) = found["float"]
    np.testing.assert_allclose(one, two, rtol=1e-5)
    np.testing.assert_allclose(one_weights, two_weights, rtol=1e-2, atol=1e-4)
    resumed, alone = found["rounding"]
    assert resumed == alone


@pytest.mark.slow
def test_two_processes_train_as_one_and_one_of_them_writes(tmp_path: Path) -> None:
    from nanou_train.training.train import train_model

    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        workers = [f"127.0.0.1:{one.getsockname()[1]}" for one in (first, second)]
    running = []
    for index, name in enumerate(("shared", "other")):
        cluster = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(cluster)}
        command = [sys.executable, "-c", WORKER, str(tmp_path / name)]
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    said = [process.communicate(timeout=600)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(text[-1500:] for text in said)
    assert not (tmp_path / "other").exists()
    alone = train_model(output_dir=tmp_path / "alone", strategy="none", **WORK)
    assert alone["error"] == ""
    losses = [_losses(tmp_path / name / "quick_test") for name in ("shared", "alone")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert read_manifest(tmp_path / "shared/quick_test")["configuration"]["run"]["strategy"] == "multi_worker"


def _losses(folder: Path) -> list[Any]:
    return [row["loss"] for row in json.loads((folder / "metrics.json").read_text())["history"]]


def test_without_a_strategy_nothing_is_divided() -> None:
    assert find_strategy("none") is None
    assert is_chief(None)
    check_batch(3, None)


def test_batches_must_divide() -> None:
    class Two:
        num_replicas_in_sync = 2

    with pytest.raises(ConfigError, match="batch_size 3 cannot be divided among 2") as caught:
        check_batch(3, Two())  # type: ignore[arg-type]
    assert "multiple of 2" in caught.value.hint
