"""How often a command compiles: once for all boards that get the same kernels, never for the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from codegen import compile as compiler
from codegen.graph.graph import Graph
from codegen.graph.macs import count_macs
from codegen.program.objective import Objective
from codegen.program.program import Program
from codegen.program.target import Target
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.files import save_model
from codegen.tflite.load import load_graph
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.compilation import compile_each
from nanou_deploy.cli import cli
from tests.generated import MODELS, compiled, small_model


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the targets for which a graph has been lowered: what every compilation does exactly once."""
    targets: list[str] = []

    def lower_graph(graph: Graph, target: Target) -> Program:
        targets.append(target.name)
        return real(graph, target)

    real = compiler.lower_graph
    monkeypatch.setattr(compiler, "lower_graph", lower_graph)
    return targets


@pytest.fixture
def model(tmp_path: Path) -> str:
    """How often something is compiled does not depend on the network."""
    save_model(small_model(), tmp_path / "small.tflite")
    return str(tmp_path / "small.tflite")


def run(*arguments: str) -> None:
    result = CliRunner().invoke(cli, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_verify_compiles_once(lowered: list[str], model: str, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    run("verify", "--model", model, "--board", "host", "--cases", "2")
    assert lowered == ["16 registers"]


def test_build_compiles_once(lowered: list[str], model: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    run("build", "--model", model, "--board", "host", "--cases", "2", "--output", str(tmp_path / "built"))
    assert lowered == ["16 registers"]


def test_the_interpreter_needs_no_compiler(lowered: list[str], model: str, tmp_path: Path) -> None:
    run("generate", "--model", model, "--runtime", "tflm", "--output", str(tmp_path / "library"))
    run("verify", "--model", model, "--runtime", "tflm", "--cases", "2")
    assert lowered == []


def test_boards_with_the_same_kernels_share_a_compilation(lowered: list[str]) -> None:
    boards = [find_board(name) for name in ("rv32-qemu", "esp32c3-sim", "host", "cortex-m0-qemu", "cortex-m4-qemu")]
    shared = compile_each(small_model(), boards)
    rv32, simulated, host, m0, m4 = (shared[board] for board in boards)
    assert rv32 is simulated
    assert host is m0
    assert len({id(one) for one in (rv32, host, m4)}) == 3
    assert sorted(lowered) == ["16 registers", "32 registers", "Armv7E-M"]


def test_a_flash_limit_is_measured_for_each_board(lowered: list[str], require_tool: Callable[..., str]) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    boards = [find_board(name) for name in ("rv32-qemu", "esp32c3-sim")]
    shared = compile_each(small_model(), boards, Objective(max_flash_bytes=1 << 20))
    assert shared[boards[0]] is not shared[boards[1]]
    assert lowered == ["32 registers"] * 2


@pytest.mark.parametrize("which", MODELS)
def test_macs_of_the_graph_are_those_of_the_plan(which: str) -> None:
    model = compiled(which)
    assert count_macs(model.graph) == model.plan.macs > 0


def test_macs_are_unknown_where_operators_hide_them() -> None:
    b = ModelBuilder()
    source = b.activation((1, 2, 2, 1), 1 / 127.5, 0)
    graph = load_graph(b.finish([source], [b.logistic(source)]))
    assert count_macs(graph) == 0
    hidden = [replace(operator, stem="unidirectional_sequence_lstm") for operator in graph.operators]
    assert count_macs(Graph(graph.tensors, tuple(hidden), graph.inputs, graph.outputs)) is None
