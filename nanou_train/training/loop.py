"""Run a training's epochs: batches, the compiled step, the optimizer, the running average of weights.

Order and augmentation of the data follow from seed, epoch and batch number; the next batches are prepared in a second
thread while the step runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanou_train.data.appearance import change_appearance
from nanou_train.data.augment import Float, augment_with_logits
from nanou_train.data.dataset import Split
from nanou_train.data.images import IGNORE
from nanou_train.errors import TrainError
from nanou_train.experiments.config import ExperimentConfig
from nanou_train.networks.architectures import preprocessing_of
from nanou_train.networks.distribution import (
    check_agreement,
    check_batch,
    find_strategy,
    mean_losses,
    replicated,
    shares,
)
from nanou_train.training.checkpoint import TrainingState
from nanou_train.training.debug import check_step
from nanou_train.training.distillation import Tversky, distillation_gradients
from nanou_train.training.learning_rate import cosine
from nanou_train.training.optimizer import VectorAdamW, flattened, unflattened
from nanou_train.training.teacher_views import CACHE, Views, make_views, teacher_logits

if TYPE_CHECKING:
    import keras

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[Any], Float | None]
PREFETCH_BATCHES = 4


class TrainingLoop:
    """Holds a training's variables (student, optimizer, running average) and the compiled step that changes them."""

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | Views | None,
        config: ExperimentConfig,
        data: Split,
        seed: int,
        state: TrainingState | None,
        report: Callable[[str], None] = lambda _message: None,
    ) -> None:
        import tensorflow as tf

        self.config, self.data, self.seed = config, data, seed
        self.strategy = find_strategy(config.run.strategy)
        self.batch_size = min(config.student.batch_size, len(data))
        check_batch(self.batch_size, self.strategy)
        check_agreement(self.strategy, 0 if state is None else state.epoch)
        self.steps = len(data) // self.batch_size
        views, model = (teacher, None) if isinstance(teacher, Views) else (None, teacher)
        cached = model is not None and config.distillation.cache
        self.teacher = None if model is None or cached else replicated(model, self.strategy)
        self.logits: Float | None = None
        if model is not None and cached and config.distillation.views == 1:
            self.logits = teacher_logits(model, data.images)
        elif model is not None and cached:
            views = make_views(model, data, config, report, cache=config.run.output_dir / CACHE)
        if views is not None and len(views.images) == 1:
            self.logits, views = views.logits[0].astype(np.float32), None
        self.views = views
        self.ignoring = bool((data.masks == IGNORE).any())
        self.given, self.student = student, replicated(student, self.strategy)
        self.optimizer = _optimizer(config, self.steps, self.student)
        self.averages = [tf.Variable(flattened(self.student.weights))] if config.student.weight_average else []
        if state is not None:
            self.student.set_weights(state.arrays["student"])
            for variable, value in zip(self._others(), state.arrays["other"], strict=True):
                variable.assign(value)
        self.compiled: dict[tuple[bool, bool], Callable[..., dict[str, Any]]] = {}

    def run_epoch(self, epoch: int, watchers: keras.callbacks.CallbackList | None = None) -> dict[str, float]:
        """Train one pass in random order, whole batches only (one shape, one graph); returns mean losses."""
        step, results = self.step_of(epoch), []
        for index, batch in enumerate(self.batches(epoch)):
            if watchers is not None:
                watchers.on_train_batch_begin(index)
            before = self.student.get_weights() if self.config.run.debug_mode else []
            results.append(step(*map(self.placed, batch)))
            if self.config.run.debug_mode:
                check_step(self.student, before, batch[0], batch[1], results[-1], epoch=epoch, batch=index + 1)
            if watchers is not None:
                watchers.on_train_batch_end(index, results[-1])
        if self.given is not self.student:
            self.given.set_weights(self.student.get_weights())  # for whoever looks on
        row = {key: float(np.mean([float(result[key]) for result in results])) for key in results[0]}
        if not all(math.isfinite(value) for value in row.values()):
            raise TrainError(
                f"the loss of {self.student.name} is not finite in epoch {epoch}", hint="lower learning_rate"
            )
        return row

    def placed(self, part: Any) -> Any:
        """Place a batch's part as tensors on the devices that the step uses."""
        import tensorflow as tf

        if self.strategy is not None:
            return shares(part, self.strategy)
        return None if part is None else tf.constant(part)

    def kept_weights(self) -> list[npt.NDArray[Any]]:
        if not self.averages:
            return [np.array(weight) for weight in self.student.weights]
        return unflattened(np.array(self.averages[0]), self.student.weights)

    def state_arrays(self) -> dict[str, list[npt.NDArray[Any]]]:
        return {
            "student": self.student.get_weights(),
            "other": [np.array(variable) for variable in self._others()],
        }

    def _others(self) -> list[Any]:
        return [*self.optimizer.variables, *self.averages]

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Prepare the epoch's batches, each from its own seed, in a second thread while the step runs."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.data))
        contract, size = preprocessing_of(self.student), self.batch_size

        def prepare(index: int) -> Batch:
            chosen = order[index * size : (index + 1) * size]
            rng = np.random.default_rng([self.seed, epoch, index])
            answers: Float | None
            if self.views is not None:
                images, masks, answers = self.views.drawn(chosen, rng)
            else:
                logits = None if self.logits is None else self.logits[chosen]
                images, masks, answers = augment_with_logits(
                    self.data.images[chosen], self.data.masks[chosen], logits, rng, self.config.data.augment
                )
            if self.config.data.appearance and self.views is None:
                images = change_appearance(images, rng, self.config.data.appearance)
            return contract.normalize(images), masks, answers

        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(prepare, index) for index in range(min(PREFETCH_BATCHES, self.steps))]
            for index in range(self.steps):
                batch = waiting.pop(0).result()
                if index + PREFETCH_BATCHES < self.steps:
                    waiting.append(pool.submit(prepare, index + PREFETCH_BATCHES))
                yield batch

    def step_of(self, epoch: int) -> Callable[..., dict[str, Any]]:
        """Compile the step for an epoch's phase: rounding or not yet, statistics moving or frozen."""
        from nanou_train.networks.fake_quant import set_frozen, set_rounding

        epochs, quantization = self.config.student.epochs, self.config.student.quantization
        phase = (epoch > quantization.start, epoch > epochs - quantization.freeze_epochs)
        set_rounding(self.student, phase[0])
        set_frozen(self.student, phase[1])
        if phase not in self.compiled:
            self.compiled = {phase: self._compile()}
        return self.compiled[phase]

    def _compile(self) -> Callable[..., dict[str, Any]]:
        import tensorflow as tf

        strategy, variables = self.strategy, self.optimizer.targets
        recipe, distillation = self.config.student, self.config.distillation
        tversky = Tversky(recipe.tversky.share, recipe.tversky.alpha, recipe.tversky.beta)

        def replica(x: Any, y: Any, logits: Any) -> tuple[dict[str, Any], Any]:
            if self.teacher is not None:
                logits = self.teacher(x, training=False)
            losses, gradients = distillation_gradients(
                self.student, variables, logits, x, y, distillation.alpha, distillation.temperature, tversky,
                ignoring=self.ignoring,
            )  # fmt: skip
            return losses, flattened(gradients)

        def step(x: Any, y: Any, logits: Any) -> dict[str, Any]:
            if strategy is None:
                losses, gradient = replica(x, y, logits)
            else:
                losses, gradient = strategy.run(replica, args=(x, y, logits))
                losses = mean_losses(strategy, losses)
                gradient = strategy.reduce("MEAN", gradient, axis=None)
            self.optimizer.apply(gradient, strategy)
            count = tf.cast(self.optimizer.iterations, tf.float32)
            decay = tf.minimum(recipe.weight_average, (1.0 + count) / (10.0 + count))  # soon forget the start
            for average in self.averages:
                average.assign(decay * average + (1.0 - decay) * flattened(self.student.weights))
            return losses

        if self.config.run.debug_mode:
            return step
        compiled: Callable[..., dict[str, Any]] = tf.function(step, autograph=False)
        return compiled


def _optimizer(config: ExperimentConfig, steps: int, model: keras.Model) -> VectorAdamW:
    recipe = config.student
    rate = cosine(recipe.learning_rate, steps, recipe.epochs) if recipe.schedule == "cosine" else recipe.learning_rate
    return VectorAdamW(model.trainable_variables, rate, recipe.weight_decay)
