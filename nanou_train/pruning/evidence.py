"""Gather statistics of a trained network's channels over a few images, wherever channels are mixed.

A pointwise convolution (a plain one, the logits) adds up its input channels. There a removed channel is missed, so
there it is measured: behind the depthwise filter that follows it, and in a network with skips at every place that reads
it. What a removed channel said can be said by those that stay as far as it depends on them linearly; `absorb` moves its
weights over to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nanou_train.networks.channel_graph import IMAGE, LOGITS, Reader, readers
from nanou_train.networks.rebuild import layer_names
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.training.distillation import distillation_loss, labelled, segmentation_loss
from nanou_train.training.redundancy import effective_rank

if TYPE_CHECKING:
    import keras

Float = npt.NDArray[np.float64]
BATCH = 16
RIDGE = 1e-4  # of the channels' mean variance: what is less is not relied on when one channel stands in for another


@dataclass(frozen=True, eq=False)
class Mixed:
    """Statistics of the I channels that one mixing layer reads, over N images.

    `mean` (I,) and `covariance` (I, I) are over images and pixels. `products` (N, I, I) are, for each image, sums over
    pixels of the gradient of that image's loss with respect to one channel times another one's activation, `gradients`
    (N, I) the sums of gradients alone.
    """

    mean: Float
    covariance: Float
    products: Float
    gradients: Float


@dataclass(frozen=True, eq=False)
class Evidence:
    """Statistics of a network: `mixed` by reader (block or logits), from `images` images."""

    mixed: Mapping[str, Mixed]
    images: int


def mixing_layer(structure: Structure, reader: Reader) -> str:
    """Name the convolution that adds up a reader's channels."""
    names = layer_names(structure, reader.name)
    return names["point"] if reader.is_separable else names["spatial"]


def gather_evidence(
    model: keras.Model,
    x: npt.NDArray[np.float32],
    masks: npt.NDArray[np.uint8],
    teacher_logits: npt.NDArray[np.float32] | None = None,
    *,
    alpha: float = 0.3,
    temperature: float = 4.0,
) -> Evidence:
    """Run `model` in inference mode over `x` (N, H, W, C), normalized, with masks (N, H, W).

    The loss is that of training (nanou_train.training.distillation); without `teacher_logits` (N, H, W, K) it is cross
    entropy.
    """
    import keras
    import tensorflow as tf

    structure = structure_of(model)
    found = [(reader.name, model.get_layer(mixing_layer(structure, reader))) for reader in readers(structure)]
    watched = keras.Model(model.inputs, [model.output, *(layer.input for _, layer in found)])
    sums = {name: _Sums() for name, _ in found}
    for start in range(0, len(x), BATCH):
        part = slice(start, start + BATCH)
        with tf.GradientTape() as tape:
            logits, *tensors = watched(tf.constant(x[part]), training=False)
            loss = segmentation_loss(masks[part], logits, ignoring=True)
            if teacher_logits is not None:
                known = labelled(masks[part], logits)
                distilled = distillation_loss(tf.constant(teacher_logits[part]), logits, temperature, known)
                loss = alpha * distilled + (1.0 - alpha) * loss
            loss *= len(x[part])  # so that each image's gradient is of its own loss
        gradients = tape.gradient(loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for (name, _), activation, gradient in zip(found, tensors, gradients, strict=True):
            sums[name].add(np.asarray(activation, np.float64), np.asarray(gradient, np.float64))
    return Evidence({name: one.result() for name, one in sums.items()}, len(x))


class _Sums:
    """Running sums over batches of one mixing layer."""

    def __init__(self) -> None:
        self.pixels = 0
        self.first: Any = 0.0
        self.second: Any = 0.0
        self.products: list[Float] = []
        self.gradients: list[Float] = []

    def add(self, activation: Float, gradient: Float) -> None:
        flat = activation.reshape(-1, activation.shape[-1])
        self.pixels += len(flat)
        self.first = self.first + flat.sum(axis=0)
        self.second = self.second + flat.T @ flat
        each = (len(activation), -1, activation.shape[-1])
        self.products.append(np.einsum("npi,npj->nij", gradient.reshape(each), activation.reshape(each), optimize=True))
        self.gradients.append(gradient.sum(axis=(1, 2)))

    def result(self) -> Mixed:
        mean = self.first / self.pixels
        covariance = self.second / self.pixels - np.outer(mean, mean)
        products, gradients = np.concatenate(self.products), np.concatenate(self.gradients)
        return Mixed(mean, covariance, products, gradients)


def ridged(covariance: Float) -> Float:
    """Add a ridge to the covariance, so that it has an inverse even where channels repeat or are dead."""
    mean_variance = float(np.trace(covariance)) / len(covariance)
    return covariance + np.eye(len(covariance)) * max(RIDGE * mean_variance, 1e-9)


def effective_ranks(structure: Structure, evidence: Evidence) -> dict[str, float]:
    """Compute each block's effective rank (nanou_train.training.redundancy), where it is read first."""
    ranks: dict[str, float] = {}
    for reader in readers(structure):
        for index, slot in enumerate(reader.slots):
            part = slice(reader.offset_of(index), reader.offset_of(index) + slot.width)
            power = np.linalg.eigvalsh(evidence.mixed[reader.name].covariance[part, part])
            ranks.setdefault(slot.producer, effective_rank(np.maximum(power, 0.0)))
    del ranks[IMAGE]
    return ranks


def absorb(model: keras.Model, keep: Mapping[str, Sequence[int]], evidence: Evidence) -> None:
    """Change the weights of `model` so that little is missed when only the channels `keep` of each block stay.

    At each mixing layer every other channel is estimated from those that stay, by least squares over the evidence, and
    its outgoing weights are added to theirs; the constant goes into the normalization's mean, or the logits' bias
    (He et al. 2017, arXiv 1707.06168, solve for the same by images). A plain 3x3 convolution sees padding at its edges,
    which the constant does not know of.
    """
    structure = structure_of(model)
    for reader in readers(structure):
        stays = np.zeros(reader.inputs, bool)
        for index, slot in enumerate(reader.slots):
            kept = np.array(keep.get(slot.producer, range(slot.width)), int)
            stays[reader.offset_of(index) + kept] = True
        if stays.all():
            continue
        found = evidence.mixed[reader.name]
        covariance = ridged(found.covariance)
        shares = np.linalg.solve(covariance[np.ix_(stays, stays)], covariance[np.ix_(stays, ~stays)])  # (kept, gone)
        layer = model.get_layer(mixing_layer(structure, reader))
        kernel, *bias = layer.get_weights()
        gone = kernel[:, :, ~stays]
        kernel[:, :, stays] += np.einsum("kg,hwgo->hwko", shares, gone)
        constant = found.mean[~stays] - shares.T @ found.mean[stays]
        shift = np.einsum("g,hwgo->o", constant, gone)
        layer.set_weights([kernel, *(one + shift for one in bias)])
        if reader.name != LOGITS:
            names = layer_names(structure, reader.name)
            normalization = model.get_layer(names["point_bn" if reader.is_separable else "spatial_bn"])
            gamma, beta, mean, variance = normalization.get_weights()
            normalization.set_weights([gamma, beta, mean - shift, variance])
