"""Schedule the learning rate and stop early, by Keras's own means, so that a resumed training does the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from nanou_train.experiments.config import Student

if TYPE_CHECKING:
    import keras


def cosine(rate: float, steps: int, epochs: int) -> Any:
    """Build a Keras schedule: up to `rate` in one epoch (at most a tenth of all steps), then a cosine down to 0."""
    import keras

    total = steps * epochs
    warmup = min(steps, total // 10)
    return keras.optimizers.schedules.CosineDecay(
        rate * 0.1 if warmup else rate,
        decay_steps=max(1, total - warmup),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


class ValidationCallbacks:
    """Applies Keras's EarlyStopping and ReduceLROnPlateau, where the recipe asks for them.

    They see the validation mIoU, without validation the loss, and then nothing stops early. All that they know follows
    from the rows of earlier epochs, which they are told again when a training resumes: so it goes on as if it had never
    been interrupted.
    """

    def __init__(
        self,
        recipe: Student,
        optimizer: keras.optimizers.Optimizer,
        history: Sequence[Mapping[str, float]],
        *,
        validated: bool,
    ) -> None:
        import keras

        watched: dict[str, Any] = {
            "monitor": "val_miou" if validated else "loss",
            "mode": "max" if validated else "min",
            "min_delta": 0,
        }
        self.callbacks: list[keras.callbacks.Callback] = []
        if recipe.early_stopping and validated:
            self.callbacks.append(keras.callbacks.EarlyStopping(patience=recipe.patience, **watched))
        if recipe.schedule == "plateau":
            optimizer.learning_rate = recipe.learning_rate  # from the beginning: the history lowers it again
            plateau = recipe.plateau
            self.callbacks.append(
                keras.callbacks.ReduceLROnPlateau(factor=plateau.factor, patience=plateau.patience, **watched)
            )
        self.seen = SimpleNamespace(optimizer=optimizer, stop_training=False)  # all of a model that they use
        for callback in self.callbacks:
            callback.set_model(self.seen)
            callback.on_train_begin()
        for row in history:
            self.end_epoch(row)

    @property
    def stop(self) -> bool:
        return bool(self.seen.stop_training)

    def end_epoch(self, row: Mapping[str, float]) -> None:
        for callback in self.callbacks:
            callback.on_epoch_end(int(row["epoch"]) - 1, dict(row))
