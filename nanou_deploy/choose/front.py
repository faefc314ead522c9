"""Gather run folders into a front: each run's scores and costs, and means over seeds of the same network."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, cast, get_args

from codegen.atomic_files import write_text
from codegen.graph.model import QuantizedModel
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.library import open_model
from nanou_deploy.choose.fit import run_folder
from nanou_deploy.choose.scores import Scores, read_scores
from nanou_deploy.errors import DeployError
from nanou_deploy.measure.costing import costs_of
from nanou_deploy.report.model_card import write_card
from nanou_deploy.report.pareto import render_front
from nanou_deploy.verify.verify import Progress
from nanou_train.errors import TrainError
from nanou_train.networks.architectures import count_parameters
from nanou_train.networks.cost import Cost
from nanou_train.networks.structure import structure_of
from nanou_train.runs import run_folder as run
from nanou_train.runs.int8_model import FOLDER as INT8
from nanou_train.runs.int8_model import int8_path, save_int8
from nanou_train.search.pareto import FRONT, Front, MadeBy, Point, read_front, write_front
from nanou_train.training.train_network import History

PAGE = "pareto.html"


def gather_front(
    runs: Sequence[Path],
    boards: Sequence[Board],
    output: Path,
    *,
    data_root: Path | None = None,
    progress: Progress = lambda _message: None,
) -> Front:
    """Make a front of finished runs in the folder `output`, and write it; every run is a point, beaten or not.

    Runs of the same structure and configuration are one point: scores are their means, and the folder, with its costs,
    is that of the best on the validation part. A run without int8 model is quantized first. Raises TrainError for
    what is no completed run, CodegenError, DeployError or ToolMissing where one cannot be quantized or its cost not be
    found.
    """
    if not runs:
        raise DeployError("a front needs at least one run", hint="name run folders that `nanou-deploy train` made")
    alike: dict[str, list[Point]] = defaultdict(list)
    models = [quantized_model(folder, data_root) for folder in runs]
    counted = costs_of((model, board) for model in models for board in boards)
    for folder, model in zip(runs, models, strict=True):
        progress(f"{folder}: scores and costs")
        point = point_of(folder, model, [next(counted) for _ in boards], output)
        alike[_recipe(folder, point)].append(point)
    points = [_mean(same) for same in alike.values()]
    points.sort(key=lambda point: point.macs)
    return save_front(output, _distinct(points))


def save_front(folder: Path, points: Sequence[Point], *, name: str = "") -> Front:
    """Write pareto.json and pareto.html."""
    write_front(folder / FRONT, points, name=name)
    front = read_front(folder)
    write_text(folder / PAGE, render_front(front))
    return front


def with_costs(front: Front, board: Board, folder: Path, *, progress: Progress = lambda _message: None) -> Front:
    """Complete the front in `folder` with costs on `board`, counted of a point's model where there are none.

    Raises DeployError, CodegenError or ToolMissing where one cannot be counted.
    """
    without = [point for point in front.points if board.name not in point.costs]
    if without:
        progress(f"counting {len(without)} networks on {board.name}")
    counted = costs_of((open_model(run_folder(folder, point)), board) for point in without)
    points = tuple(
        point if board.name in point.costs else replace(point, costs={**point.costs, board.name: next(counted)})
        for point in front.points
    )
    return replace(front, points=points)


def open_models(path: Path | None) -> Iterator[tuple[str, QuantizedModel]]:
    """Open models with their names: of a file, a run folder or a front's points. Raises DeployError or TrainError."""
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
    """Name a model: a run's is called like the run."""
    place = path.resolve()
    return place.parents[1].name if place.parent.name == INT8 else path.name


def point_of(folder: Path, model: QuantizedModel, costs: Sequence[Cost], base: Path) -> Point:
    """Describe a completed run, whose model costs `costs`, as a point of a front in `base`. Raises TrainError."""
    manifest = run.read_manifest(folder)
    student = run.load_student(folder)
    scores = read_scores(folder, model) or own_scores(folder, model)
    made_by = manifest.get("made_by", "prune" if "pruning" in manifest else "train")
    return Point(
        folder.name,
        Path(_relative(folder, base)).as_posix(),
        structure_of(student),
        count_parameters(student, deployed=True),
        scores.val_miou,
        scores.int8_miou,
        scores.float_miou,
        costs[0].macs if costs else 0,
        {cost.board: cost for cost in costs},
        cast(MadeBy, made_by if made_by in get_args(MadeBy) else "train"),
        scores.masks_px,
        (int(manifest["seed"]),),
    )


def _recipe(folder: Path, point: Point) -> str:
    """Return what runs that differ in their seed alone have in common."""
    configuration = run.configuration(run.read_manifest(folder)).deciding()
    for section, key in (("teacher", "weights"), ("student", "start_from")):  # of each seed its own
        del configuration[section][key]
    return json.dumps([point.structure.to_json(), point.made_by, point.masks_px, configuration], sort_keys=True)


def quantized_model(folder: Path, data_root: Path | None = None) -> QuantizedModel:
    """Open the int8 model of a completed run, quantized now if it is not yet. Raises TrainError or CodegenError."""
    if not int8_path(folder).is_file():
        from nanou_train.runs.quantize_run import quantize_run

        model = quantize_run(folder, data_root=data_root)
        write_card(model, save_int8(folder, model))
    return open_model(folder)


def _relative(folder: Path, base: Path) -> str:
    import os.path

    return os.path.relpath(folder.resolve(), base.resolve())


def own_scores(folder: Path, model: QuantizedModel) -> Scores:
    """Read a run's scores against masks of its own size, as trained and quantized. Raises TrainError."""
    metrics: dict[str, Any] = dict(model.provenance.get("metrics", {}))
    size = (model.image.height_px, model.image.width_px)
    return Scores(size, _val_miou(folder), _miou(metrics, "int8"), _miou(metrics, "float"))


def _miou(scores: dict[str, Any], role: str) -> float | None:
    return float(scores[role]["miou"]) if "miou" in scores.get(role, {}) else None


def _val_miou(folder: Path) -> float:
    """Of the epoch that was kept. Raises TrainError where a run had no validation part."""
    try:
        return float(History.of_run(folder).val_miou)
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise TrainError(
            f"{folder} has no validation mIoU to rank it by", hint="train it on data with a validation part"
        ) from error


def _mean(points: Sequence[Point]) -> Point:
    """One point of several seeds."""
    best = max(points, key=lambda point: point.val_miou)
    int8 = [point.int8_miou for point in points if point.int8_miou is not None]
    floats = [point.float_miou for point in points if point.float_miou is not None]
    return replace(
        best,
        val_miou=fmean(point.val_miou for point in points),
        int8_miou=fmean(int8) if int8 else None,
        float_miou=fmean(floats) if floats else None,
        seeds=tuple(sorted(seed for point in points for seed in point.seeds)),
    )


def _distinct(points: Sequence[Point]) -> tuple[Point, ...]:
    """Names that occur twice get their folder's path instead."""
    names = [point.name for point in points]
    return tuple(replace(p, name=p.run) if names.count(p.name) > 1 else p for p in points)
