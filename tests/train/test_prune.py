"""What pruning removes, by which score, for which budget; and what those that stay take over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nanou_train.errors import TrainError
from nanou_train.networks.channel_graph import LOGITS, producer_layer, readers, structure_macs
from nanou_train.networks.structure import Structure, structure_of
from nanou_train.pruning.budget import plan_cut, uniform_cut
from nanou_train.pruning.evidence import absorb, effective_ranks, gather_evidence
from nanou_train.pruning.importance import CRITERIA, channel_importance
from nanou_train.pruning.prune import kept_channels, prune_channels, with_widths
from tests.train.networks import lively_model, logits_of, plant_constant, plant_twin, small_structure, some_images


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def evidence_of(model: Any, structure: Structure) -> Any:
    images = some_images(structure, 6)
    masks = np.random.default_rng(1).integers(0, 2, images.shape[:3], np.uint8)
    return gather_evidence(model, images, masks)


def test_kept_channels_keep_their_weights_on_both_sides_of_a_skip() -> None:
    structure = small_structure()
    model = lively_model(structure, rounds=True)
    pruned = prune_channels(model, {"encoder1b_pw": [1, 4], "decoder2b_pw": [0, 2, 3]})

    def weights(of: Any, layer: str) -> Any:
        return of.get_layer(layer).get_weights()

    assert np.array_equal(weights(pruned, "encoder1b_pw")[0], weights(model, "encoder1b_pw")[0][..., [1, 4]])
    for vector, before in zip(weights(pruned, "encoder1b_pw_bn"), weights(model, "encoder1b_pw_bn"), strict=True):
        assert np.array_equal(vector, before[[1, 4]])
    assert np.array_equal(weights(pruned, "encoder2a_dw")[0], weights(model, "encoder2a_dw")[0][:, :, [1, 4]])
    joined = [0, 2, 3, 5 + 1, 5 + 4]  # five come from below, then the skip
    assert np.array_equal(weights(pruned, "decoder1a_pw")[0], weights(model, "decoder1a_pw")[0][:, :, joined])
    assert np.array_equal(weights(pruned, "decoder1a_dw_bn")[1], weights(model, "decoder1a_dw_bn")[1][joined])
    for layer in pruned.layers:
        if layer.name.endswith("_range"):
            assert float(layer.high) == float(model.get_layer(layer.name).high)


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ({"encoder1a_dw": [0]}, 'no layer "encoder1a_dw" whose channels can be removed'),
        ({"logits": [0]}, 'no layer "logits"'),
        ({"encoder1a_pw": []}, "cannot keep channels [] of its 5"),
        ({"encoder1a_pw": [2, 1]}, "rising"),
        ({"encoder1a_pw": [0, 5]}, "of its 5"),
    ],
)
def test_what_cannot_be_kept_is_refused(keep: Any, said: str) -> None:
    with pytest.raises(TrainError) as caught:
        kept_channels(small_structure(), keep)
    assert said in f"{caught.value}; {caught.value.hint}"


def test_macs_are_those_of_the_compiler() -> None:
    from nanou_train.networks.architectures import create_model_from_config

    assert structure_macs(structure_of(create_model_from_config("nano_u"))) == 2_399_200  # what `inspect` says


@pytest.mark.parametrize("criterion", [one for one in CRITERIA if one != "random"])
def test_dead_channels_score_lowest_and_a_duplicate_is_redundant(criterion) -> None:  # noqa: ANN001
    structure = small_structure()
    model = lively_model(structure)
    plant_constant(model, "encoder2a", 3)
    plant_twin(model, "bottleneck_a", 8, 0)
    scores = channel_importance(model, criterion, evidence_of(model, structure))
    assert set(scores) == {producer_layer(structure, one.name) for one in readers(structure) if one.name != LOGITS}
    assert all(len(scores[producer_layer(structure, one.name)]) == one.width for one in readers(structure)[:-1])
    dead = scores["encoder2a_pw"]
    assert np.argmin(dead) == 3
    assert dead[3] < 1e-3 * np.delete(dead, 3).min()
    twins, others = scores["bottleneck_a_pw"][[0, 8]], np.delete(scores["bottleneck_a_pw"], [0, 8])
    if criterion == "redundancy":  # the one is nothing without the other, the other is
        assert twins.min() < 0.05 * others.min() < twins.max()


def test_taylor_predicts_what_the_loss_does_without_a_channel() -> None:
    """First order: true for a channel that contributes little; its score is the square of that, mean over images."""
    structure = small_structure(skips=False)
    model = lively_model(structure)
    layer = model.get_layer("decoder1b_pw_bn")
    gamma, beta, mean, variance = layer.get_weights()
    gamma[1], beta[1] = 1e-3, 2e-3
    layer.set_weights([gamma, beta, mean, variance])
    images = some_images(structure, 1)
    masks = np.random.default_rng(1).integers(0, 2, images.shape[:3], np.uint8)

    def loss(of: Any) -> float:
        logits = logits_of(of, images)[..., 0].astype(np.float64)
        return float(np.mean(np.logaddexp(0, logits) - masks * logits))

    score = channel_importance(model, "taylor", gather_evidence(model, images, masks))["decoder1b_pw"][1]
    without = prune_channels(model, {"decoder1b_pw": [0, 2, 3]})
    assert score == pytest.approx((loss(without) - loss(model)) ** 2, rel=0.05)


def test_those_that_stay_take_over_what_depends_on_them() -> None:
    structure = small_structure()
    model = lively_model(structure)
    plant_twin(model, "bottleneck_a", 8, 0)
    plant_constant(model, "encoder2a", 3, behind=0.4)
    evidence, images = evidence_of(model, structure), some_images(structure, 6)
    keep = {"bottleneck_a": list(range(8)), "encoder2a": [0, 1, 2, 4, 5, 6]}
    layers = {f"{block}_pw": channels for block, channels in keep.items()}
    before, cut = logits_of(model, images), logits_of(prune_channels(model, layers), images)
    absorb(model, keep, evidence)
    kept = logits_of(prune_channels(model, layers), images)
    assert np.abs(kept - before).max() < 0.02 * np.abs(cut - before).max()


def test_a_cut_meets_its_target_where_least_is_lost() -> None:
    structure = small_structure()
    widths = {one.name: one.width for one in readers(structure) if one.name != LOGITS}
    rng = np.random.default_rng(0)
    scores = {producer_layer(structure, name): rng.uniform(1, 2, width) for name, width in widths.items()}
    scores["bottleneck_a_pw"] *= 1e-6
    base = structure_macs(structure)
    for plan in (plan_cut, uniform_cut):
        cut = plan(structure, scores, 0.6 * base)
        assert cut.cost_after == structure_macs(cut.structure) <= 0.6 * base
        assert cut.cost_after > 0.45 * base
        for name, kept in cut.keep.items():
            own = scores[producer_layer(structure, name)]
            assert len(kept) >= 2
            assert own[list(kept)].min() >= np.delete(own, list(kept)).max(initial=0)
    assert len(plan_cut(structure, scores, 0.6 * base).keep["bottleneck_a"]) == 2
    with pytest.raises(TrainError, match="no channel is left"):
        plan_cut(structure, scores, 0.01 * base)
    with pytest.raises(TrainError, match="no channel is left"):
        uniform_cut(structure, scores, 0.01 * base)


@pytest.mark.parametrize("plan", [plan_cut, uniform_cut])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.35])
def test_a_cost_that_takes_long_is_asked_few_times_and_kept_exactly(plan: Any, share: float) -> None:
    """Here one that steps, as that of code which computes pairs of channels."""
    structure = small_structure(skips=False)
    asked: set[Structure] = set()

    def paired(one: Structure) -> float:
        asked.add(one)
        even = {x.name: x.width + x.width % 2 for x in readers(one) if x.name != LOGITS}
        return float(structure_macs(with_widths(one, even)))

    rng = np.random.default_rng(1)
    scores = {producer_layer(structure, one.name): rng.uniform(1, 2, one.width) for one in readers(structure)}
    target = share * paired(structure)
    cut = plan(structure, scores, target, paired)
    assert cut.cost_after == paired(cut.structure) <= target
    assert len(asked) <= 9
    assert plan(structure, scores, cut.cost_after, paired).structure == cut.structure
    with pytest.raises(TrainError, match="no channel is left"):
        plan(structure, scores, 0.01 * target, paired)


def test_effective_ranks_count_independent_channels() -> None:
    structure = small_structure()
    model = lively_model(structure)
    for channel in range(1, 9):
        plant_twin(model, "bottleneck_a", channel, 0)
    ranks = effective_ranks(structure, evidence_of(model, structure))
    assert ranks["bottleneck_a"] == pytest.approx(1.0, abs=1e-3)
    assert all(1 <= rank <= 9 for rank in ranks.values())
    assert set(ranks) == {one.name for one in readers(structure) if one.name != LOGITS}
