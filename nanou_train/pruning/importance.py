"""Score every channel by how much is lost without it, by one of four criteria.

- `batch_norm`: what normalization lets through (Liu et al. 2017, Network Slimming, arXiv 1708.06519). There it is
  |gamma|; here, the standard deviation of ReLU6(gamma z + beta) for a normal z, which is about |gamma| where the
  nonlinearity is passed and 0 where beta closes it. A channel and the depthwise filters behind it count as a product.
- `taylor`: the squared first-order change of the loss when the channel becomes 0, mean over images (Molchanov et al.
  2019, arXiv 1906.10771), summed first over all places that read the channel.
- `redundancy`: the same for what the other channels cannot say: not the channel becomes 0, but its best linear estimate
  from those that stay takes its place. Channels are eliminated one by one, the least first, and those that stay take
  over their weights: subset selection on the covariance of activations, weighted by what the loss makes of them.
- `random`: the control.

A channel counts where it is mixed with others: behind the depthwise filter that follows it
(nanou_train.pruning.evidence).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

import numpy as np
import numpy.typing as npt

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import Criterion
from nanou_train.networks.architectures import near_names
from nanou_train.networks.channel_graph import LOGITS, Reader, producer_layer, readers
from nanou_train.networks.rebuild import layer_names
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.pruning.evidence import Evidence, Mixed, ridged

if TYPE_CHECKING:
    import keras

Float = npt.NDArray[np.float64]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
Importance = Mapping[str, Float]
"""Scores (C,), not negative, by the name of the layer that makes the channels; higher: more is lost without it."""
Place = tuple[Reader, int]  # a reader, and where in its input the channels of a block begin


def channel_importance(
    model: keras.Model, criterion: Criterion, evidence: Evidence | None = None, *, seed: int = 0
) -> dict[str, Float]:
    """Score all channels of all blocks. Raises ConfigError for a criterion that there is not.

    `evidence` (nanou_train.pruning.evidence.gather_evidence) is needed by `taylor` and `redundancy`, `seed` by
    `random`.
    """
    if criterion not in CRITERIA:
        raise ConfigError(f'no criterion "{criterion}"', hint=near_names(str(criterion), CRITERIA))
    if criterion in ("taylor", "redundancy") and evidence is None:
        raise ConfigError(f"{criterion} needs evidence", hint="gather_evidence makes it from images and masks")
    structure = structure_of(model)
    rng = np.random.default_rng(seed)
    scores: dict[str, Float] = {}
    for block in readers(structure):
        if block.name == LOGITS:
            continue
        places = places_of(structure, block.name)
        if criterion == "batch_norm":
            found = _passed(model, structure, block, places)
        elif criterion == "random" or evidence is None:
            found = rng.uniform(size=block.width)
        elif criterion == "taylor":
            own = [
                np.einsum("nii->ni", evidence.mixed[one.name].products)[:, at : at + block.width] for one, at in places
            ]
            found = np.asarray(np.square(sum(own)).mean(axis=0))
        else:
            found = _eliminated(block, places, evidence)
        scores[producer_layer(structure, block.name)] = found
    return scores


def places_of(structure: Structure, block: str) -> list[Place]:
    """Find every reader of a block's output, with the position of its first channel there."""
    return [
        (reader, reader.offset_of(index))
        for reader in readers(structure)
        for index, slot in enumerate(reader.slots)
        if slot.producer == block
    ]


def _passed(model: keras.Model, structure: Structure, block: Reader, places: list[Place]) -> Float:
    own = _spread(model, layer_names(structure, block.name)["point_bn" if block.is_separable else "spatial_bn"])
    behind = [
        _spread(model, layer_names(structure, one.name)["spatial_bn"])[at : at + block.width]
        if one.is_separable
        else np.ones(block.width)
        for one, at in places
    ]
    return np.asarray(own * sum(behind))


def _spread(model: keras.Model, normalization: str) -> Float:
    """Compute the standard deviation of ReLU6(gamma z + beta), z standard normal, for each channel."""
    gamma, beta, *_ = model.get_layer(normalization).get_weights()
    z = np.linspace(-5, 5, 401)
    density = np.exp(-(z**2) / 2)
    density /= density.sum()
    values = np.clip(gamma[:, None].astype(np.float64) * z + beta[:, None], 0.0, 6.0)
    mean = values @ density
    return np.asarray(np.sqrt(np.maximum((values**2) @ density - mean**2, 0.0)))


def _eliminated(block: Reader, places: list[Place], evidence: Evidence) -> Float:
    """Scores in the order of elimination: each what its removal costs once those before it are gone, rising."""
    views = [_View(evidence.mixed[one.name], at) for one, at in places]
    present, scores, highest = list(range(block.width)), np.zeros(block.width), 0.0
    while present:
        losses = np.square(sum(view.changes(present) for view in views)).mean(axis=0)
        index = int(np.argmin(losses))
        highest = max(highest, float(losses[index]))
        scores[present[index]] = highest
        for view in views:
            view.remove(present[index])
        del present[index]
    return scores


class _View:
    """One place that reads the channels: what of each the others cannot say, and what that is worth to the loss."""

    def __init__(self, mixed: Mixed, offset: int) -> None:
        self.precision = np.linalg.inv(ridged(mixed.covariance))
        self.products = mixed.products - mixed.gradients[:, :, None] * mixed.mean  # of centered activations
        self.offset = offset

    def changes(self, present: list[int]) -> Float:
        """For each image and channel (N, P), the loss's change to first order when the best estimate replaces it."""
        at = np.array([self.offset + channel for channel in present])
        residuals = self.precision[at] / self.precision[at, at][:, None]  # each channel less its estimate
        return np.asarray(np.einsum("nij,ij->ni", self.products[:, at], residuals))

    def remove(self, channel: int) -> None:
        """Let others take over its weights, and so its gradient, each as much as it stands for it."""
        at = self.offset + channel
        row, pivot = self.precision[at].copy(), self.precision[at, at]
        shares = -row / pivot
        shares[at] = -1.0
        self.products += shares[None, :, None] * self.products[:, at][:, None]
        self.precision -= np.outer(row, row) / pivot
        self.precision[at, at] = 1.0  # gone: the rest of its row and column is 0 now
