"""Run programs for PlatformIO's local platform: `python -m nanou_deploy.flash.launch image|upload|test BOARD PROGRAM`.

A process of its own, since PlatformIO may run with a Python that lacks what emulators need.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from nanou_deploy.boards.boards import Board, find_board
from nanou_deploy.build.build import Build
from nanou_deploy.build.flash_image import make_flash_image
from nanou_deploy.errors import EXIT_ERROR, EXIT_MISMATCH, EXIT_OK, EXIT_USAGE, DeployError, ToolMissing
from nanou_deploy.flash.upload import merge_flash, mock_board, write_flash

TEST_TIMEOUT_S = 600.0


def make_image(board: Board, program: Path) -> int:
    """Make the program's flash image beside it, and flash.bin, in which the partition table is too."""
    image = make_flash_image(program, board.chip, program.with_suffix(".bin"), flash_bytes=board.flash_bytes or 0)
    merge_flash(program.with_suffix(".bin"), board.chip, program.with_name("flash.bin"))
    print(f"{program.with_suffix('.bin').name}: {image.size_bytes:,} bytes, SHA-256 {image.sha256[:12]}")
    return EXIT_OK


def upload(board: Board, program: Path, port: str = "") -> int:
    """Flash a simulated chip's image, then start the program on the emulated board and prove it on the golden input."""
    if board.kind == "sim":
        _flash(board, program, port)
    return _harness_golden(board, program) if board.kind == "qemu" else _application_golden(board, program)


def _flash(board: Board, program: Path, port: str) -> None:
    """To `port`, else to a mock of the chip's boot loader, where that is installed."""
    whole = {0: program.with_name("flash.bin")}
    if port:
        write_flash(board.chip, port, whole, mock=True)
    else:
        try:
            with mock_board(board.chip) as port:
                write_flash(board.chip, port, whole, mock=True)
        except ToolMissing as error:
            print(f"Flashing skipped: {error}; {error.hint}")
            return
    print(f"Flashed {whole[0].stat().st_size:,} bytes to the mock of an {board.cpu} at {port}; hash verified")


def _application_golden(board: Board, program: Path) -> int:
    """Ask the application, over its own protocol: a child process, or the UART of the simulated chip."""
    from nanou_deploy.device.client import Device

    simulated = f"sim:{program.with_suffix('.bin')}@{board.chip}"
    address = simulated if board.kind == "sim" else f"exec:{shlex.quote(str(program))}"
    with Device.open(address) as device:
        info, golden = device.info(), device.golden()
    print(f"{info.board}: model {info.model_name} {info.model_sha256[:12]}, runtime {info.runtime}")
    print(f"Golden input: {'computed as verified' if golden.passed else f'differs from layer {golden.layer} on'}")
    return EXIT_OK if golden.passed else EXIT_MISMATCH


def _harness_golden(board: Board, program: Path) -> int:
    import numpy as np

    from codegen.library.golden import golden_crc32, golden_frame
    from nanou_deploy.verify.emulate import run_harness

    library = program.parent / "nanou_model"
    identifier = json.loads((library / "nanou-manifest.json").read_text(encoding="utf-8"))["identifier"]
    header = (library / "include" / f"{identifier}.h").read_text(encoding="utf-8")
    sizes = re.findall(r"#define \w+_INPUT(?:_\d+)?_BYTES (\d+)u", header)
    (expected,) = (int(found, 16) for found in re.findall(r"#define \w+_GOLDEN_CRC32 (0x\w+)u", header))
    run = run_harness(_built(board, program), np.asarray(golden_frame(sum(map(int, sizes)))).reshape(1, -1))
    actual = golden_crc32(run.outputs)
    counted = f", {run.instructions[0]:,} instructions" if run.instructions else ""
    print(f"Golden input on {board.name}: output CRC-32 {actual:08x}, expected {expected:08x}{counted}")
    return EXIT_OK if actual == expected else EXIT_MISMATCH


def run_test(board: Board, program: Path) -> int:
    """Run a test program of firmware/test; its console is ours, and its exit code."""
    from nanou_deploy.verify.emulate import run_program

    if board.kind == "sim":
        with TemporaryDirectory() as folder:  # tests are not flashed, but loaded from an image all the same
            image = Path(folder, "test.bin")
            make_flash_image(program, board.chip, image, flash_bytes=board.flash_bytes or 0)
            finished = run_program(_built(board, program, image), timeout_s=TEST_TIMEOUT_S)
    else:
        finished = run_program(_built(board, program), timeout_s=TEST_TIMEOUT_S)
    print(finished.console, end="")
    return finished.code


def _built(board: Board, program: Path, image: Path | None = None) -> Build:
    image = image or (program.with_suffix(".bin") if board.kind == "sim" else None)
    return Build(board.name, "aot", program, 0, 0, 0, 0, "", (), {}, image=image)


def main(arguments: list[str]) -> int:
    actions = {"image": make_image, "upload": upload, "test": run_test}
    if len(arguments) < 3 or arguments[0] not in actions:
        print(__doc__, file=sys.stderr)
        return EXIT_USAGE
    action, board, program, *rest = arguments
    try:
        return actions[action](find_board(board), Path(program).resolve(), *rest)
    except DeployError as error:
        print(f"{error}\n  try: {error.hint}" if error.hint else error, file=sys.stderr)
        return error.exit_code or EXIT_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
