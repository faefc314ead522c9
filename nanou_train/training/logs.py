"""Log a training while it is under way: losses and sample masks of epochs, batches, TensorBoard events.

All are Keras callbacks, for `model.fit` and for the trainings here alike, and a resumed training
(`params["initial_epoch"]`) goes on with the file that it had. Import this module only where TensorFlow may be loaded.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from codegen.atomic_files import replacing
from codegen.start_tensorflow import import_tensorflow
from nanou_train.data.dataset import Split
from nanou_train.evaluation.evaluate import decide
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.runs import run_folder as run
from nanou_train.runs.run_folder import EPOCHS

tf = import_tensorflow()
import keras  # noqa: E402

SAMPLES = 4  # pictures
SPREAD = 1.5  # a kept epoch is at least so many times the one before


def records_of(
    model: keras.Model, config: ExperimentConfig, data: Split, folder: Path, role: str
) -> list[keras.callbacks.Callback]:
    """Create what every run keeps of its epochs: RUN/epochs/ROLE.csv, and in ROLE.npz masks of a few pictures."""
    place = folder / EPOCHS
    return [EpochLog(place / f"{role}.csv"), SampleMasks(place / f"{role}.npz", model, data, config.student.threshold)]


def logs_of(config: ExperimentConfig, folder: Path, role: str) -> list[keras.callbacks.Callback]:
    """Create the logs that a configuration asks for, for the `role` (student, teacher) of the run in `folder`."""
    logs = config.run.logs
    if logs.folder is None and not logs.tensorboard and not logs.batches:
        return []
    place = (logs.folder or folder / "logs") / role
    found: list[keras.callbacks.Callback] = [EpochLog(place / "epochs.csv")]
    if logs.batches:
        found.append(BatchLog(place / "batches.csv"))
    if logs.tensorboard:
        found.append(TensorBoardLog(place))
    return found


class _TableLog(keras.callbacks.Callback):
    """Writes a CSV file of rows that each have an epoch."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        done = (self.params or {}).get("initial_epoch", 0)
        if done and self.path.is_file():
            with self.path.open(newline="") as file:
                self.rows = [row for row in csv.DictReader(file) if float(row["epoch"]) <= done]

    def write(self) -> None:
        if self.rows:
            run.write_csv(self.path, self.rows)


class EpochLog(_TableLog):
    """Writes a row at the end of each epoch: losses, validation mIoU, seconds."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.rows.append({"epoch": epoch + 1, **_numbers(logs, without="epoch")})
        self.write()


class BatchLog(_TableLog):
    """Writes a row for each batch, at the end of its epoch."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.rows.append({"epoch": self.epoch, "batch": batch + 1, **_numbers(logs)})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.write()


class SampleMasks(keras.callbacks.Callback):
    """Writes what the network decides of a few pictures, at epochs that lie further apart the later they are.

    The file has `images` uint8 (K, H, W, C), `truth` uint8 (K, H, W), `epochs` int64 (E,), `masks` uint8 (E, K, H, W).
    """

    def __init__(self, path: Path, model: keras.Model, data: Split, threshold: float) -> None:
        super().__init__()
        self.path, self.network, self.threshold = path, model, threshold
        chosen = np.unique(np.linspace(0, len(data.images) - 1, SAMPLES).astype(int))
        self.images, self.truth = data.images[chosen], data.masks[chosen]
        self.masks: dict[int, Any] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        done = (self.params or {}).get("initial_epoch", 0)
        if done and self.path.is_file():
            with np.load(self.path, allow_pickle=False) as kept:
                known = zip(kept["epochs"].tolist(), kept["masks"], strict=True)
                self.masks = {epoch: masks for epoch, masks in known if epoch <= done}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        last = (self.params or {}).get("epochs")
        if epoch + 1 != last and epoch + 1 < SPREAD * max(self.masks, default=0):
            return
        contract = preprocessing_of(self.network)
        self.masks[epoch + 1] = decide(self.network, self.images, contract, self.threshold)
        with replacing(self.path) as partial:
            np.savez_compressed(
                partial, images=self.images, truth=self.truth, epochs=np.array([*self.masks], np.int64),
                masks=np.array([*self.masks.values()], np.uint8),
            )  # fmt: skip


class TensorBoardLog(keras.callbacks.Callback):
    """Writes the scalars of each epoch as event files. Reading them takes TensorBoard, writing does not."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs: Any = None) -> None:
        self.writer = tf.summary.create_file_writer(str(self.folder))
        data = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars")
        self.scalar = tf.compat.v1.SummaryMetadata(plugin_data=data)  # tf.summary.scalar needs TensorBoard installed

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        with self.writer.as_default():
            for name, value in _numbers(logs, without="epoch").items():
                tf.summary.write(name, tf.constant(value, tf.float32), step=epoch + 1, metadata=self.scalar)
        self.writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self.writer.close()


def _numbers(logs: Mapping[str, Any] | None, *, without: str = "") -> dict[str, float]:
    return {key: float(value) for key, value in (logs or {}).items() if key != without}
