"""The comparison: which boards, what a row holds, and that a missing tool is a line of the table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from codegen.compile import Compilation, compile_model
from codegen.errors import UnsupportedError
from nanou_deploy.boards.boards import BOARDS, Board, find_board
from nanou_deploy.build.compilation import compile_for
from nanou_deploy.build.library import open_model
from nanou_deploy.cli.bench import bench as command
from nanou_deploy.errors import DeployError
from nanou_deploy.measure import compare as module
from nanou_deploy.measure.bench import BenchResult
from nanou_deploy.measure.compare import SCHEDULES, Schedule, compare, compile_schedule, select_boards
from nanou_deploy.measure.profile import LayerCost
from nanou_deploy.report.benchmarks import compare_table, kernels_table, layers_table, markdown, render_benchmarks
from nanou_deploy.verify.verify import Progress
from tests.generated import small_model


@cache
def compile_default(schedule: Schedule, *boards: Board) -> Mapping[Board, Compilation]:
    """Compiling takes most of these tests, so it is done once for all of them."""
    return compile_schedule(schedule, small_model(), boards)


RV32, M4 = find_board("rv32-qemu"), find_board("cortex-m4-qemu")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that no emulator is needed for: 1000 instructions on rv32, 500 on Cortex-M."""

    def bench_compiled(compiled: Compilation, board: Board, *, progress: Progress) -> BenchResult:
        count = 1000 if board is RV32 else 500
        sizes = (compiled.plan.working_bytes, compiled.plan.io_bytes, 344, 7000, 3000)
        return BenchResult(
            board.name, "aot", compiled.model.sha256, 2000, count, count / 2000, *sizes, True, "cc 1", ()
        )

    def bench_layers(compiled: Compilation, board: Board, *, progress: Progress) -> tuple[LayerCost, ...]:
        classes = {"load": 300, "store": 100, "multiply": 400, "multiply_high_clamp": 50, "arithmetic": 149, "jump": 1}
        rest = {**dict.fromkeys(classes, 0), "jump": 10}
        return (
            LayerCost(0, "0", "conv_2d", "1x1 -> 1x1", 2000, 1000, classes),
            LayerCost(1, "1", "conv_2d", "1x1 -> 1x1", 1000, 1000, classes),
            LayerCost(-1, "", "", "call, return, input rows", 0, 10, rest),
        )

    monkeypatch.setattr(module, "compile_schedule", lambda schedule, _, boards: compile_default(schedule, *boards))
    monkeypatch.setattr(module, "bench_compiled", bench_compiled)
    monkeypatch.setattr(module, "bench_layers", bench_layers)


def test_boards_are_selected() -> None:
    assert [board.kind for board in select_boards(None)] == ["qemu"] * 6
    assert select_boards("all") == tuple(board for board in BOARDS.values() if board.runs_here)
    assert select_boards("cortex-m4-qemu, rv32-qemu,rv32-qemu") == (M4, RV32)
    with pytest.raises(DeployError, match="no board 'rv32'"):
        select_boards("rv32")
    with pytest.raises(DeployError, match="esp32s3 is hardware"):
        select_boards("host,esp32s3")


@pytest.mark.usefixtures("measured")
def test_rows_are_schedules_on_boards_and_then_the_interpreter() -> None:
    comparison = compare(small_model(), (RV32, M4), breakdown=True)
    names = [(row.runtime, row.board, row.schedule) for row in comparison.rows]
    schedules = [schedule.name for schedule in SCHEDULES if not schedule.isas]
    assert names == [
        *(("aot", "rv32-qemu", name) for name in schedules),
        *(("aot", "cortex-m4-qemu", name) for name in (*schedules, "portable")),
        ("tflm", "", ""),
    ]
    assert [row.ratio for row in comparison.rows] == [*([1.0] * len(schedules)), *([0.5] * (len(schedules) + 1)), None]
    tflm = comparison.rows[-1]
    assert tflm.instructions is None
    assert tflm.ram_bytes is not None
    assert tflm.ram_bytes > 16 * 24 * 12  # the largest layer's input and output
    assert "not measured here" in tflm.note
    cells = compare_table(comparison).rows
    assert cells[0][:6] == ("aot", "rv32-qemu", schedules[0], "1,000", "0.50", "1.00")
    assert cells[-1][:6] == ("tflm", "–", "–", "–", "–", "–")


def test_layer_by_layer_holds_every_tensor_whole() -> None:
    schedule = next(schedule for schedule in SCHEDULES if schedule.name == "layers")
    model = open_model(Path("nano_u_offroad_small"))
    compiled, streamed = compile_schedule(schedule, model, [RV32])[RV32], compile_model(model)
    assert compiled.proofs.failures == ()
    assert all(place.depth_rows == place.rows for place in compiled.plan.placements)
    stages = [index for index in compiled.plan.schedule if index < len(compiled.program.stages)]
    assert stages == sorted(stages)
    assert compiled.plan.working_bytes > 4 * streamed.plan.working_bytes


def test_portable_is_c_without_dual_multiplication() -> None:
    schedule = next(schedule for schedule in SCHEDULES if schedule.name == "portable")
    usual, portable = (compile_default(s, RV32, M4)[M4].program.stages for s in (SCHEDULES[0], schedule))
    assert RV32 not in compile_default(schedule, RV32, M4)
    assert any(stage.kernel.template.startswith("armv7e_m/") for stage in usual)
    assert not any(stage.kernel.template.startswith("armv7e_m/") for stage in portable)


def test_the_first_schedule_is_what_build_does() -> None:
    assert compile_default(SCHEDULES[0], RV32, M4)[RV32].plan == compile_for(small_model(), RV32).plan


def test_missing_tools_are_lines_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    comparison = compare(small_model(), (M4, find_board("xtensa-qemu")), breakdown=True)
    rows = [row for row in comparison.rows if row.runtime == "aot"]
    assert {row.instructions for row in rows} == {None}
    assert all(row.ram_bytes for row in rows)  # the compiler knows that without any tool
    notes = compare_table(comparison).notes
    assert "aot cortex-m4-qemu: not measured: no compiler for Cortex-M (arm-none-eabi-gcc); install it:" in notes[0]
    assert "xtensa-qemu: not measured: no compiler for Xtensa" in markdown(kernels_table(comparison))


def test_a_refused_model_is_a_line_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Compilation:
        raise UnsupportedError("operator 3 (SOFTMAX) is not supported")

    monkeypatch.setattr(module, "compile_each", refuse)
    comparison = compare(small_model(), (RV32,), breakdown=True)
    assert [row.runtime for row in comparison.rows] == ["aot", "tflm"]
    assert comparison.macs == compile_model(small_model()).plan.macs  # counted from the file
    assert "aot rv32-qemu: refused: operator 3 (SOFTMAX)" in compare_table(comparison).notes[0]


@pytest.mark.usefixtures("measured")
def test_json_has_a_schema_and_every_row() -> None:
    result = CliRunner().invoke(command, ["--compare", "--boards", "rv32-qemu", "--breakdown", "--json"])
    document = json.loads(result.stdout)
    assert document["schema"] == "nanou-deploy/bench-compare/1"
    (model,) = document["models"]
    assert set(model) == {"model", "sha256", "file_bytes", "macs", "rows", "breakdowns"}
    assert model["rows"][0]["instructions"] == 1000
    assert set(model["rows"][0]) == set(module.CompareRow.__dataclass_fields__)
    assert model["breakdowns"][0]["layers"][0]["classes"]["load"] == 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["--boards", "rv32-qemu"],
        ["--markdown", "x.md"],
        ["--model", "a", "--model", "b"],
        ["--compare", "--board", "rv32-qemu"],
        ["--compare", "--per-layer"],
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 2
    assert "--compare" in result.output


@pytest.mark.usefixtures("measured")
def test_tables_add_up() -> None:
    comparison = compare(small_model(), (RV32,), breakdown=True)
    layers = layers_table(comparison.breakdowns[0].layers, by_class=True).rows
    assert layers[-1] == ("", "all", "3,000", "2,010", "0.67", "600", "200", "800", "100", "298", "12")
    kernels = kernels_table(comparison).rows
    assert [row[1] for row in kernels] == ["conv_2d", "call, return, input rows", "all"]
    assert [row[2] for row in kernels] == ["2,000", "10", "2,010"]


@pytest.mark.usefixtures("measured")
def test_the_document_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--compare", "--boards", "rv32-qemu", "--markdown", "made.md"]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    text = Path("made.md").read_text(encoding="utf-8")
    assert "nanou-deploy bench --compare --boards rv32-qemu --markdown made.md\n" in text
    assert text == render_benchmarks(
        [compare(open_model(None), (RV32,), breakdown=True)],
        "nanou-deploy bench --compare --boards rv32-qemu --markdown made.md",
    )
    assert "| aot | rv32-qemu | ram | 1,000 |" in text
    arguments[-1] = str(tmp_path / "absent" / "made.md")
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, DeployError)
    assert "cannot write" in str(result.exception)
