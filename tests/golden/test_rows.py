"""nanou_invoke_rows: rows in, rows out, in an arena that has no room for frames."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.compile import Compilation, compile_model
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.program.objective import Objective
from codegen.tflite import interpreters as reference
from nanou_deploy.build.library import open_model
from tests.exactness import compile_bytes, frames_for
from tests.generated import compiled, u_net
from tests.separable_u_net import separable_u_net

PROGRAM = """
#include <stdio.h>
#include <string.h>
#include "app_model.h"

enum { IN_ROW = APP_INPUT_BYTES / APP_INPUT_HEIGHT_PX, OUT_ROW = APP_OUTPUT_BYTES / APP_OUTPUT_HEIGHT_PX };

static uint8_t arena[APP_ROWS_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint32_t reads, writes, reads_at_first_write, stop_at = ~0u;

static int read_row(void *user, uint32_t y, int8_t *row) {
    if (y != reads++ || y == stop_at) {
        return 1;
    }
    memset(row, 0x55, IN_ROW);
    return fread(row, 1, IN_ROW, user) != IN_ROW;
}

static int write_row(void *user, uint32_t y, const int8_t *row) {
    (void)user;
    if (writes == 0) {
        reads_at_first_write = reads;
    }
    return y != writes++ || fwrite(row, 1, OUT_ROW, stdout) != OUT_ROW;
}

int main(void) {
    nanou_t net;
    if (nanou_init(&net, APP_MODEL, arena, sizeof arena - 1) != NANOU_ERROR_ARENA_SIZE) return 1;
    if (nanou_init(&net, APP_MODEL, arena, sizeof arena) != NANOU_OK) return 2;
    if (nanou_input(&net, 0) != NULL || nanou_invoke(&net) != NANOU_ERROR_ARENA_SIZE) return 3;
    if (nanou_invoke_rows(&net, read_row, NULL, stdin) != NANOU_ERROR_ARGUMENT) return 4;
    stop_at = 1;
    if (nanou_invoke_rows(&net, read_row, write_row, stdin) != NANOU_ERROR_RUNTIME) return 5;
    rewind(stdin);
    stop_at = ~0u;
    reads = writes = 0;
    if (nanou_invoke_rows(&net, read_row, write_row, stdin) != NANOU_OK) return 6;
    fprintf(stderr, "%u %u %u", (unsigned)reads, (unsigned)writes, (unsigned)reads_at_first_write);
    return 0;
}
"""


def build(compiled: Compilation, folder: Path, compiler: str) -> Path:
    write_project(render_aot(compiled), folder / "library")
    (folder / "rows.c").write_text(PROGRAM)
    sources = [str(folder / "rows.c"), *map(str, sorted((folder / "library" / "src").glob("*.c")))]
    flags = ["-std=gnu99", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = folder / "rows"
    includes = [f"-I{folder / 'library' / name}" for name in ("include", "app")]
    subprocess.run([compiler, *flags, *includes, *sources, "-o", program], check=True)
    return program


COMPILED: dict[str, Callable[[], Compilation]] = {
    "default": lambda: compiled("default"),
    "u_net": lambda: compile_bytes(u_net()),
    "computed_again": lambda: compile_bytes(separable_u_net(), objective=Objective("ram")),
}


@pytest.mark.parametrize("which", COMPILED)
def test_rows_are_exact(which: str, tmp_path: Path, require_tool: Callable[..., str]) -> None:
    model = COMPILED[which]()
    program = build(model, tmp_path, require_tool("gcc", "clang"))
    frames = frames_for(model, count=3)
    truth = reference.run_tflm(model.model.flatbuffer, frames)
    for frame, wanted in zip(frames, truth, strict=True):
        (tmp_path / "frame").write_bytes(frame.tobytes())
        with (tmp_path / "frame").open("rb") as stream:
            done = subprocess.run([program], stdin=stream, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        np.testing.assert_array_equal(np.frombuffer(done.stdout, np.int8).reshape(wanted.shape), wanted)
        _, written, _ = map(int, done.stderr.split())
        assert written == wanted.shape[0]


def test_memory_without_frames() -> None:
    plan = compile_model(open_model(Path("nano_u_offroad_small"))).plan
    assert plan.rows_arena_bytes < 7500 < plan.arena_bytes
    assert plan.row_input.depth_rows < 5
    assert plan.row_output.depth_rows == 1
