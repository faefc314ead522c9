"""Share the steps of a schedule between two cores.

List scheduling (Graham, "Bounds on Multiprocessing Timing Anomalies", 1969) over a window of the one-core schedule:
whichever core is free first takes the first row whose inputs are computed. So rows of one layer, and rows of layers
that follow each other, are computed at the same time, while little more is kept than for one core. Costs are
estimates; they decide how evenly work is shared and never whether a result is right: that is what the waits are for,
which are derived from the bytes that steps touch (`waits.py`), and proven (`codegen.proof.memory`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import numpy as np

from codegen.errors import BudgetError
from codegen.plan.plan import Plan, make_plan
from codegen.plan.schedule import Lifetimes, lifetimes, needed_rows
from codegen.plan.waits import find_waits
from codegen.program.program import Program

CORES = 2
_WINDOWS_STEPS = (8, 16, 20, 24, 32, 48)
_STEP_COST = 40  # of finding rows, calling a kernel and waiting, in multiply-accumulates
_GOOD_ENOUGH = 1.08  # of the shortest time: within this, the smallest memory wins
_WORTH_IT = 0.9  # of one core's time; a second core that gains less is not used


@dataclass(frozen=True)
class _Step:
    """One step of the one-core schedule: `needs` are the steps whose rows it reads, `previous` its layer's last row."""

    index: int
    needs: tuple[int, ...]
    previous: int
    cost: int
    is_first_cores: bool


@dataclass(frozen=True, eq=False)
class _Sharing:
    """Gives the steps in the order in which they start, the core of each, and when each starts and ends."""

    order: tuple[int, ...]
    cores: tuple[int, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]

    @property
    def duration(self) -> int:
        return max(self.end)


def share_plan(program: Program, plan: Plan, max_ram_bytes: int | None = None) -> Plan:
    """Plan the same rows for two cores; return `plan` as it is where a second core gains less than a tenth.

    Raises BudgetError where two cores need more than `max_ram_bytes` of working memory.
    """
    steps = _steps(program, plan.schedule)
    found = [_share(steps, window) for window in _WINDOWS_STEPS]
    useful = [sharing for sharing in found if sharing.duration <= _WORTH_IT * sum(step.cost for step in steps)]
    if not useful:
        return plan
    planned = [(sharing, _planned(program, plan, sharing)) for sharing in useful]
    fitting = [pair for pair in planned if max_ram_bytes is None or pair[1].working_bytes <= max_ram_bytes]
    if not fitting:
        raise BudgetError(
            f"on two cores the model needs {min(p.working_bytes for _, p in planned):,} bytes of working memory, more "
            f"than {max_ram_bytes:,}",
            hint=f"allow more, or use one core, which needs {plan.working_bytes:,}",
        )
    limit = _GOOD_ENOUGH * min(sharing.duration for sharing, _ in fitting)
    good = [pair for pair in fitting if pair[0].duration <= limit]
    best = min(good, key=lambda pair: (pair[1].working_bytes, pair[0].duration))[1]
    return replace(best, waits=find_waits(program, best))


def _steps(program: Program, order: Sequence[int]) -> tuple[_Step, ...]:
    made: dict[int, list[int]] = {tensor: [] for tensor in program.rows}
    steps: list[_Step] = []
    for position, index in enumerate(order):
        if program.state_at(index):  # states change when all else is done
            steps.append(_Step(index, tuple(range(position)), -1, _STEP_COST, is_first_cores=True))
            continue
        stage, tensor = program.stage_at(index), program.tensor_at(index)
        mine, cost = made[tensor], _STEP_COST
        needs: set[int] = set()
        if stage:
            cost += stage.macs // program.rows[tensor].count + program.rows[tensor].size_bytes
            for source, read in ((stage.inputs[read.input], read) for read in stage.reads):
                rows = needed_rows(read, len(mine), program.rows[source].count)
                needs.update(made[source][row] for row in rows if made[source])  # nobody makes rows of states
        # Callbacks hand over rows; they are called by whoever calls the model, in order.
        is_first = stage is None or (program.passes_rows and tensor == program.output)
        steps.append(_Step(index, tuple(needs), mine[-1] if mine else -1, cost, is_first))
        mine.append(position)
    return tuple(steps)


def _share(steps: Sequence[_Step], window: int) -> _Sharing:
    """Let the core that is free first take the first of the next `window` steps whose inputs are there by then."""
    end: dict[int, int] = {-1: 0}
    taken: list[tuple[int, int, int]] = []  # position, core, start
    free = [0] * CORES
    waiting = list(range(len(steps)))
    while waiting:
        core = min(range(CORES), key=free.__getitem__)
        now = free[core]
        ready = [
            position
            for position in takewhile((waiting[0] + window).__gt__, waiting)
            if (core == 0 or not steps[position].is_first_cores)
            and steps[position].previous in end
            and all(end.get(need, now + 1) <= now for need in steps[position].needs)
        ]
        # What only the first core may do goes first there: the other one cannot help with it, but waits for it.
        position = min(ready, key=lambda p: (core == 0 and not steps[p].is_first_cores, p), default=None)
        if position is None:  # until the other core has computed something
            free[core] = max(free[1 - core], now + 1)
            continue
        waiting.remove(position)
        taken.append((position, core, now))
        end[position] = free[core] = now + steps[position].cost
    return _Sharing(
        tuple(steps[position].index for position, _, _ in taken),
        tuple(core for _, core, _ in taken),
        tuple(start for _, _, start in taken),
        tuple(end[position] for position, _, _ in taken),
    )


def _planned(program: Program, plan: Plan, sharing: _Sharing) -> Plan:
    """Place the rings for these steps; a row is kept until all that may run beside its last reader has started."""
    lives = lifetimes(program, sharing.order)
    beside = np.searchsorted(sharing.start, sharing.end, side="left") - 1
    until = np.maximum.accumulate(beside)
    longer = {
        tensor: Lifetimes(life.made, np.maximum(life.wanted, until[life.wanted])) for tensor, life in lives.items()
    }
    shared = make_plan(program, plan.cuts, sharing.order, longer)
    return replace(shared, cores=sharing.cores)
