"""Networks small enough that a whole run takes a second."""

from __future__ import annotations

import sys

import pytest

from nanou_train.data.dataset import Dataset, terrain_dataset
from nanou_train.networks.architectures import PRESETS, ModelConfig


@pytest.fixture(autouse=True)
def _graphs_as_traced() -> None:
    """TensorFlow does not optimize what runs a few times: that would be a quarter of these tests.

    Those that train in processes of their own, and documents' commands, have the optimized graphs.
    """
    if tensorflow := sys.modules.get("tensorflow"):
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture
def tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """nano_u and bu_net_small take 24x32 and have one stage."""
    for name, architecture in (("nano_u", "nano_u"), ("bu_net_small", "bu_net")):
        monkeypatch.setitem(PRESETS, name, ModelConfig(architecture, (24, 32, 3), (4,), 4))


@pytest.fixture(scope="session")
def small() -> Dataset:
    """16 scenes of 24x32 to train on."""
    return terrain_dataset({"train": 16, "val": 4, "test": 4}, seed=0, height_px=24, width_px=32)
