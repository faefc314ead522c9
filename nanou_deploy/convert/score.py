"""Compare float and int8 outputs of the same samples with the truth, where there is one, and with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from codegen.graph.contract import class_names, decide_classes, decision_threshold
from codegen.graph.graph import Graph
from codegen.graph.model import QuantizedModel
from codegen.untrusted import shown
from nanou_deploy.convert.samples import SampleSet
from nanou_deploy.errors import DeployError
from nanou_train.data.dataset import CARD, read_card
from nanou_train.data.images import Picture, vote
from nanou_train.data.mask_values import binary_mask, index_mask
from nanou_train.data.pairs import read_pair
from nanou_train.evaluation.metrics import segmentation_metrics

Floats = Sequence[npt.NDArray[np.float32]]
Int8s = Sequence[npt.NDArray[np.int8]]


@dataclass(frozen=True)
class Agreement:
    """How far an output's int8 is from its float: mean absolute difference, and the share of equal decisions.

    A decision is the index of the highest value along the last axis, or which side of the threshold one value is on;
    None where a tensor of one channel means nothing.
    """

    mean_difference: float
    mean_difference_steps: float
    same_decision: float | None


@dataclass(frozen=True)
class Score:
    """Float and int8 by `metric` ("miou", "top1", or "" where the data say nothing of what is true).

    `remark` says why folders of classes say nothing.
    """

    samples: int
    is_unseen: bool
    metric: str
    float_score: float | None
    int8_score: float | None
    agreements: tuple[Agreement, ...]
    remark: str = ""


def score(model: QuantizedModel, graph: Graph, data: SampleSet, floats: Floats, int8s: Int8s) -> Score:
    """Score by masks where the task is a map, by folders where it is one class; compare in any case."""
    at = model.contract.decisive_output
    agreements = []
    for index, (exact, quantized) in enumerate(zip(floats, int8s, strict=True)):
        tensor = graph.tensor(graph.outputs[index])
        real = (quantized.astype(np.float64) - tensor.zero_point) * tensor.scale
        difference = float(np.abs(real - exact).mean())
        decided = _decisions(model, graph, index, exact, quantized)
        same = None if decided is None else float((decided[0] == decided[1]).mean())
        agreements.append(Agreement(difference, difference / tensor.scale, same))
    decided = None if at is None else _decisions(model, graph, at, floats[at], int8s[at])
    metric, told = "", ""
    scores: tuple[float | None, ...] = (None, None)
    if decided and model.decision.task == "segment" and data.truth == "masks":
        metric, scores = "miou", _miou(model, graph, data, decided)
    elif decided and model.decision.task == "classify" and data.truth == "classes":
        labels = _labels(data, model.classes, len(class_names(model, graph)))
        if isinstance(labels, str):
            told = labels
        else:
            metric, scores = "top1", tuple(float((one.reshape(len(labels)) == labels).mean()) for one in decided)
    return Score(len(data.scored), data.is_scored_unseen, metric, scores[0], scores[1], tuple(agreements), told)


def _decisions(
    model: QuantizedModel, graph: Graph, index: int, exact: npt.NDArray[np.float32], quantized: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None:
    """Class indices of float and int8."""
    if exact.ndim > 1 and exact.shape[-1] > 1:
        return np.argmax(exact, axis=-1), np.argmax(quantized, axis=-1)
    stated = model.contract.outputs[index]
    if index != model.contract.decisive_output or stated.values == "raw":
        return None
    decided = decide_classes(quantized.reshape(*quantized.shape[:-1], 1), decision_threshold(model, graph))
    return (exact[..., 0] >= stated.real_threshold).astype(np.intp), decided.astype(np.intp)


def _miou(
    model: QuantizedModel, graph: Graph, data: SampleSet, decided: Sequence[npt.NDArray[np.intp]]
) -> tuple[float, ...]:
    names = class_names(model, graph)
    truth = _masks(data, model, decided[0].shape[1:], len(names))
    return tuple(segmentation_metrics(truth, one.astype(np.uint8), names)["miou"] for one in decided)


def _masks(data: SampleSet, model: QuantizedModel, size: tuple[int, ...], count: int) -> npt.NDArray[np.uint8]:
    """Class indices at the output's size: by dataset.json, else 0 and 255 of two classes, or indices and 255."""
    picture = replace(model.image, height_px=size[0], width_px=size[1])
    card = read_card(data.root) if (data.root / CARD).is_file() else None
    if card is not None and len(card.classes) != count:
        raise DeployError(
            f"the model has {count} classes, {data.root / CARD} names {len(card.classes)}",
            hint="give the data that the model was trained for, or pictures without masks",
        )

    def classes_of(mask: Picture) -> npt.NDArray[np.uint8]:
        if card is not None:
            return card.classes_of(mask)
        return binary_mask(mask) if count == 2 else index_mask(mask, count, ignores=True)

    masks = []
    for sample in data.scored:
        assert sample.mask is not None  # of data whose truth are masks
        masks.append(vote(read_pair(sample.path, sample.mask, classes_of).classes, count, picture))
    return np.stack(masks)


def _labels(data: SampleSet, classes: tuple[str, ...], count: int) -> npt.NDArray[np.intp] | str:
    """Tell the true index of each sample, or in words why the folders do not. Unnamed classes are 0, 1..."""
    names = classes or tuple(map(str, range(count)))
    if set(data.labels) - set(names):
        theirs, ours = (", ".join(map(shown, some[:4])) + (", ..." if len(some) > 4 else "")
                        for some in (data.labels, names))  # fmt: skip
        return f"no top-1: folders are named {theirs}, classes {ours}; name classes with --classes, in their order"
    return np.array([names.index(sample.label) for sample in data.scored], np.intp)
