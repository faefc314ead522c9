"""How much of a teacher a student of this size can hold at all: it learns the teacher's answers for every part of the
data, test included. No result, but a bound: a student that has not seen the test part will hardly do better.

    python -m tests.train.ceiling --data ROOT --teacher RUN/teacher.keras [--epochs 240] [--views 8] [--seed 0]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from codegen.start_tensorflow import import_tensorflow
from nanou_train.data.dataset import Dataset, Split
from nanou_train.evaluation.evaluate import evaluate_model
from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, load_experiment
from nanou_train.networks.architectures import create_model_from_config, preprocessing_of
from nanou_train.networks.saving import load_model
from nanou_train.training.start import load_training_data
from nanou_train.training.train_network import train_with_distillation


def everything(dataset: Dataset) -> Split:
    """All three parts as one."""
    parts = (dataset.train, dataset.val, dataset.test)
    images, masks = (np.concatenate([getattr(part, what) for part in parts]) for what in ("images", "masks"))
    return Split(images, masks, tuple(stem for part in parts for stem in part.stems))


def ceiling(data: Path, teacher: Path, seed: int, **changes: Any) -> dict[str, float]:
    """mIoU of the float student on each part."""
    tf = import_tensorflow()
    import keras

    settings = {"quantization_aware": False, "freeze_epochs": 0, "blend": 0.0, "keep": "last", **changes}
    config = load_experiment(DEFAULT_CONFIG, "accurate_nano_u", settings)
    _, dataset = load_training_data(config, data, seed=seed)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    student = create_model_from_config(config.student.preset)
    train_with_distillation(
        student,
        load_model(teacher),
        config,
        everything(dataset),
        dataset.val,
        seed=seed,
        progress=lambda message, _done: print(message, flush=True),
    )
    contract, parts = preprocessing_of(student), ("train", "val", "test")
    splits = [getattr(dataset, part) for part in parts]
    return {
        part: evaluate_model(student, one.images, one.masks, contract)["miou"]
        for part, one in zip(parts, splits, strict=True)
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=240)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(ceiling(given.data, given.teacher, given.seed, epochs=given.epochs, teacher_views=given.views))
