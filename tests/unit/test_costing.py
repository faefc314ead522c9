"""Costs are the counts that `bench` reports, remembered on disk, and found for many networks at once."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from codegen.errors import CodegenError
from codegen.graph.model import QuantizedModel
from codegen.program.objective import Objective
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.build.compilation import measurement_board
from nanou_deploy.build.library import open_model
from nanou_deploy.choose.front import open_models
from nanou_deploy.cli import cli
from nanou_deploy.errors import DeployError, ToolMissing
from nanou_deploy.measure import costing
from nanou_deploy.measure.bench import bench
from nanou_deploy.measure.costing import cache_folder, check_counting, cost_of, cost_of_structure, costs_of
from nanou_train.networks.cost import Cost
from nanou_train.networks.random_weights import stand_in_model
from nanou_train.networks.structure import Block, Level, Structure
from nanou_train.runs.int8_model import int8_path, save_int8
from nanou_train.runs.run_folder import write_manifest

SMALL = Structure("nano_u", (12, 16, 3), (Level((Block(4),), (2, 2), (Block(5),), True),), (Block(6),))


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
@pytest.mark.parametrize("optimize", ["balanced", "time"])
def test_a_cost_is_what_bench_reports(
    board: str, tools: tuple[str, ...], optimize: str, require_tool: Callable[..., str]
) -> None:
    for tool in tools:
        require_tool(tool)
    model, place, objective = stand_in_model(SMALL), find_board(board), Objective(optimize)  # type: ignore[arg-type]
    counted, measured = cost_of(model, place, objective), bench(model, place, objective)
    assert counted.board == board
    assert measured.board == measurement_board(place).name
    for name in ("macs", "instructions", "ram_bytes", "io_bytes", "code_bytes", "table_bytes"):
        assert getattr(counted, name) == getattr(measured, name), name


def test_a_cost_is_counted_once(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    calls = []

    def once(model: QuantizedModel, board: Board, objective: Objective) -> Cost:
        calls.append(objective)
        return Cost("rv32-qemu", 1, 2, 3, 4, 5, 6, 7)

    monkeypatch.setattr(costing, "_count", once)
    monkeypatch.setattr(costing, "find_emulator", lambda board: None)
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
    cost_of_structure(SMALL, board, power_of_two=True)
    assert len(calls) == 5
    monkeypatch.setenv("NANOU_CACHE", "off")
    assert cache_folder() is None
    cost_of_structure(SMALL, board)
    assert len(calls) == 6


def test_networks_of_power_of_two_scales_have_the_kernels_for_them() -> None:
    graph = load_graph(stand_in_model(SMALL, power_of_two=True).flatbuffer)
    layers = [one for one in graph.operators if "conv_2d" in one.stem]
    scales = [[np.array(graph.tensor(i).scales) for i in (*one.inputs[:2], *one.outputs)] for one in layers]
    factors = [source * weights / output for source, weights, output in scales]
    assert np.all(np.frexp(np.concatenate(factors[:-1]))[0] == 0.5)
    assert np.all(np.frexp(factors[-1])[0] != 0.5)


def test_many_are_counted_at_once_and_come_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    boards = [find_board(name) for name in ("rv32-qemu", "cortex-m4-qemu", "cortex-m7-qemu")]
    meeting = threading.Barrier(2, timeout=60)

    def count(model: QuantizedModel, board: Board, objective: Objective) -> Cost:
        if board.name != "cortex-m7-qemu":
            meeting.wait()  # the first alone would wait for ever
        return Cost(board.name, 1, 2, 3, 4, 5, 6, 7)

    monkeypatch.setattr(costing, "cost_of", count)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    model = stand_in_model(SMALL)
    assert [one.board for one in costs_of((model, board) for board in boards)] == [board.name for board in boards]


def test_the_first_error_ends_what_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fail(model: QuantizedModel, board: Board, objective: Objective) -> Cost:
        calls.append(board)
        raise CodegenError("refused", hint="")

    monkeypatch.setattr(costing, "cost_of", fail)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    with pytest.raises(CodegenError, match="refused"):
        list(costs_of([(stand_in_model(SMALL), find_board("rv32-qemu"))] * 1000))
    assert len(calls) < 1000


@pytest.mark.parametrize(("tool", "board"), [("qemu-system-riscv32", "esp32c3"), ("arm-none-eabi-gcc", "rp2040")])
def test_what_is_missing_is_named_also_where_the_cost_is_remembered(
    tool: str, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., str]
) -> None:
    """A search must not end in the middle, at the first network that is not remembered."""
    monkeypatch.setattr(costing, "_read", lambda file: Cost(board, 1, 2, 3, 4, 5, 6, 7))
    for other in ("riscv64-unknown-elf-gcc", "qemu-system-riscv32", "arm-none-eabi-gcc", "qemu-system-arm"):
        if other != tool:
            (tmp_path / other).symlink_to(require_tool(other))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=tool) as caught:
        cost_of_structure(SMALL, find_board(board))
    assert "apt-get install" in caught.value.hint


def test_this_computer_counts_nothing() -> None:
    with pytest.raises(DeployError, match="no emulator counts the instructions of host"):
        check_counting(find_board("host"))


def test_the_command_counts_every_model_on_every_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nanou_train.search.pareto import Point, write_front

    model = open_model(None)
    run = tmp_path / "front" / "points" / "a"
    facts = {"weights": {"student": "5"}, "metrics": {}, "data": {"train": {"sha256": ""}}}
    write_manifest(run, {**facts, "status": "completed"})
    save_int8(run, replace(model, provenance={"weights": {"student": "5"}}))
    cost = Cost("rv32-qemu", 1, 2, 3, 4, 5, 6, 7)
    point = Point("a", "points/a", SMALL, 9, 0.5, None, None, 1, {"rv32-qemu": cost}, "train", (6, 8))
    write_front(tmp_path / "front" / "pareto.json", [point])
    for path in (tmp_path / "front", tmp_path / "front" / "pareto.json", run, int8_path(run)):
        ((_, found),) = open_models(path)
        assert found.sha256 == model.sha256
    write_front(tmp_path / "empty" / "pareto.json", [])
    with pytest.raises(DeployError, match="without points"):
        list(open_models(tmp_path / "empty"))

    monkeypatch.setattr(costing, "cost_of", lambda model, board, objective: replace(cost, board=board.name))
    arguments = ["cost", str(run), str(tmp_path / "front"), "--board", "esp32s3", "--board", "rp2040"]
    shown = CliRunner().invoke(cli, [*arguments, "--json"])
    assert shown.exit_code == 0, shown.output
    costs = json.loads(shown.stdout)["costs"]
    assert [(one["name"], one["board"]) for one in costs] == [("a", "esp32s3"), ("a", "rp2040")] * 2
    assert Cost.from_json(costs[0]) == replace(cost, board="esp32s3")
    assert costs[0]["flash_bytes"] == 13
    table = CliRunner().invoke(cli, arguments).stdout
    assert "esp32s3-qemu" in table
    assert "cortex-m0-qemu" in table
