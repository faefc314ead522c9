"""The stack bound against what gcc says of each function, and against the stack that emulated processors used."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.compile import compile_model
from codegen.library.render_aot import aot_files
from codegen.program.target import find_target
from codegen.proof.proof import prove
from codegen.proof.stack_bound import STACK_MODELS, read_functions, stack_bytes
from codegen.tflite.files import load_model
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_harness
from nanou_deploy.verify.emulate import run_harness
from tests.generated import MODELS, compiled, write_library
from tests.golden.test_static import COMPILERS

ENTRIES = ("nanou_init", "nanou_invoke", "nanou_invoke_rows")
PROCESSORS = {"rv32": "RISC-V, 32 bits", "cortex-m0": "Armv6-M", "cortex-m4": "Arm, 32 bits", "gcc": "x86-64"}
BOARDS = {"rv32-qemu": "rv32", "cortex-m0-qemu": "armv6-m", "cortex-m4-qemu": "armv7e-m", "xtensa-qemu": "xtensa"}


def deepest(graph: str) -> int:
    """Of gcc's -fcallgraph-info=su: the longest way down from any entry, in bytes."""
    frames = {m[1]: int(m[2]) for m in re.finditer(r'title: "([^"]+)" label: "[^"]*\\n(\d+) bytes \(static\)', graph)}
    calls: dict[str, set[str]] = {}
    for caller, callee in re.findall(r'sourcename: "([^"]+)" targetname: "([^"]+)"', graph):
        calls.setdefault(caller, set()).add(callee)

    def below(function: str) -> int:
        return frames.get(function, 0) + max(map(below, calls.get(function, ())), default=0)

    assert set(ENTRIES) <= frames.keys()
    return max(map(below, ENTRIES))


def stated_by_gcc(name: str, library: Path, folder: Path, program: str) -> int:
    flags = (*COMPILERS[name][2], "-std=c99", "-O2", "-fcallgraph-info=su", f"-I{library / 'include'}")
    source, out = library / "src" / "nanou_model.c", folder / "model.o"
    subprocess.run([program, *flags, "-c", source, "-o", out], check=True, cwd=folder)
    return deepest((folder / "model.ci").read_text())


def bound(name: str, library: Path) -> int:
    model = next(m for m in STACK_MODELS if m.name == PROCESSORS[name])
    functions = read_functions((library / "src" / "nanou_model.c").read_text())
    return stack_bytes(functions, model) - model.below_bytes


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("name", PROCESSORS)
def test_gcc_takes_no_more(name: str, which: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    library = write_library(compiled(which, COMPILERS[name][0]), tmp_path)
    stated = stated_by_gcc(name, library, tmp_path, require_tool(*COMPILERS[name][1]))
    assert 0 < stated <= bound(name, library)
    assert bound(name, library) <= 1.75 * stated or which != "default" or name == "gcc"


def test_gcc_takes_no_more_for_the_public_model(
    tmp_path: Path, shared_model: Callable[[str], Path], require_tool: Callable[..., str]
) -> None:
    model = compile_model(load_model(shared_model("nano_u_botanic.tflite")), find_target("rv32"))
    library = write_library(model, tmp_path)
    stated = stated_by_gcc("rv32", library, tmp_path, require_tool(*COMPILERS["rv32"][1]))
    assert stated <= bound("rv32", library) <= 1.75 * stated


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("board", BOARDS)
def test_processors_use_no_more(board: str, which: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool({"rv": "qemu-system-riscv32", "ar": "qemu-system-arm"}.get(BOARDS[board][:2], "qemu-system-xtensa"))
    model = compiled(which, BOARDS[board])
    build = build_harness(write_library(model, tmp_path), find_board(board), tmp_path / "work")
    frame = np.zeros((1, model.graph.input.size_bytes), np.int8)
    used = run_harness(build, frame).stack_bytes
    stated = {bound.processor.split(",")[0]: bound.size_bytes for bound in prove(model, aot_files(model)).stack}
    name = {"rv32": "RISC-V", "armv6-m": "Armv6-M", "armv7e-m": "Arm", "xtensa": "Xtensa"}[BOARDS[board]]
    assert used is not None
    assert 0 < used <= stated[name]


def test_a_frame_is_read_off_the_text() -> None:
    functions = read_functions(
        """
static int32_t leaf(const int32_t *table, int32_t n) {
    int64_t wide = n, other;
    for (int32_t i = 0; i < 3; ++i) {
        for (int32_t k = 0; k < n; ++k) {
            const int32_t a = table[0], b = table[1];
            wide += a * b + table[0];
        }
    }
    for (int32_t j = 0; j < 9; ++j) {
        other += j;
    }
    return (int32_t)(wide + other);
}

int32_t entry(int32_t n) {
    const int32_t *const rows[] = {
        f(n, 1),
        NULL,
    };
    uint16_t counts[5] = {0};
    return leaf(rows[0], n) + counts[0];
}
"""
    )
    assert functions["leaf"].variables == 2 + 4 + 2 + 2 + 2  # parameters, wide, loops, a and b, table[0] and table[1]
    assert functions["entry"].arrays == ((2, 0), (5, 2))
    assert functions["entry"].callees == ("leaf",)
    assert functions["entry"].is_public
    assert not functions["leaf"].is_public


def test_recursion_is_refused() -> None:
    source = "static int a(int n) {\n    return b(n);\n}\n\nint b(int n) {\n    return n ? a(n - 1) : 0;\n}\n"
    with pytest.raises(ValueError, match="calls itself"):
        stack_bytes(read_functions(source), STACK_MODELS[0])
