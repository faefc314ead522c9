"""Evaluate executors on a split, compare them with each other, and write charts and report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import codegen
from codegen.compile import compile_model
from codegen.graph.model import Preprocessing, QuantizedModel
from codegen.library.write import staged_folder
from nanou_deploy.errors import DeployError
from nanou_deploy.evaluate.executors import predictor
from nanou_deploy.report import AccuracyRow, Panel, ReportData, operator_rows, render_report
from nanou_deploy.report.charts import chart_svg, evaluation_charts
from nanou_deploy.report.drawing import svg_file
from nanou_deploy.report.pictures import panel_picture, png_bytes
from nanou_deploy.verify.golden import TRUTH, ExecutorResult
from nanou_train.data.dataset import Dataset, Split
from nanou_train.evaluation.evaluate import Comparison, Evaluation, compare, constant_mask, evaluate_logits
from nanou_train.runs.redundancy_log import redundancy_log

WORST_PICTURES = 6
_CHARTS = ("precision_recall.svg", "thresholds.svg", "reliability.svg", "redundancy.svg")
FILES = ("evaluation.json", *_CHARTS, "worst.png", "report.html")
Progress = Callable[[str], None]
Metrics = Mapping[str, float]
Masks = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """Scores and comparisons of `evaluate_executors`. `decisions` are class indices uint8 (N, H, W) by executor.

    `redundancy` is what the run's training logged of it, as far as it was watched.
    """

    dataset: str
    split: str
    images: int
    classes: tuple[str, ...]
    threshold: float
    constant_mask: Metrics
    executors: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    decisions: Mapping[str, Masks]
    redundancy: tuple[Mapping[str, Any], ...] = ()

    @property
    def rows(self) -> Mapping[str, Metrics]:
        """Return the metrics of "constant mask", "float" and "int8", as far as they ran.

        Executors that gave the same bytes are one row; others than the first int8 one keep their own names.
        """
        rows = {"constant mask": self.constant_mask}
        for one in merge_equal(self):
            name = "float" if one.executor == "keras" else "int8"
            rows[one.executor if name in rows else name] = one.metrics
        return rows

    def as_json(self) -> dict[str, Any]:
        """Return everything but the decisions and the training's log as JSON types; executors by name."""
        return {
            "dataset": self.dataset,
            "split": self.split,
            "images": self.images,
            "classes": self.classes,
            "threshold": self.threshold,
            "constant_mask": dict(self.constant_mask),
            "executors": {one.executor: asdict(one) for one in self.executors},
            "comparisons": [asdict(one) for one in self.comparisons],
        }


def evaluate_executors(
    names: Sequence[str],
    model: QuantizedModel | None,
    run_folder: Path | None,
    dataset: Dataset,
    *,
    split: str = "test",
    threshold: float,
    progress: Progress,
) -> EvaluationResult:
    """Run each executor once over the split; evaluate each, and compare each pair. Raises as executors.predictor."""
    part: Split = getattr(dataset, split)
    predictors = [predictor(name, model, run_folder) for name in names]
    logits = []
    for one in predictors:
        progress(f"{one.name}, {len(part)} images")
        logits.append(one.logits(part.images))
        count = 2 if logits[-1].ndim == 3 else logits[-1].shape[-1]
        if logits[-1].shape[:3] != part.masks.shape or count != len(dataset.classes):
            raise DeployError(
                f"{one.name} gives {logits[-1].shape[1:]}, the data set has {len(dataset.classes)} classes",
                hint="evaluate on the data set that the model was trained for",
            )
    classes, results = dataset.classes, list(zip(predictors, logits, strict=True))
    return EvaluationResult(
        dataset.name,
        split,
        len(part),
        classes,
        threshold,
        constant_mask(dataset.train.masks, part.masks, classes),
        tuple(evaluate_logits(one, given, part, classes, threshold=threshold) for one, given in results),
        tuple(
            compare(one, other, (ours, theirs), part.masks, classes, threshold)
            for (one, ours), (other, theirs) in combinations(results, 2)
        ),
        {one.name: one.decide(given, threshold) for one, given in results},
        () if run_folder is None else redundancy_log(run_folder / "nas_logs"),
    )


def worst_panels(result: EvaluationResult, part: Split, contract: Preprocessing) -> tuple[Panel, ...]:
    """Choose the images of the lowest mIoU of the last executor (the one nearest to the device)."""
    stems = [score.stem for score in result.executors[-1].worst[:WORST_PICTURES]]
    return tuple(panel(result, part, part.stems.index(stem), contract) for stem in stems)


def panel(result: EvaluationResult, part: Split, index: int, contract: Preprocessing) -> Panel:
    """Make the panel of one image: its truth and what the float and the int8 model decided."""
    floating = result.decisions.get("keras")
    int8 = next((result.decisions[name] for name in ("aot", "tflm", "int8") if name in result.decisions), None)
    return Panel(
        part.stems[index],
        _display(part.images[index], contract),
        part.masks[index],
        None if floating is None else floating[index],
        None if int8 is None else int8[index],
        result.classes,
    )


def _display(image: Masks, contract: Preprocessing) -> Masks:
    """uint8 (H, W, 3) RGB."""
    if image.shape[-1] == 1:
        return image.repeat(3, axis=-1)
    return np.ascontiguousarray(image[..., ::-1]) if contract.color_order == "BGR" else image


def write_evaluation(
    folder: Path,
    result: EvaluationResult,
    part: Split,
    contract: Preprocessing,
    model: QuantizedModel | None,
    commands: tuple[str, ...],
) -> tuple[Path, ...]:
    """Write FOLDER with those of FILES that apply (no report.html without an int8 model), all at once.

    Raises DeployError where the folder holds anything else.
    """
    if folder.exists() and (not folder.is_dir() or {path.name for path in folder.iterdir()} - set(FILES)):
        raise DeployError(f"{folder} exists and holds no evaluation", hint="choose another --output")
    panels = worst_panels(result, part, contract)
    charts = evaluation_charts(result.executors, result.redundancy)
    files = {
        "evaluation.json": json.dumps(result.as_json(), indent=2).encode() + b"\n",
        "worst.png": png_bytes(panel_picture(panels)),
        **{f"{chart.slug}.svg": svg_file(chart_svg(chart)).encode() for chart in charts},
    }
    if model is not None:
        files["report.html"] = render_report(_report_data(model, result, panels, commands)).encode()
    try:
        with staged_folder(folder) as staging:
            for name, content in files.items():
                (staging / name).write_bytes(content)
    except OSError as error:
        raise DeployError(f"cannot write {folder}: {error.strerror or error}", hint="check the path") from error
    return tuple(folder / name for name in files)


def _report_data(
    model: QuantizedModel, result: EvaluationResult, panels: tuple[Panel, ...], commands: tuple[str, ...]
) -> ReportData:
    compiled = compile_model(model)
    distinct = merge_equal(result)
    return ReportData(
        model_name=model.name,
        model_sha256=model.sha256,
        generator_version=codegen.__version__,
        input_shape=compiled.graph.input.shape,
        output_shape=compiled.graph.output.shape,
        plan=compiled.plan,
        operators=operator_rows(compiled.graph, compiled.program),
        executors=_golden_rows(result),
        accuracy=tuple(AccuracyRow(name, metrics) for name, metrics in result.rows.items()),
        evaluations=distinct,
        redundancy=result.redundancy,
        comparisons=result.comparisons,
        worst=panels,
        split=result.split,
        provenance={"evaluated on": f"{result.dataset}, {result.images} {result.split} images"},
        commands=commands,
    )


def merge_equal(result: EvaluationResult) -> tuple[Evaluation, ...]:
    """Merge the evaluations of executors that gave the same bytes into the first one's, with all their names."""
    twins = {(pair.first, pair.second) for pair in result.comparisons if pair.differing_outputs == 0}
    merged: dict[str, list[str]] = {}
    for one in result.executors:
        owner = next((name for name in merged if (name, one.executor) in twins), one.executor)
        merged.setdefault(owner, []).append(one.executor)
    by_name = {one.executor: one for one in result.executors}
    return tuple(replace(by_name[owner], executor=", ".join(names)) for owner, names in merged.items())


def _golden_rows(result: EvaluationResult) -> tuple[ExecutorResult, ...]:
    """Return the int8 executors against TFLM, where it ran on this split."""
    names = {"int8": "BUILTIN_REF", "aot": "aot host"}
    rows = [ExecutorResult(TRUTH, "equal", result.images, result.images, detail="the reference")]
    for one in result.comparisons:
        pair = {one.first, one.second}
        if "tflm" in pair and (other := names.get(next(iter(pair - {"tflm"})))):
            differing = one.differing_images or 0
            rows.append(
                ExecutorResult(
                    other,
                    "equal" if not differing else "apart" if other == "BUILTIN_REF" else "differs",
                    result.images,
                    result.images - differing,
                    round(one.max_difference_steps or 0),
                    detail=f"the whole {result.split} set",
                )
            )
    return tuple(rows) if len(rows) > 1 else ()
