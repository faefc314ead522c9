"""What a network of another structure takes over, and what stays exactly as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanou_train.errors import TrainError
from nanou_train.networks.channel_graph import LOGITS, producer_layer, readers
from nanou_train.networks.structure import Block, Level, Structure, structure_of
from nanou_train.pruning.inherit import inherit
from nanou_train.pruning.prune import prune_channels, with_widths
from tests.train.networks import lively_model, logits_of, small_structure, some_images


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def changed_levels(structure: Structure, **changes: object) -> Structure:
    return replace(structure, levels=tuple(replace(level, **changes) for level in structure.levels))


def with_kernels(structure: Structure, side: int) -> Structure:
    def chain(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
        return tuple(replace(block, kernel=side) for block in blocks)

    levels = tuple(Level(chain(x.encoder), x.pool, chain(x.decoder), x.skip) for x in structure.levels)
    return replace(structure, levels=levels, bottleneck=chain(structure.bottleneck))


@cache
def parent_of(structure: Structure, *, rounds: bool = False) -> Any:
    """A lively model that nothing here changes."""
    return lively_model(structure, rounds=rounds)


def assert_nearly_all_close(found: Any, expected: Any, *, share: float) -> None:
    """Graphs of other shapes add in another order, and where they round a last bit may become a whole step."""
    assert np.isclose(found, expected, rtol=0, atol=1e-4).mean() >= share


@pytest.mark.parametrize(
    ("architecture", "rounds", "stem"), [("nano_u", False, False), ("nano_u", True, True), ("bu_net", False, False)]
)
def test_what_adds_nothing_changes_nothing(architecture, rounds, stem) -> None:  # noqa: ANN001
    structure = small_structure(architecture, skips=False, stem=stem)
    parent, images = parent_of(structure, rounds=rounds), some_images(structure)
    before = logits_of(parent, images)
    assert before.std() > 0.01
    first, second = structure.levels
    deeper = replace(
        structure,
        levels=(
            replace(first, decoder=(*first.decoder, Block(4))),
            replace(second, encoder=(*second.encoder, Block(8))),
        ),
        bottleneck=(*structure.bottleneck, Block(7)),
    )
    share = 0.9 if rounds else 1.0
    for same in (structure, with_kernels(structure, 5), deeper):
        child = inherit(parent, same, {})
        assert structure_of(child) == same
        assert_nearly_all_close(logits_of(child, images), before, share=share)
        for layer in parent.layers:
            for old, new in zip(layer.get_weights(), child.get_layer(layer.name).get_weights(), strict=True):
                inner = new if new.shape == old.shape else new[1:-1, 1:-1]
                assert np.array_equal(inner, old)
                assert np.count_nonzero(new) == np.count_nonzero(old)  # around 3x3, zeros
    wider = with_widths(structure, {one.name: one.width + 3 for one in readers(structure) if one.name != LOGITS})
    np.testing.assert_allclose(logits_of(inherit(parent, wider, {}), images), before, atol=1e-4)
    if not rounds:  # else the tensors that a skip joins must share one range, which moves their steps
        joined = inherit(parent, changed_levels(structure, skip=True), {})
        np.testing.assert_allclose(logits_of(joined, images), before, atol=1e-5)


def test_another_size_and_pooling_keep_all_weights() -> None:
    structure = small_structure()
    parent = parent_of(structure, rounds=True)
    other = replace(structure, input_shape=(24, 48, 3))
    other = replace(other, levels=(replace(other.levels[0], pool=(3, 4)), other.levels[1]))
    child = inherit(parent, other, {})
    assert child.output_shape[1:3] == (24, 48)
    for one, same in zip(parent.get_weights(), child.get_weights(), strict=True):
        assert np.array_equal(one, same)


def test_fewer_blocks_go_on_with_the_weights_of_the_others() -> None:
    structure = small_structure()
    parent = parent_of(structure)
    first, second = structure.levels
    short = replace(
        structure,
        levels=(replace(first, encoder=first.encoder[:1]), replace(second, decoder=())),
        bottleneck=(),
    )
    child = inherit(parent, short, {"encoder1b_pw": np.array([0.0, 9.0, 0.0, 9.0, 9.0, 9.0])})
    assert structure_of(child) == short
    before, after = (model.get_layer("encoder2a_dw").get_weights()[0] for model in (parent, child))
    assert np.array_equal(after, before[:, :, [0, 1, 3, 4, 5]])  # encoder1a's five are read as encoder1b's best
    assert np.array_equal(
        child.get_layer("encoder2b_pw").get_weights()[0], parent.get_layer("encoder2b_pw").get_weights()[0]
    )
    assert logits_of(child, some_images(structure)).std() > 0


blocks = st.builds(Block, st.integers(1, 4), st.sampled_from([1, 3, 5]))
levels = st.builds(
    Level,
    st.lists(blocks, min_size=0, max_size=2).map(tuple),
    st.tuples(st.sampled_from([1, 2]), st.sampled_from([1, 2])),
    st.lists(blocks, min_size=0, max_size=2).map(tuple),
    st.booleans(),
)
structures = st.builds(
    Structure,
    st.sampled_from(["nano_u", "bu_net"]),
    st.just((8, 8, 3)),
    st.lists(levels, min_size=2, max_size=2).map(tuple),
    st.lists(blocks, min_size=0, max_size=2).map(tuple),
    stem=st.none() | blocks,
).filter(lambda s: bool(s.levels[0].encoder))


@settings(max_examples=5)
@given(structures, st.data())
def test_narrower_is_pruning_by_importance(structure: Structure, data: st.DataObject) -> None:
    parent = lively_model(structure, rounds=data.draw(st.booleans()))
    makers = [one for one in readers(structure) if one.name != LOGITS]
    widths = {one.name: data.draw(st.integers(1, one.width)) for one in makers}
    rng = np.random.default_rng(3)
    scores = {producer_layer(structure, one.name): rng.permutation(one.width).astype(float) for one in makers}
    child = inherit(parent, with_widths(structure, widths), scores)
    keep = {
        producer_layer(structure, name): sorted(np.argsort(-scores[producer_layer(structure, name)])[:width])
        for name, width in widths.items()
    }
    pruned = prune_channels(parent, keep)
    assert structure_of(child) == structure_of(pruned)
    for one, other in zip(child.get_weights(), pruned.get_weights(), strict=True):
        assert np.array_equal(one, other)


def test_any_structure_inherits_from_any_other_with_as_many_levels() -> None:
    parent = parent_of(small_structure(), rounds=True)
    other = Structure(
        "nano_u",
        (12, 24, 3),
        (Level((Block(2, 5),), (3, 2), (Block(3),), False), Level((), (2, 3), (Block(8), Block(8), Block(8)), True)),
        (Block(12), Block(12), Block(5)),
    )
    child = inherit(parent, other, {})
    assert structure_of(child) == other
    assert np.isfinite(logits_of(child, some_images(other))).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "bu_net"}, "architecture nano_u do not fit one with architecture bu_net"),
        ({"classes": 3}, "classes 2 do not fit one with classes 3"),
        ({"input_shape": (16, 24, 1)}, "image channels 3"),
        ({"levels": small_structure().levels[:1]}, "levels 2"),
    ],
)
def test_what_has_no_counterpart_is_refused(change, said) -> None:  # noqa: ANN001
    structure = small_structure()
    with pytest.raises(TrainError, match=said):
        inherit(parent_of(structure), replace(structure, **change), {})
