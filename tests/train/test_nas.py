"""Redundancy: known cases, layers by name, and the callback in model.fit and in our own trainings."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nanou_deploy.report.charts import evaluation_charts
from nanou_train.data.dataset import terrain_dataset
from nanou_train.errors import ConfigError, DataError, TrainError
from nanou_train.runs.redundancy_log import redundancy_log
from nanou_train.training.redundancy import compute_layer_redundancy, validate_nas_computation

RNG = np.random.default_rng(1)
FREE = RNG.standard_normal((4, 50, 50, 6)).astype(np.float32)


@pytest.fixture
def model(require_module: Callable[[str], None]) -> Any:
    require_module("tensorflow")
    from nanou_train.networks.architectures import create_nano_u

    return create_nano_u((24, 32, 3), (4,), 4)


def test_the_known_cases_agree() -> None:
    result = validate_nas_computation()
    assert result["passed"], result["checks"]
    assert len(result["checks"]) >= 8


def test_the_score_is_one_less_effective_rank_by_channels() -> None:
    """Three uncorrelated channels with powers 1, 1 and 2: the entropy of 1/4, 1/4, 1/2 is 1.5 bits, so 2^1.5 of 3."""
    basis = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], np.float32)  # orthogonal, mean 0
    found = compute_layer_redundancy(basis * np.float32([1, 1, np.sqrt(2)]))
    assert found["redundancy_score"] == pytest.approx(1 - 2**1.5 / 3, abs=1e-6)
    assert found["condition_number"] == pytest.approx(np.sqrt(2), abs=1e-6)
    assert (found["rank"], found["num_channels"]) == (3, 3)


def test_more_copies_are_more_redundant_and_dead_is_most() -> None:
    """The document's own formula had this the wrong way round."""
    cases = [FREE, FREE[..., [0, 0, 1, 2, 3, 4]], FREE[..., [0, 0, 0, 1, 1, 1]], FREE[..., [0] * 6], 0 * FREE]
    found = [compute_layer_redundancy(case) for case in cases]
    scores = [one["redundancy_score"] for one in found]
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (pytest.approx(0, abs=1e-3), 1.0)
    assert [one["rank"] for one in found] == [6, 5, 2, 1, 0]
    assert all(np.isfinite(one["condition_number"]) for one in found)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_tolerance_is_relative(scale: float) -> None:
    mixed = np.concatenate([FREE[..., :3], FREE[..., :3] @ RNG.standard_normal((3, 3)).astype(np.float32)], axis=-1)
    assert compute_layer_redundancy(mixed * np.float32(scale))["rank"] == 3


@pytest.mark.parametrize(
    ("values", "says"),
    [(np.zeros(5), "two samples"), (np.zeros((1, 4)), "two samples"), ([[1, np.nan], [1, 2]], "finite")],
)
def test_bad_activations_are_named(values: Any, says: str) -> None:
    with pytest.raises(TrainError, match=says):
        compute_layer_redundancy(values)


def test_all_convolutions_by_default(model: Any) -> None:
    from nanou_train.training.nas import analyze_model_redundancy

    x = RNG.uniform(-1, 1, (3, 24, 32, 3)).astype(np.float32)
    found = analyze_model_redundancy(model, x)
    assert found["batch_size"] == 3
    assert found["layers_monitored"] == [layer.name for layer in model.layers if "Conv2D" in type(layer).__name__]
    assert len(found["layers_monitored"]) == 13
    scores = [metrics["redundancy_score"] for metrics in found["layer_metrics"].values()]
    aggregate = found["aggregate"]["redundancy_score"]
    assert aggregate == {"mean": pytest.approx(np.mean(scores)), "min": min(scores), "max": max(scores)}
    assert set(found["aggregate"]) == {"redundancy_score", "condition_number", "rank", "num_channels"}
    assert found["aggregate"]["num_channels"]["min"] == 1  # the logits


def test_planted_copies_are_seen_in_their_layer(model: Any) -> None:
    from nanou_train.training.nas import analyze_model_redundancy

    layer = model.get_layer("encoder1a_pw")
    kernel = layer.kernel.numpy()
    kernel[..., 1:] = kernel[..., :1]
    layer.kernel.assign(kernel)
    x = RNG.uniform(-1, 1, (2, 24, 32, 3)).astype(np.float32)
    found = analyze_model_redundancy(model, x, ["encoder1a_pw"])["layer_metrics"]["encoder1a_pw"]
    assert found["redundancy_score"] == pytest.approx(1 - 1 / 4, abs=1e-6)
    assert found["rank"] == 1


def test_unknown_layers_are_errors_with_near_names(model: Any) -> None:
    from nanou_train.training.nas import NASCallback, analyze_model_redundancy

    x = np.zeros((2, 24, 32, 3), np.float32)
    with pytest.raises(ConfigError, match='no layer "encoder1a_pv"') as caught:
        analyze_model_redundancy(model, x, ["encoder1a_pv"])
    assert "encoder1a_pw" in caught.value.hint
    with pytest.raises(ConfigError, match='no layer "conv2d"'):
        analyze_model_redundancy(model, x, ["conv2d", "conv2d_1"])
    with pytest.raises(DataError, match="takes"):
        analyze_model_redundancy(model, x[:, :12])
    with pytest.raises(ConfigError, match="log_frequency"):
        NASCallback(log_frequency=-1)


def _events(folder: Path) -> list[tuple[str, int, int]]:
    records = json.loads((folder / "nas_log.json").read_text())["records"]
    return [(record["event"], record["epoch"], record["batch"]) for record in records]


def test_the_callback_logs_in_model_fit(model: Any, tmp_path: Path) -> None:
    from nanou_train.training.nas import NASCallback

    data = terrain_dataset({"train": 12, "val": 2, "test": 2}, seed=0, height_px=24, width_px=32).train
    x = data.images / np.float32(127.5) - 1
    model.compile("sgd", "mse")
    callback = NASCallback(["encoder1a_dw", "logits"], log_frequency=2, output_dir=tmp_path / "logs")
    model.fit(x, data.masks[..., None], batch_size=4, epochs=2, verbose=0, callbacks=[callback])
    wanted = [("batch", 1, 2), ("epoch", 1, 3), ("batch", 2, 4), ("batch", 2, 6), ("epoch", 2, 6)]
    assert _events(tmp_path / "logs") == wanted
    rows = list(csv.DictReader((tmp_path / "logs" / "nas_log.csv").open()))
    assert [row["layer"] for row in rows] == ["encoder1a_dw", "logits"] * 5
    assert all(0 <= float(row["redundancy_score"]) <= 1 for row in rows)
    (chart,) = evaluation_charts([], redundancy_log(tmp_path / "logs"))
    assert {line.name for line in chart.lines} == {"mean of all layers", "encoder1a_dw", "logits"}
    assert {len(line.points) for line in chart.lines} == {2}


def test_our_own_training_logs_and_learns_the_same(tmp_path: Path, require_module: Callable[[str], None]) -> None:
    """Watching changes no weight, and a training that goes on goes on with its log."""
    require_module("tensorflow")
    import keras

    from nanou_train.networks.architectures import create_bu_net
    from nanou_train.training.nas import NASCallback
    from nanou_train.training.train import train_single_model

    data = terrain_dataset({"train": 8, "val": 2, "test": 2}, seed=0, height_px=24, width_px=32)

    def fit(epochs: int, state: str, **watched: Any) -> list[np.ndarray]:
        keras.utils.set_random_seed(3)
        model = create_bu_net((24, 32, 3), (4,), 4)
        config = {"epochs": epochs, "batch_size": 4, "learning_rate": 0.01}
        train_single_model(model, config, data.train, data.val, state_path=tmp_path / state, **watched)
        return model.get_weights()

    plain = fit(2, "a.npz")
    watched = fit(2, "b.npz", callbacks=[NASCallback(None, 1, tmp_path / "logs")])
    assert all(np.array_equal(one, other) for one, other in zip(plain, watched, strict=True))
    assert _events(tmp_path / "logs") == [
        ("batch", 1, 1), ("batch", 1, 2), ("epoch", 1, 2), ("batch", 2, 3), ("batch", 2, 4), ("epoch", 2, 4),
    ]  # fmt: skip
    fit(2, "b.npz", callbacks=[NASCallback(None, 1, tmp_path / "logs")])  # finished: nothing to do, nothing lost
    assert len(_events(tmp_path / "logs")) == 6
