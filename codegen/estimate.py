"""Program -> how many instructions an inference takes, without running it.

Linear in the counts of codegen.features, with coefficients that `python -m nanou_deploy.measure.calibrate` fits to
emulated counts, one set for each emulated board (codegen/instruction_costs.json, which also states the error on
networks that were not fitted). What was never measured is refused, not guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from codegen.errors import UnsupportedError
from codegen.features import cost_name, stage_counts
from codegen.program.program import Program, Stage

COSTS_FILE = "instruction_costs.json"
COSTS_SCHEMA = 1
REST = "rest"  # call and return, and the arrival of input rows
Coefficients = Mapping[str, Mapping[str, float]]  # template -> count's name -> instructions


@dataclass(frozen=True)
class InstructionCosts:
    """What one board's instructions were fitted to, and how well they predict networks that took no part.

    Errors are of whole networks, in percent: largest and mean of absolute values, `checked_*` on networks like those
    to be deployed, `left_out_*` on each calibration network by coefficients fitted to all others.
    """

    board: str
    compiler: str
    models: int
    stages: int
    checked: int
    checked_max_percent: float
    checked_mean_percent: float
    left_out_max_percent: float
    left_out_mean_percent: float
    coefficients: Coefficients


@dataclass(frozen=True)
class StageEstimate:
    """Instructions of one stage in one inference; `number` and `kernel` as in the generated C."""

    number: str
    kernel: str
    instructions: int


@dataclass(frozen=True)
class Estimate:
    """Instructions of one inference on the board `board`: of each stage, and `rest` for what no stage does."""

    board: str
    stages: tuple[StageEstimate, ...]
    rest: int

    @property
    def instructions(self) -> int:
        return self.rest + sum(stage.instructions for stage in self.stages)


@cache
def instruction_costs() -> Mapping[str, InstructionCosts]:
    """By emulated board."""
    stated = json.loads(files("codegen").joinpath(COSTS_FILE).read_text(encoding="utf-8"))
    assert stated["schema"] == COSTS_SCHEMA
    return {board: InstructionCosts(board, **values) for board, values in stated["boards"].items()}


def estimate(program: Program, board: str) -> Estimate:
    """Raises UnsupportedError, which names the layer, where a kernel or the board was never measured."""
    costs = instruction_costs()
    if board not in costs:
        raise UnsupportedError(
            f"instructions are not estimated for {board}",
            hint=f"boards are {', '.join(costs)}; `nanou-deploy bench --board {board}` counts",
        )
    return estimate_with(program, board, costs[board].coefficients)


def estimate_with(program: Program, board: str, coefficients: Coefficients) -> Estimate:
    """The same by given coefficients."""
    stages = tuple(
        StageEstimate(stage.number, cost_name(stage), round(_instructions(program, stage, board, coefficients)))
        for stage in program.stages
    )
    return Estimate(board, stages, round(weigh(rest_counts(program), coefficients[REST])))


def rest_counts(program: Program) -> Mapping[str, float]:
    """What codegen.features has for stages, for what no stage does."""
    return {"inference": 1, "input rows": program.rows[program.input].count}


def weigh(counts: Mapping[str, float], coefficients: Mapping[str, float]) -> float:
    """Raises KeyError for a count without a coefficient."""
    return sum(times * coefficients[name] for name, times in counts.items())


def _instructions(program: Program, stage: Stage, board: str, coefficients: Coefficients) -> float:
    kernel = cost_name(stage)
    counts, known = stage_counts(program, stage), coefficients.get(kernel, {})
    if missing := sorted(set(counts) - set(known)):
        raise UnsupportedError(
            f"layer {stage.number}: a {kernel} kernel with {missing[0]!r} was never measured on {board}",
            hint=f"`nanou-deploy bench --board {board}` counts its instructions; such a network added to "
            "nanou_deploy/measure/cost_corpus.py makes `python -m nanou_deploy.measure.calibrate` learn it",
        )
    return max(0.0, weigh(counts, known))
