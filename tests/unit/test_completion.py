"""What Tab completes, as click asks for it; and what doctor says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from nanou_deploy.cli import cli
from nanou_deploy.doctor.doctor import _completion
from tests.unit.test_run_summary import make_run


def completed(*words: str, incomplete: str) -> list[str]:
    asked = ShellComplete(cli, {}, "nanou-deploy", "_NANOU_DEPLOY_COMPLETE")
    return [item.value for item in asked.get_completions(list(words), incomplete)]


def test_names_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs/mine")
    assert completed(incomplete="mon") == ["monitor"]
    boards = completed("build", "--board", incomplete="esp32c")
    assert boards == completed("verify", "--board", incomplete="esp32c")
    assert {"esp32c3", "esp32cam"} <= set(boards) & set(completed("fit", "runs", "--board", incomplete="esp32c"))
    assert "accurate" in completed("train", "--experiment", incomplete="acc")
    assert completed("quantize", "--run", incomplete="ru") == ["runs/mine"]
    assert completed("predict", "--model", incomplete="runs/") == ["runs/mine"]


def test_what_cannot_be_read_completes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert completed("experiment", "--config", "none.yaml", "--experiment", incomplete="") == []
    assert completed("quantize", "--run", incomplete="x") == ["x"]  # the shell's own files


def test_doctor_says_whether_it_is_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/zsh")
    assert "zsh_source" in _completion().fix
    (tmp_path / ".zshrc").write_text('eval "$(_NANOU_DEPLOY_COMPLETE=zsh_source nanou-deploy)"\n')
    assert _completion().ok
    monkeypatch.setenv("SHELL", "/bin/csh")
    assert not _completion().ok
