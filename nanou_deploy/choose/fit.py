"""Choose the network of a front that fits a board and a goal, or say what would be needed.

Time is counted in instructions. Milliseconds are only told of a board of which somebody measured how long its
instructions take (`bench --port --save-timing`); else a frame rate becomes a number of cycles, and how many of them an
instruction takes is an assumption that the user makes, or the stated default.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nanou_deploy.boards.boards import Board
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.timing import InstructionTiming
from nanou_train.networks.cost import Cost, Limits
from nanou_train.search.pareto import Front, Point

# An assumption, not a measurement: flash that stalls and loads that wait, on chips that do one instruction per cycle.
ASSUMED_CYCLES_PER_INSTRUCTION = 2.0
# What a model may take of a chip's RAM and flash where the user states no limit: the rest is for the application.
RAM_SHARE, FLASH_SHARE = 0.5, 0.5


@dataclass(frozen=True)
class Goal:
    """The user's goal. Bytes; `max_ram_bytes` is working memory, frames not counted. None: whatever the board has."""

    fps: float | None = None
    max_ram_bytes: int | None = None
    max_flash_bytes: int | None = None
    max_instructions: int | None = None
    min_miou: float | None = None
    cycles_per_instruction: float | None = None


@dataclass(frozen=True)
class Budget:
    """The limits of a goal on a board, and in words where each comes from.

    `max_total_ram_bytes` bounds working memory and frames together. `us_per_instruction` is measured or None.
    """

    board: str
    limits: Limits
    max_total_ram_bytes: int | None
    reasons: tuple[str, ...]
    cycles: float | None
    us_per_instruction: float | None


@dataclass(frozen=True)
class Verdict:
    """A point of the front held against a budget: what it breaks, and what it would take."""

    point: Point
    cost: Cost
    violations: tuple[str, ...]
    affordable_cycles_per_instruction: float | None
    ms: float | None


@dataclass(frozen=True)
class Fit:
    """`verdicts` are on all points, best first. `needed`: what would have to change, where none fits."""

    budget: Budget
    verdicts: tuple[Verdict, ...]
    needed: tuple[str, ...]

    @property
    def chosen(self) -> Verdict | None:
        return next((verdict for verdict in self.verdicts if not verdict.violations), None)

    @property
    def runner_up(self) -> Verdict | None:
        fitting = [verdict for verdict in self.verdicts if not verdict.violations]
        return fitting[1] if len(fitting) > 1 else None


def find_fit(
    front: Front, board: Board, goal: Goal, timing: InstructionTiming | None = None, *, folder: Path = Path()
) -> Fit:
    """Rank the points by validation mIoU and take the first that meets the goal. `folder` is where the front lies.

    Raises DeployError where the front has no costs for the board, the board states no clock for a frame rate, or the
    timing is another board's.
    """
    if not front.points or any(board.name not in point.costs for point in front.points):
        raise DeployError(
            f"the front {front.name} has no costs for {board.name}",
            hint=f"it has {', '.join(front.boards) or 'none'}; `nanou-deploy pareto RUN... --board {board.name}` "
            "makes one that does",
        )
    budget = make_budget(board, goal, timing)
    ranked = sorted(front.points, key=lambda point: point.miou, reverse=True)
    verdicts = tuple(_verdict(point, budget, goal) for point in ranked)
    needed = () if any(not one.violations for one in verdicts) else tuple(_needed(verdicts, budget, goal, folder))
    return Fit(budget, verdicts, needed)


def run_folder(folder: Path, point: Point) -> Path:
    """Find the run folder of a point of the front in `folder`."""
    return Path(os.path.normpath(folder / point.run))


def score(point: Point) -> tuple[float, str]:
    """Return what --min-miou is compared with: the int8 model's mIoU on the test part, else the validation mIoU."""
    if point.int8_miou is not None:
        return point.int8_miou, "int8 mIoU on the test part"
    return point.val_miou, "mIoU on the validation part"


def make_budget(board: Board, goal: Goal, timing: InstructionTiming | None) -> Budget:
    """Turn a goal into limits on a board. Raises DeployError, see `find_fit`."""
    reasons: list[str] = []
    total = flash = None
    if board.ram_bytes:
        total = int(board.ram_bytes * RAM_SHARE)
        reasons.append(
            f"RAM {total:,} bytes for working memory and frames: {RAM_SHARE:.0%} of the chip's {board.ram_bytes:,}, "
            "the rest is for stack, camera and radio"
        )
    if goal.max_ram_bytes is not None:
        reasons.append(f"working RAM {goal.max_ram_bytes:,} bytes: --max-ram")
    if goal.max_flash_bytes is not None:
        flash = goal.max_flash_bytes
        reasons.append(f"code and tables {flash:,} bytes: --max-flash")
    elif board.flash_bytes:
        flash = int(board.flash_bytes * FLASH_SHARE)
        reasons.append(f"code and tables {flash:,} bytes: {FLASH_SHARE:.0%} of the chip's {board.flash_bytes:,}")
    instructions, cycles, us = _instruction_limit(board, goal, timing, reasons)
    limits = Limits(goal.max_ram_bytes, instructions, flash)
    return Budget(board.name, limits, total, tuple(reasons), cycles, us)


def _instruction_limit(
    board: Board, goal: Goal, timing: InstructionTiming | None, reasons: list[str]
) -> tuple[int | None, float | None, float | None]:
    """Most instructions, cycles of a frame, and measured microseconds of an instruction."""
    if timing is not None and timing.board != board.name:
        raise DeployError(
            f"the timing was measured on {timing.board}, not on {board.name}",
            hint=f"measure one with `nanou-deploy bench --port PORT --save-timing FILE` on a {board.name}",
        )
    us = timing.us_per_instruction if timing else None
    limits, cycles = [], None
    if goal.max_instructions is not None:
        limits.append(goal.max_instructions)
        reasons.append(f"instructions {goal.max_instructions:,}: --max-instructions")
    if goal.fps is not None:
        if us is not None:
            by_time = int(1e6 / goal.fps / us)
            reasons.append(f"instructions {by_time:,}: {goal.fps:g} frames a second at {us:.4f} us each, as measured")
        else:
            cycles, factor = _cycles(board, goal.fps), goal.cycles_per_instruction or ASSUMED_CYCLES_PER_INSTRUCTION
            by_time = int(cycles / factor)
            source = "--cycles-per-instruction" if goal.cycles_per_instruction else "an assumption, not measured"
            reasons.append(
                f"instructions {by_time:,}: {board.cpu_mhz} MHz / {goal.fps:g} frames a second = {cycles:,.0f} cycles, "
                f"at {factor:g} cycles per instruction ({source})"
            )
        limits.append(by_time)
    return min(limits, default=None), cycles, us


def _cycles(board: Board, fps: float) -> float:
    if board.cpu_mhz is None:
        raise DeployError(
            f"{board.name} has no clock that a frame rate could be told by",
            hint="name a chip, or give --max-instructions instead of --fps",
        )
    return board.cpu_mhz * 1e6 / fps


def _verdict(point: Point, budget: Budget, goal: Goal) -> Verdict:
    cost = point.costs[budget.board]
    violations = list(budget.limits.violations(cost))
    total, most = cost.ram_bytes + cost.io_bytes, budget.max_total_ram_bytes
    if most is not None and total > most:
        violations.append(f"working RAM and frames {total:,} bytes, {total - most:,} more than {most:,}")
    found, name = score(point)
    if goal.min_miou is not None and found < goal.min_miou:
        violations.append(f"{name} {100 * found:.1f} %, less than {100 * goal.min_miou:.1f} %")
    affordable = budget.cycles / cost.instructions if budget.cycles and cost.instructions else None
    ms = cost.instructions * budget.us_per_instruction / 1000 if budget.us_per_instruction else None
    return Verdict(point, cost, tuple(violations), affordable, ms)


def _needed(verdicts: Sequence[Verdict], budget: Budget, goal: Goal, folder: Path) -> list[str]:
    """For the point that comes nearest: which limit to raise to what; else how small a network to look for."""
    nearest = min(verdicts, key=lambda one: (len(one.violations), _excess(one, budget, goal)))
    words = [f"the nearest is {nearest.point.name}: {'; '.join(nearest.violations)}"]
    limits, cost = budget.limits, nearest.cost
    raised = []
    if limits.max_ram_bytes is not None and cost.ram_bytes > limits.max_ram_bytes:
        raised.append(f"--max-ram {cost.ram_bytes}")
    if limits.max_flash_bytes is not None and cost.flash_bytes > limits.max_flash_bytes:
        raised.append(f"--max-flash {cost.flash_bytes}")
    if limits.max_instructions is not None and cost.instructions > limits.max_instructions:
        if goal.max_instructions is not None and cost.instructions > goal.max_instructions:
            raised.append(f"--max-instructions {cost.instructions}")
        if goal.fps is not None and (fps := _floor(goal.fps * limits.max_instructions / cost.instructions)) > 0:
            raised.append(f"--fps {fps:g}")
    if goal.min_miou is not None and score(nearest.point)[0] < goal.min_miou:
        raised.append(f"--min-miou {_floor(score(nearest.point)[0], 3):g}")
    if raised:
        words.append(f"it would fit with {' and '.join(raised)}")
    if limits.max_instructions is not None:
        least = min(verdicts, key=lambda one: one.cost.instructions)
        ratio = limits.max_instructions / least.cost.instructions
        run = run_folder(folder, least.point).as_posix()
        if _floor(ratio) > 0 and ratio < 1:  # else prune takes none
            words.append(
                f"no network of the front has {limits.max_instructions:,} instructions or fewer: look for one of "
                f"{ratio:.2f} times those of {least.point.name}, with "
                f"`nanou-deploy prune --run {shlex.quote(run)} --to {_floor(ratio):g}`"
            )
    return words


def _excess(verdict: Verdict, budget: Budget, goal: Goal) -> float:
    """How far off in all, each limit as a fraction of itself."""
    limits, cost = budget.limits, verdict.cost
    total = cost.ram_bytes + cost.io_bytes
    pairs = (
        (cost.ram_bytes, limits.max_ram_bytes),
        (cost.flash_bytes, limits.max_flash_bytes),
        (cost.instructions, limits.max_instructions),
        (total, budget.max_total_ram_bytes),
    )
    excess = sum(max(0.0, found / limit - 1) for found, limit in pairs if limit)
    return excess + (max(0.0, goal.min_miou / score(verdict.point)[0] - 1) if goal.min_miou else 0.0)


def _floor(value: float, digits: int = 2) -> float:
    scale = 10.0**digits
    return int(value * scale) / scale
