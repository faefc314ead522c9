"""In QEMU, vector instructions do what the model does on this computer, count as one each, and may end a loop."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from codegen.library.resources import render_template
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_program
from nanou_deploy.errors import DeployError
from nanou_deploy.verify.emulate import Finished, check_finished, run_program
from tests.pie.test_model import Machine, library  # noqa: F401

HARNESS = Path(__file__).with_name("harness.c")
MEMORY_BYTES, SAVED = 4096, 2048  # registers are saved from there on
FUNCTION = """
    .text
    .globl vector_code
    .p2align 2
    .type vector_code, @function
vector_code:
    entry a1, 32
{body}
    retw
    .size vector_code, . - vector_code
"""


@pytest.fixture
def run(tmp_path: Path, pie_tools: None) -> Callable[[Sequence[str], bytes], Finished]:
    def run_code(body: Sequence[str], memory: bytes) -> Finished:
        instructions = render_template("aot/kernels/esp32s3/_instructions.S.j2")
        source = tmp_path / "vector_code.S"
        source.write_text(instructions + FUNCTION.format(body="\n".join(f"    {line}" for line in body)))
        build = build_program([HARNESS, source], find_board("esp32s3-qemu"), tmp_path / "work")
        finished = run_program(build, memory)
        check_finished(build, finished)
        return finished

    return run_code


def _random_instruction(rng: np.random.Generator) -> str:
    q = [f"q{n}" for n in rng.integers(0, 8, 3)]
    lane, forms = (
        int(rng.integers(16)),
        (
            "EE_VLD_128_IP({0}, a8, 16)",
            "EE_VLD_128_XP({0}, a8, a3)",
            "EE_VST_128_IP({0}, a8, -32)",
            "EE_VST_128_XP({0}, a8, a3)",
            "EE_VLDBC_8({0}, a8)",
            "EE_VSMULAS_S8_QACC({0}, {1}, {lane})",
            "EE_VSMULAS_S8_QACC_LD_INCP({0}, a8, {1}, {2}, {lane})",
            "EE_VSMULAS_S8_QACC_LD_INCP({0}, a8, {0}, {0}, {lane})",
            "EE_SRCMB_S8_QACC({0}, a3)",
            "EE_SRC_Q({0}, {1}, {2})",
            "EE_VMAX_S8({0}, {1}, {2})",
            "EE_VMIN_S8({0}, {1}, {2})",
            "WUR_SAR_BYTE(a3)",
        ),
    )
    return forms[int(rng.integers(len(forms)))].format(*q, lane=lane)


def _encode(machine: Machine, line: str) -> None:
    """Run one line of assembly text on the model."""
    name, *operands = re.findall(r"-?\w+", line)
    macros = {form.upper().replace(".", "_"): form for form in machine.forms}
    machine.run(macros[name], *(int(word.lstrip("qa")) for word in operands))


def _initial(rng: np.random.Generator) -> npt.NDArray[np.int8]:
    memory: npt.NDArray[np.int8] = rng.integers(-128, 128, MEMORY_BYTES).astype(np.int8)
    return memory


@pytest.mark.parametrize("seed", range(3))
def test_random_code_leaves_the_registers_that_the_model_has(
    seed: int,
    run: Callable[[Sequence[str], bytes], Finished],
    library: object,  # noqa: F811
) -> None:
    rng, machine = np.random.default_rng(seed), Machine(library)
    memory, lines = _initial(rng), ["EE_ZERO_QACC", *(f"EE_VLDBC_8(q{n}, a2)" for n in range(8)), "WUR_SAR_BYTE(a3)"]
    machine.memory[:], machine.a[2], machine.a[3] = memory, 0, 8
    for line in lines:
        _encode(machine, line)
    for _ in range(250):
        place, chosen = int(rng.integers(100)), _random_instruction(rng)
        lines += [f"addi a8, a2, {place}", chosen]
        machine.a[8] = place
        _encode(machine, chosen)
    saved = [f"EE_VST_128_IP(q{n}, a8, 16)" for n in range(8)]
    saved += ["EE_SRCMB_S8_QACC(q0, a3)", "EE_VST_128_IP(q0, a8, 16)"]
    machine.a[8] = SAVED
    for line in saved:
        _encode(machine, line)
    lines += [f"movi a8, {SAVED - 1}", "addi a8, a8, 1", "add a8, a8, a2", *saved]
    finished = run(lines, memory.tobytes())
    assert np.frombuffer(finished.records, np.int8).tolist() == machine.memory.tolist()


@pytest.mark.parametrize(
    "ending", ["EE_VST_128_IP(q0, a9, 16)", "EE_VSMULAS_S8_QACC_LD_INCP(q1, a10, q2, q3, 0)", "nop"]
)
def test_a_vector_instruction_may_end_a_zero_overhead_loop_and_counts_as_one(
    ending: str, run: Callable[[Sequence[str], bytes], Finished]
) -> None:
    rounds, memory = 11, _initial(np.random.default_rng(5))

    def counted(extra: Sequence[str]) -> int:
        head = ["or a8, a2, a2", f"movi a9, {SAVED - 1}", "addi a9, a9, 1", "add a9, a9, a2", "or a10, a2, a2"]
        stored = [] if ending.startswith("EE_VST") else ["EE_VST_128_IP(q0, a9, 16)"]
        body = ["EE_VLD_128_IP(q0, a8, 16)", *extra, *stored]
        loop = [f"movi a11, {rounds}", ".p2align 2", "nop", "loop a11, 1f", *body, ending, "1:", "nop"]
        finished = run([*head, *loop], memory.tobytes())
        result = np.frombuffer(finished.records, np.int8)
        assert (result[SAVED : SAVED + 16 * rounds] == memory[: 16 * rounds]).all()
        assert (result[SAVED + 16 * rounds :] == memory[SAVED + 16 * rounds :]).all()
        first, last = finished.plugin.tolist()
        return int(last - first)

    vector, scalar, neither = counted(["EE_VMAX_S8(q7, q6, q5)"]), counted(["nop"]), counted([])
    assert vector == scalar == neither + rounds


def test_an_instruction_that_is_not_modelled_is_reported_as_illegal(
    run: Callable[[Sequence[str], bytes], Finished],
) -> None:
    with pytest.raises(DeployError, match="illegal instruction at pc 0x001"):
        run([".byte 0x64, 0x00, 0x8e"], bytes(MEMORY_BYTES))
