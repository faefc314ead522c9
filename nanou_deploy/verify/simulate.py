"""Run a program in the labwired simulator: `python simulate.py ELF CHIP INPUT CASES`. Prints what its UART sends.

A process of its own, because for some chips the simulator itself writes to standard output and error. The frames of
INPUT go into flash at the address CASES: their length in bytes, then the bytes. The program ends with "exit N" on the
UART, N in hexadecimal, see firmware/host/bare/uart.c; so does this one. Imports nothing of nanou_deploy: it must run
from any working directory.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from pathlib import Path
from typing import TextIO

EXIT_FAULT = 98
_SLICE = "1ms"  # of the simulated chip's time, between looks at the UART


def simulate(program: Path, chip: str, stream: bytes, cases: int, console: TextIO) -> int:
    """Run the program; returns its exit code, or EXIT_FAULT after a line "fault: ..."."""
    from labwired import Sim  # a native extension of 28 MB

    last = ""
    with Sim(program, chip=chip) as sim:
        words = struct.pack("<I", len(stream)) + stream + bytes(-len(stream) % 4)
        for offset, (word,) in enumerate(struct.iter_unpack("<I", words)):
            sim.write_u32(cases + 4 * offset, word)
        while not (end := re.search(r"^exit ([0-9a-f]{2})\n", last, re.MULTILINE)):
            fault = ""
            try:
                sim.run_for(_SLICE)
            except RuntimeError as error:  # memory that is not there, instructions that are none
                fault = f"\nfault: {error}\n"
            text = sim.read_uart()
            print(text, end=fault, file=console, flush=True)
            if fault:
                return EXIT_FAULT
            last = (last + text)[-64:]
    return int(end[1], 16)


def main() -> int:
    console = sys.stderr = os.fdopen(os.dup(1), "w")
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream_number in (1, 2):
        os.dup2(silence, stream_number)
    program, chip, stream, cases = sys.argv[1:]
    return simulate(Path(program), chip, Path(stream).read_bytes(), int(cases, 16), console)


if __name__ == "__main__":
    sys.exit(main())
