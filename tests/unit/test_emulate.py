"""The harness gives the same bytes everywhere, counts exactly, and says what went wrong when code is wrong."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nanou_deploy.boards.boards import BOARDS, find_board
from nanou_deploy.build.build import Build, build_harness
from nanou_deploy.errors import DeployError
from nanou_deploy.verify import emulate
from nanou_deploy.verify.emulate import HarnessRun, run_harness
from tests.unit.invert_model import INPUT_BYTES, Int8Array, expected_outputs, inverted, make_library

BOARD_NAMES = [board.name for board in BOARDS.values() if board.runs_here]
EMULATED = BOARD_NAMES[1:]
SIMULATED = [name for name in EMULATED if name.endswith("-sim")]
TWINS = [
    ("rv32-qemu", "esp32c3-sim"),
    ("esp32c3-sim", "esp32c6-sim"),
    ("xtensa-qemu", "esp32-sim"),
    ("xtensa-qemu", "esp32s3-qemu"),
    ("xtensa-qemu", "esp32s3-sim"),
]  # the same code in two emulators
STORE_FAULTS = {
    "rv32-qemu": "store access fault at pc 0x8[0-9a-f]{7}",
    "cortex-m0-qemu": "data access fault at pc 0x0000[0-9a-f]{4}",
    "cortex-m4-qemu": "data access fault at pc 0x0000[0-9a-f]{4}",
    "xtensa-qemu": "access to an address where nothing is at pc 0x001[0-9a-f]{5}",
    "esp32s3-qemu": "access to an address where nothing is at pc 0x001[0-9a-f]{5}",
    "cortex-m7-qemu": "data access fault at pc 0x0000[0-9a-f]{4}",
}
ARM = [name for name in EMULATED if name.startswith("cortex")]


@pytest.fixture
def inputs() -> Int8Array:
    frames = np.random.default_rng(7).integers(-128, 128, (5, INPUT_BYTES)).astype(np.int8)
    frames[0], frames[1] = -128, 127
    return frames


@pytest.fixture
def need_board(require_tool: Callable[..., str], require_module: Callable[[str], None]) -> Callable[[str], None]:
    def need(name: str) -> None:
        if name == "host":
            require_tool("gcc", "clang")
            return
        instruction_set = find_board(name).isa
        tools = {
            "rv32imc": ("riscv64-unknown-elf-gcc", "qemu-system-riscv32"),
            "armv6-m": ("arm-none-eabi-gcc", "gcc", "qemu-system-arm"),
            "armv7e-m": ("arm-none-eabi-gcc", "gcc", "qemu-system-arm"),
        }.get(instruction_set, ("clang-22", "llc-22", "llvm-mc-22", "xtensa-lx106-elf-ld", "gcc", "qemu-system-xtensa"))
        for tool in tools[:-1]:
            require_tool(tool)
        if name in SIMULATED:
            require_module("labwired")
            require_module("esptool")
        else:
            require_tool(tools[-1])

    return need


Built = Callable[..., Build]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """built(board, fault="", trace=False, sanitize=False) -> the harness of that library, built once."""

    @cache
    def build(board: str, fault: str = "", **options: bool) -> Build:
        folder = tmp_path_factory.mktemp(board)
        return build_harness(make_library(folder / "lib", fault), find_board(board), folder / "work", **options)

    return build


@pytest.mark.parametrize("board", BOARD_NAMES)
def test_outputs_are_exact(board: str, need_board: Callable[[str], None], built: Built, inputs: Int8Array) -> None:
    need_board(board)
    run = run_harness(built(board), inputs)
    np.testing.assert_array_equal(run.outputs, expected_outputs(inputs))
    assert run.traces == ()


@pytest.mark.parametrize("board", BOARD_NAMES)
def test_traces_hold_every_operator(
    board: str, need_board: Callable[[str], None], built: Built, inputs: Int8Array
) -> None:
    need_board(board)
    run = run_harness(built(board, trace=True), inputs)
    assert run.instructions is None  # writing the traces would be counted
    for frame, trace in zip(inputs, run.traces, strict=True):
        assert trace == {0: inverted(frame).tobytes(), 1: expected_outputs(frame[None]).tobytes()}


def test_sanitized_build_runs(need_board: Callable[[str], None], built: Built, inputs: Int8Array) -> None:
    need_board("host")
    run = run_harness(built("host", sanitize=True), inputs)
    np.testing.assert_array_equal(run.outputs, expected_outputs(inputs))


def test_sanitizers_catch_a_write_behind_the_arena(
    need_board: Callable[[str], None], built: Built, inputs: Int8Array
) -> None:
    need_board("host")
    build = built("host", "net->arena[INVERT_ARENA_BYTES + input[0] * 0] = 1;", sanitize=True)
    with pytest.raises(DeployError, match="global-buffer-overflow"):
        run_harness(build, inputs)


def test_sanitizers_catch_undefined_arithmetic(
    need_board: Callable[[str], None], built: Built, inputs: Int8Array
) -> None:
    need_board("host")
    build = built("host", "volatile int32_t top = INT32_MAX; top = top + 1;", sanitize=True)
    with pytest.raises(DeployError, match="signed integer overflow"):
        run_harness(build, inputs)


@pytest.mark.parametrize("board", EMULATED)
def test_counts_are_reproducible(
    board: str, need_board: Callable[[str], None], built: Built, inputs: Int8Array
) -> None:
    need_board(board)
    build = built(board)
    first, second = (run_harness(build, inputs).instructions for _ in range(2))
    assert first is not None
    assert INPUT_BYTES < first[0] < 50 * INPUT_BYTES  # at least one for each byte
    assert first == second


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_two_emulators_count_the_same(
    one: str, other: str, need_board: Callable[[str], None], built: Built, inputs: Int8Array
) -> None:
    need_board(one)
    need_board(other)
    counts = [run_harness(built(board), inputs).instructions for board in (one, other)]
    assert counts[0] is not None
    assert counts[1] is not None
    # Linkers make addresses by one instruction or two, as memory lies.
    assert all(abs(a - b) <= 2 for a, b in zip(*counts, strict=True))


@pytest.mark.parametrize("board", EMULATED)
def test_instructions_are_those_that_the_code_spends(
    board: str, need_board: Callable[[str], None], built: Built, inputs: Int8Array
) -> None:
    need_board(board)
    plain = run_harness(built(board), inputs).instructions
    extra = run_harness(built(board, '__asm__ volatile("nop; nop; nop");'), inputs).instructions
    assert plain is not None
    assert extra == tuple(count + 3 for count in plain)


AT_MOST_TWO = "static int32_t runs; if (++runs > 2) { return NANOU_ERROR_RUNTIME; }"


@pytest.mark.parametrize("board", ["rv32-qemu", "xtensa-qemu"])
def test_independent_cases_are_shared_among_processes(
    board: str, need_board: Callable[[str], None], built: Built, inputs: Int8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of at most so many cases each, the last one of fewer; what comes back is that of one process."""
    need_board(board)
    whole = run_harness(built(board), inputs)
    monkeypatch.setitem(emulate._CASES_PER_PROCESS, "qemu", 2)
    shared = run_harness(built(board), inputs, are_independent=True)
    np.testing.assert_array_equal(shared.outputs, whole.outputs)
    assert (shared.instructions, shared.stack_bytes, shared.traces) == (whole.instructions, whole.stack_bytes, ())
    traced = built(board, trace=True)
    assert run_harness(traced, inputs, are_independent=True).traces == run_harness(traced, inputs).traces
    limited = built(board, AT_MOST_TWO)
    np.testing.assert_array_equal(run_harness(limited, inputs, are_independent=True).outputs, whole.outputs)
    with pytest.raises(DeployError, match="frame 2"):
        run_harness(limited, inputs)


JUMP = "((void (*)(void))(uintptr_t){:#x}u)(); break;"
FAULTS = {  # what goes wrong, by the first byte of a frame: so that a board needs one program for all of them
    1: "return NANOU_ERROR_RUNTIME;",
    2: "*(volatile int32_t *)(uintptr_t)0xF0000000u = 1; break;",
    3: "for (volatile int i = 0;; i++) { } break;",
    4: "{ volatile uint8_t *deep = __builtin_alloca(1000); for (int i = 0; i < 1000; i++) { deep[i] = 0; } } break;",
}
ARM_FAULTS = {
    5: '__asm__ volatile("udf #1"); break;',
    6: JUMP.format(0x40000001),
    7: JUMP.format(0x1000),
    8: '__asm__ volatile("mov sp, %0; udf #1" : : "r"(0x30000000)); break;',
}
XTENSA_FAULTS = {
    5: '__asm__ volatile(".byte 0, 0, 0"); break;',
    6: "*(volatile int32_t *)(uintptr_t)2u = 1; break;",
    7: JUMP.format(0x90000000),
}


@pytest.fixture
def run_fault(need_board: Callable[[str], None], built: Built) -> Callable[..., HarnessRun]:
    """run_fault(board, number) -> a run of one frame that meets that fault."""

    def run(board: str, number: int, timeout_s: float = 20.0) -> HarnessRun:
        need_board(board)
        family = {"arm": ARM_FAULTS, "xte": XTENSA_FAULTS}.get(find_board(board).isa[:3], {})
        cases = " ".join(f"case {key}: {code}" for key, code in {**FAULTS, **family}.items())
        frame = np.full((1, INPUT_BYTES), number, np.int8)
        return run_harness(built(board, f"switch (input[0]) {{ {cases} default: break; }}"), frame, timeout_s=timeout_s)

    return run


@pytest.mark.parametrize("board", EMULATED)
def test_stack_is_measured(board: str, run_fault: Callable[..., HarnessRun]) -> None:
    stack_bytes = run_fault(board, 4).stack_bytes
    assert stack_bytes is not None
    assert 1000 <= stack_bytes <= 1150


@pytest.mark.parametrize("board", BOARD_NAMES)
def test_errors_of_the_model_are_named(board: str, run_fault: Callable[..., HarnessRun]) -> None:
    with pytest.raises(DeployError, match=r"code 11\n[^#]*error invoke: runtime or callback failed"):
        run_fault(board, 1)


@pytest.mark.parametrize("board", EMULATED)
def test_crashes_are_located(board: str, run_fault: Callable[..., HarnessRun]) -> None:
    fault = rf"{STORE_FAULTS[board]}, address 0x" if board in STORE_FAULTS else ".* violation at 0x"
    with pytest.raises(DeployError, match=rf"on {board} crashed: {fault}f0000000\s.*frame 0"):
        run_fault(board, 2)


@pytest.mark.parametrize(
    ("board", "number", "words"),
    [
        *((board, 5, "undefined instruction") for board in ARM),
        *((board, 6, "instruction access fault") for board in ARM),
        *((board, 7, "jump out of Thumb code") for board in ARM),
        *((board, 8, "stack access fault") for board in ARM),
        ("xtensa-qemu", 5, "illegal instruction"),
        ("xtensa-qemu", 6, "misaligned access"),
        ("xtensa-qemu", 7, "jump to an address where nothing is"),
    ],
)
def test_faults_are_named(board: str, number: int, words: str, run_fault: Callable[..., HarnessRun]) -> None:
    with pytest.raises(DeployError, match=f"crashed: {words} at pc 0x"):
        run_fault(board, number)


def test_folders_may_have_commas_and_spaces(
    need_board: Callable[[str], None], tmp_path: Path, inputs: Int8Array
) -> None:
    need_board("cortex-m4-qemu")
    folder = tmp_path / "one, two"
    build = build_harness(make_library(folder / "lib"), find_board("cortex-m4-qemu"), folder / "work")
    run = run_harness(build, inputs)
    np.testing.assert_array_equal(run.outputs, expected_outputs(inputs))


# Products that the code below must find: pairs of operands, and the high half of their product.
OPERANDS = (0, 1, -1, 2**31 - 1, -(2**31), 0x12345678, -0x7654321, 0xFFFF, 0x10000, -0x10000, 40503)
MULTIPLY_HIGH = """
    static volatile const int32_t operands[COUNT] = {OPERANDS};
    static volatile const int32_t high[COUNT * COUNT] = {SIGNED};
    static volatile const uint32_t unsigned_high[COUNT * COUNT] = {UNSIGNED};
    for (int i = 0; i < COUNT; i++) {
        for (int j = 0; j < COUNT; j++) {
            const int32_t a = operands[i], b = operands[j];
            const int32_t product = (int32_t)(((int64_t)a * b) >> 32);
            const uint32_t unsigned_product = (uint32_t)(((uint64_t)(uint32_t)a * (uint32_t)b) >> 32);
            if (product != high[i * COUNT + j] || unsigned_product != unsigned_high[i * COUNT + j]) {
                return NANOU_ERROR_RUNTIME;
            }
        }
    }
    if (DEEP(20, operands[5]) != EXPECTED) return NANOU_ERROR_RUNTIME;
"""
# Calls nest deeper than register windows go, and multiply on the way in and out. `high` is the first to use a9 in its
# frame, where an outer frame's stack pointer may still be.
DEEP = """
int32_t high(int32_t a, int32_t b);
__asm__(".text; .p2align 2; high: entry a1, 32; mulsh a9, a2, a3; or a2, a9, a9; retw");

static __attribute__((noinline)) int32_t deep(int depth, int32_t value) {
    const int32_t half = high(value, 0x70000001);
    if (depth == 0) return half;
    const int32_t below = deep(depth - 1, value - depth);
    return (int32_t)(((int64_t)(below ^ half) * 0x7FFFFFFF) >> 32);
}
static nanou_status_t invoke("""


def _deep(depth: int, value: int) -> int:
    half = value * 0x70000001 >> 32
    return half if depth == 0 else (_deep(depth - 1, value - depth) ^ half) * 0x7FFFFFFF >> 32


@pytest.mark.parametrize("board", [name for name in EMULATED if find_board(name).isa.startswith("xtensa")])
def test_the_high_half_of_products_is_exact_on_xtensa(
    board: str, need_board: Callable[[str], None], tmp_path: Path, inputs: Int8Array
) -> None:
    need_board(board)
    pairs = [(a, b) for a in OPERANDS for b in OPERANDS]
    code = (
        MULTIPLY_HIGH.replace("COUNT", str(len(OPERANDS)))
        .replace("UNSIGNED", ", ".join(f"{(a % 2**32) * (b % 2**32) >> 32:#x}u" for a, b in pairs))
        .replace("SIGNED", ", ".join(f"(int32_t){(a * b >> 32) % 2**32:#x}u" for a, b in pairs))
        .replace("OPERANDS", ", ".join(f"(int32_t){a % 2**32:#x}u" for a in OPERANDS))
        .replace("EXPECTED", str(_deep(20, OPERANDS[5])))
        .replace("DEEP", "deep")
    )
    library = make_library(tmp_path / "lib", code)
    source = library / "src" / "invert.c"
    source.write_text(source.read_text().replace("static nanou_status_t invoke(", DEEP.strip()))
    build = build_harness(library, find_board(board), tmp_path / board)
    np.testing.assert_array_equal(run_harness(build, inputs).outputs, expected_outputs(inputs))
    assert b"mulsh" in b"".join(path.read_bytes() for path in (tmp_path / board / "model").glob("*.s"))


def test_a_killed_process_is_reported(need_board: Callable[[str], None], built: Built, inputs: Int8Array) -> None:
    need_board("host")
    with pytest.raises(DeployError, match=r"killed by signal \d+\nframe 0"):
        run_harness(built("host", "__builtin_trap();"), inputs)


@pytest.mark.parametrize("board", ["host", "rv32-qemu", "cortex-m4-qemu", "xtensa-qemu", "esp32c3-sim"])
def test_endless_loops_are_stopped(board: str, run_fault: Callable[..., HarnessRun]) -> None:
    """Every program that runs a harness; boards differ only in what they tell it."""
    seconds = 3 if board in SIMULATED else 1
    with pytest.raises(DeployError, match=rf"did not finish within {seconds} s\nframe 0"):
        run_fault(board, 3, timeout_s=seconds)


def test_a_frame_of_the_wrong_size_is_noticed(need_board: Callable[[str], None], built: Built) -> None:
    need_board("host")
    with pytest.raises(DeployError, match="the stream ends within a frame"):
        run_harness(built("host"), np.zeros((1, INPUT_BYTES + 1), dtype=np.int8))


@pytest.mark.parametrize("shape", [(0, INPUT_BYTES), (INPUT_BYTES,)])
def test_inputs_must_be_frames(shape: tuple[int, ...], tmp_path: Path) -> None:
    build = Build("host", "aot", tmp_path / "none", 0, 0, 0, 0, "", (), {})
    with pytest.raises(DeployError, match="inputs must be bytes"):
        run_harness(build, np.zeros(shape, dtype=np.int8))


def test_too_many_cases_for_the_simulated_flash(require_module: Callable[[str], None], tmp_path: Path) -> None:
    require_module("labwired")
    build = Build("esp32c3-sim", "aot", tmp_path / "none", 0, 0, 0, 0, "", (), {})
    with pytest.raises(DeployError, match="exceed the simulated flash"):
        run_harness(build, np.zeros((1, 5 << 20), dtype=np.int8))
