"""Run the whole path once, on data that is rendered on the spot: train, quantize, compile, verify, build, report."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import codegen
from codegen.atomic_files import write_text
from codegen.compile import Compilation
from codegen.graph.model import QuantizedModel
from codegen.library.write import write_project
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.compilation import compile_for
from nanou_deploy.build.firmware_project import LIBRARY_FOLDER, render_firmware_project
from nanou_deploy.build.library import open_model, render_library
from nanou_deploy.build.platformio import PlatformMissing, build_project, lint_project
from nanou_deploy.errors import DeployError
from nanou_deploy.evaluate.evaluate_executors import (
    EvaluationResult,
    evaluate_executors,
    merge_equal,
    panel,
    worst_panels,
)
from nanou_deploy.measure.bench import BenchResult, bench_compiled
from nanou_deploy.report import AccuracyRow, Panel, ReportData, operator_rows, render_report, write_panel_png
from nanou_deploy.report.model_card import write_card
from nanou_deploy.verify.golden import GoldenReport
from nanou_deploy.verify.verify import picture_frames, verify
from nanou_train.data.dataset import Dataset, terrain_dataset
from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, load_experiment
from nanou_train.runs import run_folder as run
from nanou_train.runs.int8_model import save_int8
from nanou_train.runs.quantize_run import quantize_run
from nanou_train.training.train import train_model

EXPERIMENT = "demo"
RUN = "run"
BOARD = "esp32s3"
EMULATED = "rv32-qemu"  # what is measured
# The simulated chip takes seconds for a frame; QEMU and the host take milliseconds.
SHIPPED_TARGETS = (("host", 10), ("rv32-qemu", 2))
TARGETS = (("host", 100), ("rv32-qemu", 10), ("esp32c3-sim", 1))
PANELS = 3


@dataclass(frozen=True, eq=False)
class DemoResult:
    """Results of the demo. `not_linked` is empty, or why the esp32s3 firmware was not linked."""

    model: QuantizedModel
    compiled: Compilation
    evaluation: EvaluationResult
    golden: GoldenReport
    bench: BenchResult
    run_folder: Path
    project: Path
    report: Path
    picture: Path
    not_linked: str


def run_demo(
    folder: Path,
    *,
    seed: int,
    heading: Callable[[str], None],
    progress: Callable[[str], None],
    training_progress: Callable[[str, float], None],
) -> DemoResult:
    """Make shipped/, run/, aot/, tflm/, esp32s3/, report.html and panel.png in `folder`.

    Raises the stages' own errors, and DeployError where the shipped model's firmware is not equal.
    """
    heading("1/7  Verified firmware at once: the model that comes with nanou-deploy")
    _build_shipped(folder / "shipped", progress)

    heading("2/7  Train: BU-Net teacher, Nano-U student, on rendered terrain")
    dataset = _render_and_train(folder, seed, training_progress)

    heading("3/7  Quantize to int8 and evaluate")
    run_folder = folder / RUN
    model = quantize_run(run_folder, dataset=dataset)
    write_card(model, save_int8(run_folder, model))
    evaluation = evaluate_executors(
        ("keras", "tflm"), model, run_folder, dataset, threshold=model.threshold, progress=progress
    )
    for name, metrics in evaluation.rows.items():
        progress(f"{name:<14} mIoU {100 * metrics['miou']:.1f} %")

    heading("4/7  Compile: straight-line C (aot) and the interpreter library (tflm)")
    board = find_board(BOARD)
    emulated = find_board(EMULATED)
    compiled = compile_for(model, emulated)
    library = render_library(model, "aot", board)
    for runtime in ("aot", "tflm"):
        rendered = library if runtime == "aot" else render_library(model, "tflm", board)
        write_project(rendered, folder / runtime, force=True)
        progress(f"{folder / runtime}: {len(rendered.files)} files")

    heading("5/7  Verify: every executor against TFLite Micro, byte for byte")
    frames = picture_frames(model, compiled.graph, list(dataset.test.images[: TARGETS[0][1]]))
    targets = [(find_board(name), cases) for name, cases in TARGETS]
    golden = verify(model, targets, seed=seed, real_frames=frames, library=folder / "aot", progress=progress)

    heading("6/7  Measure, and build the firmware project")
    bench = bench_compiled(compiled, emulated, progress=progress)
    project = folder / BOARD
    write_project(render_firmware_project(board, library), project, force=True)
    not_linked = _link(project, progress)

    heading("7/7  Report")
    panels = _panels(model, evaluation, dataset)
    picture, report = folder / "panel.png", folder / "report.html"
    write_panel_png(picture, panels)
    worst = worst_panels(evaluation, dataset.test, model.image)
    data = _report_data(compiled, evaluation, golden, bench, panels, worst, run_folder)
    write_text(report, render_report(data))
    return DemoResult(model, compiled, evaluation, golden, bench, run_folder, project, report, picture, not_linked)


def _build_shipped(project: Path, progress: Callable[[str], None]) -> None:
    """Do what `build` does, within seconds: nobody has to wait for a training to see what comes of one."""
    model, board = open_model(None), find_board(BOARD)
    library = render_library(model, "aot", board)
    write_project(render_firmware_project(board, library), project, force=True)
    targets = [(find_board(name), cases) for name, cases in SHIPPED_TARGETS]
    golden = verify(model, targets, library=project / LIBRARY_FOLDER, progress=progress)
    if not golden.passed:
        raise DeployError(f"{model.name}: outputs differ", hint="`nanou-deploy verify` shows where")
    progress(f"{project}: firmware of {model.name}, equal to TFLite Micro in every byte")


def _render_and_train(folder: Path, seed: int, progress: Callable[[str, float], None]) -> Dataset:
    """Train a run into folder/run. Raises DeployError with training's own words."""
    progress("rendering terrain", 0.0)
    dataset = terrain_dataset(load_experiment(DEFAULT_CONFIG, EXPERIMENT).data.terrain.model_dump(), seed=seed)
    trained = train_model(
        experiment_name=EXPERIMENT, dataset=dataset, output_dir=folder, run_name=RUN, seed=seed, force=True,
        progress=progress,
    )  # fmt: skip
    if trained["status"] != "completed":
        raise DeployError(f"training {trained['status']}: {trained['error']}", hint="`nanou-deploy doctor`")
    return dataset


def _link(project: Path, progress: Callable[[str], None]) -> str:
    lint = lint_project(project)
    if not lint.clean:
        raise DeployError(f"{project}/platformio.ini: {'; '.join((*lint.errors, *lint.warnings))}")
    try:
        built = build_project(project, BOARD)
    except PlatformMissing as error:
        return f"{error}; {error.hint}"
    progress(f"{built.elf}: flash {built.flash_bytes:,} B, RAM {built.ram_bytes:,} B")
    return ""


def _panels(model: QuantizedModel, evaluation: EvaluationResult, dataset: Dataset) -> tuple[Panel, ...]:
    """Test scenes spread evenly over the set, not chosen by how well they came out."""
    test = dataset.test
    chosen = np.linspace(0, len(test.images) - 1, PANELS).astype(int)
    return tuple(panel(evaluation, test, index, model.image) for index in chosen.tolist())


def _report_data(
    compiled: Compilation,
    evaluation: EvaluationResult,
    golden: GoldenReport,
    bench: BenchResult,
    panels: tuple[Panel, ...],
    worst: tuple[Panel, ...],
    run_folder: Path,
) -> ReportData:
    manifest = run.read_manifest(run_folder)
    provenance = {
        "training data": f"{evaluation.dataset}, sha256 {manifest['data']['train']['sha256'][:16]}",
        "experiment": f"{manifest['experiment']}, seed {manifest['seed']}",
        "student weights": f"sha256 {manifest['weights']['student'][:16]}",
        "versions": ", ".join(f"{name} {version}" for name, version in manifest["versions"].items()),
    }
    quoted = shlex.quote(str(run_folder))
    commands = (
        "nanou-deploy demo",
        f"nanou-deploy evaluate --model {quoted}",
        f"nanou-deploy verify --model {quoted} --board rv32-qemu --cases 20",
        f"nanou-deploy bench --model {quoted} --board rv32-qemu",
    )
    return ReportData(
        model_name=compiled.model.name,
        model_sha256=compiled.model.sha256,
        generator_version=codegen.__version__,
        input_shape=compiled.graph.input.shape,
        output_shape=compiled.graph.output.shape,
        plan=compiled.plan,
        operators=operator_rows(compiled.graph, compiled.program),
        executors=golden.executors,
        accuracy=tuple(AccuracyRow(name, metrics) for name, metrics in evaluation.rows.items()),
        evaluations=merge_equal(evaluation),
        comparisons=evaluation.comparisons,
        worst=worst,
        bench=(bench,),
        panels=panels,
        provenance=provenance,
        commands=commands,
    )
