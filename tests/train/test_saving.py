"""Models saved in every format load back and compute the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_train.errors import TrainError
from nanou_train.networks.architectures import create_nano_u
from nanou_train.networks.saving import load_model, save_model

X = np.random.default_rng(0).uniform(-1, 1, (2, 24, 32, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


@pytest.fixture
def model() -> Any:
    """With everything of our own in it: rounding, normalization, a resize."""
    from nanou_train.networks.fake_quant import quantization_aware

    return quantization_aware(create_nano_u((24, 32, 3), (4,), 4))


@pytest.mark.parametrize("name", ["model.keras", "model.h5", "served"])
def test_saved_is_loaded(model: Any, tmp_path: Path, name: str) -> None:
    path = tmp_path / "deep" / name
    for _ in range(2):  # the second time over the first
        assert save_model(model, path) == path
    loaded = load_model(path)
    np.testing.assert_array_equal(loaded(X), model(X))
    assert loaded.input_shape == model.input_shape
    assert [left.name for left in path.parent.iterdir()] == [name]  # and nothing half-written
    if path.suffix:
        assert all(
            np.array_equal(one, other) for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True)
        )
        assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]


def test_mistakes_are_named_and_nothing_is_lost(model: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for path, says in (
        ("model.tflite", r"no model format \.tflite"),
        ("mine", "other things in it"),
        ("file/below.keras", "cannot write"),
    ):
        with pytest.raises(TrainError, match=says):
            save_model(model, tmp_path / path)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    (tmp_path / "broken.keras").write_bytes(b"PK")
    for path, says in (("absent.keras", "no model file"), ("mine", "no SavedModel"), ("broken.keras", "cannot read")):
        with pytest.raises(TrainError, match=says):
            load_model(tmp_path / path)
