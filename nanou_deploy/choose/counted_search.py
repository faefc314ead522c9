"""Search networks by costs counted on a board, and end with a front of runs that were built and keep all limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from codegen.errors import CodegenError
from codegen.graph.contract import decide_classes, decision_threshold, quantize_pixels
from codegen.graph.model import QuantizedModel
from codegen.tflite.interpreters import run_builtin_ref
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.choose.front import point_of, quantized_model, save_front
from nanou_deploy.choose.scores import Scores, write_scores
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.bench import bench
from nanou_deploy.measure.costing import check_counting, cost_of_structure, costs_of
from nanou_deploy.verify.verify import Progress
from nanou_train.errors import TrainError
from nanou_train.evaluation.evaluate import decide
from nanou_train.networks.cost import Limits
from nanou_train.networks.structure import Structure
from nanou_train.runs import run_folder as run
from nanou_train.search.pareto import Point
from nanou_train.search.search import SearchSettings, run_search
from nanou_train.search.search_result import Progress as TrainProgress
from nanou_train.search.search_result import SearchResult, select
from nanou_train.search.train_front import FrontTraining, train_front
from nanou_train.search.train_trial import TrialTraining, dataset_at, metrics_at, miou_at, open_parent, parent_facts

COSTS = ("instructions", "ram_bytes", "flash_bytes")


@dataclass(frozen=True)
class CompiledCandidates(TrialTraining):
    """Candidates that are trained, and whose costs are counted on `board`, with random weights.

    `power_of_two`: with such scales, as the parent was trained for.
    """

    board: str = "rv32-qemu"
    power_of_two: bool = False

    def cost(self, structure: Structure) -> Mapping[str, float]:
        try:
            found = cost_of_structure(structure, find_board(self.board), power_of_two=self.power_of_two)
        except CodegenError as error:
            raise TrainError(f"it cannot be compiled: {error}", hint=error.hint) from error
        return {name: getattr(found, name) for name in (*COSTS, "macs")}


@dataclass(frozen=True)
class Dropped:
    """A point that is not in the front's file, and why."""

    run: Path
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Searched:
    """Results of a search: the study's, the points within limits, cheapest first, and the others."""

    result: SearchResult
    points: tuple[Point, ...]
    dropped: tuple[Dropped, ...]


def limits_of(limits: Limits) -> dict[str, float]:
    """List the limits that are set, by the name of the cost."""
    stated = (limits.max_instructions, limits.max_ram_bytes, limits.max_flash_bytes)
    return {name: float(most) for name, most in zip(COSTS, stated, strict=True) if most is not None}


def search_with_costs(
    settings: SearchSettings,
    candidates: CompiledCandidates,
    limits: Limits,
    *,
    workers: int = 1,
    finish: int = 6,
    finish_epochs: int | None = None,
    progress: TrainProgress | None = None,
    told: Progress = lambda _message: None,
) -> Searched:
    """Search, train the best `finish` candidates for `finish_epochs` (by default half of the parent run's), build and
    measure them, and write OUTPUT/pareto.json and .html. Interrupted, the same call goes on.

    Raises TrainError, DeployError and CodegenError; ToolMissing where the board's compiler or emulator is absent.
    """
    check_counting(find_board(candidates.board))  # a missing compiler is found before any trial
    parent = open_parent(candidates.parent, candidates.data)
    settings = replace(settings, facts={**settings.facts, **parent_facts(parent), "board": candidates.board})
    result = run_search(settings, candidates, workers=workers, progress=progress)
    if not result.front:
        least = ", ".join(
            f"{name} {min(one.costs[name] for one in result.candidates):,.0f}" for name in settings.limits
        )
        raise DeployError(
            f"none of {len(result.candidates)} candidates keeps all limits and was trained; the least seen: {least}",
            hint="raise the limit, or search with more --trials, a smaller --narrowest or a smaller --size",
        )
    chosen = select(result, settings.minimize, finish)
    if not chosen:
        return Searched(result, (), ())
    epochs = finish_epochs or max(1, parent.source.config.student.epochs // 2)
    front = FrontTraining(settings, chosen, candidates.parent, candidates.data, epochs)
    train_front(front, workers=workers, progress=progress)
    points, dropped = _built(front, find_board(candidates.board), limits, told)
    save_front(settings.output, points, name=settings.name)
    return Searched(result, points, dropped)


def _built(
    settings: FrontTraining, board: Board, limits: Limits, told: Progress
) -> tuple[tuple[Point, ...], tuple[Dropped, ...]]:
    """Every point built and counted: those within limits, and the others."""
    points, dropped, trained = [], [], []
    for folder in map(settings.folder, range(len(settings.chosen))):
        try:
            run.read_manifest(folder)
            trained.append(folder)
        except TrainError as error:
            dropped.append(Dropped(folder, (str(error),)))
    told(f"quantizing, building and counting {len(trained)} points")
    models = [quantized_model(folder) for folder in trained]
    for folder, model, cost in zip(trained, models, costs_of((model, board) for model in models), strict=True):
        if not bench(model, board).exact:
            raise DeployError(f"{folder} computes something else on {board.name} than TFLM", hint="run `verify` on it")
        if reasons := limits.violations(cost):
            dropped.append(Dropped(folder, reasons))
        else:
            _score_at_parents_size(folder, model, settings)
            points.append(point_of(folder, model, [cost], settings.search.output))
    return tuple(sorted(points, key=lambda point: point.macs)), tuple(dropped)


def _score_at_parents_size(folder: Path, model: QuantizedModel, settings: FrontTraining) -> None:
    """Leave scores against the parent run's masks in a run of another size, so that points of all sizes compare."""
    source = open_parent(settings.parent, settings.data).source
    size = (model.image.height_px, model.image.width_px)
    height_px, width_px = source.dataset.val.masks.shape[1:]
    if size == (height_px, width_px):
        return
    dataset, student = dataset_at(settings.parent, settings.data, size), run.load_student(folder)
    graph = load_graph(model.flatbuffer)
    outputs = run_builtin_ref(model.flatbuffer, quantize_pixels(model, graph, dataset.test.images))
    int8 = decide_classes(outputs, decision_threshold(model, graph))
    with_floats = decide(student, dataset.test.images, model.image, source.config.student.threshold)
    truth = source.dataset
    val_miou = miou_at(student, dataset.val, source)
    int8_miou, float_miou = (metrics_at(one, truth.test, truth)["miou"] for one in (int8, with_floats))
    write_scores(folder, model, Scores((height_px, width_px), val_miou, int8_miou, float_miou))
