"""Costs: RAM and flash as `bench` measures them, kept on disk, and the same structure trained or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codegen.cost import Cost, Limits
from codegen.errors import UnsupportedError
from codegen.program.objective import Objective
from nanou_deploy.boards.boards import BOARDS, find_board
from nanou_deploy.build.build import LibrarySize
from nanou_deploy.build.library import open_model
from nanou_deploy.errors import DeployError
from nanou_deploy.measure import costing
from nanou_deploy.measure.bench import BenchResult
from nanou_deploy.measure.cost_check import CostCheck, check_cost, open_models
from nanou_deploy.measure.costing import (
    cache_folder,
    cost_of,
    cost_of_structure,
    estimation_board,
    structure_violations,
)
from nanou_train.networks.random_weights import stand_in_model
from nanou_train.networks.structure import Block, Level, Structure

SMALL = Structure("nano_u", (12, 16, 3), (Level((Block(4),), (2, 2), (Block(5),), True),), (Block(6),))


def silent(_message: str) -> None:
    pass


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NANOU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("board", "tools"),
    [
        ("esp32c3", ("gcc", "riscv64-unknown-elf-gcc", "qemu-system-riscv32")),
        ("cortex-m4-qemu", ("gcc", "arm-none-eabi-gcc", "qemu-system-arm")),
        ("rp2040", ("gcc", "arm-none-eabi-gcc", "qemu-system-arm")),
        ("esp32s3", ("gcc", "llc-22", "xtensa-lx106-elf-ld", "qemu-system-xtensa")),
    ],
)
def test_bytes_are_those_that_bench_measures(
    board: str, tools: tuple[str, ...], require_tool: Callable[..., str]
) -> None:
    for tool in tools:
        require_tool(tool)
    check = check_cost("small", stand_in_model(SMALL), find_board(board), Objective(), measure=True, progress=silent)
    assert check.measured is not None
    assert check.measured.instructions
    assert check.measured.board == costing.measurement_board(find_board(board)).name
    assert check.differences == ()
    assert check.predicted.board == board


def test_differences_are_said_in_words() -> None:
    predicted = Cost("rv32-qemu", 100, 1050, 800, 400, 600, 3000, 2000)
    measured = BenchResult("rv32-qemu", "aot", "ab", 100, 1000, 10.0, 800, 400, 200, 3000, 2000, True, "gcc", ())
    close = CostCheck("small", predicted, measured)
    assert (close.error_percent, close.differences) == (5.0, ())
    wrong = replace(predicted, ram_bytes=1, instructions=1051)
    assert CostCheck("small", wrong, measured).differences == (
        "small on rv32-qemu: working RAM: 1 bytes predicted, 800 measured",
        "small on rv32-qemu: instructions: +5.10 %, more than 5 %",
    )


def test_a_cost_is_found_once(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    calls = []

    def once(compiled: object, board: object) -> Cost:
        calls.append(board)
        return Cost("rv32-qemu", 1, 2, 3, 4, 5, 6, 7)

    monkeypatch.setattr(costing, "cost_of_compiled", once)
    board = find_board("rv32-qemu")
    first = cost_of_structure(SMALL, board)
    assert cost_of(stand_in_model(SMALL), board) == first
    assert len(calls) == 1
    (file,) = (own_cache / "costs").iterdir()
    file.write_text("{damaged")
    assert cost_of_structure(SMALL, board) == first
    assert len(calls) == 2
    cost_of_structure(SMALL, board, Objective("ram"))
    cost_of_structure(replace(SMALL, classes=3), board)
    assert len(calls) == 4
    monkeypatch.setenv("NANOU_CACHE", "off")
    assert cache_folder() is None
    cost_of_structure(SMALL, board)
    assert len(calls) == 5


def test_limits_that_are_broken_without_the_compiler_spare_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    board, calls = find_board("rv32-qemu"), []

    def measured(compiled: object, board: object) -> LibrarySize:
        calls.append(board)
        return LibrarySize(6000, 4000)

    monkeypatch.setattr(costing, "measure_size", measured)
    assert "working RAM" in structure_violations(SMALL, board, Limits(10, None, 10))[0]
    assert "instructions" in structure_violations(SMALL, board, Limits(None, 10, 10))[0]
    assert structure_violations(SMALL, board, Limits(1 << 20, 1 << 30, None)) == ()
    assert calls == []
    assert "code and tables 10,000 bytes" in structure_violations(SMALL, board, Limits(None, None, 9999))[0]
    assert structure_violations(SMALL, board, Limits(None, None, 10_000)) == ()
    assert len(calls) == 1  # the second time it is remembered


def test_kernels_that_were_never_measured_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="never measured"):
        cost_of_structure(SMALL, find_board("rv32-qemu"), Objective("time"))


def test_every_board_but_this_computer_has_estimates() -> None:
    for board in BOARDS.values():
        if board.kind == "host":
            with pytest.raises(DeployError, match="not estimated"):
                estimation_board(board)
        else:
            assert estimation_board(board).kind == "qemu"
    assert estimation_board(find_board("esp32s3")).name == "xtensa-qemu"
    assert estimation_board(find_board("esp32p4")).name == "rv32-qemu"
    assert estimation_board(find_board("esp32-sim")).name == "xtensa-qemu"
    assert estimation_board(find_board("rp2040")).name == "cortex-m0-qemu"


def test_models_are_files_runs_and_points_of_fronts(tmp_path: Path) -> None:
    from nanou_train.search.pareto import Point, write_front

    model = open_model(None)
    run = tmp_path / "front" / "points" / "a"
    run.mkdir(parents=True)
    (run / "model.tflite").write_bytes(model.flatbuffer)
    cost = Cost("rv32-qemu", 1, 2, 3, 4, 5, 6, 7)
    point = Point("a", "points/a", SMALL, 9, 0.5, None, None, 1, {"rv32-qemu": cost}, "train")
    write_front(tmp_path / "front" / "pareto.json", [point])
    for path in (tmp_path / "front", tmp_path / "front" / "pareto.json", run, run / "model.tflite"):
        ((_, found),) = open_models(path)
        assert found.sha256 == model.sha256
    write_front(tmp_path / "empty" / "pareto.json", [])
    with pytest.raises(DeployError, match="without points"):
        list(open_models(tmp_path / "empty"))


def test_json_holds_everything() -> None:
    cost = Cost("rv32-qemu", 1, 2, 3, 4, 5, 6, 7)
    document = json.loads(json.dumps(CostCheck("a", cost).to_json()))
    assert Cost.from_json(document["predicted"]) == cost
    assert document["predicted"]["flash_bytes"] == 13
    assert (document["measured"], document["error_percent"], document["differences"]) == (None, None, [])
