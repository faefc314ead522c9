"""The learning rate over a training: a cosine with warm-up, halved on plateaus, or constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def cosine(rate: float, steps: int, epochs: int) -> Any:
    """A Keras schedule: up to `rate` in one epoch (at most a tenth of all steps), then a cosine down to 0."""
    import keras

    total = steps * epochs
    warmup = min(steps, total // 10)
    return keras.optimizers.schedules.CosineDecay(
        rate * 0.1 if warmup else rate,
        decay_steps=max(1, total - warmup),
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


def plateau_rate(rate: float, history: Sequence[Mapping[str, float]], *, patience: int, factor: float) -> float:
    """The rate for the next epoch: `rate` times `factor` for each `patience` epochs in a row that brought nothing.

    Better means a higher `val_miou`, or without validation a lower `loss`, than all epochs before. The count starts
    anew after each reduction. It follows from the history alone, so an interrupted training resumes with it.
    """
    best, waited = float("-inf"), 0
    for row in history:
        score = row["val_miou"] if "val_miou" in row else -row["loss"]
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == patience:
            rate, waited = rate * factor, 0
    return rate
