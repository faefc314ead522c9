"""Small networks of any structure with weights that matter: no channel is dead, no normalization is neutral."""

from __future__ import annotations

from typing import Any

import numpy as np

from nanou_train.networks.channel_graph import readers
from nanou_train.networks.rebuild import layer_names
from nanou_train.networks.structure import Architecture, Block, Level, Structure, build_model, structure_of
from nanou_train.pruning.evidence import mixing_layer
from nanou_train.pruning.importance import places_of


def small_structure(architecture: Architecture = "nano_u", *, skips: bool = True, stem: bool = False) -> Structure:
    """Two levels on 16x24 with another width everywhere; with a `stem`, of pictures twice as large."""
    levels = (
        Level((Block(5), Block(6)), (2, 2), (Block(5), Block(4)), skips),
        Level((Block(7), Block(8)), (2, 2), (Block(6), Block(5)), skips),
    )
    size = (32, 48, 3) if stem else (16, 24, 3)
    return Structure(architecture, size, levels, (Block(9), Block(7)), stem=Block(6) if stem else None)


def lively_model(structure: Structure, *, rounds: bool = False, seed: int = 0) -> Any:
    """A model whose channels neither saturate nor vanish; quantization-aware where it `rounds`."""
    from nanou_train.networks.fake_quant import FakeQuant, quantization_aware

    rng = np.random.default_rng(seed)
    model = build_model(structure, "lively")
    for layer in model.layers:
        weights = layer.get_weights()
        if layer.name.endswith("_bn"):
            count = len(weights[0])
            weights = [rng.uniform(0.5, 1.5, count), rng.uniform(0.2, 0.8, count), *weights[2:]]
            layer.momentum = 0.0
        elif weights:
            fan_in = weights[0][..., 0].size if layer.name.endswith(("_pw", "_conv", "logits")) else 9
            weights = [rng.normal(0, 1 / np.sqrt(fan_in), weight.shape) for weight in weights]
        layer.set_weights(weights)
    model(some_images(structure), training=True)  # normalization by what these images give
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


def edit_weights(model: Any, layer: str, change: Any) -> None:
    """Let `change` alter a layer's weights, a list of arrays, in place."""
    weights = [np.array(weight) for weight in model.get_layer(layer).get_weights()]
    change(weights)
    model.get_layer(layer).set_weights(weights)


def plant_constant(model: Any, block: str, channel: int, value: float = 0.0, behind: float = 0.0) -> None:
    """Make a channel `value` for every input, and `behind` the depthwise filters that read it (if that is 0).

    The weights that follow are made small: a kernel's largest weight decides its int8 grid.
    """
    structure = structure_of(model)
    reader = next(one for one in readers(structure) if one.name == block)

    def close(weights: Any) -> None:
        weights[0][channel], weights[1][channel] = 0.0, value or -0.3

    edit_weights(model, layer_names(structure, block)["point_bn" if reader.is_separable else "spatial_bn"], close)
    for place, at in places_of(structure, block):

        def settle(weights: Any, at: int = at) -> None:
            weights[1][at + channel], weights[2][at + channel] = behind or -0.2, 0.0

        def shrink(weights: Any, at: int = at) -> None:
            weights[0][:, :, at + channel] *= 0.1

        if place.is_separable and not value:
            edit_weights(model, layer_names(structure, place.name)["spatial_bn"], settle)
        edit_weights(model, mixing_layer(structure, place), shrink)


def plant_twin(model: Any, block: str, channel: int, twin: int, factor: float = 1.0) -> None:
    """Make a channel `factor` times another, up to where the next layer mixes them."""
    structure = structure_of(model)
    reader = next(one for one in readers(structure) if one.name == block)
    names = layer_names(structure, block)

    def copy(weights: Any) -> None:
        weights[0][..., channel] = weights[0][..., twin]

    def copy_all(weights: Any, at: int = 0, times: float = 1.0) -> None:
        for vector in weights:
            vector[at + channel] = vector[at + twin]
        weights[0][at + channel] *= times
        weights[1][at + channel] *= times

    edit_weights(model, mixing_layer(structure, reader), copy)
    normalization = names["point_bn" if reader.is_separable else "spatial_bn"]
    edit_weights(model, normalization, lambda weights: copy_all(weights, times=factor))
    for place, at in places_of(structure, block):
        if place.is_separable:
            behind = layer_names(structure, place.name)

            def same_filter(weights: Any, at: int = at) -> None:
                weights[0][:, :, at + channel] = weights[0][:, :, at + twin]

            edit_weights(model, behind["spatial"], same_filter)
            edit_weights(model, behind["spatial_bn"], lambda weights, at=at: copy_all(weights, at))
