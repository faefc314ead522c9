"""Count what each of two cores executes: one emulated core does the work of both, by turns that are counted apart."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from codegen.compile import Compilation
from codegen.library.golden import golden_frame
from nanou_deploy.boards.boards import Board
from nanou_deploy.build.build import build_harness
from nanou_deploy.build.library import write_library
from nanou_deploy.verify.emulate import check_finished, run_program


def count_by_core(compiled: Compilation, board: Board) -> tuple[int, int]:
    """Count one inference of the golden input on a board in QEMU, which has to have a plan for two cores.

    Raises DeployError for other boards, ToolMissing where there is no compiler or emulator.
    """
    with TemporaryDirectory(prefix="nanou-") as scratch:
        library = write_library(compiled, Path(scratch))
        build = build_harness(library, board, Path(scratch, "built"), profile=True, by_core=True)
        finished = run_program(build, golden_frame(compiled.graph.input_bytes).tobytes())
    check_finished(build, finished)
    before, after = finished.plugin[0::2], finished.plugin[1::2]
    empty, *turns = np.subtract(after, before).astype(np.int64).tolist()  # the first interval has nothing in it
    first, second = (sum(turn - empty for turn in turns[core::2]) for core in (0, 1))
    return first, second
