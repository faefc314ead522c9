"""Fit instruction costs to emulated counts: `python -m nanou_deploy.measure.calibrate rv32-qemu cortex-m4-qemu`.

Every network of nanou_deploy.measure.cost_corpus is compiled, built and run in QEMU, layer by layer, and the counts of
codegen.features are fitted to what each layer took. Replaces those boards' part of codegen/instruction_costs.json. The
same compilers give the same file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

import codegen
from codegen.atomic_files import write_text
from codegen.errors import CodegenError
from codegen.estimate import COSTS_FILE, COSTS_SCHEMA, REST, Coefficients, rest_counts, weigh
from codegen.features import cost_name, stage_counts
from codegen.graph.model import QuantizedModel
from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.build.compilation import compile_for
from nanou_deploy.build.targets import find_target
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.bench import bench_layers
from nanou_deploy.measure.cost_corpus import calibration_models, checked_models

# How much a coefficient is drawn towards 0, so that what few layers have cannot take just any value.
RIDGE = 1e-4
DIGITS = 6  # of a coefficient


@dataclass(frozen=True)
class Layer:
    """One layer of one network: its counts, and the instructions that they took."""

    kernel: str
    counts: Mapping[str, float]
    instructions: int


@dataclass(frozen=True)
class Measured:
    """One network, layer by layer; the last layer is REST."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def instructions(self) -> int:
        return sum(layer.instructions for layer in self.layers)


def measure(model: QuantizedModel, board: Board) -> Measured:
    """Compile, build and emulate one network. Raises CodegenError, DeployError or ToolMissing."""
    compiled = compile_for(model, board)
    *costs, rest = bench_layers(compiled, board)
    layers = [
        Layer(cost_name(stage), stage_counts(compiled.program, stage), cost.instructions)
        for stage, cost in zip(compiled.program.stages, costs, strict=True)
    ]
    return Measured(model.name, (*layers, Layer(REST, rest_counts(compiled.program), rest.instructions)))


def fit(networks: Iterable[Measured]) -> Coefficients:
    """Least squares of relative errors, kernel by kernel."""
    samples: dict[str, list[Layer]] = defaultdict(list)
    for network in networks:
        for layer in network.layers:
            samples[layer.kernel].append(layer)
    return {kernel: _fit_kernel(layers) for kernel, layers in sorted(samples.items())}


def _fit_kernel(layers: Sequence[Layer]) -> Mapping[str, float]:
    names = sorted({name for layer in layers for name in layer.counts})
    counts = np.array([[layer.counts.get(name, 0.0) for name in names] for layer in layers])
    relative: npt.NDArray[np.float64] = counts / np.array([[float(layer.instructions)] for layer in layers])
    size = np.sqrt((relative**2).sum(0))
    scaled = relative / size
    solved = np.linalg.solve(scaled.T @ scaled + RIDGE * np.eye(len(names)), scaled.T @ np.ones(len(layers)))
    return {name: float(f"{value:.{DIGITS}g}") for name, value in zip(names, solved / size, strict=True)}


def error_percent(network: Measured, coefficients: Coefficients) -> float:
    """Of the whole network's estimate. A count without a coefficient counts as nothing here."""
    known: dict[str, Mapping[str, float]] = defaultdict(dict, coefficients)
    estimate = 0.0
    for layer in network.layers:
        counts = {name: times for name, times in layer.counts.items() if name in known[layer.kernel]}
        estimate += weigh(counts, known[layer.kernel])
    return 100 * (estimate / network.instructions - 1)


def summarize(board: Board, calibration: Sequence[Measured], checked: Sequence[Measured]) -> dict[str, object]:
    """What instruction_costs.json says of one board."""
    coefficients = fit(calibration)
    outside = [abs(error_percent(network, coefficients)) for network in checked]
    left_out = [abs(error_percent(one, fit(n for n in calibration if n is not one))) for one in calibration]
    return {
        "compiler": find_target(board).compiler.version,
        "models": len(calibration),
        "stages": sum(len(network.layers) - 1 for network in calibration),
        "checked": len(checked),
        "checked_max_percent": round(max(outside), 2),
        "checked_mean_percent": round(sum(outside) / len(outside), 2),
        "left_out_max_percent": round(max(left_out), 2),
        "left_out_mean_percent": round(sum(left_out) / len(left_out), 2),
        "coefficients": coefficients,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("boards", nargs="+", metavar="BOARD", help="emulated in QEMU")
    parser.add_argument("--output", type=Path, default=Path(codegen.__file__).with_name(COSTS_FILE))
    options = parser.parse_args(arguments)
    try:
        for board in map(find_board, options.boards):
            _record(options.output, board.name, _calibrate(board))
    except (CodegenError, DeployError) as error:
        print(f"error: {error}\ntry: {error.hint}", file=sys.stderr)
        return 1
    return 0


def _calibrate(board: Board) -> dict[str, object]:
    def measured(models: Iterable[QuantizedModel]) -> list[Measured]:
        found = []
        for model in models:
            found.append(measure(model, board))
            print(f"  {board.name} {model.name}: {found[-1].instructions:,} instructions", file=sys.stderr)
        return found

    summary = summarize(board, measured(calibration_models()), measured(checked_models()))
    print(
        f"{board.name}: error on {summary['checked']} networks at most {summary['checked_max_percent']} %, "
        f"left out one by one at most {summary['left_out_max_percent']} %"
    )
    return summary


def _record(path: Path, board: str, summary: Mapping[str, object]) -> None:
    """Replace one board's part, in one step."""
    boards = json.loads(path.read_text())["boards"] if path.exists() else {}
    text = json.dumps({"schema": COSTS_SCHEMA, "boards": {**boards, board: summary}}, indent=1, sort_keys=True)
    write_text(path, text + "\n")


if __name__ == "__main__":
    sys.exit(main())
