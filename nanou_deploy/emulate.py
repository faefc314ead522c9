"""Run a built harness over input frames: as a process, in QEMU, or in the labwired simulator."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from nanou_deploy.boards import find_board
from nanou_deploy.build import Build
from nanou_deploy.errors import DeployError
from nanou_deploy.toolchain import find_labwired, find_qemu_riscv32

Int8Array = npt.NDArray[np.int8]

_RECORD_OUTPUT = 0xFFFFFFFF
_SIM_SLICE = "10ms"  # of the simulated chip's time between looks at the clock on the wall
_SIM_CASES_LIMIT_BYTES = 4 << 20  # the flash window that esp32c3.ld sets aside
_CRASH_HINT = "`nanou-deploy verify --board host` runs the same code under sanitizers"
_STATISTICS = re.compile(r"^frame (\d+) instructions (\d+) stack_bytes (\d+)$", re.MULTILINE)
_TRAP = re.compile(r"^trap cause ([0-9a-f]{8}) pc ([0-9a-f]{8}) address ([0-9a-f]{8})$", re.MULTILINE)
_TRAP_CAUSES = {  # RISC-V privileged specification, table "mcause"
    0: "instruction address misaligned",
    1: "instruction access fault",
    2: "illegal instruction",
    3: "breakpoint",
    4: "load address misaligned",
    5: "load access fault",
    6: "store address misaligned",
    7: "store access fault",
}


@dataclass(frozen=True)
class HarnessRun:
    """What came back, frame by frame.

    `outputs` is int8 (N, output bytes). `instructions` (exact) and `stack_bytes` (the deepest of all frames) are
    None on the host and in traced builds. `traces` maps TFLite operator index to that operator's whole output;
    empty unless the build is traced.
    """

    outputs: Int8Array
    instructions: tuple[int, ...] | None
    stack_bytes: int | None
    traces: tuple[Mapping[int, bytes], ...]


@dataclass(frozen=True)
class _Finished:
    """A run that came to an end by itself: the harness's exit code, its console text, its record stream."""

    code: int
    console: str
    records: bytes


def run_harness(build: Build, inputs: Int8Array, *, timeout_s: float = 600.0) -> HarnessRun:
    """Run all frames of `inputs`, int8 (N, input bytes), through the program.

    Raises DeployError when the program crashes, reports an error, or needs longer than `timeout_s`; ToolMissing
    where the emulator is absent.
    """
    if inputs.ndim != 2 or inputs.dtype != np.int8 or inputs.shape[0] == 0:
        raise DeployError(f"inputs must be int8 frames of shape (N, bytes), not {inputs.dtype} {inputs.shape}")
    kind = find_board(build.board).kind
    run = {"host": _run_process, "qemu": _run_qemu, "sim": _run_simulator}[kind]
    finished = run(build.elf.resolve(), np.ascontiguousarray(inputs).tobytes(), timeout_s)
    if finished.code != 0:
        raise DeployError(
            f"the harness on {build.board} {_diagnose(finished)}",
            hint=_CRASH_HINT if kind != "host" else "",
        )
    frames = _split_records(finished.records, inputs.shape[0])
    statistics = _STATISTICS.findall(finished.console)
    counted = len(statistics) == inputs.shape[0]
    return HarnessRun(
        outputs=np.stack([np.frombuffer(frame[_RECORD_OUTPUT], dtype=np.int8) for frame in frames]),
        instructions=tuple(int(instructions) for _, instructions, _ in statistics) if counted else None,
        stack_bytes=max(int(stack) for _, _, stack in statistics) if counted else None,
        traces=tuple({key: frame[key] for key in frame if key != _RECORD_OUTPUT} for frame in frames)
        if build.trace
        else (),
    )


def _run_process(program: Path, stream: bytes, timeout_s: float) -> _Finished:
    return _run_in_folder([str(program), "input.bin", "output.bin"], stream, timeout_s)


def _run_qemu(program: Path, stream: bytes, timeout_s: float) -> _Finished:
    machine = "-machine virt -cpu rv32 -m 64M -bios none -nographic -monitor none -serial none"
    # With -icount shift=0 minstret counts instructions; without it, it counts the host's time.
    counting = "-icount shift=0 -semihosting-config enable=on,target=native"
    qemu = find_qemu_riscv32().command
    return _run_in_folder([*qemu, *machine.split(), *counting.split(), "-kernel", str(program)], stream, timeout_s)


def _run_in_folder(command: Sequence[str], stream: bytes, timeout_s: float) -> _Finished:
    """Run a command that turns input.bin into output.bin in its working directory."""
    with TemporaryDirectory(prefix="nanou-") as folder:
        input_path, output_path = Path(folder, "input.bin"), Path(folder, "output.bin")
        input_path.write_bytes(stream)
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
        records = output_path.read_bytes() if output_path.exists() else b""
        return _Finished(done.returncode, done.stdout.decode(errors="replace"), records)


def _run_simulator(program: Path, stream: bytes, timeout_s: float) -> _Finished:
    """Put the frames into the chip's flash window, run until "exit N" appears on the UART."""
    find_labwired()
    from labwired import Sim  # a native extension of 28 MB: only when it is used

    if len(stream) + 4 > _SIM_CASES_LIMIT_BYTES:
        raise DeployError(f"{len(stream)} bytes of input exceed the simulated flash", hint="use fewer --cases")
    console = ""
    deadline = time.monotonic() + timeout_s
    with Sim(program, chip="esp32c3", uart="uart0") as sim:
        words = struct.pack("<I", len(stream)) + stream + bytes(-len(stream) % 4)
        cases = sim.symbol("cases")
        for offset, (word,) in enumerate(struct.iter_unpack("<I", words)):
            sim.write_u32(cases + 4 * offset, word)
        while not (end := re.search(r"^exit ([0-9a-f]{2})\n", console[-64:], re.MULTILINE)):
            if time.monotonic() > deadline:
                raise _timeout(timeout_s, console)
            try:
                sim.run_for(_SIM_SLICE)
            except RuntimeError as error:  # memory that is not there, instructions that are none
                raise DeployError(
                    f"the harness on esp32c3-sim crashed: {error}\n{_tail(console + sim.read_uart())}", hint=_CRASH_HINT
                ) from error
            console += sim.read_uart()
    return _Finished(int(end[1], 16), console, _decode_lines(console))


def _decode_lines(console: str) -> bytes:
    """The record stream from its "#hex*crc" lines; see firmware/host/rv32/esp32c3.c."""
    stream, crc = bytearray(), 0
    for number, (data, stated) in enumerate(re.findall(r"^#([0-9a-f]*)\*([0-9a-f]{8})$", console, re.MULTILINE)):
        crc = zlib.crc32(bytes.fromhex(data), crc)
        if crc != int(stated, 16):
            raise DeployError(f"UART line {number} of the simulated board arrived damaged", hint="run it again")
        stream += bytes.fromhex(data)
    return bytes(stream)


def _split_records(stream: bytes, count: int) -> list[dict[int, bytes]]:
    """Per frame: operator index, or _RECORD_OUTPUT, to data; see firmware/host/harness.c."""
    frames: list[dict[int, bytes]] = [{} for _ in range(count)]
    position = 0
    while position < len(stream):
        if position + 12 > len(stream):
            raise DeployError("the harness's record stream ends within a header", hint="is the disk full?")
        kind, frame, size_bytes = struct.unpack_from("<3I", stream, position)
        data = stream[position + 12 : position + 12 + size_bytes]
        if len(data) != size_bytes or frame >= count:
            raise DeployError(f"the harness's record stream is damaged at byte {position}", hint="is the disk full?")
        # An operator is recorded row by row.
        frames[frame][kind] = frames[frame].get(kind, b"") + data
        position += 12 + size_bytes
    missing = [number for number, frame in enumerate(frames) if _RECORD_OUTPUT not in frame]
    if missing:
        raise DeployError(f"the harness gave no output for frame {missing[0]} of {count}")
    return frames


def _diagnose(finished: _Finished) -> str:
    """What went wrong, in words, from exit code and console text."""
    trap = _TRAP.search(finished.console)
    if trap:
        cause, pc, address = (int(group, 16) for group in trap.groups())
        name = _TRAP_CAUSES.get(cause, f"exception {cause}")
        return f"crashed: {name} at pc {pc:#010x}, address {address:#010x}\n{_tail(finished.console)}"
    ending = f"was killed by signal {-finished.code}" if finished.code < 0 else f"failed with code {finished.code}"
    return f"{ending}\n{_tail(finished.console)}"


def _timeout(timeout_s: float, console: str) -> DeployError:
    return DeployError(
        f"the harness did not finish within {timeout_s:g} s\n{_tail(console)}",
        hint="use fewer cases; if one frame never ends, the generated code is wrong",
    )


def _tail(console: str) -> str:
    """The lines of console text that a person would want to read: what a sanitizer found, else the last ones."""
    lines = [line for line in console.splitlines() if line.strip() and not line.startswith("#")]
    for number, line in enumerate(lines):
        if "ERROR: AddressSanitizer" in line:
            return "\n".join(lines[number : number + 12])
    return "\n".join(lines[-12:])
