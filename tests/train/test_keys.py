"""Each key of an experiment does what it says: where things are written, what is watched, what is held to."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_train.data.dataset import Dataset, terrain_dataset
from nanou_train.errors import TrainError
from nanou_train.experiments.config import Constraints
from nanou_train.experiments.keys import as_config
from nanou_train.runs.constraints import check, violation
from nanou_train.runs.int8_model import int8_path
from nanou_train.runs.run_folder import read_manifest

TINY: dict[str, Any] = {
    "experiment_name": "quick_test",
    "epochs": 2,
    "teacher_epochs": 1,
    "batch_size": 4,
    "terrain": {"train": 8, "val": 4, "test": 4},
}


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


@pytest.fixture(scope="module")
def small() -> Dataset:
    return terrain_dataset({"train": 8, "val": 4, "test": 4}, seed=0, height_px=24, width_px=32)


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def _scalars(folder: Path) -> dict[tuple[str, int], float]:
    """What TensorBoard would show."""
    import tensorflow as tf

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    return found


def test_a_run_is_placed_logged_watched_and_goes_on(tmp_path: Path, tiny_presets: None) -> None:
    """output_dir, checkpoint_path, log_dir, verbose_logging, tensorboard, use_nas and its keys; interrupted once."""
    from nanou_train.training.train import train_model

    kept, logs = tmp_path / "kept", tmp_path / "logs"
    keys = {
        **TINY, "output_dir": tmp_path / "out", "checkpoint_path": kept, "log_dir": logs, "verbose_logging": True,
        "tensorboard": True, "use_nas": True, "layers_to_monitor": ["logits"], "nas_frequency": 2,
    }  # fmt: skip

    def interrupt(message: str, done: float) -> None:
        if message.startswith("nano_u epoch 1/"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_model(**keys, progress=interrupt)
    folder = tmp_path / "out" / "quick_test"
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert {path.name for path in kept.iterdir()} == {"student.keras", "student.npz", "teacher.keras", "teacher.npz"}

    result = train_model(**keys)
    assert (result["status"], result["error"], result["experiment_dir"]) == ("completed", "", folder)
    assert {path.name for path in kept.iterdir()} == {"student.keras", "teacher.keras"}
    recorded = read_manifest(folder)["configuration"]["run"]
    assert not {"output_dir", "checkpoint_path"} & recorded.keys()
    assert "folder" not in recorded["logs"]

    student = [row for row in _rows(folder / "metrics.csv") if row["model"] == "student"]
    epochs = _rows(logs / "student" / "epochs.csv")
    assert [row["epoch"] for row in epochs] == ["1", "2"]
    assert [float(row["loss"]) for row in epochs] == pytest.approx([float(row["loss"]) for row in student])
    batches = _rows(logs / "student" / "batches.csv")
    assert [(row["epoch"], row["batch"]) for row in batches] == [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")]
    assert np.mean([float(row["loss"]) for row in batches[:2]]) == pytest.approx(float(epochs[0]["loss"]), rel=1e-5)
    scalars = _scalars(logs / "student")
    assert {step for _, step in scalars} == {1, 2}
    assert scalars["val_miou", 2] == pytest.approx(float(epochs[1]["val_miou"]), rel=1e-5)
    assert len(_rows(logs / "teacher" / "epochs.csv")) == 1

    records = json.loads((folder / "nas_logs" / "nas_log.json").read_text())["records"]
    assert [(record["event"], record["batch"]) for record in records] == [
        ("batch", 2), ("epoch", 2), ("batch", 4), ("epoch", 4),
    ]  # fmt: skip
    assert all(record["layers_monitored"] == ["logits"] for record in records)


def test_without_them_nothing_is_logged_and_logs_have_a_place_of_their_own(tmp_path: Path) -> None:
    from nanou_train.training.logs import EpochLog, logs_of

    assert logs_of(as_config({}), tmp_path, "student") == []
    (log,) = logs_of(as_config({"log_dir": tmp_path / "there"}), tmp_path, "student")
    assert isinstance(log, EpochLog)
    assert log.path == tmp_path / "there" / "student" / "epochs.csv"
    verbose = logs_of(as_config({"verbose_logging": True}), tmp_path, "student")
    assert [one.path for one in verbose] == [
        tmp_path / "logs" / "student" / name for name in ("epochs.csv", "batches.csv")
    ]


def _fit(data: Dataset, callbacks: Any = (), **keys: Any) -> Any:
    import keras

    from nanou_train.networks.architectures import create_bu_net
    from nanou_train.training.train import train_with_distillation

    keras.utils.set_random_seed(3)
    student, teacher = (create_bu_net((24, 32, 3), (4,), 4, name=name) for name in ("student", "teacher"))
    config = {"epochs": 1, "batch_size": 4, "augment": "off", "debug_mode": True, **keys}
    train_with_distillation(student, teacher, config, data.train, data.val, callbacks=callbacks)
    return student


def test_debug_mode_runs_eagerly_and_keys_reach_the_step(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    import tensorflow as tf

    from nanou_train.training import loop

    seen: list[tuple[Any, ...]] = []
    rates: list[float] = []
    original, schedule = loop.distillation_gradients, keras.optimizers.schedules.CosineDecay

    def watched(*given: Any, **options: Any) -> Any:
        _, _, _, x, _, alpha, temperature, _ = given
        seen.append((tf.executing_eagerly(), x.shape[0], alpha, temperature))
        return original(*given, **options)

    def noted(start: float, **settings: Any) -> Any:
        rates.append(max(start, settings["warmup_target"] or 0.0))
        return schedule(start, **settings)

    monkeypatch.setattr(loop, "distillation_gradients", watched)
    monkeypatch.setattr(keras.optimizers.schedules, "CosineDecay", noted)
    _fit(small, batch_size=2, alpha=0.6, temperature=3.0, learning_rate=0.005, epochs=2)
    assert seen == [(True, 2, 0.6, 3.0)] * 2 * 4  # epochs, batches
    assert rates == [0.005]
    seen.clear()
    _fit(small, debug_mode=False)
    assert {one[0] for one in seen} == {False}  # traced


def test_debug_test_runs(tmp_path: Path, tiny_presets: None) -> None:
    from nanou_train.training.train import train_model

    result = train_model(experiment_name="debug_test", output_dir=tmp_path)
    assert (result["status"], result["error"]) == ("completed", "")
    assert len(_rows(tmp_path / "debug_test" / "logs" / "student" / "batches.csv")) == 1


def test_debug_mode_names_the_layer_that_is_not_finite(small: Dataset) -> None:
    import keras

    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            layer = self.model.get_layer("bottleneck_a_conv")
            layer.kernel.assign(layer.kernel * np.nan)

    with pytest.raises(TrainError, match=r"student, epoch 1, batch 2: not finite: .*first in .* bottleneck_a_conv"):
        _fit(small, [Break()])


def test_a_callback_can_stop_a_training(small: Dataset) -> None:
    import keras

    class Stop(keras.callbacks.Callback):
        epochs = 0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.epochs += 1
            self.model.stop_training = True

    stop = Stop()
    _fit(small, [stop], epochs=5)
    assert stop.epochs == 1


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_teacher_weights_are_a_model_or_weights_alone(tmp_path: Path, tiny_presets: None, suffix: str) -> None:
    from nanou_train.data.dataset import terrain_dataset
    from nanou_train.networks.architectures import create_model_from_config
    from nanou_train.networks.saving import save_model
    from nanou_train.training.given_teacher import open_teacher

    teacher, path = create_model_from_config("bu_net_small"), tmp_path / f"teacher{suffix}"
    if suffix == ".weights.h5":
        teacher.save_weights(path)
    else:
        save_model(teacher, path)
    data = terrain_dataset({"train": 2, "val": 1, "test": 1}, seed=0)
    given = open_teacher(as_config({"teacher_name": "bu_net_small"}), path, data)
    assert all(
        np.array_equal(one, other) for one, other in zip(teacher.get_weights(), given.get_weights(), strict=True)
    )
    if suffix == ".weights.h5":
        with pytest.raises(TrainError, match="does not hold the weights of nano_u"):
            open_teacher(as_config({"teacher_name": "nano_u"}), path, data)
        deeper = {"architecture": "bu_net", "filters": (4, 4), "bottleneck": 4}
        with pytest.raises(TrainError, match="does not hold the weights of"):
            open_teacher(as_config({"teacher": deeper}), path, data)


def test_every_constraint_is_checked() -> None:
    limits = Constraints(max_parameters=4000, max_bytes=40000, min_miou=0.7)
    assert not violation(check(limits, parameters=4000, size_bytes=40000, miou=0.7))
    said = violation(check(limits, parameters=4001, size_bytes=40001, miou=0.6999))
    assert said == (
        "constraints not met: parameters 4,001 is above 4000; bytes 40,001 is above 40000; miou 0.6999 is below 0.7"
    )
    assert check(Constraints(), parameters=1, size_bytes=1, miou=0.0) == ()


def test_a_violated_constraint_is_a_stated_failure(tmp_path: Path, tiny_presets: None) -> None:
    from nanou_train.training.train import train_model

    keys = {**TINY, "use_distillation": False, "epochs": 1, "output_dir": tmp_path}
    early = train_model(**keys, constraints={"max_parameters": 100})
    assert early["status"] == "failed"
    assert "nano_u has" in early["error"]
    result = train_model(**keys, constraints={"max_parameters": 5000, "max_bytes": 100, "min_miou": 0.999})
    assert result["status"] == "failed"
    assert result["error"].startswith("constraints not met: bytes ")
    assert "miou 0." in result["error"]
    folder = result["experiment_dir"]
    checked = json.loads((folder / "constraints.json").read_text())["constraints"]
    assert [(one["key"], one["met"]) for one in checked] == [
        ("max_parameters", True), ("max_bytes", False), ("min_miou", False),
    ]  # fmt: skip
    assert checked[1]["found"] == int8_path(folder).stat().st_size
    assert result["final_metrics"]["int8"]["miou"] == checked[2]["found"]
    assert read_manifest(folder)["status"] == "completed"  # the model is there all the same


def test_a_sweep_runs_each_point_on_one_teacher_and_goes_on(
    tmp_path: Path, tiny_presets: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nanou_train.training import train

    sweep = {"learning_rate": [0.02, 1e-7, 5.0], "alpha": [0.5]}  # of which the last one is no rate
    wrong = train.train_model(**TINY, output_dir=tmp_path, sweep=sweep)
    assert "learning_rate = 5.0" in wrong["error"]
    sweep["learning_rate"].pop()
    messages: list[str] = []
    result = train.train_model(
        **TINY, output_dir=tmp_path, sweep=sweep, progress=lambda message, _: messages.append(message)
    )
    assert result["status"] == "completed", result["error"]
    folder = tmp_path / "quick_test"
    table = json.loads((folder / "sweep.json").read_text())
    assert {row["name"] for row in table["runs"]} == {
        "01_learning_rate-0.02_alpha-0.5", "02_learning_rate-1e-07_alpha-0.5",
    }  # fmt: skip
    scores = [row["val_miou"] for row in table["runs"]]
    assert scores == sorted(scores, reverse=True)
    assert result["model_path"] == folder / table["best"] / "student.keras"
    assert result["final_metrics"]["student"]["miou"] == table["runs"][0]["test_miou"]
    assert len(_rows(folder / "sweep.csv")) == 2
    assert sum("bu_net" in message and "epoch" in message for message in messages) == 1  # one teacher for both

    monkeypatch.setattr(train, "train_with_distillation", None)  # nothing is trained a second time
    again = train.train_model(**TINY, output_dir=tmp_path, sweep=sweep)
    assert again["final_metrics"] == result["final_metrics"]


def test_a_seed_is_a_key_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the experiment, of a point of its sweep, or given; a manifest has it once."""
    from nanou_train.training import train

    seeds: list[int] = []

    def noted(config: Any, *, seed: int, **_others: Any) -> None:
        seeds.append(seed)
        assert "seed" not in config.recorded()["run"]
        raise TrainError("enough")

    monkeypatch.setattr(train, "train_experiment", noted)
    changes: list[dict[str, Any]] = [{}, {"run": {"seed": 5}}, {"seed": 7}, {"sweep": {"run.seed": [1, 2]}}]
    for change in changes:
        train.train_model(output_dir=tmp_path / str(len(seeds)), **change)
    assert seeds == [0, 5, 7, 1, 2]
    assert "run.seed = -1" in train.train_model(output_dir=tmp_path, seed=-1)["error"]


def test_gpu_memory_grows_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from nanou_train.training.start import grow_gpu_memory

    grown: list[tuple[str, bool]] = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [f"{kind}:0", f"{kind}:1"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda gpu, on: grown.append((gpu, on)))
    grow_gpu_memory()
    assert grown == [("GPU:0", True), ("GPU:1", True)]
