"""`bench`: measure what an inference costs, and what its instructions do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from nanou_deploy.cli.completion import complete_boards
from nanou_deploy.cli.device_options import port_option, timeout_option
from nanou_deploy.cli.options import MOST, Output, board_option, cores_option, json_option, objective_options
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, progress, say
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_OK

if TYPE_CHECKING:
    from codegen.graph.model import QuantizedModel
    from codegen.program.objective import Objective
    from nanou_deploy.report.benchmarks import TextTable
    from nanou_deploy.verify.device_check import DeviceTimes


@click.command(short_help="Instructions, RAM, stack, code and tables.")
@click.option(
    "--model",
    "models",
    type=click.Path(path_type=Path),
    multiple=True,
    help="A .tflite file, a run folder, or a shipped model's name; with --compare any number. Default: nano_u_offroad.",
)
@board_option("rv32-qemu")
@objective_options
@cores_option
@click.option("--per-layer", is_flag=True, help="Also count by operator (boards in QEMU).")
@click.option("--breakdown", is_flag=True, help="Also count by operator and class of instruction (boards in QEMU).")
@click.option("--compare", "is_comparison", is_flag=True, help="Measure runtimes, boards and schedules in one table.")
@click.option(
    "--boards",
    shell_complete=complete_boards,
    metavar="A,B",
    help="With --compare: boards, or all that run here. Default: those in QEMU.",
)
@click.option(
    "--markdown",
    type=Output(is_file=True),
    metavar="FILE",
    help="With --compare: write the document, breakdown and published figures included.",
)
@port_option
@click.option(
    "--save-timing",
    type=Output(is_file=True),
    metavar="FILE",
    help="With one --port: write how long its instructions take, for `fit --timing`; --model is what it runs.",
)
@click.option(
    "--inferences", type=click.IntRange(1, MOST), default=20, show_default=True, help="With --port: how many."
)
@timeout_option
@json_option
def bench(
    models: tuple[Path, ...],
    board: str,
    objective: Objective,
    per_layer: bool,
    breakdown: bool,
    is_comparison: bool,
    boards: str | None,
    markdown: Path | None,
    ports: tuple[str, ...],
    save_timing: Path | None,
    inferences: int,
    timeout_s: float,
    as_json: bool,
) -> int:
    """Count instructions, RAM, stack, code and tables of one inference.

    Instructions are exact counts from the emulator. Emulated cycles are no milliseconds, so none are shown. With
    --port the firmware on devices is timed instead, by their own clocks.
    With --compare a missing tool gives a line that names it. Exit code 3 where an output is not TFLite Micro's.
    """
    from nanou_deploy.build.library import open_model

    if save_timing is not None and (len(ports) != 1 or len(models) > 1):
        raise click.UsageError("--save-timing takes one --port, and one --model at most")
    if ports:
        if is_comparison or breakdown or (models and save_timing is None) or markdown is not None:
            raise click.UsageError(
                "with --port go --inferences, --per-layer, --timeout, --save-timing and --json alone"
            )
        times = _time_devices(ports, inferences, per_layer, timeout_s, as_json)
        if save_timing is not None:
            _save_timing(times[0], open_model(models[0] if models else None), save_timing)
        return EXIT_OK
    _check_usage(models, per_layer, is_comparison, boards, markdown)
    opened = [open_model(path) for path in models or (None,)]
    if is_comparison:
        return _compare(opened, models, boards, breakdown, markdown, as_json)
    return _measure(opened[0], board, objective, per_layer or breakdown, breakdown, as_json)


def _check_usage(
    models: tuple[Path, ...], per_layer: bool, is_comparison: bool, boards: str | None, markdown: Path | None
) -> None:
    """Refuse options that do not go together (UsageError), and what would fail minutes later (DeployError)."""
    from nanou_deploy.errors import DeployError

    board_given = click.get_current_context().get_parameter_source("board") is ParameterSource.COMMANDLINE
    if is_comparison and (board_given or per_layer):
        raise click.UsageError("with --compare it is --boards and --breakdown, not --board and --per-layer")
    if not is_comparison and (boards is not None or markdown is not None or len(models) > 1):
        raise click.UsageError("--boards, --markdown and several --model belong to --compare")
    if markdown is not None and not markdown.absolute().parent.is_dir():
        raise DeployError(f"cannot write {markdown}: there is no folder {markdown.parent}", hint="make it first")


def _measure(
    model: QuantizedModel, board: str, objective: Objective, per_layer: bool, breakdown: bool, as_json: bool
) -> int:
    from nanou_deploy.boards.boards import find_board
    from nanou_deploy.build.compilation import compile_for
    from nanou_deploy.measure.bench import bench_compiled, bench_layers
    from nanou_deploy.report.benchmarks import layers_table

    target = find_board(board)
    compiled = compile_for(model, target, objective)
    layers = bench_layers(compiled, target, progress=progress) if per_layer else ()
    result = bench_compiled(compiled, target, progress=progress)
    if as_json:
        emit_json("bench/1", {**as_dict(result), "objective": objective, **({"layers": layers} if layers else {})})
    else:
        if layers:
            _print(layers_table(layers, by_class=breakdown))
        rows = [(key.replace("_", " "), _figure(value)) for key, value in as_dict(result).items()]
        emit_table(("Figure", "Value"), rows)
    return EXIT_OK if result.exact else EXIT_MISMATCH


def _save_timing(times: DeviceTimes, model: QuantizedModel, path: Path) -> None:
    from nanou_deploy.measure.timing import save_timing, time_instructions

    found = time_instructions(times, model, progress=progress)
    save_timing(found, path)
    progress(f"{path}: {found.us_per_instruction:.5f} us per instruction on {found.board}")


def _time_devices(
    ports: tuple[str, ...], inferences: int, per_layer: bool, timeout_s: float, as_json: bool
) -> list[DeviceTimes]:
    from nanou_deploy.verify.device_check import bench_devices

    results = bench_devices(ports, inferences, per_layer=per_layer, timeout_s=timeout_s, progress=progress)
    if as_json:
        emit_json("bench-device/1", {"devices": [{**as_dict(r), "fps": round(r.fps, 2)} for r in results]})
        return results
    emit_table(
        ("Device", "Model", "Best us", "Mean us", "Worst us", "Inferences/s", "Cycles", "per MAC"),
        (
            (
                f"{r.info.board} at {r.address}",
                f"{r.info.model_name} {r.info.model_sha256[:12]}",
                f"{r.bench.best_us:,}",
                f"{r.bench.mean_us:,.0f}",
                f"{r.bench.worst_us:,}",
                f"{r.fps:.1f}",
                f"{r.bench.best_cycles:,}" if r.info.counts_cycles else "not counted",
                r.cycles_per_mac or "",
            )
            for r in results
        ),
        right=(2, 3, 4, 5, 6, 7),
    )
    for result in results if per_layer else ():
        _print_layers(result)
    return results


def _print_layers(result: DeviceTimes) -> None:
    total = sum(layer.cycles for layer in result.bench.layers) or 1
    unit = "Cycles" if result.info.counts_cycles else "us"
    say(f"{result.info.board} at {result.address}, traced: slower than above", bold=True)
    emit_table(
        ("Operator", "Layer", unit, "%"),
        ((x.operator_index, x.name, f"{x.cycles:,}", f"{100 * x.cycles / total:.1f}") for x in result.bench.layers),
        right=(0, 2, 3),
    )


def _compare(
    models: list[QuantizedModel],
    paths: tuple[Path, ...],
    boards: str | None,
    breakdown: bool,
    markdown: Path | None,
    as_json: bool,
) -> int:
    from nanou_deploy.measure.compare import compare, select_boards
    from nanou_deploy.report.benchmarks import compare_table, kernels_table, render_benchmarks

    selected = select_boards(boards)
    with_breakdown = breakdown or markdown is not None
    comparisons = [compare(model, selected, breakdown=with_breakdown, progress=progress) for model in models]
    if markdown:
        _write(markdown, render_benchmarks(comparisons, _command(paths, boards, markdown)))
    if as_json:
        emit_json("bench-compare/1", {"models": comparisons})
    else:
        for comparison in comparisons:
            say(f"{comparison.model}, sha256 {comparison.sha256[:12]}", bold=True)
            _print(compare_table(comparison))
            if with_breakdown:
                _print(kernels_table(comparison))
    exact = all(row.exact is not False for comparison in comparisons for row in comparison.rows)
    return EXIT_OK if exact else EXIT_MISMATCH


def _command(paths: tuple[Path, ...], boards: str | None, markdown: Path) -> str:
    """Return what to type for the same document; files outside the working directory by name alone."""

    def shown(path: Path) -> str:
        return path.name if path.is_absolute() or ".." in path.parts else path.as_posix()

    models = [f"--model {shown(path)}" for path in paths]
    chosen = [f"--boards {boards}"] if boards else []
    return " ".join(["nanou-deploy bench --compare", *models, *chosen, f"--markdown {shown(markdown)}"])


def _write(path: Path, text: str) -> None:
    from codegen.atomic_files import write_text
    from nanou_deploy.errors import DeployError

    try:
        write_text(path, text)
    except OSError as error:
        raise DeployError(f"cannot write {path}: {error.strerror}", hint="check the path and its rights") from error
    progress(f"wrote {path}")


def _print(table: TextTable) -> None:
    emit_table(table.columns, table.rows, right=table.right)
    for note in table.notes:
        say(note)


def _figure(value: object) -> str:
    if value is None:
        return "not counted here"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
