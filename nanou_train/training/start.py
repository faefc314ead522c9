"""Load what a run starts from: its data and its student."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from codegen.graph.model import Preprocessing
from nanou_train.data.dataset import Dataset, DatasetSpec, load_dataset, read_card, terrain_dataset
from nanou_train.errors import ConfigError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.networks.architectures import check_size, class_count, create_model_from_config
from nanou_train.networks.saving import load_model
from nanou_train.networks.structure import STEM
from nanou_train.runs import run_folder as run

if TYPE_CHECKING:
    import keras

_LOG = logging.getLogger(__name__)


def load_training_data(
    config: ExperimentConfig,
    data_root: Path | None,
    dataset: Dataset | None = None,
    *,
    seed: int,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Preprocessing, Dataset]:
    """Load the experiment's data, given, from a folder or rendered, with the contract of its model.

    With `data.train_on_validation` the validation part is empty, and its pictures are in the training part.

    Raises TrainError where a network that the run makes cannot take such pictures, DataError for the data.
    """
    height, width, channels = config.input_shape
    for role in config.created:  # before anything is read or rendered
        check_size(config.network(role, 2), f"the {role}")
    prepared_filter = read_card(data_root).resize_filter if data_root else ""
    contract = Preprocessing(height, width, channels, resize_filter=prepared_filter or "box")
    if dataset is None:
        if progress is not None:
            progress("loading the data set" if data_root else "rendering terrain", 0.0)
        dataset = (
            load_dataset(DatasetSpec.of(data_root, contract))
            if data_root
            else terrain_dataset(
                config.data.terrain.model_dump(), seed=seed, height_px=height, width_px=width, channels=channels
            )
        )
    return contract, dataset.with_validation() if config.data.train_on_validation else dataset


def initial_student(config: ExperimentConfig, classes: int) -> keras.Model:
    """Create the student, or load a saved one or an earlier run's, rounding and frozen as the configuration says."""
    from nanou_train.networks.fake_quant import is_quantization_aware, quantization_aware, set_requantization

    wanted, stated, start = config.input_shape, config.student, config.student.start_from
    student = (
        create_model_from_config(config.network("student", classes), name=stated.preset)
        if start is None
        else (load_model if start.is_file() else run.load_student)(start)
    )
    found = tuple(student.inputs[0].shape[1:])
    if found != wanted:
        raise ConfigError(
            f"the student of {start} takes {found}, {stated.preset} takes {wanted}",
            hint="give the student.preset and data.input_size of that run",
        )
    if class_count(student) != classes:
        raise ConfigError(
            f"the student of {start} tells {class_count(student)} classes apart, the data have {classes}",
            hint="train a new one, or use a data set of the same classes",
        )
    if stated.quantization.aware and not is_quantization_aware(student):
        student = quantization_aware(student, ranges=stated.quantization.activation_ranges)
    if stated.quantization.aware:
        set_requantization(student, stated.quantization.requantization)
    if stated.freeze == "encoder":
        for layer in student.layers:
            layer.trainable = not layer.name.startswith((STEM, "encoder", "bottleneck"))
    return student


def grow_gpu_memory() -> None:
    """Let TensorFlow take GPU memory as it needs it instead of all at once; without a GPU, nothing."""
    import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:  # the GPU is in use already, and its setting can no longer change
            return
