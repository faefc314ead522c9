"""Small networks of any structure with weights that matter: no channel is dead, no normalization is neutral."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanou_train.structure import Architecture, Block, Level, Structure, build_model


def small_structure(architecture: Architecture = "nano_u", *, skips: bool = True) -> Structure:
    """Two levels on 16x24 with another width everywhere."""
    levels = (
        Level((Block(5), Block(6)), (2, 2), (Block(5), Block(4)), skips),
        Level((Block(7), Block(8)), (2, 2), (Block(6), Block(5)), skips),
    )
    return Structure(architecture, (16, 24, 3), levels, (Block(9), Block(7)))


def lively_model(structure: Structure, *, rounds: bool = False, seed: int = 0) -> Any:
    """A model whose channels neither saturate nor vanish; quantization-aware where it `rounds`."""
    from nanou_train.fake_quant import FakeQuant, quantization_aware

    rng = np.random.default_rng(seed)
    model = build_model(structure, "lively")
    for layer in model.layers:
        weights = layer.get_weights()
        if layer.name.endswith("_bn"):
            count = len(weights[0])
            weights = [
                rng.uniform(0.5, 1.5, count),
                rng.uniform(0.2, 0.8, count),
                rng.normal(0, 0.1, count),
                rng.uniform(0.5, 1.5, count),
            ]
        elif weights:
            fan_in = weights[0][..., 0].size if layer.name.endswith(("_pw", "_conv", "logits")) else 9
            weights = [rng.normal(0, 1.5 / np.sqrt(fan_in), weight.shape) for weight in weights]
        layer.set_weights(weights)
    if rounds:
        model = quantization_aware(model)
        for layer in model.layers:
            if isinstance(layer, FakeQuant) and layer.name.endswith("relu6_range"):
                layer.high.assign(float(rng.uniform(3, 6)))
    return model


def some_images(structure: Structure, count: int = 4) -> Any:
    """float32 (count, H, W, C), normalized."""
    return np.random.default_rng(7).uniform(-1, 1, (count, *structure.input_shape)).astype(np.float32)


def logits_of(model: Any, images: Any) -> Any:
    return np.asarray(model(images, training=False))
