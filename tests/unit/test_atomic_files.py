"""Files appear whole or not at all: whatever fails on the way leaves the old one, and nothing beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.atomic_files import replacing, write_bytes, write_text
from codegen.errors import ModelError
from codegen.tflite.files import load_model, save_model
from nanou_deploy.build.library import open_model
from nanou_deploy.device.messages import CameraFrame
from nanou_deploy.device.recording import Recording
from nanou_deploy.errors import DeployError
from nanou_deploy.report.pictures import Panel, write_panel_png
from nanou_train.training.checkpoint import TrainingState, load_state, save_state

PIXELS = np.zeros((8, 8, 3), np.uint8)
STATE = TrainingState(1, 1, 0.5, (), {"weights": [np.ones(3)]})
# What a command writes, by a name: each takes the path.
WRITERS: dict[str, Callable[[Path], object]] = {
    "text.md": lambda path: write_text(path, "new"),
    "model.tflite": lambda path: save_model(open_model(None), path),
    "state.npz": lambda path: save_state(STATE, path, "identity"),
    "panel.png": lambda path: write_panel_png(path, [Panel("a", PIXELS, None, None, None)]),
}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_write_that_fails_leaves_what_was_there(
    name: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name](tmp_path / name)
    for path in tmp_path.iterdir():
        path.write_bytes(b"old")
    before = files(tmp_path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left"):
        WRITERS[name](tmp_path / name)
    assert files(tmp_path) == before


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    """Nor a device: what root writes to /dev/null must not take its place."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileExistsError, match="a device or pipe"):
        write_text(tmp_path / "pipe", "new")
    assert (tmp_path / "pipe").is_fifo()
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_block_that_raises_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with replacing(tmp_path / "new" / "a.bin") as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "new").iterdir()) == []


def test_rights_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_bytes(tmp_path / "a.bin", b"data")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("has_old", [False, True])
def test_a_model_is_never_read_without_its_contract(
    steps: int, has_old: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended after each step that changes the folder: what is there is the old pair, or refused."""
    path, new = tmp_path / "model.tflite", open_model(None)
    old = replace(new, name="old", flatbuffer=new.flatbuffer + bytes(4))
    if has_old:
        save_model(old, path)
    real, done = os.replace, []

    def stop_after_steps(*arguments: str) -> None:
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(real(*arguments))

    monkeypatch.setattr(os, "replace", stop_after_steps)
    with pytest.raises(KeyboardInterrupt):
        save_model(new, path)
    if has_old and steps == 0:
        assert load_model(path) == old
    else:
        with pytest.raises(ModelError, match="describes another file" if has_old else "cannot read"):
            load_model(path)


def test_a_picture_is_never_recorded_over_another(tmp_path: Path) -> None:
    recording = Recording(tmp_path, "drive")
    path = recording.save(1, CameraFrame(bytes(2 * 4 * 2), 4, 2, True))
    before = files(tmp_path / "img")
    with pytest.raises(DeployError, match="exists already"):
        recording.save(1, CameraFrame(b"\xff" * (2 * 4 * 2), 4, 2, True))
    assert files(tmp_path / "img") == before
    assert Image.open(path).size == (4, 2)


def test_a_state_that_was_replaced_reads_back(tmp_path: Path) -> None:
    save_state(STATE, tmp_path / "state.npz", "one")
    save_state(replace(STATE, epoch=2), tmp_path / "state.npz", "one")
    loaded = load_state(tmp_path / "state.npz", "one")
    assert loaded is not None
    assert loaded.epoch == 2
