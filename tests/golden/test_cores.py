"""Two cores share an inference: the plan and its proof, and the C on two threads under ThreadSanitizer."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from codegen.compile import Compilation, compile_model
from codegen.errors import BudgetError
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.plan.cores import share_plan
from codegen.program.objective import Objective
from codegen.program.target import find_target
from codegen.proof.cores import prove_cores
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.library import open_model
from nanou_deploy.measure.cores import count_by_core
from nanou_deploy.resources import firmware_folder
from tests.generated import MODELS, compiled

PROGRAM = Path(__file__).with_name("cores_program.c")


@cache
def shared(isa: str = "native") -> Compilation:
    return compile_model(open_model(None), find_target(isa), Objective(cores=2))


def test_every_wait_is_necessary_and_they_are_enough() -> None:
    model = shared()
    assert model.proofs.failures == ()
    assert model.plan.cores
    assert set(model.plan.cores) == {0, 1}
    found = prove_cores(model.program, model.plan)
    assert found.waits == sum(wait > 0 for wait in model.plan.waits)
    assert found.conflicts > found.waits
    for step in [step for step, wait in enumerate(model.plan.waits) if wait][::40]:
        waits = list(model.plan.waits)
        waits[step] -= 1  # the other core's last step that this one waits for
        assert prove_cores(model.program, replace(model.plan, waits=tuple(waits))).failures, step


def test_what_could_wait_for_ever_or_call_back_elsewhere_is_no_proof() -> None:
    model = shared()
    plan = model.plan
    later = [*plan.waits[:-1], plan.cores.count(1 - plan.cores[-1]) + 1]
    assert "come before it" in prove_cores(model.program, replace(plan, waits=tuple(later))).failures[0]
    swapped = tuple(1 - core for core in plan.cores)
    assert any("calls back" in text for text in prove_cores(model.program, replace(plan, cores=swapped)).failures)
    rings = [place for place in plan.placements if place.region == "work"]
    moved = replace(rings[3], offset_bytes=rings[4].offset_bytes)
    placements = tuple(moved if place is rings[3] else place for place in plan.placements)
    assert prove_cores(model.program, replace(plan, placements=placements)).failures


@pytest.mark.parametrize("which", MODELS)
def test_other_graphs_are_shared_or_stay_on_one_core(which: str) -> None:
    model = compiled(which)
    plan = share_plan(model.program, model.plan)
    assert model.with_plan(plan).proofs.failures == ()
    assert plan.cores or plan == model.plan


def test_memory_is_limited() -> None:
    one = compile_model(open_model(None), find_target("native"))
    with pytest.raises(BudgetError, match="on two cores"):
        share_plan(one.program, one.plan, max_ram_bytes=one.plan.working_bytes)


def _run_threads(folder: Path, inferences: int, timeout_s: float) -> str:
    write_project(render_aot(shared()), folder / "library")
    firmware, sources = firmware_folder(), [*(folder / "library" / "src").glob("*.c")]
    kept = [str(path) for path in sources if not path.name.endswith(("_traced.c", "_golden.c", "_camera.c"))]
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-fsanitize=thread", "-pthread", "-DNANOU_THREADS"]
    folders = [folder / "library" / "include", folder / "library" / "app", firmware / "app"]
    includes = [f"-I{path}" for path in folders]
    threads = firmware / "host" / "cores_threads.c"
    program = folder / "program"
    command = ["gcc", *flags, "-DNANOU_FLAGS_SET", *includes, *kept, str(PROGRAM), str(threads), "-o", str(program)]
    subprocess.run(command, check=True, timeout=600)
    done = subprocess.run(
        [str(program), str(inferences)], check=False, timeout=timeout_s, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr  # where ThreadSanitizer reports
    return done.stdout


def test_two_threads_are_equal_with_one(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    assert _run_threads(tmp_path, 4, 600) == "4 equal, golden checksum right\n"


@pytest.mark.soak
def test_ten_thousand_inferences_without_a_report(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc")
    assert _run_threads(tmp_path, 10_000, 7200) == "10000 equal, golden checksum right\n"


def test_each_core_has_about_half(require_tool: Callable[..., str]) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    require_tool("qemu-system-riscv32")
    board = find_board("rv32-qemu")
    first, second = count_by_core(shared("rv32"), board)
    assert 0.45 < first / (first + second) < 0.55
