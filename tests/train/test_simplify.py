"""Planted dead, unused and repeated channels, silent skips and levels, identities: found exactly, removed exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nanou_train.networks.channel_graph import LOGITS, readers, structure_macs
from nanou_train.networks.rebuild import Origin, rebuild
from nanou_train.networks.structure import Block, structure_of
from nanou_train.pruning.evidence import mixing_layer
from nanou_train.pruning.importance import places_of
from nanou_train.simplify.simplify import simplify
from tests.train.networks import (
    edit_weights,
    lively_model,
    logits_of,
    plant_constant,
    plant_twin,
    small_structure,
    some_images,
)

DEAD = {
    ("encoder1b", 0),
    ("encoder2a", 2),
    ("encoder2b", 5),
    ("bottleneck_a", 1),
    ("bottleneck_a", 8),
    ("decoder2b", 4),
}


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def silence(model: Any, reader: str, positions: range) -> None:
    """Nothing listens to these input channels of a reader."""
    structure = structure_of(model)
    layer = mixing_layer(structure, next(one for one in readers(structure) if one.name == reader))

    def clear(weights: Any) -> None:
        weights[0][:, :, positions] = 0.0

    edit_weights(model, layer, clear)


def int8_of(model: Any) -> tuple[Any, Any]:
    """The int8 model, and its outputs for random inputs by TFLite's reference kernels."""
    from codegen.tflite.interpreters import run_builtin_ref
    from codegen.tflite.quantize import quantize
    from nanou_train.networks.architectures import preprocessing_of

    quantized = quantize(model, None, name="small", preprocessing=preprocessing_of(model), provenance={})
    images = np.random.default_rng(0).integers(-128, 128, (3, *model.input_shape[1:]), np.int8)
    return quantized, run_builtin_ref(quantized.flatbuffer, images)


@pytest.mark.parametrize(
    ("architecture", "skips", "rounds", "stem"),
    [("nano_u", True, True, True), ("nano_u", False, False, False), ("bu_net", True, False, False)],
)
def test_exactly_the_planted_dead_channels_go_and_nothing_changes(architecture, skips, rounds, stem) -> None:  # noqa: ANN001
    structure = small_structure(architecture, skips=skips, stem=stem)
    model = lively_model(structure, rounds=rounds)
    assert simplify(model).channels == ()
    for block, channel in DEAD:
        plant_constant(model, block, channel)
    before = logits_of(model, some_images(structure))
    found = simplify(model)
    assert {(one.block, one.channel) for one in found.channels} == DEAD
    assert {one.kind for one in found.channels} == {"zero"}
    assert (found.parts, found.kept, found.other_grids) == ((), (), ())
    after = logits_of(found.model, some_images(structure))
    assert before.std() > 0.05
    if rounds:
        assert np.array_equal(after, before)
    else:  # TensorFlow's float kernels add in another order when there are fewer channels
        np.testing.assert_allclose(after, before, atol=1e-5)
    widths = {one.name: one.width for one in readers(structure_of(found.model))}
    for one in readers(structure):
        assert widths[one.name] == one.width - sum(block == one.name for block, _ in DEAD)


@pytest.mark.slow
def test_the_int8_model_computes_the_same_with_fewer_weights_and_multiplications() -> None:
    from codegen.tflite.load import load_graph

    structure = small_structure()
    model = lively_model(structure, rounds=True)
    for block, channel in DEAD:
        plant_constant(model, block, channel)
    plant_constant(model, "decoder1b", 1, 0.7)
    found = simplify(model)
    (large, before), (small, after) = int8_of(model), int8_of(found.model)
    assert before.std() > 1
    assert np.array_equal(after, before)
    assert len(small.flatbuffer) < len(large.flatbuffer)
    weights = [
        sum(tensor.data.nbytes for tensor in load_graph(one.flatbuffer).tensors if tensor.data is not None)
        for one in (small, large)
    ]
    assert weights[0] < 0.9 * weights[1]
    assert structure_macs(structure_of(found.model)) < 0.9 * structure_macs(structure)


def test_a_constant_goes_where_it_can_be_folded_exactly() -> None:
    structure = small_structure()
    model = lively_model(structure, rounds=True)
    plant_constant(model, "decoder1b", 1, 0.7)  # only the logits read it
    plant_constant(model, "bottleneck_b", 3, behind=0.4)  # 0 itself, but the normalization behind makes it a constant
    plant_constant(model, "encoder2a", 1, 0.5)  # seen through a filter with padding: another value at the edges
    before = logits_of(model, some_images(structure))
    found = simplify(model)
    assert {(one.block, one.channel, one.kind) for one in found.channels} == {
        ("decoder1b", 1, "constant"),
        ("bottleneck_b", 3, "constant"),
    }
    assert np.array_equal(logits_of(found.model, some_images(structure)), before)


@pytest.mark.parametrize("architecture", ["nano_u", "bu_net"])
def test_exactly_the_planted_duplicates_are_merged(architecture) -> None:  # noqa: ANN001
    structure = small_structure(architecture)
    model = lively_model(structure)
    planted = {("encoder1a", 4, 1), ("encoder1b", 3, 1), ("bottleneck_b", 6, 2), ("decoder1b", 3, 2)}
    for block, channel, twin in planted:
        plant_twin(model, block, channel, twin)
    before = logits_of(model, some_images(structure))
    found = simplify(model)
    assert {(one.block, one.channel, one.twin) for one in found.channels} == planted
    np.testing.assert_allclose(logits_of(found.model, some_images(structure)), before, atol=2e-5)


def test_a_multiple_is_merged_only_where_nothing_caps_it() -> None:
    structure = small_structure()
    model = lively_model(structure)
    for factor in (0.5, 0.01):
        plant_twin(model, "decoder1b", 3, 2, factor)
        before = logits_of(model, some_images(structure))

        def calm(weights: Any, factor: float = factor) -> None:
            if factor == 0.01:  # so that the twin stays below 6 for every input
                weights[0][[2, 3]] *= 0.01

        edit_weights(model, "decoder1b_pw_bn", calm)
        before = logits_of(model, some_images(structure))
        found = simplify(model)
        assert len(found.channels) == (factor == 0.01)
        np.testing.assert_allclose(logits_of(found.model, some_images(structure)), before, atol=1e-5)


def test_what_nobody_listens_to_goes_with_what_only_that_needed() -> None:
    structure = small_structure(skips=False)
    model = lively_model(structure)
    for reader, at in places_of(structure, "decoder2a"):
        silence(model, reader.name, range(at + 1, at + 4))
    before = logits_of(model, some_images(structure))
    found = simplify(model)
    assert {(one.block, one.channel, one.kind) for one in found.channels} == {
        ("decoder2a", channel, "unused") for channel in (1, 2, 3)
    }
    np.testing.assert_allclose(logits_of(found.model, some_images(structure)), before, atol=1e-6)


@pytest.mark.parametrize("rounds", [False, True])
def test_levels_below_a_join_go_where_they_say_nothing(rounds: bool) -> None:
    structure = small_structure(stem=rounds)
    model = lively_model(structure, rounds=rounds)
    silence(model, "decoder2a", range(7))  # all of bottleneck_b
    before = logits_of(model, some_images(structure))
    found = simplify(model)
    assert found.parts == ("all levels below level 2, and its pooling",)
    level = structure.levels[1]
    expected = replace(structure, levels=structure.levels[:1], bottleneck=(*level.encoder, *level.decoder))
    assert structure_of(found.model) == expected
    np.testing.assert_allclose(logits_of(found.model, some_images(structure)), before, atol=1e-5)
    silence(model, "decoder1a", range(5))
    before = logits_of(model, some_images(structure))
    flat = simplify(model)
    assert structure_of(flat.model).levels == ()
    np.testing.assert_allclose(logits_of(flat.model, some_images(structure)), before, atol=1e-5)


def test_a_skip_that_says_nothing_goes() -> None:
    structure = small_structure()
    model = lively_model(structure)
    silence(model, "decoder1a", range(5, 11))
    before = logits_of(model, some_images(structure))
    found = simplify(model)
    assert found.parts == ("the skip of level 1",)
    assert [level.skip for level in structure_of(found.model).levels] == [False, True]
    np.testing.assert_allclose(logits_of(found.model, some_images(structure)), before, atol=1e-5)


@pytest.mark.parametrize(("architecture", "rounds"), [("nano_u", True), ("bu_net", False)])
def test_an_identity_block_goes(architecture, rounds) -> None:  # noqa: ANN001
    from dataclasses import replace

    structure = small_structure(architecture)
    first, second = structure.levels
    deeper = replace(structure, levels=(replace(first, encoder=(*first.encoder, Block(6))), second))
    origins = {one.name: Origin(one.name, tuple(range(one.width))) for one in readers(structure) if one.name != LOGITS}
    model = rebuild(lively_model(structure, rounds=rounds), deeper, {**origins, "encoder1c": Origin(None, ())})
    found = simplify(model)
    assert found.parts == ("the block encoder1c, an identity",)
    assert structure_of(found.model) == structure
    assert np.array_equal(logits_of(found.model, some_images(structure)), logits_of(model, some_images(structure)))


def test_the_last_channel_of_a_block_stays_and_a_lost_largest_weight_is_told() -> None:
    structure = small_structure(skips=False)
    model = lively_model(structure)
    for channel in range(7):
        plant_constant(model, "bottleneck_b", channel)

    def grow(weights: Any) -> None:
        weights[0][:, :, 0] = 9.0

    edit_weights(model, "decoder2a_pw", grow)
    before = logits_of(model, some_images(structure))
    found = simplify(model)
    assert "bottleneck_b" in {one.block for one in found.kept}
    assert "decoder2a" in found.other_grids
    np.testing.assert_allclose(logits_of(found.model, some_images(structure)), before, atol=1e-5)
