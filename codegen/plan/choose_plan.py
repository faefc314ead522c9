"""Choose the plan for an objective: which tensors to complete first, which to compute twice, which sums to let run.

All are searched greedily. Schedules are compared by the bytes that hold wanted rows at their worst step, which is
quick to tell and a lower bound of what any placement needs; only promising ones are placed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from codegen.errors import BudgetError
from codegen.plan.plan import Plan, make_plan
from codegen.plan.rematerialize import forks, recompute
from codegen.plan.running import could_run, with_running
from codegen.plan.schedule import Lifetimes, demand_order, lifetimes, live_bytes
from codegen.program.objective import Objective
from codegen.program.program import Program


@dataclass(frozen=True)
class _Effort:
    """Limits the search: single cuts that are paired with every other one, candidates of each kind that are placed."""

    first_cuts: int
    placed: int


# Of all schedules of one search together, which bounds its time; models of up to 100 layers stay below.
_SEARCHED_STAGES = 60_000
_QUICK, _THOROUGH = _Effort(4, 8), _Effort(12, 24)
_WORTH_IT = 0.02  # of working memory, for which a model's code may grow


@dataclass(frozen=True, eq=False)
class _Schedule:
    program: Program
    recomputed: tuple[int, ...]
    cuts: tuple[int, ...]
    order: tuple[int, ...]
    lives: dict[int, Lifetimes]
    bound_bytes: int


def best_plan(program: Program, objective: Objective) -> tuple[Program, Plan]:
    """Find the best plan, and the program that it is for, which may compute rows a second time or let sums run.

    Raises BudgetError where `max_ram_bytes` cannot be met; it names the least that can be.
    """
    best, plan = _with_running_sums(program, objective)
    program, limit = best.program, objective.max_ram_bytes
    while objective.optimize == "ram" or not _fits(plan, objective):
        better = [(s, p) for s, p in _with_one_more(program, best) if p.working_bytes < plan.working_bytes]
        if not better:
            break
        fitting = [pair for pair in better if _fits(pair[1], objective)]
        if fitting and objective.optimize != "ram":
            best, plan = min(fitting, key=lambda pair: pair[0].program.recomputed_macs)
        else:
            best, plan = min(better, key=lambda pair: pair[1].working_bytes)
    if objective.optimize == "ram" or not _fits(plan, objective):
        best, plan = _best_cuts(_scheduled(best.program, best.recomputed, ()), _THOROUGH)
    if limit is not None and plan.working_bytes > limit:
        raise BudgetError(
            f"the model needs {plan.working_bytes:,} bytes of working memory, more than {limit:,}",
            hint="allow more, or make the model narrower or its input smaller; frames are not counted, so row "
            "callbacks do not help",
        )
    return best.program, plan


def _with_running_sums(program: Program, objective: Objective) -> tuple[_Schedule, Plan]:
    """Find the best plan of cuts alone, in which sums run wherever that saves more memory than it costs time.

    Running products are taken to cost twice what those of a whole vector do.
    """
    best, plan = _best_cuts(_scheduled(program, (), ()), _QUICK)
    for stage in could_run(program):
        wanted = max(stage.macs / max(program.macs, 1), _WORTH_IT)
        if objective.optimize == "ram" or not _fits(plan, objective):
            wanted = 0.0
        elif objective.optimize == "time" and stage.macs:
            continue
        changed = with_running(best.program, stage)
        start = _scheduled(changed, (), ())
        kept = tuple(tensor for tensor in best.cuts if tensor != stage.inputs[0])
        with_cuts = _with_cuts(start, kept) if kept else start
        if min(start.bound_bytes, with_cuts.bound_bytes) >= best.bound_bytes:
            continue  # not worth a search
        schedule, candidate = _best_cuts(start, _QUICK)
        saved_bytes = plan.working_bytes - candidate.working_bytes
        if saved_bytes > 0 and saved_bytes >= wanted * plan.working_bytes:
            best, plan = schedule, candidate
    return best, plan


def _fits(plan: Plan, objective: Objective) -> bool:
    return objective.max_ram_bytes is None or plan.working_bytes <= objective.max_ram_bytes


def layer_plan(program: Program) -> Plan:
    """Plan layer by layer, every tensor whole before the next one starts. Only to compare with."""
    schedule = _scheduled(program, (), tuple(s.output for s in program.stages if s.output not in program.kept))
    return _planned(schedule)


def _with_one_more(program: Program, base: _Schedule) -> Iterator[tuple[_Schedule, Plan]]:
    """Yield the best plans that compute one more tensor a second time."""
    for tensor in forks(program):
        if tensor not in base.recomputed:
            recomputed = (*base.recomputed, tensor)
            yield _best_cuts(_scheduled(recompute(program, recomputed), recomputed, ()), _QUICK)


def _best_cuts(start: _Schedule, effort: _Effort) -> tuple[_Schedule, Plan]:
    """Find the best of at most two cuts. Fewer win where more save nothing."""
    program = start.program
    produced = [stage.output for stage in program.stages if stage.output not in program.kept]
    # A cut holds its whole tensor, so one that is not smaller than the peak cannot lower it.
    small = [t for t in produced if program.rows[t].count * program.rows[t].size_bytes < start.bound_bytes]
    most = max(effort.placed, _SEARCHED_STAGES // len(program.stages) // (1 + effort.first_cuts))
    if len(small) > most:  # the narrowest places divide a network best
        small = sorted(small, key=lambda t: program.rows[t].count * program.rows[t].size_bytes)[:most]
    singles = sorted((_with_cuts(start, (t,)) for t in small), key=_by_bound)
    first = [schedule.cuts[0] for schedule in singles[: effort.first_cuts]]
    pairs = {frozenset((a, b)): (a, b) for a in first for b in small if a != b}
    doubles = sorted((_with_cuts(start, pair) for pair in pairs.values()), key=_by_bound)
    best, plan = start, _planned(start)
    for candidate in (*singles[: effort.placed], *doubles[: effort.placed]):
        if candidate.bound_bytes < plan.working_bytes:
            placed = _planned(candidate)
            if placed.working_bytes < plan.working_bytes:
                best, plan = candidate, placed
    return best, plan


def _with_cuts(start: _Schedule, cuts: tuple[int, ...]) -> _Schedule:
    return _scheduled(start.program, start.recomputed, cuts)


def _by_bound(schedule: _Schedule) -> tuple[int, tuple[int, ...]]:
    return schedule.bound_bytes, schedule.cuts


def _scheduled(program: Program, recomputed: tuple[int, ...], cuts: tuple[int, ...]) -> _Schedule:
    order = demand_order(program, cuts)
    lives = lifetimes(program, order)
    return _Schedule(program, recomputed, cuts, order, lives, int(live_bytes(program, lives).max(initial=0)))


def _planned(schedule: _Schedule) -> Plan:
    return make_plan(schedule.program, schedule.cuts, schedule.order, schedule.lives)
