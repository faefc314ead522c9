"""Lists the networks that a search may try: variations of a parent's structure, as parameters of finitely many values.

Per group of blocks (the encoder or decoder blocks of one level, the bottleneck): width, depth and kernel. Per network:
size of its pictures, poolings, skips. Widths and depths go down from the parent's, so that a candidate can take over
its weights; the bottleneck may go altogether.
Every combination of values is a network that can be built: poolings are listed for each size, and only those that
divide it. Parameters that a combination does not need (poolings of another size) have no effect; `structure_key` tells
that two combinations are the same network.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, prod
from typing import TYPE_CHECKING, Any, get_args

from nanou_train.errors import ConfigError
from nanou_train.experiments.config import Dimension
from nanou_train.networks.structure import STEM, Block, Level, Structure

if TYPE_CHECKING:
    import optuna

DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Value = int | str | bool
Size = tuple[int, int]
Pools = tuple[tuple[int, int], ...]
POOL_FACTORS = (2, 3, 4)
MAX_POOLINGS = 12  # per size; beyond, they are ever less like the parent's
LEAST_BOTTOM_PX = 2  # fewer rows or columns at the bottom see everything at once and place nothing
SEED_SCALES = (1.0, 0.75, 0.5, 0.35, 0.25)


@dataclass(frozen=True)
class Parameter:
    """One choice. `ordered` values are consecutive integers, of which near ones are alike."""

    name: str
    values: tuple[Value, ...]
    ordered: bool = False


@dataclass(frozen=True)
class Space:
    """Variations of `parent` in the dimensions of `vary`.

    `narrowest` is the least width as a share of the parent's, `kernels` are sides of spatial filters, `sizes` are
    (height, width) in pixels; the parent's own kernels and size are always among the choices.
    """

    parent: Structure
    vary: tuple[Dimension, ...] = DIMENSIONS
    narrowest: float = 0.25
    kernels: tuple[int, ...] = (3, 5)
    sizes: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        for dimension in self.vary:
            if dimension not in DIMENSIONS:
                raise ConfigError(f'a search cannot vary "{dimension}"', hint=f"known: {', '.join(DIMENSIONS)}")
        if not 0 < self.narrowest <= 1:
            raise ConfigError(f"the narrowest share of a width is {self.narrowest}", hint="give 0.25, or 0..1")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ConfigError(f"kernels {self.kernels} are not odd", hint="use 1, 3 or 5")
        for size in self.sizes:
            if not poolings(self.parent, size):
                raise ConfigError(
                    f"pictures of {_size_text(size)} cannot be pooled {len(self.parent.levels)} times by 2, 3 or 4",
                    hint=f"sizes like the parent's: {', '.join(map(_size_text, near_sizes(self.parent)))}",
                )

    @property
    def all_sizes(self) -> tuple[Size, ...]:
        """The parent's size first."""
        own = self.parent.input_shape[:2]
        others = (self.sizes or near_sizes(self.parent)) if "size" in self.vary else ()
        return tuple(dict.fromkeys((own, *others)))

    def parameters(self) -> tuple[Parameter, ...]:
        """Return what there is to choose; parameters with one value are left out."""
        return tuple(parameter for parameter in self._parameters() if len(parameter.values) > 1)

    def _parameters(self) -> Iterator[Parameter]:
        groups = _groups(self.parent)
        for name, blocks in groups.items():
            top = max(block.width for block in blocks)
            if "width" in self.vary:
                least = min(top, max(2, ceil(self.narrowest * top)))
                yield Parameter(f"width_{name}", tuple(range(least, top + 1)), ordered=True)
            if "depth" in self.vary:
                least = 0 if name == "bottleneck" else 1
                yield Parameter(f"depth_{name}", tuple(range(least, len(blocks) + 1)), ordered=True)
            own = {block.kernel for block in blocks}
            if "kernel" in self.vary and len(own) == 1:  # an uneven group keeps its kernels
                yield Parameter(f"kernel_{name}", tuple(sorted({*self.kernels, *own})))
        if "skip" in self.vary:
            for number in range(1, len(self.parent.levels) + 1):
                yield Parameter(f"skip_{number}", (False, True))
        yield Parameter("size", tuple(map(_size_text, self.all_sizes)))
        if "pool" in self.vary:
            for size in self.all_sizes:
                yield Parameter(f"pool_{_size_text(size)}", tuple(map(_pools_text, poolings(self.parent, size))))

    def suggest(self, trial: optuna.Trial) -> dict[str, Value]:
        """Let a trial's sampler choose a value for each parameter."""
        found: dict[str, Any] = {}
        for one in self.parameters():
            if one.ordered:
                found[one.name] = trial.suggest_int(one.name, int(one.values[0]), int(one.values[-1]))
            else:
                found[one.name] = trial.suggest_categorical(one.name, one.values)
        return found

    def parent_values(self) -> dict[str, Value]:
        """Return the choice of all parameters that gives the parent itself."""
        found: dict[str, Value] = {}
        groups = _groups(self.parent)
        for one in self.parameters():
            kind, _, name = one.name.partition("_")
            if kind == "width":
                found[one.name] = max(block.width for block in groups[name])
            elif kind == "depth":
                found[one.name] = len(groups[name])
            elif kind == "kernel":
                found[one.name] = groups[name][0].kernel
            elif kind == "skip":
                found[one.name] = self.parent.levels[int(name) - 1].skip
            else:
                found[one.name] = one.values[0]  # sizes and poolings begin with the parent's or the nearest to it
        return found

    def structure(self, values: Mapping[str, Value]) -> Structure:
        """Return the network of a choice; what is not chosen is the parent's."""
        parent = self.parent
        height, width = _size(str(values.get("size", _size_text(parent.input_shape[:2]))))
        text = values.get(f"pool_{height}x{width}")
        pools = _pools(str(text)) if text is not None else poolings(parent, (height, width))[0]
        groups = {name: _blocks(blocks, name, values) for name, blocks in _groups(parent).items()}
        levels = tuple(
            Level(
                groups.get(f"encoder{number}", ()),
                pools[number - 1],
                groups.get(f"decoder{number}", ()),
                bool(values.get(f"skip_{number}", level.skip)),
            )
            for number, level in enumerate(parent.levels, start=1)
        )
        shape, (stem,) = (height, width, parent.input_shape[2]), groups.get(STEM, (None,))
        return replace(parent, input_shape=shape, levels=levels, bottleneck=groups.get("bottleneck", ()), stem=stem)

    def seeds(self, count: int, seed: int) -> tuple[dict[str, Value], ...]:
        """At most `count` different networks to begin with.

        The parent, then the parent evenly narrowed, then narrowed ones with a few other choices. Independent draws
        would hardly ever come near a network that is known to work.
        """
        draw, parent, parameters = random.Random(seed), self.parent_values(), self.parameters()
        found: dict[str, dict[str, Value]] = {}
        ladder = [self._narrowed(parent, scale) for scale in SEED_SCALES]
        for attempt in range(len(ladder) + 20 * count):
            if len(found) >= count:
                break
            if attempt < len(ladder):
                values = ladder[attempt]
            else:
                values = self._narrowed(parent, draw.uniform(self.narrowest, 1.0))
                for one in parameters:
                    if draw.random() < 0.25:
                        values[one.name] = draw.choice(one.values)
            found.setdefault(structure_key(self.structure(values)), values)
        return tuple(found.values())

    def _narrowed(self, values: Mapping[str, Value], scale: float) -> dict[str, Value]:
        narrowed = dict(values)
        for one in self.parameters():
            if one.name.startswith("width_"):
                narrowed[one.name] = max(int(one.values[0]), round(scale * int(values[one.name])))
        return narrowed


def structure_key(structure: Structure) -> str:
    """16 hexadecimal digits that stand for one network, whatever choice led to it."""
    return hashlib.sha256(json.dumps(structure.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def space_identity(space: Space) -> dict[str, Any]:
    """Return what two searches must have in common to be one; JSON types only."""
    return {
        "parent": space.parent.to_json(),
        "parameters": {one.name: list(one.values) for one in space.parameters()},
    }


def poolings(parent: Structure, size: Size) -> tuple[Pools, ...]:
    """Ways to pool a size as often as the parent does, those most like the parent's first; empty where there is none.

    Sides divide exactly and end at `LEAST_BOTTOM_PX` or more.
    """
    if any(side % parent.stride for side in size):
        return ()
    size = (size[0] // parent.stride, size[1] // parent.stride)
    levels = len(parent.levels)
    own: Pools = tuple(level.pool for level in parent.levels)
    rows, columns = (
        [factors for factors in product(POOL_FACTORS, repeat=levels) if _divides(side, factors)] for side in size
    )
    found: set[Pools] = {tuple(zip(down, across, strict=True)) for down, across in product(rows, columns)}
    if all(side % prod(pool[axis] for pool in own) == 0 for axis, side in enumerate(size)):
        found.add(own)

    def unlike(pools: Pools) -> tuple[int, int, Pools]:
        steps = sum(abs(a - b) for one, other in zip(pools, own, strict=True) for a, b in zip(one, other, strict=True))
        return steps, sum(abs(down - across) for down, across in pools), pools

    return tuple(sorted(found, key=unlike)[:MAX_POOLINGS])


def near_sizes(parent: Structure) -> tuple[Size, ...]:
    """Sizes of the parent's shape, from half its sides up to its own, that can be pooled as often; largest first."""
    height, width, _ = parent.input_shape
    sizes = ((rows, rows * width // height) for rows in range(height, (height - 1) // 2, -1))
    return tuple(size for size in sizes if size[1] * height == size[0] * width and poolings(parent, size))


def _divides(side: int, factors: tuple[int, ...]) -> bool:
    factor = prod(factors)
    return side % factor == 0 and side // factor >= LEAST_BOTTOM_PX


def _groups(structure: Structure) -> dict[str, tuple[Block, ...]]:
    """Return the blocks that share their choices, by name; groups without blocks are left out."""
    found = {}
    for number, level in enumerate(structure.levels, start=1):
        found[f"encoder{number}"] = level.encoder
        found[f"decoder{number}"] = level.decoder
    found["bottleneck"] = structure.bottleneck
    found[STEM] = (structure.stem,) if structure.stem else ()
    return {name: blocks for name, blocks in found.items() if blocks}


def _blocks(blocks: tuple[Block, ...], name: str, values: Mapping[str, Value]) -> tuple[Block, ...]:
    top = max(block.width for block in blocks)
    widest = int(values.get(f"width_{name}", top))
    kernel = values.get(f"kernel_{name}")
    return tuple(
        Block(max(1, round(block.width * widest / top)), block.kernel if kernel is None else int(kernel))
        for block in blocks[: int(values.get(f"depth_{name}", len(blocks)))]
    )


def _size_text(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"


def _size(text: str) -> Size:
    height, _, width = text.partition("x")
    return int(height), int(width)


def _pools_text(pools: Pools) -> str:
    return " ".join(map(_size_text, pools))


def _pools(text: str) -> Pools:
    return tuple(_size(one) for one in text.split())
