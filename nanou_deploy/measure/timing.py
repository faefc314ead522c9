"""Measure how long instructions take on a device: the only source of milliseconds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from codegen.graph.model import QuantizedModel
from codegen.untrusted import read_json, shown
from nanou_deploy.boards.boards import find_board
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.bench import bench
from nanou_deploy.verify.device_check import DeviceTimes
from nanou_deploy.verify.verify import Progress
from nanou_train.runs.run_folder import write_json

TIMING_SCHEMA = 1


@dataclass(frozen=True)
class InstructionTiming:
    """One device that ran one model. `instructions` were counted in emulation for the same board, `mean_us` measured
    by the device's clock, `best_cycles` by its counter (0 where it has none)."""

    board: str
    model_sha256: str
    instructions: int
    mean_us: float
    best_cycles: int
    build: str

    @property
    def us_per_instruction(self) -> float:
        return self.mean_us / self.instructions

    @property
    def cycles_per_instruction(self) -> float | None:
        return self.best_cycles / self.instructions if self.best_cycles else None


def time_instructions(times: DeviceTimes, model: QuantizedModel, *, progress: Progress) -> InstructionTiming:
    """Count in emulation what the device has timed. Raises DeployError where it ran another model, or its board's
    instructions are not counted."""
    if times.info.model_sha256 != model.sha256:
        raise DeployError(
            f"the device runs the model {times.info.model_sha256[:12]}, not {model.name} ({model.sha256[:12]})",
            hint="name the model that was flashed with --model, or flash this one",
        )
    board = find_board(times.info.board)
    counted = bench(model, board, progress=progress).instructions
    if not counted or not times.bench.mean_us:
        raise DeployError(f"{board.name} gives no time or no instruction count", hint="time a chip")
    cycles = times.bench.best_cycles if times.info.counts_cycles else 0
    return InstructionTiming(board.name, model.sha256, counted, times.bench.mean_us, cycles, times.info.build)


def save_timing(timing: InstructionTiming, path: Path) -> None:
    """Write a timing in one step. Raises DeployError where the file cannot be written."""
    derived = {
        "us_per_instruction": timing.us_per_instruction,
        "cycles_per_instruction": timing.cycles_per_instruction,
    }
    try:
        write_json(path, {"schema": TIMING_SCHEMA, **asdict(timing), **derived})
    except OSError as error:
        raise DeployError(
            f"cannot write {path}: {error.strerror}", hint="name a file in a folder that exists"
        ) from error


def load_timing(path: Path) -> InstructionTiming:
    """Read a timing. Raises DeployError where the file is missing or is none."""
    try:
        stated = read_json(path)
        if stated["schema"] != TIMING_SCHEMA:
            raise ValueError(f"schema {stated['schema']}")
        found = InstructionTiming(
            str(stated["board"]),
            str(stated["model_sha256"]),
            int(stated["instructions"]),
            float(stated["mean_us"]),
            int(stated["best_cycles"]),
            str(stated["build"]),
        )
        if found.instructions <= 0 or found.mean_us <= 0:
            raise ValueError("instructions and time must be positive")
    except OSError as error:
        raise DeployError(
            f"cannot read {path}: {error.strerror}", hint="`nanou-deploy bench --port PORT --save-timing FILE` makes it"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{path} is no timing: {shown(error)}", hint="measure it again") from error
    return found
