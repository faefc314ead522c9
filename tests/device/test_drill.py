"""A bounded fault drill, and proof that the drill itself would notice."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nanou_deploy.device.client import Device
from nanou_deploy.device.drill import KINDS, Drill, FaultyLink, Tally, attempt, run
from nanou_deploy.device.errors import DeviceTimeout
from tests.device.conftest import OTHER_SHA256


class Echo:
    """A link whose other end returns everything."""

    slowness = 1.0

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def read(self, timeout_s: float) -> bytes:
        data, self.data = self.data, b""
        return data

    def close(self) -> None: ...


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [1e-3, 1e-1])
def test_faults_come_at_the_stated_rate(kind: str, rate: float) -> None:
    link = FaultyLink(Echo(), (kind,), rate, random.Random(5))
    sent = bytes(range(1, 251)) * 80
    link.write(sent)
    received = b""
    while piece := link.read(0.0):
        received += piece
    expected = 2 * rate * len(sent)  # both directions
    assert 0.7 * expected < link.faults.total() < 1.3 * expected
    assert set(link.faults) == {kind}
    difference = len(received) - len(sent)
    assert {"drop": difference < 0, "duplicate": difference > 0}.get(kind, difference == 0)
    assert (received == sent) == (kind == "split")


def test_the_whole_drill_bounded(
    require_tool: Callable[..., str], programs: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    require_tool("gcc", "clang")
    program, other = programs(sanitize=False), programs(sanitize=False, sha256=OTHER_SHA256)
    assert run(str(program), str(other), inferences=300, seed=2, show=print)
    last = capsys.readouterr().out.splitlines()[-1]
    assert "wrong 0, later than promised 0, unexpected or unnamed 0" in last
    assert all(name in last for name in ("DeviceAbsent", "DeviceReset", "StaleModel", "LinkLost"))


def test_it_notices_wrong_results(
    require_tool: Callable[..., str], programs: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that computes right, and a client that loses one byte of what it read without a check."""
    require_tool("gcc", "clang")
    drill = Drill(str(programs(sanitize=False)), None, seed=1)
    infer = Device.infer

    def spoiled(self: Device, frame: np.ndarray) -> object:  # type: ignore[type-arg]
        result = infer(self, frame)
        output = result.output.copy()
        output.flat[0] ^= 1
        return type(result)(output, result.time_us, result.cycles)

    monkeypatch.setattr(Device, "infer", spoiled)
    tally = drill.noise((), 0.0, 5)
    assert tally.wrong > 0
    assert not tally.is_sound


def test_it_notices_nameless_and_unexpected_errors() -> None:
    tally = Tally("t")

    def fail(error: Exception) -> bool:
        raise error

    attempt(tally, 1.0, lambda: fail(DeviceTimeout("named")))
    assert tally.is_sound
    attempt(tally, 1.0, lambda: fail(ValueError("a bug")))
    attempt(tally, 1.0, lambda: fail(DeviceTimeout("named, but not the one")), (LookupError,))
    attempt(tally, 1.0, lambda: True, (DeviceTimeout,))
    attempt(tally, -2.0, lambda: True)
    assert (tally.asked, tally.unnamed, tally.late) == (5, 3, 1)
