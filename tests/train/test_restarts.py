"""A student from several seeds: the best is kept, an interruption changes nothing, a failure is told."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from nanou_train.data.dataset import Dataset
from nanou_train.errors import ConfigError, TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.experiments.keys import as_config, validate
from nanou_train.runs.run_folder import load_student, read_manifest, weights_sha256
from nanou_train.training.benchmark import available_cores

NETWORK = {"architecture": "nano_u", "filters": [4], "bottleneck": 4}
KEYS: dict[str, Any] = {
    "experiment_name": "quick_test", "run_name": "run", "model": NETWORK, "teacher": NETWORK, "input_size": [24, 32],
    "epochs": 3, "teacher_epochs": 1, "batch_size": 4, "teacher_cache": True, "teacher_views": 2, "restarts": 2,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _graphs_as_traced(require_module: Callable[[str], None]) -> None:
    """Optimized graphs here, as the restarts' own processes have them: others round the teacher's answers otherwise."""
    require_module("tensorflow")
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def _metrics(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_text()))


def _val_miou(folder: Path) -> float:
    metrics = _metrics(folder)
    rows = [row for row in metrics["history"] if row["model"] == "student"]
    return float(rows[metrics["best_epoch"]["student"] - 1]["val_miou"])


class Listener:
    """Hears what a training tells."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.done: list[float] = []

    def __call__(self, message: str, fraction: float) -> None:
        self.told.append(message)
        self.done.append(fraction)


def _interrupt(message: str, _done: float) -> None:
    if "nano_u epoch 2/" in message:
        raise KeyboardInterrupt


def _interrupted_and_resumed(folder: Path, small: Dataset, listen: Callable[[str, float], None]) -> Any:
    from nanou_train.training.train import train_model

    with pytest.raises(KeyboardInterrupt):
        train_model(**KEYS, dataset=small, output_dir=folder, progress=_interrupt)
    assert list((folder / "run" / "restarts").glob("*/student.npz"))
    return train_model(**KEYS, dataset=small, output_dir=folder, progress=listen)


def _check_that_the_best_is_kept(result: Any, heard: Listener) -> str:
    """Returns the weights of the first."""
    assert (result["status"], result["error"]) == ("completed", "")
    assert heard.done == sorted(heard.done)
    assert heard.done[-1] == 1.0
    folder = result["experiment_dir"]
    restarts = [folder / "restarts" / name for name in ("01", "02")]
    assert [read_manifest(one)["seed"] for one in restarts] == [0, 1000]
    found = [weights_sha256(load_student(one)) for one in restarts]
    assert found[0] != found[1]
    best = max(restarts, key=_val_miou)
    assert weights_sha256(load_student(folder)) == found[restarts.index(best)]
    assert _val_miou(folder) == _val_miou(best)
    assert heard.told[-1].startswith(f"kept restart {best.name}: validation mIoU {_val_miou(best):.3f}")
    teachers = {read_manifest(one)["weights"]["teacher"] for one in (folder, *restarts)}
    assert len(teachers) == 1
    return found[0]


def test_the_best_is_kept_interrupted_or_not(tmp_path: Path, small: Dataset) -> None:
    """Interrupted, the first of both is as if trained alone without a break; the soak compares both."""
    from nanou_train.training.train import train_model

    heard = Listener()
    resumed = _interrupted_and_resumed(tmp_path, small, heard)
    first = _check_that_the_best_is_kept(resumed, heard)
    plain = {**KEYS, "restarts": 1, "teacher_weights": resumed["experiment_dir"] / "teacher.keras"}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:  # as restarts are trained
        result = fresh.submit(train_model, **plain, dataset=small, output_dir=tmp_path / "plain").result()
    assert read_manifest(result["experiment_dir"])["weights"]["student"] == first


@pytest.mark.soak
def test_an_interruption_changes_none_of_the_weights(tmp_path: Path, small: Dataset) -> None:
    from nanou_train.training.train import train_model

    heard = Listener()
    alone = train_model(**KEYS, dataset=small, output_dir=tmp_path / "alone", progress=heard)
    _check_that_the_best_is_kept(alone, heard)
    resumed = _interrupted_and_resumed(tmp_path / "broken", small, lambda _message, _done: None)
    assert read_manifest(resumed["experiment_dir"])["weights"] == read_manifest(alone["experiment_dir"])["weights"]


def test_the_first_is_the_run_without_restarts(tmp_path: Path, small: Dataset) -> None:
    """Its configuration and seed; logs and checkpoints, which several cannot share, each have their own place."""
    from nanou_train.training.restarts import restarts_of
    from nanou_train.training.teacher_and_student import RunInputs

    keys = {"restarts": 2, "log_dir": tmp_path / "logs", "checkpoint_path": tmp_path / "kept"}
    config = as_config(keys)
    inputs = RunInputs(config, small, tmp_path / "run", 7, "mine")
    first, second = restarts_of(inputs, tmp_path / "teacher.keras")
    assert (first.seed, second.seed) == (7, 1007)
    alone = as_config({"restarts": 1, "teacher_weights": tmp_path / "teacher.keras"})
    assert first.config.deciding() == alone.deciding()
    assert first.config.run.logs.folder != second.config.run.logs.folder
    assert (first.config.run.checkpoint_path, second.config.run.checkpoint_path) == (None, None)
    assert first.folder != second.folder


def _train_the_second(config: ExperimentConfig, *, folder: Path, **others: Any) -> None:
    from nanou_train.training.train import train_experiment

    if folder.name == "02":
        train_experiment(config, folder=folder, **others)


def test_a_failure_is_told(tmp_path: Path, small: Dataset) -> None:
    from nanou_train.training.restarts import restarts_of, train_restarts
    from nanou_train.training.teacher_and_student import RunInputs

    config = as_config(
        {"restarts": 2, "use_distillation": False, "model": NETWORK, "input_size": [24, 32], "epochs": 1}
    )
    restarts = restarts_of(RunInputs(config, small, tmp_path, 0, "mine"), None)
    restarts[1].folder.mkdir(parents=True)
    (restarts[1].folder / "letter.txt").write_text("no training run")
    with pytest.raises(TrainError, match="restarts/02 exists and holds no training run"):
        train_restarts(_train_the_second, restarts, lambda _message, _done: None)
    assert (restarts[1].folder / "letter.txt").read_text() == "no training run"


def _wait_for_ever(_config: ExperimentConfig, *, folder: Path, **_others: Any) -> None:
    """Stands in for a training: leaves its process number and never ends."""
    folder.mkdir(parents=True)
    (folder / "pid").write_text(str(os.getpid()))
    while True:
        time.sleep(0.1)


def _die(_config: ExperimentConfig, **_others: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _restarts(folder: Path) -> tuple[Any, ...]:
    from nanou_train.training.restarts import Restart

    config, nothing = ExperimentConfig(), cast("Dataset", None)
    return tuple(Restart(number, "mine", config, nothing, number, folder / str(number)) for number in range(2))


def test_a_process_that_dies_is_an_error(tmp_path: Path) -> None:
    from nanou_train.training.restarts import train_restarts

    with pytest.raises(TrainError, match="process has died"):
        train_restarts(_die, _restarts(tmp_path), lambda _message, _done: None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_without_their_parent_no_processes_go_on(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.train import test_restarts as t\n"
        "from nanou_train.training.restarts import train_restarts\n"
        "train_restarts(t._wait_for_ever, t._restarts(Path(sys.argv[1])), lambda message, done: None)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: len(list(tmp_path.glob("*/pid"))) == min(2, available_cores()))
    parent.send_signal(number)
    parent.wait(60)
    for file in tmp_path.glob("*/pid"):
        wait_until(lambda file=file: not Path("/proc", file.read_text(), "cmdline").exists())


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120  # on a computer that has other work
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_several_hosts_have_no_restarts() -> None:
    with pytest.raises(ConfigError, match="restarts = 2: with strategy mirrored"):
        validate({"restarts": 2, "strategy": "mirrored"}, where=lambda _: "here")
