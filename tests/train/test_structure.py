"""A structure builds a model, and the model tells its structure."""

from __future__ import annotations

import json

import pytest

from nanou_train.errors import TrainError
from nanou_train.networks.architectures import create_bu_net, create_nano_u
from nanou_train.networks.fake_quant import quantization_aware
from nanou_train.networks.structure import Block, Level, Structure, build_model, structure_of

UNEVEN = Structure(
    "nano_u",
    (24, 32, 3),
    (
        Level((Block(3, 5), Block(4)), (2, 2), (Block(5),), skip=True),
        Level((Block(6),), (2, 4), (), skip=False),
    ),
    (Block(7), Block(2, 1), Block(3)),
    classes=3,
)


def test_a_model_tells_the_structure_that_it_was_built_from() -> None:
    model = build_model(UNEVEN, "uneven")
    assert model.output_shape == (None, 24, 32, 3)
    assert structure_of(model) == UNEVEN
    assert structure_of(quantization_aware(model)) == UNEVEN
    assert Structure.from_json(json.loads(json.dumps(UNEVEN.to_json()))) == UNEVEN


@pytest.mark.parametrize("create", [create_nano_u, create_bu_net])
@pytest.mark.parametrize("skips", [False, True])
def test_presets_have_two_equal_blocks_everywhere(create, skips) -> None:  # noqa: ANN001
    found = structure_of(create((12, 18, 3), (4, 6), 8, skips=skips))
    assert [level.encoder for level in found.levels] == [(Block(4),) * 2, (Block(6),) * 2]
    assert [level.decoder for level in found.levels] == [(Block(4),) * 2, (Block(6),) * 2]
    assert [(level.pool, level.skip) for level in found.levels] == [((2, 2), skips), ((2, 3), skips)]
    assert found.bottleneck == (Block(8),) * 2
    assert found.architecture == create.__name__.removeprefix("create_")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (Structure("nano_u", (24, 30, 3), UNEVEN.levels, UNEVEN.bottleneck), "pools its side of 30 pixels by 8"),
        (Structure("nano_u", (24, 32, 3), UNEVEN.levels, (Block(0),)), "without channels"),
        (Structure("nano_u", (24, 32, 3), UNEVEN.levels, (Block(4, 2),)), "even kernel"),
    ],
)
def test_what_cannot_be_built_is_refused_in_words(changed: Structure, said: str) -> None:
    with pytest.raises(TrainError, match=said):
        build_model(changed, "wrong")


def test_a_model_made_elsewhere_has_no_structure() -> None:
    import keras

    inputs = keras.Input((8, 8, 3))
    with pytest.raises(TrainError, match="not built by nanou_train"):
        structure_of(keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs)))
