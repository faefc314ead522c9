"""One estimate of the time left, in a terminal's bar and in lines alike."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nanou_deploy.cli import training_output
from nanou_deploy.cli.training_output import duration, training_progress


def test_the_time_left_is_this_process_s_and_this_stage_s(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {
        "begun again": (1000.0, 0.5),
        "too early": (1001.0, 0.6),
        "half of the rest": (1010.0, 0.75),
        "done": (1020.0, 1.0),
        "next stage": (1030.0, 0.0),
        "too early again": (1031.0, 0.1),
        "as slow": (1630.0, 0.5),
    }
    clock = iter([now_s for now_s, _ in told.values()])
    monkeypatch.setattr(training_output, "time", SimpleNamespace(monotonic=clock.__next__))
    with training_progress() as progress:
        for message, (_, done) in told.items():
            progress(message, done)
    lines = [" ".join(line.split()) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "50% begun again",
        "60% too early",
        "75% half of the rest, 10 s left",
        "100% done",
        "0% next stage",
        "10% too early again",
        "50% as slow, 10 min left",
    ]


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0, 89, 90, 5399, 5400, 90000)] == [
        "0 s", "89 s", "2 min", "90 min", "2 h", "25 h",
    ]  # fmt: skip
