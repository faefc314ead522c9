"""Nano-U and a stranger's person detection in one program, on this computer and on RV32: nothing external meets."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from codegen.compile import compile_model
from codegen.graph.model import QuantizedModel
from codegen.library.identifier import model_identifier
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.target import find_target
from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.build.build import run_plan
from nanou_deploy.build.library import open_model
from nanou_deploy.build.machines import find_machine
from nanou_deploy.build.programs import machine_sources, plan_program

MAIN = r"""
#include "{one}.h"
#include "{other}.h"
#include "target.h"

static uint8_t arena_one[{ONE}_ARENA_BYTES] __attribute__((aligned(16)));
static uint8_t arena_other[{OTHER}_ARENA_BYTES] __attribute__((aligned(16)));

static int passes(nanou_t *net) {{
    return nanou_golden_input(net) == NANOU_OK && nanou_invoke(net) == NANOU_OK &&
           nanou_output_crc32(net) == net->model->golden_crc32;
}}

int main(void) {{
    nanou_t a, b;
    const int ready = nanou_init(&a, &{one}, arena_one, sizeof arena_one) == NANOU_OK &&
                      nanou_init(&b, &{other}, arena_other, sizeof arena_other) == NANOU_OK;
    const int both = ready && passes(&a) && passes(&b) && passes(&a);
    target_print(both ? "both\n" : "wrong\n");
    return both ? 0 : 1;
}}
"""


def library(model: QuantizedModel, board: Board, folder: Path) -> Path:
    write_project(render_aot(compile_model(model, find_target(board.isa))), folder)
    return folder


@pytest.mark.parametrize("board_name", ["host", "rv32-qemu"])
def test_nano_u_and_person_detection(
    board_name: str, shared_model: Callable[[str], Path], require_tool: Callable[..., str], tmp_path: Path
) -> None:
    """Both give their golden outputs, one after the other, and the first once more."""
    qemu = require_tool("qemu-system-riscv32") if board_name == "rv32-qemu" else ""
    require_tool(*(("riscv64-unknown-elf-gcc",) if qemu else ("gcc", "clang")))
    board = find_board(board_name)
    person = QuantizedModel("person_detect", shared_model("person_detect.tflite").read_bytes())
    models = open_model(None), person
    one, other = (library(model, board, tmp_path / f"library_{i}") for i, model in enumerate(models))
    names = [model_identifier(model.name) for model in models]
    (tmp_path / "main.c").write_text(
        MAIN.format(one=names[0], other=names[1], ONE=names[0].upper(), OTHER=names[1].upper())
    )
    machine = find_machine(board)
    sources = [tmp_path / "main.c", *sorted((other / "src").glob("*.c")), *machine_sources(machine)]
    plan = plan_program(machine, one, sources, tmp_path / "program", includes=[other / "include"])
    run_plan(plan)
    options = "-machine virt -cpu rv32 -m 64M -bios none -nographic -monitor none -serial none"
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    command = [qemu, *options.split(), *semihosting, "-kernel"] if qemu else []
    done = subprocess.run([*command, str(plan.program)], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stdout + (done.stderr if qemu else "")) == (0, "both\n")
