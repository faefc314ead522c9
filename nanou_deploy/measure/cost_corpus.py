"""Networks to calibrate instruction estimates on, and others to check them by. Always the same ones.

The first are as varied as the search space: widths 1 to 40, kernels 1, 3 and 5, poolings 2 to 4, with and without skip
connections, plain and separable, pictures of many widths. They are low, since a kernel computes rows, all of which cost
the same. The others are networks that somebody would deploy: the presets, narrowed and otherwise changed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from codegen.graph.model import QuantizedModel
from nanou_train.networks.random_weights import stand_in_model
from nanou_train.networks.structure import Architecture, Block, Level, Structure

_POOLS = ((2, 2), (2, 2), (2, 2), (3, 2), (3, 2), (3, 3), (4, 4), (2, 4))
_PICTURE_WIDTHS = (12, 13, 16, 18, 20, 23, 30)


def calibration_models() -> list[QuantizedModel]:
    """Networks to fit, by name."""
    return _models(_calibration_structures())


def checked_models() -> list[QuantizedModel]:
    """Networks from a quarter to the full cost of the preset, and others like it; none of them is fitted."""
    return _models(_checked_structures())


def _models(structures: Iterator[tuple[str, Structure]]) -> list[QuantizedModel]:
    """Input zero points 0 and -1 in turn: with one of them, padding has to be added."""
    return [
        stand_in_model(structure, input_zero_point=-(index % 2), name=name)
        for index, (name, structure) in enumerate(structures)
    ]


def _calibration_structures() -> Iterator[tuple[str, Structure]]:
    for seed in range(24):
        yield f"random_{seed:02d}", _random(random.Random(seed), "bu_net" if seed % 4 == 3 else "nano_u")
    for seed in range(8):
        yield f"chain_{seed}", _chain(random.Random(seed), "nano_u", 36)
    for seed in range(6):
        yield f"plain_chain_{seed}", _chain(random.Random(seed), "bu_net", 20)
    for seed in range(8):
        yield f"ladder_{seed}", _ladder(random.Random(seed))


def _random(draw: random.Random, architecture: Architecture) -> Structure:
    """Any structure, small."""
    pools = [draw.choice(_POOLS) for _ in range(draw.choice((1, 2, 2, 3)))]
    height, width = draw.choice((2, 3)), draw.choice((1, 2, 3, 4, 5, 7, 10, 13))
    for rows, columns in pools:
        height, width = height * rows, width * columns

    def blocks(least: int) -> tuple[Block, ...]:
        return tuple(_block(draw, (1, 3, 3, 3, 5)) for _ in range(draw.randint(least, 3)))

    levels = tuple(Level(blocks(1), pool, blocks(0), draw.random() < 0.5) for pool in pools)
    return Structure(architecture, (height, width, 3), levels, blocks(0), draw.choice((2, 2, 3, 4)))


def _chain(draw: random.Random, architecture: Architecture, count: int) -> Structure:
    """Many pairs of widths in one network."""
    kernels = (3,) * 8 + (5, 5, 1) if architecture == "nano_u" else (3, 3, 3, 5, 1)
    blocks = tuple(_block(draw, kernels) for _ in range(count))
    return Structure(architecture, (3, draw.choice(_PICTURE_WIDTHS), 3), (), blocks, draw.choice((2, 3)))


def _ladder(draw: random.Random) -> Structure:
    """Much that is pooled and upsampled, as deployed networks do it."""
    pools = [draw.choice(((2, 2), (2, 2), (3, 2))) for _ in range(3)]
    height, width = 2, draw.choice((2, 3, 5))
    for rows, columns in pools:
        height, width = height * rows, width * columns
    levels = tuple(Level((_block(draw, (3,)),), pool, (_block(draw, (3,)),), draw.random() < 0.3) for pool in pools)
    return Structure("nano_u", (height, width, 3), levels, (_block(draw, (3,)),))


def _block(draw: random.Random, kernels: Sequence[int]) -> Block:
    return Block(_random_width(draw), draw.choice(kernels))


def _random_width(draw: random.Random) -> int:
    return draw.choice((draw.randint(1, 8), draw.randint(1, 8), draw.randint(4, 20), draw.randint(4, 40)))


def _checked_structures() -> Iterator[tuple[str, Structure]]:
    small = ((2, 2), (2, 2), (3, 2))
    yield "nano_u", _uniform((4, 8, 16), 16, small)
    yield "nano_u_x0.75", _uniform((3, 6, 12), 12, small)
    yield "nano_u_x0.5", _uniform((2, 4, 8), 8, small)
    yield "nano_u_odd", _uneven()
    yield "nano_u_two_levels", _uniform((5, 11), 14, small[:2])
    yield "nano_u_48x64_skips", _uniform((4, 8), 16, small[:2], size=(48, 64), skip=True)
    yield "nano_u_36x48", _uniform((6, 10, 12), 12, ((3, 2), (2, 2), (3, 3)), size=(36, 48))
    yield "nano_u_k5", _uniform((4, 6), 12, small[:2], size=(48, 64), kernel=5)
    yield "nano_u_pool4_skips", _uniform((4, 10), 12, ((4, 4), (3, 2)), size=(48, 64), skip=True)
    yield "nano_u_classes", _uniform((4, 8, 12), 12, small, classes=4)


def _uniform(
    widths: Sequence[int],
    bottleneck: int,
    pools: Sequence[tuple[int, int]],
    *,
    size: tuple[int, int] = (60, 80),
    kernel: int = 3,
    skip: bool = False,
    classes: int = 2,
) -> Structure:
    levels = tuple(
        Level((Block(width, kernel),) * 2, pool, (Block(width, kernel),) * 2, skip)
        for width, pool in zip(widths, pools, strict=True)
    )
    return Structure("nano_u", (*size, 3), levels, (Block(bottleneck, kernel),) * 2, classes)


def _uneven() -> Structure:
    """As pruning leaves them."""
    levels = (
        Level((Block(3), Block(4)), (2, 2), (Block(4), Block(3))),
        Level((Block(5), Block(7)), (2, 2), (Block(6),)),
        Level((Block(9), Block(13)), (3, 2), (Block(11), Block(10)), True),
    )
    return Structure("nano_u", (60, 80, 3), levels, (Block(14),))
