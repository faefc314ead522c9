"""`verify` and `bench`: is the generated code right, and what does it cost?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from nanou_deploy.cli.options import board_option, json_option, model_option, runtime_option
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, progress
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_OK

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from codegen.model import Preprocessing
    from nanou_deploy.golden import ExecutorResult, GoldenReport
    from nanou_deploy.pipeline import LayerCost


@click.command(short_help="Compare every executor, byte for byte.")
@model_option
@board_option()
@runtime_option
@click.option("--cases", type=click.IntRange(1), default=20, show_default=True, help="Input frames to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random frames.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Data set whose test images become cases. Default: rendered terrain.",
)
@click.option(
    "--library",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Verify this generated folder instead of a fresh one.",
)
@json_option
def verify(
    model: Path | None,
    board: str,
    runtime: str,
    cases: int,
    seed: int,
    data: Path | None,
    library: Path | None,
    as_json: bool,
) -> int:
    """Compare every executor with TFLite Micro, byte for byte; name the first operator that differs.

    Exit code 3 where anything differs.
    """
    from codegen.render import Runtime
    from nanou_deploy.boards import find_board
    from nanou_deploy.pipeline import open_model, verification_board
    from nanou_deploy.pipeline import verify as run

    target, quantized = find_board(board), open_model(model)
    report = run(
        quantized,
        [(target, cases)],
        runtime=cast(Runtime, runtime),
        seed=seed,
        images=_images(data, quantized.preprocessing),
        library=library,
        progress=progress,
    )
    if as_json:
        emit_json("verify/1", {**as_dict(report), "passed": report.passed, "board": board})
    else:
        print_golden(report)
        if runtime == "aot" and verification_board(target) is not target:
            click.echo(f"{board} is hardware: its C was run as {verification_board(target).name}.")
    return EXIT_OK if report.passed else EXIT_MISMATCH


def print_golden(report: GoldenReport) -> None:
    """The table of executors, then the verdict."""
    emit_table(
        ("Executor", "Equal", "Max diff", "First divergent operator", "Built by"),
        ((e.name, _equal(e), e.max_difference or "", _where(e), e.detail) for e in report.executors),
        right=(1, 2),
    )
    if report.passed:
        cases = "case" if report.cases == 1 else "cases"
        compared = sum(e.status == "equal" for e in report.executors)
        click.secho(f"All {compared} executors agree byte for byte on {report.cases} {cases}.", fg="green")
    else:
        differing = ", ".join(e.name for e in report.executors if e.status == "differs")
        click.secho(f"NOT EQUAL: {differing or 'nothing could be compared'}", fg="red", bold=True)


def _equal(result: ExecutorResult) -> str:
    return "absent" if result.status == "absent" else f"{result.equal_cases}/{result.cases}"


def _where(result: ExecutorResult) -> str:
    at = result.first_divergence
    if at is None:
        return "not located" if result.status == "differs" else ""
    return f"{at.operator}, {at.differing_bytes} bytes of tensor '{at.tensor}' in case '{at.case_label}'"


def _images(data: Path | None, contract: Preprocessing) -> list[npt.NDArray[np.uint8]]:
    if data is None:
        return []
    from nanou_train.data import DatasetSpec, load_split

    return list(load_split(DatasetSpec.of(data, contract), "test").images)


@click.command(short_help="Instructions, RAM, stack, code and tables.")
@model_option
@board_option("rv32-qemu")
@click.option("--per-layer", is_flag=True, help="Also count by operator.")
@json_option
def bench(model: Path | None, board: str, per_layer: bool, as_json: bool) -> int:
    """Count instructions, RAM, stack, code and tables of one inference (aot runtime).

    Instructions are exact counts from the emulator. Emulated cycles are no milliseconds, so none are shown.
    """
    from nanou_deploy.boards import find_board
    from nanou_deploy.pipeline import bench as run
    from nanou_deploy.pipeline import bench_layers, open_model

    target, quantized = find_board(board), open_model(model)
    result = run(quantized, target, progress=progress)
    layers = bench_layers(quantized, target, progress=progress) if per_layer else ()
    if as_json:
        emit_json("bench/1", {**as_dict(result), **({"layers": layers} if per_layer else {})})
    else:
        if layers:
            _print_layers(layers)
        rows = [(key.replace("_", " "), _figure(value)) for key, value in as_dict(result).items()]
        emit_table(("Figure", "Value"), rows)
    return EXIT_OK if result.exact else EXIT_MISMATCH


def _print_layers(layers: tuple[LayerCost, ...]) -> None:
    emit_table(
        ("#", "Kernel", "What", "MACs", "Instructions", "per MAC"),
        (
            (
                cost.operator if cost.operator >= 0 else "",
                cost.kernel,
                cost.summary,
                f"{cost.macs:,}" if cost.macs else "",
                f"{cost.instructions:,}",
                f"{cost.instructions / cost.macs:.2f}" if cost.macs else "",
            )
            for cost in layers
        ),
        right=(0, 3, 4, 5),
    )


def _figure(value: object) -> str:
    if value is None:
        return "not counted here"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
