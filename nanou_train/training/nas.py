"""Watching redundancy while a network trains: which layers repeat themselves, over batches and epochs.

Scores come from nanou_train.training.redundancy, and pruning acts on them. `NASCallback` is a Keras callback, for
`model.fit` and for the trainings here alike. Import this module only where TensorFlow may be loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from codegen.start_tensorflow import import_tensorflow
from nanou_train.data.terrain import generate
from nanou_train.errors import ConfigError
from nanou_train.networks.architectures import near_names
from nanou_train.runs import run_folder as run
from nanou_train.runs.redundancy_log import LOG_SCHEMA, redundancy_log
from nanou_train.training.inputs import check_input
from nanou_train.training.redundancy import LayerRedundancy, compute_layer_redundancy, validate_nas_computation

tf = import_tensorflow()
import keras  # noqa: E402

__all__ = [
    "NASCallback",
    "analyze_model_redundancy",
    "compute_layer_redundancy",
    "layers_to_watch",
    "validate_nas_computation",
]

PROBE_IMAGES = 16
MEASURES = ("redundancy_score", "condition_number", "rank", "num_channels")
Float = npt.NDArray[np.float32]


class ModelRedundancy(TypedDict):
    """`layer_metrics` by layer name; `aggregate` has mean, min and max of each measure over these layers."""

    layer_metrics: dict[str, LayerRedundancy]
    aggregate: dict[str, dict[str, float]]
    layers_monitored: list[str]
    batch_size: int


def analyze_model_redundancy(
    model: keras.Model, x: Float | Any, layers_to_monitor: Sequence[str] | None = None
) -> ModelRedundancy:
    """Redundancy of layers' outputs for a batch `x`, float32 (N, H, W, C) normalized as for training.

    Without `layers_to_monitor`, of all convolutions. Raises ConfigError for a layer that the model does not have, and
    DataError for a batch that it does not take.
    """
    names = layers_to_watch(model, layers_to_monitor)
    check_input(model, x)
    return _analyze(_activations_of(model, names), names, x)


def layers_to_watch(model: keras.Model, wanted: Sequence[str] | None) -> list[str]:
    """Return the names in `wanted`, or of all convolutions. Raises ConfigError for a name that is no layer."""
    known = [layer.name for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    for name in wanted or ():
        if name not in known:
            raise ConfigError(f'{model.name} has no layer "{name}" to monitor', hint=near_names(name, known))
    if wanted is not None:
        return list(dict.fromkeys(wanted))
    return [
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Conv2DTranspose)
    ]


def _activations_of(model: keras.Model, names: Sequence[str]) -> Any:
    """Return a compiled function from a batch to these layers' outputs by name, in inference mode."""
    watched = keras.Model(model.inputs, {name: model.get_layer(name).output for name in names})
    return tf.function(lambda x: watched(x, training=False), autograph=False)


def _analyze(activations: Any, names: Sequence[str], x: Float | Any) -> ModelRedundancy:
    outputs = activations(tf.convert_to_tensor(x))
    found = {name: compute_layer_redundancy(outputs[name].numpy()) for name in names}
    columns = {key: [float(metrics[key]) for metrics in found.values()] for key in MEASURES}  # type: ignore[literal-required]
    aggregate = {
        key: {"mean": float(np.mean(values)), "min": min(values), "max": max(values)} for key, values in columns.items()
    }
    return ModelRedundancy(
        layer_metrics=found, aggregate=aggregate, layers_monitored=list(names), batch_size=int(x.shape[0])
    )


class NASCallback(keras.callbacks.Callback):
    """Logs redundancy every `log_frequency` batches (0: never) and at the end of every epoch.

    OUTPUT_DIR/nas_log.csv has one line for each layer each time, nas_log.json the same with aggregates; `nanou-deploy
    evaluate` draws the scores over epochs. What is looked at is a fixed batch, so that numbers compare: `x`, or
    without it rendered terrain (noise where the model does not take three channels). Weights are only read. A training
    that is resumed (`params["initial_epoch"]`) goes on with the log that it had.
    """

    def __init__(
        self,
        layers_to_monitor: Sequence[str] | None = None,
        log_frequency: int = 10,
        output_dir: str | Path = "nas_logs/",
        *,
        x: Float | None = None,
    ) -> None:
        super().__init__()
        if log_frequency < 0:
            raise ConfigError(f"log_frequency is {log_frequency}", hint="0 logs at the end of epochs only")
        self.wanted, self.log_frequency, self.folder, self.x = layers_to_monitor, log_frequency, Path(output_dir), x
        self.records: list[dict[str, Any]] = []
        self.names: list[str] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.names = layers_to_watch(self.model, self.wanted)
        if self.x is None:
            self.x = _probe(self.model)
        check_input(self.model, self.x)
        self.activations = _activations_of(self.model, self.names)
        self.folder.mkdir(parents=True, exist_ok=True)
        done = (self.params or {}).get("initial_epoch", 0)
        self.records = [record for record in redundancy_log(self.folder) if record["epoch"] <= done] if done else []
        self.batches = max((record["batch"] for record in self.records), default=0)
        self.epoch = done

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        if self.log_frequency and self.batches % self.log_frequency == 0:
            self._log("batch")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._log("epoch")
        self._write()

    def on_train_end(self, logs: Any = None) -> None:
        if self.records:
            self._write()

    def _log(self, event: str) -> None:
        """`epoch` and `batch` count from 1; `batch` over the whole training."""
        found = _analyze(self.activations, self.names, self.x)
        self.records.append({"event": event, "epoch": self.epoch, "batch": self.batches, **found})

    def _write(self) -> None:
        run.write_csv(self.folder / "nas_log.csv", self._rows())
        log = {"schema": LOG_SCHEMA, "model": self.model.name, "records": self.records}
        run.write_json(self.folder / "nas_log.json", log)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for record in self.records:
            for name, metrics in record["layer_metrics"].items():
                yield {**{key: record[key] for key in ("event", "epoch", "batch")}, "layer": name, **metrics}


def _probe(model: keras.Model) -> Float:
    """Return the fixed batch of a callback that got none, float32 (PROBE_IMAGES, H, W, C) in -1..1."""
    height, width, channels = model.inputs[0].shape[1:]
    if channels == 3:
        pixels, _ = generate(PROBE_IMAGES, seed=0, height_px=height, width_px=width)
    else:
        pixels = np.random.default_rng(0).integers(0, 256, (PROBE_IMAGES, height, width, channels), np.uint8)
    return np.asarray(pixels / np.float32(127.5) - 1, np.float32)
