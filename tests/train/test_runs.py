"""Run folders: one writer at a time, complete runs are kept, and an int8 model belongs to the student beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codegen.graph.model import QuantizedModel
from nanou_deploy.build.library import open_model
from nanou_train.errors import TrainError
from nanou_train.runs.claim import LOCK, check_apart, locked
from nanou_train.runs.int8_model import int8_path, save_int8
from nanou_train.runs.interrupts import interrupts_repeated
from nanou_train.runs.run_folder import RESULTS, is_unfinished, read_manifest, start_run, write_manifest

FACTS: dict[str, Any] = {"configuration": {"student": {"epochs": 2}}, "seed": 0, "data": {"train": {"sha256": "d"}}}
HOLD = """
import sys
from pathlib import Path
from nanou_train.runs.claim import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def complete(folder: Path, student: str = "s") -> Path:
    folder.mkdir(exist_ok=True)
    write_manifest(folder, {**FACTS, "weights": {"student": student}, "metrics": {}, "status": "completed"})
    return folder


def model_of(student: str, name: str = "tiny") -> QuantizedModel:
    return replace(open_model(None), name=name, provenance={"weights": {"student": student}})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_completed_run_is_kept(tmp_path: Path) -> None:
    folder = complete(tmp_path / "run")
    save_int8(folder, model_of("s"))
    before = content(folder)
    with pytest.raises(TrainError, match=r"a completed run of other settings: .*student.epochs, seed"):
        start_run(folder, {"configuration": {"student": {"epochs": 3}}, "seed": 1})
    assert content(folder) == before


def test_force_leaves_nothing_of_the_run_before(tmp_path: Path) -> None:
    folder = complete(tmp_path / "run")
    save_int8(folder, model_of("s"))
    for name in set(RESULTS) - {"model", "restarts", "rounds", "nas_logs"}:
        (folder / name).write_text("old")
    (folder / "notes.txt").write_text("the user's")
    start_run(folder, FACTS, force=True)
    assert set(content(folder)) == {"manifest.json", "notes.txt"}
    assert is_unfinished(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"status": "finished"}'])
def test_a_damaged_manifest_may_have_been_a_runs(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(TrainError):
        start_run(tmp_path, FACTS)
    with pytest.raises(TrainError):
        read_manifest(tmp_path)
    assert (tmp_path / "manifest.json").read_text() == text


def test_one_process_writes_and_a_killed_one_no_longer(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(TrainError, match=f"another process .*process {other.pid} on "), locked(tmp_path / "run"):
            pass
        other.kill()
    with locked(tmp_path / "run"), locked(tmp_path / "run"):  # whoever holds it may take it again
        assert (tmp_path / "run" / LOCK).is_file()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match=r"cannot write into .*file"), locked(tmp_path / "file" / "run"):
        pass


def test_no_command_writes_over_what_it_reads(tmp_path: Path) -> None:
    for output, source in (("run", "run"), ("run", "run/teacher.keras"), (".", "run"), ("run/../run", "run")):
        with pytest.raises(TrainError, match="which this reads"):
            check_apart(tmp_path / output, None, tmp_path / source)
    check_apart(tmp_path / "run" / "pruned", tmp_path / "run")


def test_the_int8_model_is_that_of_the_student_beside_it(tmp_path: Path) -> None:
    folder = complete(tmp_path / "run")
    path = save_int8(folder, model_of("s"))
    assert path == int8_path(folder)
    for given in (folder, path):
        assert open_model(given).name == "tiny"
    complete(folder, student="another")
    for given in (folder, path):
        with pytest.raises(TrainError, match="was not made of the student"):
            open_model(given)
    with pytest.raises(TrainError, match="was not made of the student"):
        save_int8(folder, model_of("s"))
    assert {name for name in content(folder) if LOCK in name} == set()


def test_what_a_library_swallows_comes_again() -> None:
    said: list[str] = []

    def swallowing() -> None:
        with interrupts_repeated(lambda message, _done: said.append(message)) as report:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                said.append("swallowed")
            report("epoch 2", 0.5)
            said.append("went on")

    with pytest.raises(KeyboardInterrupt):
        swallowing()
    assert said == ["swallowed", "epoch 2"]


def test_whoever_ignores_interrupts_goes_on_ignoring_them() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_repeated(lambda *_: None):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_again_takes_the_run_as_it_is(tmp_path: Path) -> None:
    """The same command changes nothing; another needs --force; and no run starts from what it would replace."""
    pytest.importorskip("tensorflow")
    from nanou_train.training.train import train_model
    from tests.train.test_train import TINY

    keys = {**TINY, "use_distillation": False, "output_dir": tmp_path, "experiment_name": "quick_test"}
    first = train_model(**keys)
    assert first["error"] == ""
    folder = first["experiment_dir"]
    before = content(folder)
    assert train_model(**keys) == {**first, "final_metrics": first["final_metrics"]}
    other = train_model(**keys, learning_rate=0.5)
    assert "completed run of other settings: student.learning_rate" in other["error"]
    onto_itself = train_model(**keys, start_from=folder, force=True)
    assert "which this reads" in onto_itself["error"]
    assert content(folder) == before
    assert train_model(**keys, learning_rate=0.5, force=True)["error"] == ""
    assert read_manifest(folder)["configuration"]["student"]["learning_rate"] == 0.5
    assert json.loads((folder / "metrics.json").read_text()) != json.loads(before["metrics.json"])


def test_a_student_below_the_constant_mask_is_not_recommended(capsys: pytest.CaptureFixture[str]) -> None:
    from nanou_deploy.cli.training_output import worth_quantizing

    assert not worth_quantizing({"student": {"miou": 0.71}, "constant_mask": {"miou": 0.72}})
    assert "71.0 % is not above the constant mask's, 72.0 %" in " ".join(capsys.readouterr().err.split())
    assert worth_quantizing({"student": {"miou": 0.73}, "constant_mask": {"miou": 0.72}, "teacher": {"miou": 0.74}})
    assert capsys.readouterr().err == ""
    assert worth_quantizing({"student": {"miou": 0.73}, "constant_mask": {"miou": 0.72}, "teacher": {"miou": 0.5}})
    assert "the teacher's mIoU of 50.0 % is not above" in " ".join(capsys.readouterr().err.split())
