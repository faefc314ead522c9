"""Damage the line to a device program and tally the outcomes: `python -m nanou_deploy.device.drill PROGRAM`.

PROGRAM is the application built for this computer (firmware/device). The client must never accept a wrong result, never
wait longer than it promises, and report every fault by name. Prints a tally; exit code 3 if a promise was broken.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nanou_deploy.device.client import Device
from nanou_deploy.device.errors import DeviceAbsent, DeviceError, DeviceReset, LinkLost, StaleModel
from nanou_deploy.device.link import Link, ProcessLink
from nanou_deploy.device.messages import Int8Array
from nanou_deploy.errors import EXIT_MISMATCH, EXIT_OK

KINDS = ("drop", "duplicate", "corrupt", "split")
RATES = (1e-4, 1e-3, 1e-2, 1e-1)
SHARES = (0.35, 0.25, 0.1, 0.05)  # of the inferences that are not on a clean line
TIMEOUT_S = 0.25
OPENING_TIMEOUT_S = 10.0  # where opening is not what is drilled
_SLACK_S = 1.0  # of the scheduler, on a busy computer
_INPUTS = 8


class FaultyLink:
    """Damages bytes on their way. `rate`: the chance of each fault in `kinds`, for each byte and direction."""

    def __init__(self, link: Link, kinds: Sequence[str], rate: float, rng: random.Random) -> None:
        self.slowness = link.slowness
        self.faults: Counter[str] = Counter()
        self.rate = rate
        self._link, self._kinds, self._rng = link, kinds, rng
        self._held = bytearray()  # split off: arrives later

    def write(self, data: bytes) -> None:
        for part in self._spoil(data):
            self._link.write(part)

    def read(self, timeout_s: float) -> bytes:
        if self._held:
            data, self._held = bytes(self._held), bytearray()
            return data
        first, *rest = self._spoil(self._link.read(timeout_s)) or [b""]
        self._held += b"".join(rest)
        return first

    def close(self) -> None:
        self._link.close()

    def _spoil(self, data: bytes) -> list[bytes]:
        """Pass on bytes, cut where the line was split."""
        parts, position = [bytearray()], 0
        while position < len(data):
            gap = self._gap(len(data) - position)
            parts[-1] += data[position : position + gap]
            position += gap
            if position < len(data):
                self._fault(data[position], parts)
                position += 1
        return [bytes(part) for part in parts if part]

    def _gap(self, limit: int) -> int:
        """Bytes until the next fault, geometrically distributed."""
        chance = self.rate * len(self._kinds)
        if chance <= 0:
            return limit
        return min(limit, int(np.log(1.0 - self._rng.random()) / np.log(1.0 - min(chance, 0.999))))

    def _fault(self, byte: int, parts: list[bytearray]) -> None:
        kind = self._rng.choice(self._kinds)
        self.faults[kind] += 1
        if kind == "duplicate":
            parts[-1] += bytes([byte, byte])
        elif kind == "corrupt":
            parts[-1].append(byte ^ self._rng.randrange(1, 256))
        elif kind == "split":
            parts[-1].append(byte)
            parts.append(bytearray())


class ResettingLink(ProcessLink):
    """Cuts the device's power after some traffic; `program` is what starts then, on the same line."""

    def __init__(self, command: str, program: str | None = None) -> None:
        super().__init__(command)
        self._left = 0
        self._next = program or command

    def cut_after(self, size_bytes: int) -> None:
        self._left = size_bytes

    def write(self, data: bytes) -> None:
        super().write(data)
        self._count(len(data))

    def read(self, timeout_s: float) -> bytes:
        data = super().read(timeout_s)
        self._count(len(data))
        return data

    def _count(self, size_bytes: int) -> None:
        if 0 < self._left <= size_bytes:
            self.replace_program(self._next)
        self._left -= size_bytes


@dataclass
class Tally:
    """Counts of the outcomes of one scenario's requests."""

    name: str
    asked: int = 0
    right: int = 0
    wrong: int = 0
    late: int = 0
    unnamed: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0

    @property
    def is_sound(self) -> bool:
        return self.wrong == self.late == self.unnamed == 0

    def line(self) -> str:
        errors = ", ".join(f"{count} {name}" for name, count in sorted(self.errors.items())) or "none"
        return (
            f"{self.name:<24} {self.asked:>6} {self.right:>6} {self.wrong:>5} {self.late:>4} {self.repeated:>8} "
            f"{sum(self.faults.values()):>8} {self.seconds:>7.1f} {self.longest_s:>7.2f}  {errors}"
        )


HEADING = (
    f"{'scenario':<24} {'asked':>6} {'right':>6} {'wrong':>5} {'late':>4} {'repeated':>8} {'faults':>8} {'s':>7} "
    f"{'longest':>7}  errors by name"
)


def attempt(tally: Tally, limit_s: float, right: Callable[[], bool], expected: Sequence[type[Exception]] = ()) -> bool:
    """Make one request, which must be right or fail by a DeviceError in time. True where it gave a result.

    With `expected`, nothing but these errors is sound.
    """
    tally.asked += 1
    start = time.monotonic()
    try:
        if right():
            tally.right += 1
        else:
            tally.wrong += 1
        gave = True
        tally.unnamed += bool(expected)
    except DeviceError as error:
        tally.errors[type(error).__name__] += 1
        tally.unnamed += bool(expected) and not isinstance(error, tuple(expected))
        gave = False
    except Exception as error:
        tally.errors[f"{type(error).__name__}: {error}"] += 1
        tally.unnamed += 1
        gave = False
    spent_s = time.monotonic() - start
    tally.late += spent_s > limit_s + _SLACK_S
    tally.seconds += spent_s
    tally.longest_s = max(tally.longest_s, spent_s)
    return gave


class Drill:
    """Scenarios against `program`; `other` is one with another model of the same shapes, None to leave that out."""

    def __init__(self, program: str, other: str | None, seed: int, timeout_s: float = TIMEOUT_S) -> None:
        self._command, self._other, self._timeout_s = program, other, timeout_s
        self._rng = random.Random(seed)
        with Device(ProcessLink(program)) as device:
            info = device.info()
            input_bytes, output_bytes = (sum(t.size_bytes for t in some) for some in (info.inputs, info.outputs))
            values = np.random.default_rng(seed).integers(-128, 128, (_INPUTS, input_bytes))
            self._inputs: Int8Array = values.astype(np.int8)
            self._has_state = info.state_bytes > 0
            self._outputs = [self._infer(device, frame) for frame in self._inputs]
        transfers = -(-(input_bytes + output_bytes) // 1024)
        self._sha256 = info.model_sha256
        self._span_bytes = 2 * (input_bytes + output_bytes)
        self._limit_s = timeout_s * (5 + transfers + 5 * self._has_state)
        self._opening_s = timeout_s * (6 + len(info.inputs) + len(info.outputs))

    def _infer(self, device: Device, frame: Int8Array) -> Int8Array:
        """Ask the device for the outputs' bytes, from the initial state on."""
        if self._has_state:
            device.reset()
        return device.infer(frame).output

    def _is_right(self, device: Device) -> bool:
        number = self._rng.randrange(_INPUTS)
        return bool(np.array_equal(self._infer(device, self._inputs[number]), self._outputs[number]))

    def noise(self, kinds: Sequence[str], rate: float, count: int) -> Tally:
        """Make `count` inferences over a noisy line; after each that failed, another session begins on a quiet one."""
        name = "+".join(kinds) if 0 < len(kinds) < len(KINDS) else "all" if kinds else "clean line"
        tally = Tally(f"{name} {rate:g}" if kinds else name)
        while tally.asked < count:
            link = FaultyLink(ProcessLink(self._command), kinds, 0.0, self._rng)
            with Device(link, timeout_s=OPENING_TIMEOUT_S, model_sha256=self._sha256) as device:
                device.timeout_s, link.rate = self._timeout_s, rate
                while attempt(tally, self._limit_s, lambda d=device: self._is_right(d)) and tally.asked < count:  # type: ignore[misc]
                    pass
                link.rate = 0.0
            tally.faults += link.faults
            tally.repeated += device.counters.repeated
        return tally

    def opening(self, rate: float, count: int) -> Tally:
        """Begin sessions on a noisy line."""
        tally = Tally(f"opening {rate:g}")
        for _ in range(count):
            link = FaultyLink(ProcessLink(self._command), KINDS, rate, self._rng)

            def begin(link: FaultyLink = link) -> bool:
                with Device(link, timeout_s=self._timeout_s, model_sha256=self._sha256) as device:
                    return device.counters.requests > 0

            attempt(tally, self._opening_s, begin)
            tally.faults += link.faults
        return tally

    def reset(self, count: int) -> Tally:
        """Cut the device's power in the middle of inferences; the next one must be right."""
        tally = Tally("reset in mid-transfer")
        for _ in range(count):
            link = ResettingLink(self._command)
            with Device(link, timeout_s=self._timeout_s) as device:
                link.cut_after(self._rng.randrange(1, self._span_bytes))
                while attempt(tally, self._limit_s, lambda d=device: self._is_right(d)):  # type: ignore[misc]
                    pass
                attempt(tally, self._limit_s, lambda d=device: self._is_right(d))  # type: ignore[misc]
        return tally

    def stale(self, count: int) -> list[Tally]:
        """Put another model on the device: from the start, and by a reset in the middle of a session."""
        if self._other is None:
            return []
        opened, swapped = Tally("stale model at the start"), Tally("model changed by a reset")
        for _ in range(count):
            attempt(opened, 2 * self._timeout_s, self._open_other, (StaleModel,))
            link = ResettingLink(self._command, self._other)
            with Device(link, timeout_s=self._timeout_s, model_sha256=self._sha256) as device:
                link.cut_after(self._rng.randrange(1, self._inputs[0].size))
                for _ in range(3):
                    attempt(swapped, self._limit_s, lambda d=device: self._is_right(d), (DeviceReset, StaleModel))  # type: ignore[misc]
        return [opened, swapped]

    def _open_other(self) -> bool:
        assert self._other
        with Device(ProcessLink(self._other), timeout_s=self._timeout_s, model_sha256=self._sha256):
            return False

    def absent(self, count: int) -> Tally:
        """Open ports that are missing, silent or speak something else, and programs that end."""
        tally = Tally("absent device")
        with tempfile.TemporaryDirectory() as folder:
            programs = {"silent": "exec sleep 60", "talking": "while :; do echo rst:0x1 boot; done", "ended": "exit 3"}
            for name, text in programs.items():
                Path(folder, name).write_text(f"#!/bin/sh\n{text}\n")
                Path(folder, name).chmod(0o755)
            addresses = [f"exec:{folder}/{name}" for name in programs]
            for address in [*addresses, f"exec:{folder}/none", f"{folder}/no-port", "tcp://127.0.0.1:1"] * count:
                attempt(tally, 2 * self._timeout_s + 2.0, lambda a=address: self._open(a), (DeviceAbsent, LinkLost))  # type: ignore[misc]
        return tally

    def _open(self, address: str) -> bool:
        with Device.open(address, timeout_s=self._timeout_s):
            return False

    def disappearing(self, count: int) -> Tally:
        """Take the port away in the middle of an inference."""
        tally = Tally("port that disappears")
        for _ in range(count):
            link = ProcessLink(self._command)
            with Device(link, timeout_s=self._timeout_s) as device:
                os.kill(link.process.pid, signal.SIGKILL)
                link.process.wait()
                for _ in range(2):
                    attempt(tally, self._limit_s, lambda d=device: self._is_right(d), (LinkLost,))  # type: ignore[misc]
        return tally


def run(program: str, other: str | None, inferences: int, seed: int, show: Callable[[str], None]) -> bool:
    """Run all scenarios, about `inferences` requests. True where every promise held."""
    drill = Drill(program, other, seed)
    show(HEADING)
    tallies: list[Tally] = []

    def note(*made: Tally) -> None:
        for tally in made:
            show(tally.line())
        tallies.extend(made)

    note(drill.noise((), 0.0, inferences // 4))
    for rate, share in zip(RATES, SHARES, strict=True):
        for kinds in (*((kind,) for kind in KINDS), KINDS):
            note(drill.noise(kinds, rate, max(2, round(inferences * share / 5))))
        note(drill.opening(rate, max(2, inferences // 200)))
    note(drill.reset(max(2, inferences // 50)))
    note(*drill.stale(max(1, inferences // 400)))
    note(drill.absent(max(1, inferences // 2000)))
    note(drill.disappearing(max(2, inferences // 200)))
    asked, right, wrong = (sum(getattr(tally, name) for tally in tallies) for name in ("asked", "right", "wrong"))
    late, unnamed = (sum(getattr(tally, name) for tally in tallies) for name in ("late", "unnamed"))
    errors = sum((tally.errors for tally in tallies), Counter[str]())
    show(
        f"asked {asked}, right {right}, wrong {wrong}, later than promised {late}, unexpected or unnamed {unnamed}, "
        f"errors {sum(errors.values())}: {dict(errors)}"
    )
    return all(tally.is_sound for tally in tallies)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m nanou_deploy.device.drill", description="Fault drill.")
    parser.add_argument("program", help="the application built for this computer")
    parser.add_argument("--other", help="the same with another model of the same shapes")
    parser.add_argument("--inferences", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sound = run(given.program, given.other, given.inferences, given.seed, lambda text: print(text, flush=True))
    return EXIT_OK if sound else EXIT_MISMATCH


if __name__ == "__main__":
    sys.exit(main())
