"""A structure builds a model, and the model tells its structure."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
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


@pytest.mark.parametrize("stem", [None, Block(5), Block(4, 5)])
@pytest.mark.parametrize("architecture", ["nano_u", "bu_net"])
def test_a_model_tells_the_structure_that_it_was_built_from(architecture, stem) -> None:  # noqa: ANN001
    structure = replace(UNEVEN, architecture=architecture, stem=stem, input_shape=(48, 64, 3))
    model = build_model(structure, "uneven")
    assert model.output_shape == (None, 48, 64, 3)
    assert structure_of(model) == structure
    assert structure_of(quantization_aware(model)) == structure
    assert Structure.from_json(json.loads(json.dumps(structure.to_json()))) == structure


def test_behind_a_stem_each_pixel_has_logits_of_its_own_place() -> None:
    """Channels become blocks of 2x2 pixels, row by row, as DEPTH_TO_SPACE orders them."""
    structure = Structure("nano_u", (4, 6, 3), (Level((), (1, 1), ()),), (), stem=Block(2))
    model = build_model(structure, "order")
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([0 * kernel, np.arange(4.0)])
    logits = np.asarray(model(np.zeros((1, 4, 6, 3), np.float32)))[0, :, :, 0]
    assert np.array_equal(logits, np.tile([[0, 1], [2, 3]], (2, 3)))
    assert bias.shape == (4,)


def test_a_preset_may_halve_its_pictures_first() -> None:
    found = structure_of(create_nano_u((12, 24, 3), (4, 6), 8, stem=5, encoder_blocks=1, bottleneck_blocks=3))
    assert found.stem == Block(5)
    assert [len(level.encoder) for level in found.levels] == [1, 1]
    assert [(level.pool, len(level.decoder)) for level in found.levels] == [((2, 2), 2), ((3, 2), 2)]
    assert len(found.bottleneck) == 3
    with pytest.raises(TrainError, match=r"halves its picture and pools 2 times.*height 14") as error:
        create_nano_u((14, 24, 3), (4, 6), 8, stem=5)
    assert error.value.hint == "use 12x24 or 16x24, or fewer stages"


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
