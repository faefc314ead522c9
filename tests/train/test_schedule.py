"""Learning rates that wait for progress, and the option of a loss on overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nanou_train.data.dataset import terrain_dataset
from nanou_train.experiments.keys import as_config


def _after(history: list[dict[str, float]], *, validated: bool = True, **keys: Any) -> tuple[float, bool]:
    """The learning rate, and whether training stops, after these epochs."""
    import keras

    from nanou_train.training.learning_rate import ValidationCallbacks

    recipe = as_config({"schedule": "plateau", "learning_rate": 1.0, "plateau_patience": 2, **keys}).student
    optimizer = keras.optimizers.AdamW(0.123)  # as a resumed training finds it
    found = ValidationCallbacks(recipe, optimizer, history, validated=validated)
    return float(optimizer.learning_rate), found.stop


def _rows(*scores: float, what: str = "val_miou") -> list[dict[str, float]]:
    return [{"epoch": epoch, "loss": 9.0, what: score} for epoch, score in enumerate(scores, 1)]


@pytest.mark.parametrize(
    ("scores", "rate"),
    [
        ((), 1.0),
        ((0.5, 0.6, 0.7), 1.0),
        ((0.5, 0.5), 1.0),
        ((0.5, 0.5, 0.4), 0.5),
        ((0.5, 0.4, 0.6, 0.6), 1.0),
        ((0.5, 0.4, 0.4, 0.4), 0.5),
        ((0.5, 0.4, 0.4, 0.4, 0.4), 0.25),
    ],
)
def test_plateau(scores: tuple[float, ...], rate: float, require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    assert _after(_rows(*scores)) == (rate, False)


def test_without_validation_the_loss_decides(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    history = _rows(1.0, 0.9, 0.9, 0.95, what="loss")
    rate, stop = _after(history, validated=False, plateau_factor=0.1, early_stopping=True, patience=1)
    assert (rate, stop) == (pytest.approx(0.1), False)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_early_stopping_waits_for_its_patience(keep: str, require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    for scores, stop in (((0.5, 0.4, 0.5), False), ((0.5, 0.4, 0.5, 0.3), True), ((0.5, 0.4, 0.4, 0.6), False)):
        keys = {"early_stopping": True, "patience": 3, "keep": keep}
        assert _after(_rows(*scores), plateau_patience=9, **keys) == (1.0, stop)


@pytest.mark.parametrize("classes", [2, 3])
def test_tversky_counts_probabilities(classes: int, require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")
    from nanou_train.training.distillation import tversky_loss

    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (2, 5, 7, 1 if classes == 2 else classes)).astype(np.float32)
    y = rng.integers(0, classes, (2, 5, 7))
    if classes == 2:
        stated, true = 1 / (1 + np.exp(-logits)), y[..., None] == 1
    else:
        stated = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        true = y[..., None] == np.arange(classes)
    tp, fp, fn = ((part).sum((0, 1, 2)) for part in (stated * true, stated * ~true, (1 - stated) * true))
    expected = 1 - np.mean((tp + 1) / (tp + 1 + 0.3 * fp + 0.7 * fn))
    assert float(tversky_loss(y, logits, 0.3, 0.7)) == pytest.approx(expected, rel=1e-5)


def test_more_beta_finds_more(require_module: Callable[[str], None]) -> None:
    """The option does what it is for: weighting false negatives raises the share of pixels called drivable."""
    require_module("tensorflow")
    import keras

    from nanou_train.networks.architectures import create_bu_net, preprocessing_of
    from nanou_train.training.train_network import train_single_model

    data = terrain_dataset({"train": 24, "val": 4, "test": 4}, seed=0, height_px=12, width_px=16)
    shares = []
    for alpha, beta in ((0.9, 0.1), (0.1, 0.9)):
        keras.utils.set_random_seed(0)
        model = create_bu_net((12, 16, 3), (4,), 4)
        settings: dict[str, Any] = {"tversky": 1.0, "tversky_alpha": alpha, "tversky_beta": beta}
        config = as_config({"epochs": 4, "batch_size": 4, "schedule": "plateau", "keep": "last", **settings})
        train_single_model(model, config, data.train, seed=0)
        logits = model(preprocessing_of(model).normalize(data.train.images))
        shares.append(float(np.mean(np.asarray(logits) >= 0)))
    assert shares[0] < shares[1]
