"""Commands against devices that lie: what each comes to, in time, without a raw byte on the terminal."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.tflite import interpreters
from codegen.tflite.files import save_model
from nanou_deploy.errors import EXIT_INTERRUPTED
from tests.command_line import Finished, run
from tests.device.hostile import BEHAVIOURS, HEIGHT, MODEL, WIDTH, open_hostile

LIMIT_S, ANSWER_S = 5.0, 1.0
# What motors do is asked for where it is recorded.
COMMANDS = {
    "monitor": ("monitor", "--plain", "--limit", "1", "--record", "seen"),
    "frames": ("monitor", "--plain", "--limit", "1", "--record", "shown", "--frames", "pictures"),
    "capture": ("capture", "--output", "data", "--count", "1", "--session", "s"),
    "masks": ("capture", "--output", "masks", "--count", "1", "--session", "s", "--masks"),
    "bench": ("bench", "--inferences", "2", "--per-layer"),
    "verify": ("verify", "--model", "model.tflite", "--cases", "2"),
}
# Exit codes in the order of COMMANDS: 0 where the lie is not asked for or harms nothing, 1 an error, 3 another result.
OUTCOMES = {
    "sound": "000000",
    "silent": "111111",
    "closed at once": "111111",
    "noise": "111111",
    "noise beside answers": "100100",
    "zeros": "111111",
    "no zeros": "111111",
    "another sequence": "111111",
    "another type": "111111",
    "a newer version": "111111",
    "an older version": "111111",
    "our version, it says not": "111111",
    "events of another version": "100100",
    "every answer twice": "000000",
    "another boot each time": "111111",
    "an unknown status": "111111",
    "flood of logs": "100100",
    "flood of heads": "100100",
    "empty events": "100100",
    "INFO of no bytes": "111111",
    "INFO of one byte": "111111",
    "INFO of another page": "111111",
    "no inputs": "111111",
    "no outputs": "111111",
    "510 tensors": "111111",
    "two inputs": "000001",
    "no pixels": "111111",
    "no output": "111111",
    "huge tensors": "111111",
    "tensors whose product wraps": "111111",
    "254 tensors of 64 MiB": "111111",
    "tensors of another size": "111111",
    "rank 9": "111111",
    "rank 8 of 4 dimensions": "111111",
    "rank 255": "111111",
    "rank 0": "111111",
    "an unknown type": "111111",
    "float32 for int8": "111111",
    "another tensor": "111111",
    "masks of no image": "111111",
    "scale NaN": "111111",
    "scale 0": "111111",
    "scale below 0": "111111",
    "zero point of 32 bits": "111111",
    "4 GiB of state": "000000",
    "65535 layers": "111111",
    "an unknown self-test": "000000",
    "no camera": "100000",
    "no room for frames": "010000",
    "another model": "000001",
    "other tensors than the model's": "000001",
    "another shape than the model's": "000001",
    "escapes as texts": "000000",
    "texts that are no UTF-8": "000000",
    "a mask of no size": "100100",
    "a mask of another size": "100100",
    "a wide mask": "100100",
    "a tall mask": "100100",
    "a picture without width": "100100",
    "a picture of 4 gigapixels": "100100",
    "covers beyond 1": "100100",
    "steering beyond 100": "100100",
    "never a picture": "000100",
    "a stream of nothing": "100100",
    "a camera of another size": "100100",
    "MOTORS is not known": "000000",
    **dict.fromkeys(
        (
            "MOTORS of no bytes",
            "200 PWM channels",
            "a pulse longer than its period",
            "motors that go and are stopped",
            "TUNE of no bytes",
            "a policy that contradicts itself",
            "a threshold of 16 bits",
        ),
        "110000",
    ),
    "CAPTURE of one byte": "001000",
    "CAPTURE of 4 GiB": "001000",
    "CAPTURE of nothing": "001000",
    "CAPTURE of another size": "001000",
    "CAPTURE with another CRC": "001000",
    "READ of one byte": "011001",
    "READ of 256 bytes": "011001",
    "READ of another place": "011001",
    "READ of other bytes": "011001",
    "WRITE elsewhere": "010001",
    "INFER of no bytes": "010001",
    "INFER of 4 GiB": "010001",
    "INFER of 2 bytes": "010001",
    "INFER without a decision": "010001",
    "a decision beyond bounds": "010000",
    "RESET of some bytes": "000001",
    "GOLDEN of no bytes": "000001",
    "GOLDEN fails": "000003",
    "BENCH of no bytes": "000010",
    "BENCH of no time": "000000",
    "BENCH of something else": "000010",
    "BENCH of another layer": "000010",
    "refuses all": "111111",
    "silent after INFO": "111111",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, a picture, and hostile devices in place of all others; the truth is what the sound one answers."""
    monkeypatch.setattr("nanou_deploy.device.client.open_link", open_hostile)
    monkeypatch.setattr("nanou_deploy.monitor.feed._AGAIN_S", 0.0)
    monkeypatch.setattr(
        interpreters, "run_tflm", lambda _model, frames, **_: np.zeros((len(frames), HEIGHT, WIDTH, 1), np.int8)
    )
    save_model(MODEL, tmp_path / "model.tflite")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (160, 120)).save(tmp_path / "pictures" / "a.png")
    return tmp_path


def command(folder: Path, name: str, behaviour: str, timeout_s: float) -> Finished:
    return run(*COMMANDS[name], "--port", f"hostile:{behaviour}", "--timeout", timeout_s, cwd=folder)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_what_a_hostile_device_comes_to(folder: Path, behaviour: str) -> None:
    codes = ""
    for name, expected in zip(COMMANDS, OUTCOMES[behaviour], strict=True):
        start = time.monotonic()
        done = command(folder, name, behaviour, 0.1 if expected == "1" else 2.0)  # the computer may be busy
        spent_s = time.monotonic() - start
        said = done.stdout + done.stderr
        assert spent_s < LIMIT_S, name
        assert all(c.isprintable() for c in said.replace("\n", "")), (name, said)
        assert ("error: " in done.stderr) == (done.returncode == 1), (name, said)
        codes += str(done.returncode)
    assert codes == OUTCOMES[behaviour]


def test_every_behaviour_is_judged() -> None:
    assert OUTCOMES.keys() == BEHAVIOURS.keys()
    assert len(BEHAVIOURS) >= 50


@pytest.mark.parametrize(
    "behaviour", ["silent", "silent after INFO", "no zeros", "a stream of nothing", "flood of logs"]
)
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_is_answered_within_a_second(folder: Path, name: str, behaviour: str) -> None:
    """Unless it was done before."""
    interrupted: list[float] = []

    def interrupt(*_: object) -> None:
        interrupted.append(time.monotonic())
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.4)
    try:
        done = command(folder, name, behaviour, 60)
        ended = time.monotonic()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    if interrupted:
        assert ended - interrupted[0] < ANSWER_S
        assert done.returncode == EXIT_INTERRUPTED
    else:
        assert (done.returncode, OUTCOMES[behaviour][list(COMMANDS).index(name)]) == (0, "0")
