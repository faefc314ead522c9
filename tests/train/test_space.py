"""What a search may try: every choice is a network, and the parent is one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanou_train.errors import ConfigError
from nanou_train.networks.structure import Block, Level, Structure, check_structure
from nanou_train.search.space import LEAST_BOTTOM_PX, Space, near_sizes, poolings, structure_key

PARENT = Structure(
    "nano_u",
    (60, 80, 3),
    (
        Level((Block(4), Block(3)), (2, 2), (Block(4),) * 2),
        Level((Block(8),), (2, 2), (Block(8), Block(6, 5)), skip=True),
        Level((Block(16),) * 2, (3, 2), ()),
    ),
    (Block(16),) * 2,
    classes=3,
)
SPACE = Space(PARENT)
PARAMETERS = {one.name: one.values for one in SPACE.parameters()}


@settings(max_examples=60)
@given(st.fixed_dictionaries({name: st.sampled_from(values) for name, values in PARAMETERS.items()}))
def test_every_choice_is_a_network_no_wider_or_deeper_than_the_parent(values: dict[str, int | str | bool]) -> None:
    found = SPACE.structure(values)
    blocks = [block for level in found.levels for block in (*level.encoder, *level.decoder)]
    assert all(block.width >= 1 and block.kernel in (3, 5) for block in (*blocks, *found.bottleneck))
    for level, own in zip(found.levels, PARENT.levels, strict=True):
        for blocks, parents in ((level.encoder, own.encoder), (level.decoder, own.decoder)):
            assert len(blocks) <= len(parents)
            assert all(block.width <= parent.width for block, parent in zip(blocks, parents, strict=False))
        assert len(level.encoder) >= 1
    for axis in (0, 1):
        bottom_px, rest = divmod(found.input_shape[axis], prod(level.pool[axis] for level in found.levels))
        assert (bottom_px >= LEAST_BOTTOM_PX, rest) == (True, 0)
    assert (found.classes, found.architecture, found.input_shape[2]) == (3, "nano_u", 3)


def test_the_parent_is_among_them_and_uneven_groups_keep_their_shape() -> None:
    assert SPACE.structure(SPACE.parent_values()) == PARENT
    assert SPACE.structure({}) == PARENT
    narrow = SPACE.structure({"width_encoder1": 2})
    assert narrow.levels[0].encoder == (Block(2), Block(2))  # 3 * 2 / 4 rounds to 2
    assert "kernel_decoder2" not in PARAMETERS  # 3 and 5: neither value would be both
    assert "depth_encoder2" not in PARAMETERS
    assert "width_decoder3" not in PARAMETERS
    assert SPACE.structure({"depth_bottleneck": 0}).bottleneck == ()


def test_around_a_parent_with_a_stem_sizes_are_halved_before_they_are_pooled() -> None:
    first, second, _ = PARENT.levels
    parent = replace(PARENT, levels=(first, replace(second, pool=(3, 2))), stem=Block(8))
    space = Space(parent)
    assert space.structure(space.parent_values()) == parent
    assert space.structure({"width_stem": 5}).stem == Block(5)
    assert "depth_stem" not in {one.name for one in space.parameters()}
    assert len(space.all_sizes) > 1
    for values in space.seeds(30, 0):
        check_structure(space.structure(values), "seed")
    assert poolings(parent, (36, 48))
    assert not poolings(parent, (45, 60))


def test_only_what_is_asked_for_varies() -> None:
    names = {one.name for one in Space(PARENT, vary=("width", "skip")).parameters()}
    assert {name.split("_")[0] for name in names} == {"width", "skip"}
    sizes = Space(PARENT, vary=("size",), sizes=((48, 64),))
    assert [one.values for one in sizes.parameters()] == [("60x80", "48x64")]
    assert sizes.structure({"size": "48x64"}).input_shape == (48, 64, 3)
    with pytest.raises(ConfigError, match="50x70 cannot be pooled 3 times") as error:
        Space(PARENT, sizes=((50, 70),))
    assert "48x64" in error.value.hint
    for wrong in ({"vary": ("depht",)}, {"narrowest": 0.0}, {"kernels": (2,)}):
        with pytest.raises(ConfigError):
            Space(PARENT, **wrong)  # type: ignore[arg-type]


def test_a_sampler_chooses_all_parameters_within_their_values(require_module: Callable[[str], None]) -> None:
    require_module("optuna")
    from optuna.distributions import CategoricalDistribution, IntDistribution
    from optuna.trial import FixedTrial

    trial = FixedTrial(dict(SPACE.parent_values()))
    assert SPACE.suggest(trial) == SPACE.parent_values()  # type: ignore[arg-type]
    assert SPACE.structure(trial.params) == SPACE.parent
    for one in SPACE.parameters():
        ordered = IntDistribution(int(one.values[0]), int(one.values[-1])) if one.ordered else None
        assert trial.distributions[one.name] == (ordered or CategoricalDistribution(one.values))


def test_poolings_divide_and_the_parents_come_first() -> None:
    assert near_sizes(PARENT) == ((60, 80), (54, 72), (48, 64), (36, 48))
    assert poolings(PARENT, (60, 80))[0] == ((2, 2), (2, 2), (3, 2))
    assert poolings(PARENT, (7, 80)) == ()


def test_seeds_are_different_networks_of_which_the_first_is_the_parent() -> None:
    seeds = SPACE.seeds(20, seed=1)
    structures = [SPACE.structure(values) for values in seeds]
    assert structures[0] == PARENT
    assert len({structure_key(one) for one in structures}) == 20
    assert all(set(values) == set(PARAMETERS) for values in seeds)
    assert seeds == SPACE.seeds(20, seed=1) != SPACE.seeds(20, seed=2)
    widths = [one.levels[2].encoder[0].width for one in structures[:5]]
    assert widths == [16, 12, 8, 6, 4]
