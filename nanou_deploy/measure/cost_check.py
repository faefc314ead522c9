"""Predicted beside measured costs, and fronts of points beside single models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codegen.cost import Cost
from codegen.graph.model import QuantizedModel
from codegen.program.objective import Objective
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.library import open_model
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.bench import BenchResult, bench
from nanou_deploy.measure.costing import cost_of
from nanou_deploy.verify.verify import Progress

MAX_ERROR_PERCENT = 5.0


@dataclass(frozen=True)
class CostCheck:
    """One model on one board. `measured` is what `bench` found in emulation, None where it was not asked."""

    name: str
    predicted: Cost
    measured: BenchResult | None = None

    @property
    def error_percent(self) -> float | None:
        """Of predicted instructions, None where they were not counted."""
        if self.measured is None or not self.measured.instructions:
            return None
        return round(100 * (self.predicted.instructions / self.measured.instructions - 1), 2)

    @property
    def differences(self) -> tuple[str, ...]:
        """What is not as predicted, in words: bytes that are not equal, instructions that are too far off."""
        if self.measured is None:
            return ()
        pairs = (
            ("working RAM", self.predicted.ram_bytes, self.measured.ram_bytes),
            ("frames", self.predicted.io_bytes, self.measured.io_bytes),
            ("code", self.predicted.code_bytes, self.measured.code_bytes),
            ("tables", self.predicted.table_bytes, self.measured.table_bytes),
        )
        found = [f"{what}: {a:,} bytes predicted, {b:,} measured" for what, a, b in pairs if a != b]
        if self.error_percent is not None and abs(self.error_percent) > MAX_ERROR_PERCENT:
            found.append(f"instructions: {self.error_percent:+.2f} %, more than {MAX_ERROR_PERCENT:g} %")
        return tuple(f"{self.name} on {self.predicted.board}: {one}" for one in found)

    def to_json(self) -> dict[str, Any]:
        measured = self.measured
        return {
            "name": self.name,
            "predicted": {**self.predicted.to_json(), "flash_bytes": self.predicted.flash_bytes},
            "measured": None if measured is None else measured,
            "error_percent": self.error_percent,
            "differences": self.differences,
        }


def check_cost(
    name: str, model: QuantizedModel, board: Board, objective: Objective, *, measure: bool, progress: Progress
) -> CostCheck:
    """Predict, and with `measure` also build and emulate. Raises as `cost_of` and `bench`."""
    progress(f"{name}: predicting for {board.name}")
    predicted = cost_of(model, board, objective)
    measured = bench(model, board, objective, progress=progress) if measure else None
    return CostCheck(name, predicted, measured)


def open_models(path: Path | None) -> Iterator[tuple[str, QuantizedModel]]:
    """Names and models: of one file or run folder, or of every point of a front. Raises DeployError or TrainError."""
    from nanou_train.search.pareto import FRONT, read_front

    if path is None or not (path.name == FRONT or (path / FRONT).is_file()):
        model = open_model(path)
        yield _name(path) if path is not None else model.name, model
        return
    folder = path if path.is_dir() else path.parent
    points = read_front(path).points
    if not points:
        raise DeployError(f"{path} is a front without points", hint="make one with `nanou-deploy pareto`")
    for point in points:
        yield point.name, open_model(folder / point.run)


def _name(path: Path) -> str:
    """A run's model is called like the run."""
    return path.resolve().parent.name if path.name == "model.tflite" else path.name
