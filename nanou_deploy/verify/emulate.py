"""Run a built harness over input frames: as a process, in QEMU, or in the labwired simulator."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from codegen.child_python import python_command
from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.build import elf
from nanou_deploy.build.build import Build, build_plugin
from nanou_deploy.build.flash_image import flash_image_elf, read_flash_image
from nanou_deploy.build.toolchain import Tool, find_labwired, find_qemu_arm, find_qemu_riscv32, find_qemu_xtensa
from nanou_deploy.errors import DeployError
from nanou_deploy.verify import simulate
from nanou_deploy.verify.diagnose import diagnose, tail

Int8Array = npt.NDArray[np.int8]

_RECORD_OUTPUT = 0xFFFFFFFF  # see firmware/host/harness.c

_SEMIHOSTING = "-semihosting-config enable=on,target=native"
_XTENSA_SIM = f"-machine sim -cpu de233_fpu -m 64M {_SEMIHOSTING}"
_QEMU: Mapping[str, tuple[Callable[[], Tool], str]] = {
    # With -icount shift=0 minstret counts instructions; without it, it counts the host's time.
    "rv32-qemu": (find_qemu_riscv32, f"-machine virt -cpu rv32 -m 64M -bios none -icount shift=0 {_SEMIHOSTING}"),
    # QEMU's only Armv6-M board is the micro:bit, whose 16 KB of RAM hold no frames. A Cortex-M3 runs all its code.
    "cortex-m0-qemu": (find_qemu_arm, f"-machine mps2-an385 {_SEMIHOSTING}"),
    "cortex-m4-qemu": (find_qemu_arm, f"-machine mps2-an386 {_SEMIHOSTING}"),
    "cortex-m7-qemu": (find_qemu_arm, f"-machine mps2-an500 {_SEMIHOSTING}"),
    "xtensa-qemu": (find_qemu_xtensa, _XTENSA_SIM),
    "esp32s3-qemu": (find_qemu_xtensa, _XTENSA_SIM),
}
# By kind of board, so that no process needs longer than the limit, however many cases there are; on this computer one
# process takes all. Simulated chips may take a minute for each.
_CASES_PER_PROCESS: Mapping[str, int] = {"qemu": 10, "sim": 1}
_SIM_CASES_LIMIT_BYTES = 2 << 20  # the flash window that each chip's .ld file sets aside
_CRASH_HINT = "`nanou-deploy verify --board host` runs the same code under sanitizers"
_STATISTICS = re.compile(r"^frame \d+ counts (\d+) (\d+) (\d+) stack_bytes (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class HarnessRun:
    """What came back, frame by frame.

    `outputs` is int8 (N, output bytes). `instructions` (exact) are those from the call of nanou_invoke to its return;
    `stack_bytes` is the deepest of all frames; both are None on the host and in traced builds. `traces` maps TFLite
    operator index to that operator's whole output; empty unless the build is traced.
    """

    outputs: Int8Array
    instructions: tuple[int, ...] | None
    stack_bytes: int | None
    traces: tuple[Mapping[int, bytes], ...]


@dataclass(frozen=True)
class Finished:
    """A run that came to an end by itself: the harness's exit code, its console text, its record stream, and what a
    plugin wrote. That of plugin/count.c are the instructions executed before each mark."""

    code: int
    console: str
    records: bytes
    plugin: npt.NDArray[np.uint64]


def run_harness(
    build: Build, inputs: npt.NDArray[Any], *, timeout_s: float = 600.0, are_independent: bool = False
) -> HarnessRun:
    """Run all cases of `inputs`, (N, input bytes) as the file states them, through the program.

    They are consecutive inferences of one process, which begins in the initial state. Where they `are_independent`, as
    those of a model without state are, emulators run a few in a process. Raises DeployError when a process crashes,
    reports an error, or needs longer than `timeout_s`; ToolMissing where the emulator is absent.
    """
    if inputs.ndim != 2 or inputs.dtype.itemsize != 1 or inputs.shape[0] == 0:
        raise DeployError(f"inputs must be bytes of shape (N, bytes), not {inputs.dtype} {inputs.shape}")
    kind = find_board(build.board).kind
    count = _CASES_PER_PROCESS.get(kind, len(inputs)) if are_independent else len(inputs)
    return _joined([_run_cases(build, inputs[i : i + count], timeout_s) for i in range(0, len(inputs), count)])


def _run_cases(build: Build, inputs: npt.NDArray[Any], timeout_s: float) -> HarnessRun:
    """Run cases in one process."""
    finished = run_program(build, np.ascontiguousarray(inputs).tobytes(), timeout_s=timeout_s)
    check_finished(build, finished)
    frames = _split_records(finished.records, inputs.shape[0])
    counts, stack_bytes = _statistics(finished, inputs.shape[0])
    return HarnessRun(
        outputs=np.stack([np.frombuffer(frame[_RECORD_OUTPUT], dtype=np.int8) for frame in frames]),
        instructions=counts,
        stack_bytes=stack_bytes,
        traces=tuple({key: frame[key] for key in frame if key != _RECORD_OUTPUT} for frame in frames)
        if build.trace
        else (),
    )


def _joined(runs: Sequence[HarnessRun]) -> HarnessRun:
    counts = [run.instructions for run in runs if run.instructions is not None]
    stacks = [run.stack_bytes for run in runs if run.stack_bytes is not None]
    return HarnessRun(
        outputs=np.concatenate([run.outputs for run in runs]),
        instructions=tuple(chain.from_iterable(counts)) if len(counts) == len(runs) else None,
        stack_bytes=max(stacks) if len(stacks) == len(runs) else None,
        traces=tuple(chain.from_iterable(run.traces for run in runs)),
    )


def find_emulator(board: Board) -> Tool:
    """Find what runs programs for an emulated board. Raises ToolMissing where it is not installed."""
    return find_labwired() if board.kind == "sim" else _QEMU[board.name][0]()


def run_program(build: Build, stream: bytes = b"", *, timeout_s: float = 600.0) -> Finished:
    """Run any program that uses firmware/host/target.h, whatever its exit code; `stream` is what it can read."""
    run = {"host": _run_process, "qemu": _run_qemu, "sim": _run_simulator}[find_board(build.board).kind]
    return run(build, stream, timeout_s)


def check_finished(build: Build, finished: Finished) -> None:
    """Check that the harness came to its good end. Raises DeployError, which says in words what went wrong."""
    if finished.code != 0:
        board = find_board(build.board)
        raise DeployError(
            f"the harness on {build.board} {diagnose(finished.code, finished.console, board.isa)}",
            hint=_CRASH_HINT if board.kind != "host" else "",
        )


def _statistics(finished: Finished, frames: int) -> tuple[tuple[int, ...] | None, int | None]:
    """Instructions per frame, less what an empty interval costs, and the deepest stack; None where not printed."""
    lines = [tuple(map(int, line)) for line in _STATISTICS.findall(finished.console)]
    if len(lines) != frames:
        return None, None
    marks = finished.plugin.tolist()
    intervals = [(_span(empty, before, marks), _span(before, after, marks)) for empty, before, after, _ in lines]
    return tuple(invoke - nothing for nothing, invoke in intervals), max(line[3] for line in lines)


def _span(start: int, end: int, marks: Sequence[int]) -> int:
    """Instructions between two counts. With `marks`, they are numbers of marks; else a counter's, which may be of 32
    bits and wrap."""
    if marks:
        return marks[end] - marks[start]
    return end - start if end >= start else end - start + 2**32


def _run_process(build: Build, stream: bytes, timeout_s: float) -> Finished:
    return _run_in_folder([str(build.elf.resolve()), "input.bin", "output.bin"], {"input.bin": stream}, timeout_s)


def _run_qemu(build: Build, stream: bytes, timeout_s: float) -> Finished:
    plugin = "count" if build.count_plugin else None
    return run_with_plugin(build, plugin, (), {"input.bin": stream}, timeout_s=timeout_s)


def run_with_plugin(
    build: Build, plugin: str | None, arguments: Sequence[str], files: Mapping[str, bytes], *, timeout_s: float
) -> Finished:
    """Run `build` in QEMU, in a folder with `files`, observed by firmware/host/plugin/PLUGIN.c if one is given."""
    find, machine = _QEMU[build.board]
    qemu = find()
    program = build.elf.resolve()
    options = [*machine.split(), "-nographic", "-monitor", "none", "-serial", "none"]
    if plugin:
        library = str(build_plugin(plugin, qemu)).replace(",", ",,")  # QEMU's way to escape
        options += ["-plugin", ",".join((library, "out=plugin.bin", *arguments))]
    return _run_in_folder([*qemu.command, *options, "-kernel", str(program)], files, timeout_s)


def _run_in_folder(command: Sequence[str], files: Mapping[str, bytes], timeout_s: float) -> Finished:
    """Run a command that turns the files of its working directory into output.bin and perhaps plugin.bin."""
    with TemporaryDirectory(prefix="nanou-") as folder:
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        output_path, plugin_path = Path(folder, "output.bin"), Path(folder, "plugin.bin")
        output_path.touch()  # not every emulator can create it
        plugin_path.touch()
        # Nothing allocates, and looking for leaks needs ptrace, which containers may bar.
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:print_legend=0"}
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _timeout(timeout_s, (error.stdout or b"").decode(errors="replace")) from error
        written = np.fromfile(plugin_path, dtype=np.uint64)
        return Finished(done.returncode, done.stdout.decode(errors="replace"), output_path.read_bytes(), written)


def _run_simulator(build: Build, stream: bytes, timeout_s: float) -> Finished:
    find_labwired()
    if len(stream) + 4 > _SIM_CASES_LIMIT_BYTES:
        raise DeployError(f"{len(stream)} bytes of input exceed the simulated flash", hint="use fewer --cases")
    cases = elf.find_symbol(build.elf, "cases")
    if build.image is None or cases is None:
        raise DeployError(f"{build.elf.name} was not built for a simulated chip", hint="build it again")
    image = read_flash_image(build.image.read_bytes())
    command = python_command(simulate.__file__, "image.elf", image.chip, "input.bin", hex(cases.address))
    files = {"image.elf": flash_image_elf(image), "input.bin": stream}
    finished = _run_in_folder(command, files, timeout_s)
    return replace(finished, records=_decode_lines(finished.console))


def _decode_lines(console: str) -> bytes:
    """Decode the record stream from its "#hex*crc" lines; see firmware/host/bare/uart.c."""
    stream, crc = bytearray(), 0
    for number, (data, stated) in enumerate(re.findall(r"^#([0-9a-f]*)\*([0-9a-f]{8})$", console, re.MULTILINE)):
        crc = zlib.crc32(bytes.fromhex(data), crc)
        if crc != int(stated, 16):
            raise DeployError(f"UART line {number} of the simulated board arrived damaged", hint="run it again")
        stream += bytes.fromhex(data)
    return bytes(stream)


def _split_records(stream: bytes, count: int) -> list[dict[int, bytes]]:
    """Per frame: operator index, or _RECORD_OUTPUT, to data. See firmware/host/harness.c. What an operator writes row
    by row is joined."""
    frames: list[dict[int, bytes]] = [{} for _ in range(count)]
    position = 0
    while position < len(stream):
        if position + 12 > len(stream):
            raise DeployError("the harness's record stream ends within a header", hint="is the disk full?")
        kind, frame, size_bytes = struct.unpack_from("<3I", stream, position)
        data = stream[position + 12 : position + 12 + size_bytes]
        if len(data) != size_bytes or frame >= count:
            raise DeployError(f"the harness's record stream is damaged at byte {position}", hint="is the disk full?")
        frames[frame][kind] = frames[frame].get(kind, b"") + data
        position += 12 + size_bytes
    missing = [number for number, frame in enumerate(frames) if _RECORD_OUTPUT not in frame]
    if missing:
        raise DeployError(f"the harness gave no output for frame {missing[0]} of {count}")
    return frames


def _timeout(timeout_s: float, console: str) -> DeployError:
    return DeployError(
        f"the harness did not finish within {timeout_s:g} s\n{tail(console)}",
        hint="use fewer cases; if one frame never ends, the generated code is wrong",
    )
