"""`import nanou_deploy as nd`: the stages as functions, and the notebook that shows them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nanou_deploy as nd
from codegen.child_python import python_command
from codegen.errors import CodegenError
from codegen.tflite.files import save_model
from nanou_deploy.errors import DeployError
from tests.unit.test_predict import MODEL, picture

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "deploy.ipynb"


def test_a_model_is_loaded_and_compiled(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "small.tflite")
    model = nd.load_model(tmp_path / "small.tflite", camera=(96, 96))
    assert (model.sha256, str(model.camera)) == (MODEL.sha256, "96x96")
    assert nd.compile(model, board="esp32c3").plan.macs == 6 * 8 * 3
    with pytest.raises(CodegenError, match="cannot read"):
        nd.load_model(tmp_path / "none.tflite")


def test_pictures_of_every_kind_are_predicted(tmp_path: Path) -> None:
    image = picture(5)
    image.save(tmp_path / "a.png")
    kinds = [tmp_path / "a.png", str(tmp_path / "a.png"), image, np.asarray(image)]
    found = nd.predict(kinds, MODEL, executor="tflm")
    assert [one.name for one in found] == ["a", "a-2", "picture", "picture-2"]
    assert len({one.mask.tobytes() for one in found if one.mask is not None}) == 1
    assert nd.predict(image, MODEL, executor="tflm")[0].mask is not None
    with pytest.raises(DeployError, match="is no picture"):
        nd.predict(np.zeros((4, 4)), MODEL, executor="tflm")  # type: ignore[arg-type]
    with pytest.raises(DeployError, match="there is no file"):
        nd.predict("none.png", MODEL)


def test_a_model_is_verified_and_built(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    firmware = nd.build(MODEL, board="host", output=tmp_path / "out", cases=1)
    assert firmware.golden.passed
    assert firmware.linked is not None
    assert firmware.linked.elf.is_file()
    with pytest.raises(DeployError, match="compare nothing"):
        nd.verify(MODEL, cases=0)


def test_names_are_there_whatever_was_imported_and_nothing_is_imported_before() -> None:
    """Folders of stages have the names of functions."""
    program = (
        "import sys, nanou_deploy as nd; assert not {'numpy', 'codegen', 'click'} & sys.modules.keys();"
        "import nanou_deploy.build.library, nanou_deploy.predict.sources, nanou_deploy.verify.golden;"
        "assert callable(nd.build) and callable(nd.verify) and callable(nd.predict) and callable(nd.compile);"
        "assert nd.build.library.open_model; assert 'tensorflow' not in sys.modules;"
        "print(type(nd.load_model()).__name__, hasattr(nd, 'nothing'), 'predict' in dir(nd))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["QuantizedModel", "False", "True"]


def test_python_runs_the_package() -> None:
    done = subprocess.run(python_command("-m", "nanou_deploy", "--version"), capture_output=True, text=True, check=True)
    assert "nanou-deploy" in done.stdout


def test_the_notebook_runs_and_is_kept_without_outputs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    require_tool: Callable[..., str],
) -> None:
    require_tool("gcc", "clang")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, cell in enumerate(cells):
        exec(compile("".join(cell["source"]), f"{NOTEBOOK.name} cell {number}", "exec"), names)
    assert "multiply-accumulates" in capsys.readouterr().out
    assert isinstance(names["sheet"], Image.Image)
