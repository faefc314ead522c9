"""Count the instructions of one inference by operator and by class of instruction.

A plugin in QEMU counts how often each instruction is executed in each step of the schedule (firmware/host/plugin/
profile.c); the disassembly says what it is. The code is that which `bench` measures, without a hook in it, so the sum
over operators and classes is exactly its instruction count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codegen.compile import Compilation
from codegen.program.program import Stage
from nanou_deploy.boards.boards import Board
from nanou_deploy.build import elf
from nanou_deploy.build.build import Build, build_harness
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.instruction_classes import CLASSES, classify, disassemble
from nanou_deploy.verify.emulate import check_finished, run_with_plugin

REST = -1
_SLOTS, _SLOT_EMPTY = 256, 257  # see profile.c
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class LayerCost:
    """Instructions of one operator in one inference, and the kernel that did it.

    `operator` is REST for what no operator does: the call and return, and the steps at which an input row would
    arrive. `number` tells apart the parts of an operator, and what is computed again, whose `macs` are 0.
    `classes` maps each of instructions.CLASSES to its share of `instructions`.
    """

    operator: int
    number: str
    kernel: str
    summary: str
    macs: int
    instructions: int
    classes: Mapping[str, int]


def profile(
    compiled: Compilation, library: Path, board: Board, frame: npt.NDArray[np.uint8], work_dir: Path
) -> tuple[LayerCost, ...]:
    """Count by operator, on one case: uint8 (1, input bytes). `library` holds the text rendered of `compiled`.

    Raises DeployError where the board cannot count so, ToolMissing without its compiler, QEMU, or disassembler.
    """
    if compiled.plan.cores:
        raise DeployError("operators are told apart by the schedule of one core", hint="leave out --cores")
    build = build_harness(library, board, work_dir, profile=True)
    stages = compiled.program.stages
    counts = _count(build, compiled.plan.schedule, board.isa, frame)
    costs = [_cost(stage, counts.pop(slot, Counter())) for slot, stage in enumerate(stages)]
    empty = counts.pop(_SLOT_EMPTY, Counter())
    rest = sum(counts.values(), Counter())
    rest.subtract(empty)  # what counting itself adds
    return (*costs, LayerCost(REST, "", "", "call, return, input rows", 0, rest.total(), _by_class(rest)))


def _cost(stage: Stage, classes: Counter[str]) -> LayerCost:
    macs = 0 if stage.is_again else stage.macs
    kernel, by_class = stage.kernel.name, _by_class(classes)
    return LayerCost(stage.operator_index, stage.number, kernel, stage.summary, macs, classes.total(), by_class)


def _by_class(classes: Counter[str]) -> Mapping[str, int]:
    return {name: classes[name] for name in CLASSES}


def _count(build: Build, schedule: tuple[int, ...], isa: str, frame: npt.NDArray[np.uint8]) -> dict[int, Counter[str]]:
    """Slot of profile.c -> class -> instructions executed."""
    mnemonics = disassemble(build.elf, isa)
    counts: dict[int, Counter[str]] = {}
    for address, slot, executed in count_executed(build, schedule, frame).tolist():
        if address not in mnemonics:
            raise DeployError(f"the disassembler shows no instruction at {address:#x}", hint="report this model")
        counts.setdefault(slot, Counter())[classify(isa, mnemonics[address])] += executed
    return counts


def count_executed(build: Build, schedule: tuple[int, ...], frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Count how often each instruction is executed in one inference: rows of address, slot of profile.c, times."""
    if max(schedule) >= _SLOTS:
        raise DeployError(f"only {_SLOTS} stages can be told apart", hint="`nanou-deploy bench` counts the inference")
    table = elf.find_symbol(build.elf, "schedule")
    if table is None or table.size_bytes % len(schedule):
        raise DeployError(
            "the compiler left no schedule in the program by which layers could be told apart",
            hint="`nanou-deploy bench` counts the whole inference",
        )
    arguments = (
        "layers=layers.bin",
        f"schedule={table.address}",
        f"entry_bytes={table.size_bytes // len(schedule)}",
    )
    files = {"input.bin": frame.tobytes(), "layers.bin": bytes(schedule)}
    finished = run_with_plugin(build, "profile", arguments, files, timeout_s=_TIMEOUT_S)
    check_finished(build, finished)
    return finished.plugin.reshape(-1, 3)
