"""Which layers give channels so that a network costs less: least importance lost per cost saved, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from nanou_train.errors import TrainError
from nanou_train.networks.channel_graph import LOGITS, producer_layer, readers, structure_macs
from nanou_train.networks.structure import Structure
from nanou_train.pruning.importance import Float, Importance
from nanou_train.pruning.prune import with_widths

CostFunction = Callable[[Structure], float]
FLOOR = 2
STEPS = (1, 2, 4)  # how many channels may go at once: some widths are cheaper per channel than the next smaller one


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
    """Remove channels until `cost` is at most `target_cost`.

    Of all layers, and of one, two or four of a layer's least important channels at once, those go that lose the least
    importance for what they save; what a channel costs is counted in all layers that see it. At least `floor` channels
    stay in each layer, or all where there are fewer. Raises TrainError where the target cannot be reached.
    """
    cost = cache(cost)  # a compiler's estimate takes a second
    saving = _Saving(structure, cost)
    widths = {one.name: one.width for one in readers(structure) if one.name != LOGITS}
    ascending = {name: np.sort(importance[producer_layer(structure, name)]) for name in widths}
    before = current = cost(structure)
    while current > target_cost:
        name, step = _best_step(widths, ascending, saving, floor)
        if not name:
            raise TrainError(
                f"no channel is left to remove at {current / before:.1%} of the cost, asked {target_cost / before:.1%}",
                hint="ask for less, or begin with fewer levels",
            )
        widths[name] -= step
        current = cost(with_widths(structure, widths))
    return _cut_to(structure, importance, widths, before, current)


def _best_step(
    widths: Mapping[str, int], ascending: Mapping[str, Float], saving: _Saving, floor: int
) -> tuple[str, int]:
    """The layer that gives channels next, and how many; no name where none can."""
    while True:
        options = []
        for name, width in widths.items():
            gone = len(ascending[name]) - width
            for step in STEPS:
                if width - step >= floor and (saved := saving.last_known(widths, name, step)) > 0:
                    options.append((float(ascending[name][gone : gone + step].sum()) / saved, name, step))
        if not options:
            return "", 0
        _, name, step = min(options)
        if not saving.renewed(widths, name, step):
            return name, step


def uniform_cut(
    structure: Structure,
    importance: Importance,
    target_cost: float,
    cost: CostFunction = structure_macs,
    *,
    floor: int = FLOOR,
) -> Cut:
    """The control: all layers keep the same share, the largest that costs at most `target_cost`; else as `plan_cut`."""
    full = {one.name: one.width for one in readers(structure) if one.name != LOGITS}
    shares = sorted({kept / width for width in full.values() for kept in range(1, width + 1)}, reverse=True)
    for share in shares:
        widths = {name: max(min(floor, width), int(share * width + 1e-9)) for name, width in full.items()}
        if (after := cost(with_widths(structure, widths))) <= target_cost:
            return _cut_to(structure, importance, widths, cost(structure), after)
    raise TrainError("no share of all layers costs as little", hint="ask for less, or begin with fewer levels")


def _cut_to(
    structure: Structure, importance: Importance, widths: Mapping[str, int], before: float, after: float
) -> Cut:
    keep = {}
    for name, width in widths.items():
        order = np.argsort(-importance[producer_layer(structure, name)], kind="stable")
        keep[name] = tuple(sorted(order[:width].tolist()))
    return Cut(keep, with_widths(structure, widths), before, after)


class _Saving:
    """What narrower layers save. It falls as the layers around them become narrower, so what was true before is at
    least as much, and only the best step has to be asked anew (Minoux 1978, lazy greedy)."""

    def __init__(self, structure: Structure, cost: CostFunction) -> None:
        self.structure, self.cost = structure, cost
        self.near: dict[str, list[str]] = {}
        self.known: dict[tuple[str, int, int], tuple[list[int], float]] = {}
        producers = {one.name: [slot.producer for slot in one.slots] for one in readers(structure)}
        for name, own in producers.items():
            behind = [other for other, read in producers.items() if name in read]
            beside = [one for other in behind for one in producers[other]]
            self.near[name] = sorted({name, *own, *behind, *beside})

    def last_known(self, widths: Mapping[str, int], name: str, step: int) -> float:
        """As when this layer was last as wide as now; computed where it never was."""
        key = (name, step, widths[name])
        if key not in self.known:
            full = with_widths(self.structure, widths)
            saved = self.cost(full) - self.cost(with_widths(full, {name: widths[name] - step}))
            self.known[key] = [widths.get(one, 0) for one in self.near[name]], saved
        return self.known[key][1]

    def renewed(self, widths: Mapping[str, int], name: str, step: int) -> bool:
        """Whether a width nearby had changed since, and the saving was computed again."""
        key = (name, step, widths[name])
        if self.known[key][0] == [widths.get(one, 0) for one in self.near[name]]:
            return False
        del self.known[key]
        self.last_known(widths, name, step)
        return True
