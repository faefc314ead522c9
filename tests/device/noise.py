"""Noise for the C side: `python -m tests.device.noise --requests 1000000` is the soak; tests take a bounded part."""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_device
from nanou_deploy.device import messages as m
from nanou_deploy.device.frames import Frame, encode
from tests.device.conftest import SHA256
from tests.device.raw import RawDevice, infer, read, write
from tests.unit.invert_model import make_library


def noisy_stream(seed: int, count: int) -> bytes:
    """Frames with noise of every kind between and inside them."""
    rng, pieces = random.Random(seed), []
    for _ in range(count):
        payload = rng.randbytes(rng.choice([0, 1, 5, 240, 256])).replace(b"\0", rng.choice([b"\0", b"\1"]))
        line = bytearray(encode(Frame(rng.randrange(256), rng.getrandbits(32), payload, boot=rng.getrandbits(32))))
        for _ in range(rng.choice([0, 0, 0, 1, 1, 3, 20])):
            at = rng.randrange(len(line))
            match rng.randrange(4):
                case 0:
                    del line[at : at + rng.randrange(1, 9)]
                case 1:
                    line[at:at] = rng.randbytes(rng.randrange(1, 300))
                case 2:
                    line[at] = rng.choice([0, 1, 255, rng.randrange(256)])
                case _:
                    line[at:at] = line[at : at + rng.randrange(1, 30)]
            line = line or bytearray(b"\0")
        pieces.append(bytes(line))
        if rng.random() < 0.1:
            pieces.append(rng.randbytes(rng.randrange(600)))
    return b"".join(pieces)


def _place(rng: random.Random, last: int) -> tuple[int, int]:
    return rng.randrange(5), rng.choice([0, last, last + 1, rng.getrandbits(32)])


def requests_at_random(rng: random.Random) -> bytes:
    """Valid frames of plausible and absurd requests, damaged frames, and noise."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(1, 600))
    kind = rng.choice([*range(1, 9), m.RESET, rng.randrange(256)])  # RESTART at random would end the process
    bodies = (
        rng.randbytes(rng.randrange(257)),
        write(*_place(rng, 59), rng.randbytes(rng.randrange(251)), rng.choice([0, 0, 1, rng.randrange(256)])),
        read(*_place(rng, 19), rng.randrange(300), rng.choice([0, 0, 1, rng.randrange(256)])),
        bytes([m.TENSOR_PAGE, rng.choice([0, 1, rng.randrange(256)])]),
        infer(SHA256, rng.getrandbits(32), rng.randrange(4)),
        bytes([rng.randrange(4), rng.randrange(3), 0]),
        b"",
    )
    frame = Frame(kind, rng.getrandbits(32), rng.choice(bodies), rng.choice([0, 0, 0, rng.randrange(256)]))
    line = bytearray(encode(frame))
    if rng.random() < 0.3:
        line[rng.randrange(len(line))] ^= rng.randrange(256)
    return bytes(line)


def assault(device: RawDevice, rng: random.Random, count: int) -> None:
    """Requests and noise by twenties; after each it must answer INFO."""
    for _ in range(count // 20):
        for _ in range(20):
            device.send(requests_at_random(rng))
            device.drain()
        device.send(b"\0")
        device.ask(m.INFO, b"\1")


def main() -> None:
    """Under AddressSanitizer and UBSan, which end the program where they find something."""
    parser = argparse.ArgumentParser(prog="python -m tests.device.noise")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = make_library(Path(folder) / "lib", sha256=SHA256)
        program = build_device(library, find_board("host"), Path(folder) / "build", sanitize=True).elf
        with RawDevice(program) as device:
            assault(device, random.Random(given.seed), given.requests)
    print(f"{given.requests} requests and pieces of noise, seed {given.seed}: nothing found")


if __name__ == "__main__":
    main()
