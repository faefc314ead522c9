"""One training's moving parts: optimizer, batches, running average of weights, and the graph-compiled step.

Order and augmentation of the data follow from seed, epoch and batch number; the next batches are prepared in a second
thread while the step runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codegen.model import Preprocessing
from nanou_train.augment import Float, augment_with_logits
from nanou_train.checkpoint import TrainingState
from nanou_train.config import ExperimentConfig
from nanou_train.data import Split
from nanou_train.debug import check_step
from nanou_train.distill import distillation_step
from nanou_train.errors import TrainError

if TYPE_CHECKING:
    import keras

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[Any], Float | None]
OnBatch = Callable[[int, Mapping[str, Any]], None]
PREFETCH_BATCHES = 4


def preprocessing_of(model: keras.Model) -> Preprocessing:
    """The contract that training, calibration and firmware share, for a model's input size."""
    height, width, channels = model.inputs[0].shape[1:]
    return Preprocessing(height_px=height, width_px=width, channels=channels)


def teacher_logits(teacher: keras.Model, images: npt.NDArray[np.uint8]) -> Float:
    """The mean of a teacher's logits for each image and for its mirror image, mirrored back: (N, H, W, K)."""
    contract = preprocessing_of(teacher)
    straight = teacher.predict(contract.normalize(images), batch_size=32, verbose=0)
    mirrored = teacher.predict(contract.normalize(images[:, :, ::-1]), batch_size=32, verbose=0)
    return np.asarray((straight + mirrored[:, :, ::-1]) / 2, np.float32)


class TrainingLoop:
    """One training's variables: student, optimizer, running average, and the compiled step that changes them."""

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | None,
        config: ExperimentConfig,
        data: Split,
        seed: int,
        state: TrainingState | None,
    ) -> None:
        import tensorflow as tf

        self.student, self.config, self.data, self.seed = student, config, data, seed
        self.batch_size = min(config.batch_size, len(data))
        self.steps = len(data) // self.batch_size
        cached = teacher is not None and config.teacher_cache
        self.teacher = None if cached else teacher
        self.logits = teacher_logits(teacher, data.images) if teacher is not None and cached else None
        self.optimizer = _optimizer(config, self.steps, student)
        self.averages = [tf.Variable(weight) for weight in student.weights] if config.weight_average else []
        if state is not None:
            student.set_weights(state.arrays["student"])
            for variable, value in zip(self._others(), state.arrays["other"], strict=True):
                variable.assign(value)
        self.compiled: dict[tuple[bool, bool], Callable[..., dict[str, Any]]] = {}

    def run_epoch(self, epoch: int, on_batch: OnBatch | None = None) -> dict[str, float]:
        """One pass in random order, whole batches only (one shape, one graph): mean losses.

        `on_batch` gets each batch's number, from 0, and its losses.
        """
        import tensorflow as tf

        step, results = self.step_of(epoch), []
        for index, batch in enumerate(self.batches(epoch)):
            before = self.student.get_weights() if self.config.debug_mode else []
            results.append(step(*(None if part is None else tf.constant(part) for part in batch)))
            if self.config.debug_mode:
                check_step(self.student, before, batch[0], batch[1], results[-1], epoch=epoch, batch=index + 1)
            if on_batch is not None:
                on_batch(index, results[-1])
        row = {key: float(np.mean([float(result[key]) for result in results])) for key in results[0]}
        if not all(math.isfinite(value) for value in row.values()):
            raise TrainError(
                f"the loss of {self.student.name} is not finite in epoch {epoch}", hint="lower learning_rate"
            )
        return row

    def kept_weights(self) -> list[npt.NDArray[Any]]:
        return [np.array(weight) for weight in self.averages or self.student.weights]

    def state_arrays(self) -> dict[str, list[npt.NDArray[Any]]]:
        return {
            "student": self.student.get_weights(),
            "other": [np.array(variable) for variable in self._others()],
        }

    def _others(self) -> list[Any]:
        return [*self.optimizer.variables, *self.averages]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The epoch's batches, each from its own seed; a second thread prepares them while the step runs."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.data))
        contract, size = preprocessing_of(self.student), self.batch_size

        def prepare(index: int) -> Batch:
            chosen = order[index * size : (index + 1) * size]
            rng = np.random.default_rng([self.seed, epoch, index])
            logits = None if self.logits is None else self.logits[chosen]
            images, masks, logits = augment_with_logits(
                self.data.images[chosen], self.data.masks[chosen], logits, rng, self.config.augment
            )
            return contract.normalize(images), masks, logits

        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(prepare, index) for index in range(min(PREFETCH_BATCHES, self.steps))]
            for index in range(self.steps):
                batch = waiting.pop(0).result()
                if index + PREFETCH_BATCHES < self.steps:
                    waiting.append(pool.submit(prepare, index + PREFETCH_BATCHES))
                yield batch

    def step_of(self, epoch: int) -> Callable[..., dict[str, Any]]:
        """The compiled step for an epoch's phase: rounding or not yet, statistics moving or frozen."""
        from nanou_train.fake_quant import set_frozen, set_rounding

        config = self.config
        phase = (epoch > config.quantization_start, epoch > config.epochs - config.freeze_epochs)
        set_rounding(self.student, phase[0])
        set_frozen(self.student, phase[1])
        if phase not in self.compiled:
            self.compiled = {phase: self._compile()}
        return self.compiled[phase]

    def _compile(self) -> Callable[..., dict[str, Any]]:
        import tensorflow as tf

        def step(x: Any, y: Any, logits: Any) -> dict[str, Any]:
            if self.teacher is not None:
                logits = self.teacher(x, training=False)
            losses = distillation_step(
                self.student, logits, x, y, self.optimizer, self.config.alpha, self.config.temperature
            )
            count = tf.cast(self.optimizer.iterations, tf.float32)
            decay = tf.minimum(self.config.weight_average, (1.0 + count) / (10.0 + count))  # soon forget the start
            for average, weight in zip(self.averages, self.student.weights, strict=bool(self.averages)):
                average.assign(decay * average + (1.0 - decay) * weight)
            return losses

        if self.config.debug_mode:
            return step
        compiled: Callable[..., dict[str, Any]] = tf.function(step, autograph=False)
        return compiled


def _optimizer(config: ExperimentConfig, steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    import keras

    total = steps * config.epochs
    warmup = min(steps, total // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        config.learning_rate * 0.1 if warmup else config.learning_rate,
        decay_steps=max(1, total - warmup),
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["_range"])
    optimizer.build(model.trainable_variables)
    return optimizer
