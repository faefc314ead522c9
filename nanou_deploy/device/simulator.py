"""Run a simulated chip behind two pipes: `python simulator.py ELF CHIP`, for nanou_deploy.device.link.

A process of its own, because for some chips labwired itself writes to standard output and error. It reads a length
(uint32, little endian) and so many bytes for the chip to receive, lets a slice of the chip's time pass, and answers
with a length and what the chip sent; then the next. A fault of the program is an answer whose length has bit 31 set,
and words. Imports nothing of nanou_deploy: it must run from any working directory.

The ESP32's receiver is not simulated: there the bytes go into a ring in RAM, see firmware/device/port_bare.c.
"""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

FAULT = 1 << 31
_SLICE = "200us"  # of the chip's time
_MAILBOX_CHIPS = {"esp32": 0x3FFB0000}  # where firmware/device/mailbox.ld puts it
_MAILBOX_BYTES = 512


def serve(program: Path, chip: str, requests: BinaryIO, answers: BinaryIO) -> None:
    """Exchange bytes with the chip until the other side closes its pipe."""
    from labwired import Sim  # a native extension of 28 MB

    with Sim(program, chip=chip) as sim:
        waiting = b""
        while len(header := requests.read(4)) == 4:
            waiting += requests.read(struct.unpack("<I", header)[0])
            try:
                waiting = _deliver(sim, chip, waiting)
                sim.run_for(_SLICE)
                sent, flag = sim.read_uart_bytes(), 0
            except RuntimeError as error:  # memory that is not there, instructions that are none
                sent, flag = str(error).encode(), FAULT
            answers.write(struct.pack("<I", len(sent) | flag) + sent)
            answers.flush()


def _deliver(sim: Any, chip: str, waiting: bytes) -> bytes:
    """Hand bytes to the chip; what has no room yet comes back."""
    if chip not in _MAILBOX_CHIPS:
        sim.send_bytes(waiting)
        return b""
    base = _MAILBOX_CHIPS[chip]
    written, taken = sim.read_u32(base), sim.read_u32(base + 4)
    count = min(len(waiting), _MAILBOX_BYTES - (written - taken) % 2**32)
    for number, byte in enumerate(waiting[:count]):
        # A word for each byte: the simulator's memory is written by words.
        sim.write_u32(base + 8 + 4 * ((written + number) % _MAILBOX_BYTES), byte)
    sim.write_u32(base, (written + count) % 2**32)
    return waiting[count:]


def main() -> int:
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream_number in (1, 2):
        os.dup2(silence, stream_number)
    serve(Path(sys.argv[1]), sys.argv[2], sys.stdin.buffer, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
