"""Build a model of one structure with the weights of a model of another, block by block, channel by channel.

An `Origin` says for each block where it comes from; which input channels that means follows from who reads whom
(nanou_train.networks.channel_graph). Pruning and inheriting differ only in the origins that they give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanou_train.networks.channel_graph import LOGITS, Reader, activation_layers, is_separable, readers
from nanou_train.networks.structure import Structure, build_model, structure_of

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[Any]
Channels = tuple[int, ...]
Seen = tuple[str, Channels]  # a block of the parent, and for each channel which of that block's it is
NEW = -1  # a channel that the parent does not have


@dataclass(frozen=True)
class Origin:
    """The origin of a block: the parent's `block`, and for each output channel the parent's, or NEW.

    Without a `block` it is an identity, as far as its widths allow. Who reads it reads it as `read_as`, channel by
    channel `read_channels` of that block: by default as `block` and `channels`. `slots` renames roles of what it reads
    itself, where the parent's block had that in another slot.
    """

    block: str | None
    channels: Channels
    read_as: str = ""
    read_channels: Channels | None = None
    slots: Mapping[str, str] = field(default_factory=dict)


StandIn = Callable[[str, int], Channels]  # (parent's block, count) -> which of its channels stand for others


def rebuild(
    parent: keras.Model, structure: Structure, origins: Mapping[str, Origin], stand_in: StandIn | None = None
) -> keras.Model:
    """Build a model of `structure` with `parent`'s weights, quantization-aware with its ranges if the parent is.

    Kernels of another size are cropped or padded with zeros around the middle. New input channels have no effect yet:
    the weights behind them are 0. New output channels are as initialized. Blocks without an origin are an error
    (KeyError); the logits and the image need none.
    """
    from nanou_train.networks.fake_quant import (
        FakeQuant,
        is_quantization_aware,
        quantization_aware,
        requantization_of,
    )

    child = build_model(structure, parent.name)
    before = structure_of(parent)
    old = {reader.name: reader for reader in readers(before)}
    seen: dict[str, Seen] = {"image": ("image", tuple(range(before.input_shape[2])))}
    for reader in readers(structure):
        origin = origins.get(reader.name) or Origin(LOGITS, tuple(range(reader.width)))
        seen[reader.name] = _seen(reader, origin, seen)
        if origin.block is None:
            _make_identity(child, layer_names(structure, reader.name), reader.is_separable)
            continue
        inputs = np.array(_inputs(reader, old[origin.block], origin, seen, stand_in or _first), int)
        pairs = zip(
            layer_names(before, origin.block).values(), layer_names(structure, reader.name).items(), strict=True
        )
        for source, (part, target) in pairs:
            given, layer = parent.get_layer(source).get_weights(), child.get_layer(target)
            layer.set_weights(
                _filled(part, given, layer.get_weights(), inputs, np.array(origin.channels, int), reader.is_separable)
            )
    if is_quantization_aware(parent):
        ranges: Any = next(layer for layer in parent.layers if isinstance(layer, FakeQuant)).settings["ranges"]
        child = quantization_aware(child, ranges=ranges, requantization=requantization_of(parent))
        _copy_ranges(parent, child, structure, origins, seen)
    return child


def _seen(reader: Reader, origin: Origin, seen: Mapping[str, Seen]) -> Seen:
    """As which channels of which of the parent's blocks this block's outputs are read."""
    if origin.block is not None:
        return (
            origin.read_as or origin.block,
            origin.channels if origin.read_channels is None else origin.read_channels,
        )
    block, channels = seen[reader.slots[0].producer]
    return block, (channels + (NEW,) * reader.width)[: reader.width]


def layer_names(structure: Structure, block: str) -> dict[str, str]:
    """Name a block's layers by role: spatial, spatial_bn, and of a separable block point, point_bn."""
    if block == LOGITS:
        return {"spatial": LOGITS}
    if not is_separable(structure, block):
        return {"spatial": f"{block}_conv", "spatial_bn": f"{block}_bn"}
    return {part: f"{block}_{suffix}" for part, suffix in _SEPARABLE.items()}


_SEPARABLE = {"spatial": "dw", "spatial_bn": "dw_bn", "point": "pw", "point_bn": "pw_bn"}


def _first(_block: str, count: int) -> Channels:
    return tuple(range(count))


def _inputs(
    reader: Reader, old: Reader, origin: Origin, seen: Mapping[str, tuple[str, Channels]], stand_in: StandIn
) -> list[int]:
    """For each input channel of a reader the one of the parent's reader, or NEW."""
    found: list[int] = []
    positions = {slot.role: index for index, slot in enumerate(old.slots)}
    for slot in reader.slots:
        index = positions.get(origin.slots.get(slot.role, slot.role))
        if index is None:
            found += [NEW] * slot.width
            continue
        block, channels = seen[slot.producer]
        there, offset = old.slots[index], old.offset_of(index)
        if block != there.producer:  # another block stood here: what comes now is read as if it were that one
            count = min(slot.width, there.width)
            channels = stand_in(there.producer, count) + (NEW,) * (slot.width - count)
        found += [NEW if channel == NEW else offset + channel for channel in channels]
    return found


def _filled(
    part: str, given: Sequence[Array], fresh: Sequence[Array], inputs: Array, outputs: Array, is_separable: bool
) -> list[Array]:
    """Return the weights of one layer, from the parent's `given` and the ones that it was made with."""
    values = resized(given, fresh)
    if part.endswith("_bn") or (part == "spatial" and is_separable):
        chosen = inputs if is_separable and part.startswith("spatial") else outputs
        axis = 0 if part.endswith("_bn") else 2
        return [_gathered(value, start, axis, chosen) for value, start in zip(values, fresh, strict=True)]
    rows = np.zeros((*fresh[0].shape[:3], values[0].shape[3]), values[0].dtype)
    rows[:, :, inputs != NEW] = values[0][:, :, inputs[inputs != NEW]]
    biases = [_gathered(bias, start, 0, outputs) for bias, start in zip(values[1:], fresh[1:], strict=True)]
    return [_gathered(rows, fresh[0], 3, outputs), *biases]


def resized(values: Sequence[Array], like: Sequence[Array]) -> list[Array]:
    """Crop or zero-pad kernels (k, k, ...) around the middle to the side of `like`; vectors stay as they are."""
    found = []
    for value, target in zip(values, like, strict=True):
        if value.ndim == 4 and value.shape[0] != target.shape[0]:
            wider = (target.shape[0] - value.shape[0]) // 2
            if wider > 0:
                value = np.pad(value, ((wider, wider), (wider, wider), (0, 0), (0, 0)))
            else:
                value = value[-wider : value.shape[0] + wider, -wider : value.shape[1] + wider]
        found.append(value)
    return found


def _gathered(values: Array, fresh: Array, axis: int, chosen: Array) -> Array:
    """`fresh` with the channels of `values` that are chosen, in order along `axis`; NEW leaves it as it is."""
    result = np.moveaxis(fresh.copy(), axis, 0)
    result[chosen != NEW] = np.moveaxis(values, axis, 0)[chosen[chosen != NEW]]
    return np.moveaxis(result, 0, axis)


def _make_identity(child: keras.Model, names: Mapping[str, str], is_separable: bool) -> None:
    """Make a block that hands on what it reads (behind ReLU6 that is within 0..6), as many channels as there are."""
    for part, name in names.items():
        layer = child.get_layer(name)
        weights = [np.zeros_like(weight) for weight in layer.get_weights()]
        if part.endswith("_bn"):
            weights[0][:], weights[3][:] = 1.0, 1.0 - layer.epsilon  # gamma, variance: a factor of 1
        else:
            kernel, middle = weights[0], weights[0].shape[0] // 2
            if part == "spatial" and is_separable:
                kernel[middle, middle] = 1.0
            else:
                same = np.arange(min(kernel.shape[2:]))
                kernel[middle, middle, same, same] = 1.0
        layer.set_weights(weights)


def ranges_of(model: keras.Model) -> dict[str, Any]:
    """Find the FakeQuant layer behind each operation, by the operation's name."""
    from nanou_train.networks.fake_quant import FakeQuant

    return {
        node.input_tensors[0]._keras_history.operation.name: layer
        for layer in model.layers
        if isinstance(layer, FakeQuant)
        for node in layer._inbound_nodes
    }


def _copy_ranges(
    parent: keras.Model,
    child: keras.Model,
    structure: Structure,
    origins: Mapping[str, Origin],
    seen: Mapping[str, Seen],
) -> None:
    """Each activation takes the range of the one that it comes from; where several share one, the widest."""
    old, new = ranges_of(parent), ranges_of(child)
    ends: dict[str, list[tuple[float, float]]] = {}
    for reader in readers(structure):
        if reader.name == LOGITS:
            sources = {LOGITS: LOGITS}
        else:
            own, block = activation_layers(structure, reader.name), origins[reader.name].block
            if block is None:  # an identity: the range of what it reads
                sources = dict.fromkeys(own, activation_layers(structure, seen[reader.name][0])[-1])
            else:
                sources = dict(zip(own, activation_layers(structure, block), strict=True))
        for name, source in sources.items():
            if source in old:
                ends.setdefault(new[name].name, []).append((float(old[source].low), float(old[source].high)))
    for name, found in ends.items():
        layer = child.get_layer(name)
        layer.low.assign(min(low for low, _ in found))
        layer.high.assign(max(high for _, high in found))
