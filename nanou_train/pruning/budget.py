"""Choose how many channels each layer keeps so that a network costs at most so much.

Channels are put in an order of removal, which needs multiply-accumulates alone; how many of them go is then found by
bisection with the cost that is asked for. So a cost that takes seconds, such as instructions counted in an emulator,
is asked some ten times for a cut, and the network that comes out is one whose cost was asked.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nanou_train.errors import TrainError
from nanou_train.networks.channel_graph import LOGITS, producer_layer, readers, structure_macs
from nanou_train.networks.structure import Structure
from nanou_train.pruning.importance import Importance
from nanou_train.pruning.prune import with_widths

CostFunction = Callable[[Structure], float]
Widths = Mapping[str, int]  # by block
FLOOR = 2


@dataclass(frozen=True)
class Cut:
    """What to keep, by block, and what the network costs before and after."""

    keep: Mapping[str, tuple[int, ...]]
    structure: Structure
    cost_before: float
    cost_after: float


def plan_cut(
    structure: Structure,
    importance: Importance,
    target_cost: float,
    cost: CostFunction = structure_macs,
    *,
    floor: int = FLOOR,
) -> Cut:
    """Remove channels until `cost` is at most `target_cost`, least importance per multiply-accumulate saved first.

    What a channel saves is counted in all layers that see it. At least `floor` channels stay in each layer, or all
    where there are fewer. Raises TrainError where the target cannot be reached.
    """
    return _first_within(structure, importance, tuple(_removals(structure, importance, floor)), target_cost, cost)


def uniform_cut(
    structure: Structure,
    importance: Importance,
    target_cost: float,
    cost: CostFunction = structure_macs,
    *,
    floor: int = FLOOR,
) -> Cut:
    """Plan the control: all layers keep one share, the largest within `target_cost`; else as `plan_cut`."""
    full = _widths(structure)
    shares = sorted({kept / width for width in full.values() for kept in range(1, width + 1)}, reverse=True)
    narrowed = [
        {name: max(min(floor, width), int(share * width + 1e-9)) for name, width in full.items()} for share in shares
    ]
    return _first_within(structure, importance, narrowed, target_cost, cost)


def _widths(structure: Structure) -> dict[str, int]:
    return {one.name: one.width for one in readers(structure) if one.name != LOGITS}


def _removals(structure: Structure, importance: Importance, floor: int) -> Iterator[Widths]:
    """Widths as channels go one by one, each time the one that loses the least importance for what it saves."""
    widths = _widths(structure)
    ascending = {name: np.sort(importance[producer_layer(structure, name)]) for name in widths}
    yield dict(widths)
    while True:
        macs = structure_macs(with_widths(structure, widths))
        options = []
        for name, width in widths.items():
            if width > floor:
                saved = macs - structure_macs(with_widths(structure, {**widths, name: width - 1}))
                options.append((float(ascending[name][len(ascending[name]) - width]) / saved, name))
        if not options:
            return
        widths[min(options)[1]] -= 1
        yield dict(widths)


def _first_within(
    structure: Structure, importance: Importance, narrowed: Sequence[Widths], target_cost: float, cost: CostFunction
) -> Cut:
    """Search ever narrower networks for the first that costs at most `target_cost`, supposing that costs fall."""

    def costs(number: int) -> float:
        return cost(with_widths(structure, narrowed[number]))

    before, last = cost(structure), len(narrowed) - 1
    if (least := costs(last)) > target_cost:
        raise TrainError(
            f"no channel is left to remove at {least / before:.1%} of the cost, asked {target_cost / before:.1%}",
            hint="ask for less, or begin with fewer levels",
        )
    number = bisect_left(range(last), True, key=lambda number: costs(number) <= target_cost)
    widths, keep = narrowed[number], {}
    for name, width in widths.items():
        order = np.argsort(-importance[producer_layer(structure, name)], kind="stable")
        keep[name] = tuple(sorted(order[:width].tolist()))
    return Cut(keep, with_widths(structure, widths), before, costs(number))
