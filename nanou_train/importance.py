"""How much is lost without a channel: one score for each, by one of four criteria.

- `batch_norm`: what normalization lets through (Liu et al. 2017, Network Slimming, arXiv 1708.06519). There it is
  |gamma|; here, the standard deviation of ReLU6(gamma z + beta) for a normal z, which is about |gamma| where the
  nonlinearity is passed and 0 where beta closes it. A channel and the depthwise filters behind it count as a product.
- `taylor`: the squared first-order change of the loss when the channel becomes 0, mean over images (Molchanov et al.
  2019, arXiv 1906.10771), summed first over all places that read the channel.
- `redundancy`: the increase of the loss when the channel is replaced by its best estimate from those that stay, to
  second order, with squared gradients as curvature (as Theis et al. 2018, arXiv 1801.05787). Channels are eliminated
  one by one, the least first, and those that remain take over its weights: subset selection on the covariance, weighted
  by what the outputs are worth.
- `random`: the control.

A channel counts where it is mixed with others: behind the depthwise filter that follows it (nanou_train.evidence).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from nanou_train.errors import ConfigError
from nanou_train.evidence import Evidence, Mixed, mixing_layer, ridged
from nanou_train.models import near_names
from nanou_train.rebuild import layer_names
from nanou_train.structure import Structure, structure_of
from nanou_train.wiring import LOGITS, Reader, producer_layer, readers

if TYPE_CHECKING:
    import keras

Float = npt.NDArray[np.float64]
Criterion = Literal["taylor", "batch_norm", "redundancy", "random"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
Importance = Mapping[str, Float]
"""Scores (C,), not negative, by the name of the layer that makes the channels; higher: more is lost without it."""
Place = tuple[Reader, int]  # a reader, and where in its input the channels of a block begin


def channel_importance(
    model: keras.Model, criterion: Criterion, evidence: Evidence | None = None, *, seed: int = 0
) -> dict[str, Float]:
    """Scores of all channels of all blocks. Raises ConfigError for a criterion that there is not.

    `evidence` (nanou_train.evidence.gather_evidence) is needed by `taylor` and `redundancy`, `seed` by `random`.
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
            sums = sum(evidence.mixed[one.name].contributions[:, at : at + block.width] for one, at in places)
            found = np.asarray(np.square(sums).mean(axis=0))
        else:
            found = _eliminated(model, structure, block, places, evidence)
        scores[producer_layer(structure, block.name)] = found
    return scores


def places_of(structure: Structure, block: str) -> list[Place]:
    """Every reader of a block's output, with the position of its first channel there."""
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
    """Standard deviation of ReLU6(gamma z + beta), z standard normal, for each channel."""
    gamma, beta, *_ = model.get_layer(normalization).get_weights()
    z = np.linspace(-5, 5, 401)
    density = np.exp(-(z**2) / 2)
    density /= density.sum()
    values = np.clip(gamma[:, None].astype(np.float64) * z + beta[:, None], 0.0, 6.0)
    mean = values @ density
    return np.asarray(np.sqrt(np.maximum((values**2) @ density - mean**2, 0.0)))


def _eliminated(
    model: keras.Model, structure: Structure, block: Reader, places: list[Place], evidence: Evidence
) -> Float:
    """Scores in the order of elimination: each what its removal costs once those before it are gone, rising."""
    views = [
        _View(model.get_layer(mixing_layer(structure, one)).get_weights()[0], evidence.mixed[one.name], at)
        for one, at in places
    ]
    present, scores, highest = list(range(block.width)), np.zeros(block.width), 0.0
    while len(present) > 1:
        losses = sum(view.losses(present) for view in views)
        index = int(np.argmin(losses))
        highest = max(highest, float(np.asarray(losses)[index]))
        scores[present[index]] = highest
        for view in views:
            view.remove(present[index])
        del present[index]
    scores[present[0]] = max(highest, float(np.asarray(sum(view.losses(present) for view in views))[0]))
    return scores


class _View:
    """One place that reads the channels: its weights, and the inverse covariance of what is still there."""

    def __init__(self, kernel: npt.NDArray[np.float32], mixed: Mixed, offset: int) -> None:
        self.weights = np.moveaxis(kernel.astype(np.float64), 2, 0).copy()  # (I, h, w, O)
        self.precision = np.linalg.inv(ridged(mixed.covariance))
        self.sensitivity, self.offset = mixed.sensitivity, offset

    def losses(self, present: list[int]) -> Float:
        """What the removal of each would cost: variance that the others do not explain, times what it is worth."""
        at = [self.offset + channel for channel in present]
        unexplained = 1.0 / self.precision[at, at]
        worth = ((self.weights[at] ** 2).sum(axis=(1, 2)) * self.sensitivity).sum(axis=-1)
        return np.asarray(0.5 * unexplained * worth)

    def remove(self, channel: int) -> None:
        """The others take over its weights, each as much as it stands for it."""
        at = self.offset + channel
        row, pivot = self.precision[at].copy(), self.precision[at, at]
        shares = -row / pivot
        shares[at] = 0.0
        self.weights += shares[:, None, None, None] * self.weights[at]
        self.weights[at] = 0.0
        self.precision -= np.outer(row, row) / pivot
        self.precision[at, at] = 1.0  # gone: its row and column are 0 now
