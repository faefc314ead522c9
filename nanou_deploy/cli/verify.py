"""`verify`: compare the generated code with TFLite Micro, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from nanou_deploy.boards.boards import BOARDS, Board
from nanou_deploy.cli.completion import complete_boards
from nanou_deploy.cli.device_options import device_address, port_option, timeout_option
from nanou_deploy.cli.options import (
    MOST,
    DataFolder,
    cores_option,
    json_option,
    model_option,
    objective_options,
    runtime_option,
    seed_option,
)
from nanou_deploy.cli.output import as_dict, emit_json, emit_table, progress, say
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_OK

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from codegen.graph.model import QuantizedModel
    from codegen.program.objective import Objective
    from nanou_deploy.verify.golden import ExecutorResult, GoldenReport


@click.command(short_help="Compare every executor, byte for byte.")
@model_option
@click.option(
    "--board",
    "boards",
    shell_complete=complete_boards,
    multiple=True,
    default=("host",),
    show_default=True,
    metavar="NAME[:CASES]",
    help=f"One of {', '.join(BOARDS)}, with a number of cases of its own. May be repeated.",
)
@runtime_option
@objective_options
@cores_option
@click.option("--cases", type=click.IntRange(1, MOST), default=20, show_default=True, help="Input frames to compare.")
@seed_option(0, "Seed of the random frames.")
@click.option(
    "--data",
    type=DataFolder(),
    help="By the model's task: data set whose test images become cases, folders of classes, or input.npy's.",
)
@click.option(
    "--library",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Verify this generated folder instead of a fresh one.",
)
@click.option("--device", is_flag=True, help="Run the whole application on the boards, over the device protocol.")
@port_option
@timeout_option
@json_option
def verify(
    model: Path | None,
    boards: tuple[str, ...],
    runtime: str,
    objective: Objective,
    cases: int,
    seed: int,
    data: Path | None,
    library: Path | None,
    device: bool,
    ports: tuple[str, ...],
    timeout_s: float,
    as_json: bool,
) -> int:
    """Compare every executor with TFLite Micro, byte for byte; name the first operator that differs.

    With --port it is the firmware on devices that is compared; with --device the same application on boards that run
    on this computer, on simulated chips from the image that would be flashed. Exit code 3 where anything differs.
    """
    if device or ports:
        return _verify_devices(model, boards if device else (), ports, cases, seed, data, timeout_s, as_json)
    from codegen.library.render import Runtime
    from nanou_deploy.build.compilation import verification_board
    from nanou_deploy.build.library import open_model
    from nanou_deploy.verify.verify import verify as run

    targets, quantized = _targets(boards, cases), open_model(model)
    report = run(
        quantized,
        targets,
        runtime=cast(Runtime, runtime),
        seed=seed,
        real_frames=_real_frames(data, quantized),
        library=library,
        objective=objective,
        progress=progress,
    )
    if as_json:
        names = [board.name for board, _ in targets]
        emit_json("verify/1", {**as_dict(report), "passed": report.passed, "boards": names})
    else:
        print_golden(report)
        for board, _ in targets if runtime == "aot" else ():
            if verification_board(board) is not board:
                say(f"{board.name} is hardware: its C was run as {verification_board(board).name}.")
    return EXIT_OK if report.passed else EXIT_MISMATCH


def _verify_devices(
    model: Path | None,
    boards: tuple[str, ...],
    ports: tuple[str, ...],
    cases: int,
    seed: int,
    data: Path | None,
    timeout_s: float,
    as_json: bool,
) -> int:
    from tempfile import TemporaryDirectory

    from nanou_deploy.build.library import open_model
    from nanou_deploy.verify.device_check import verify_devices

    quantized = open_model(model)
    with TemporaryDirectory(prefix="nanou-") as scratch:
        built = {}
        for board, _ in _targets(boards, cases):
            progress(f"building the application for {board.name}")
            built[device_address(board, quantized, Path(scratch, board.name))] = board.name
        report = verify_devices(
            quantized, (*built, *ports), cases, seed=seed, real_frames=_real_frames(data, quantized),
            timeout_s=timeout_s, progress=progress, names=built,
        )  # fmt: skip
    if as_json:
        document = {**as_dict(report), "passed": report.passed, "boards": list(built.values()), "ports": list(ports)}
        emit_json("verify/1", document)
    else:
        print_golden(report)
    return EXIT_OK if report.passed else EXIT_MISMATCH


def _targets(boards: Sequence[str], cases: int) -> list[tuple[Board, int]]:
    """("host:1000", "rv32-qemu") -> boards with their numbers of cases; `cases` where none is stated."""
    from nanou_deploy.boards.boards import find_board

    targets: dict[Board, int] = {}
    for text in boards:
        name, colon, count = text.partition(":")
        if colon and not (count.isdecimal() and int(count)):
            raise click.BadParameter(f"{text!r} does not end in a number of cases", param_hint="--board")
        board, limit = find_board(name), int(count) if colon else cases
        if targets.setdefault(board, limit) != limit:
            raise click.BadParameter(f"{name} is there twice, with different numbers of cases", param_hint="--board")
    return list(targets.items())


def print_golden(report: GoldenReport) -> None:
    """Print the table of executors, then the verdict."""
    from nanou_deploy.verify.golden import TRUTH, cases_of

    emit_table(
        ("Executor", "Equal", "Max diff", "First divergent operator", "Built by"),
        ((e.name, _equal(e), e.max_difference or "", _where(e), e.detail) for e in report.executors),
        right=(1, 2),
    )
    if report.truth != TRUTH:
        say(f"{TRUTH} does not take this model, so that the {report.truth}, part of this project, is compared with.")
    if report.passed:
        equal = [executor for executor in report.executors if executor.status == "equal"]
        say(f"All {len(equal)} executors agree byte for byte, {cases_of(equal)}.", fg="green")
    else:
        differing = ", ".join(e.name for e in report.executors if e.status == "differs")
        say(f"NOT EQUAL: {differing or 'nothing could be compared'}", fg="red", bold=True)


def _equal(result: ExecutorResult) -> str:
    return "absent" if result.status == "absent" else f"{result.equal_cases}/{result.cases}"


def _where(result: ExecutorResult) -> str:
    at = result.first_divergence
    if at is None:
        return "not located" if result.status == "differs" else ""
    return f"{at.operator}, {at.differing_bytes} bytes of tensor '{at.tensor}' in case '{at.case_label}'"


def _real_frames(data: Path | None, model: QuantizedModel) -> npt.NDArray[np.uint8] | None:
    """Read the data's cases as the file takes them: pictures with masks, folders of classes, or .npy files."""
    if data is None:
        return None
    from codegen.tflite.files import contract_graph
    from nanou_deploy.evaluate.cases import read_labelled, read_tensors
    from nanou_deploy.verify.verify import picture_frames
    from nanou_train.data.dataset import DatasetSpec, load_split

    graph, task = contract_graph(model.flatbuffer), model.decision.task
    if task == "segment":
        return picture_frames(model, graph, list(load_split(DatasetSpec.of(data, model.image), "test").images))
    if task == "classify":
        return read_labelled(model, graph, data / "test" if (data / "test").is_dir() else data).frames
    return read_tensors(graph, data).frames
