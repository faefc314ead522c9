"""No command runs code of the folder that it is started in: neither modules there nor tools' configuration files."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.graph.model import CameraSize, Preprocessing, QuantizedModel, segmentation
from codegen.tflite.files import save_model
from nanou_deploy.cli import cli
from tests.train.picture_files import write_drives
from tests.unit.test_sidecar import flatbuffer

REPOSITORY = Path(__file__).resolve().parents[2]
EVIL = "import os\nopen(os.environ['NANOU_MARK'], 'a').write(__name__ + ' ' + __file__ + '\\n')\n"
EXPERIMENT = """
experiments:
  tiny:
    model: {architecture: nano_u, filters: [4], bottleneck: 4}
    use_distillation: false
    input_size: [24, 32]
    epochs: 1
    batch_size: 4
    restarts: 2
"""
SIMULATED = "exec:build/host/device/device.elf --camera camera.raw --camera-size 16x12"
SMALL = ["--model", "small.tflite"]
TINY = ["--experiment", "tiny", "--config", "e.yaml"]
SHORT = ["--workers", "2", "--rungs", "1", "--finish", "1"]
# In an order in which each finds what it needs; then the exit codes that say that it did its work.
QUICK = {
    "boards": (["boards"], 0),
    "doctor": (["doctor"], 0),
    "inspect": (["inspect"], 0),
    "describe": (["describe", "small.tflite"], 0),
    "import": (["import", "small.tflite", "--data", "images"], 1),
    "generate": (["generate", *SMALL, "--output", "lib"], 0),
    "generate tflm": (["generate", *SMALL, "--runtime", "tflm", "--output", "lib_tflm"], 0),
    "card": (["card", *SMALL, "--output", "cards"], 0),
    "export": (["export", *SMALL, "--format", "cmake", "--output", "package"], 0),
    "cost": (["cost", "small.tflite", "--board", "rv32-qemu"], 0),
    "build": (["build", *SMALL, "--board", "esp32c3-sim", "--cases", "1"], 0),
    "build for hardware": (["build", *SMALL, "--board", "esp32s3", "--cases", "1"], 4),
    "verify": (["verify", *SMALL, "--board", "host:1", "--cases", "1"], 0),
    "bench": (["bench", *SMALL, "--board", "rv32-qemu"], 0),
    "run": (["run", *SMALL, "--board", "host", "--limit", "1", "--plain"], 0),
    "monitor": (["monitor", "--port", SIMULATED, "--limit", "1", "--plain"], 0),
    "capture": (["capture", "--port", SIMULATED, "--output", "taken", "--count", "1", "--interval", "0"], 0),
    "flash": (["flash", "--board", "esp32s3", "--port", "/dev/null"], 1),
    "prepare": (["prepare", "--images", "images", "--masks", "masks", "--output", "data", "--size", "24x32"], 0),
    "data-check": (["data-check", "--data", "data"], 3),
    "experiment": (["experiment", "--config", "e.yaml"], 0),
    "migrate-config": (["migrate-config", "old.yaml", "--output", "new.yaml"], 0),
    "init": (["init", "--yes", "--images", "images", "--masks", "masks"], 0),
    "up": (["up", "--dry-run"], 0),
    "predict": (["predict", "images/drive0", *SMALL, "--output", "seen"], 0),
    "calibrate": (["calibrate", *SMALL, "--images", "images", "--masks", "masks", "--output", "fit.tflite"], 0),
    "label-assist": (["label-assist", "images", *SMALL, "--output", "assist"], 0),
    "clean": (["clean"], 0),
}
TRAINING = {
    "prepare": QUICK["prepare"],
    "model-size": (["model-size", "nano_u"], 0),
    "bench-train": (["bench-train", *TINY, "--data", "data", "--steps", "1", "--cores", "1"], 0),
    "train": (["train", "--data", "data", "--config", "e.yaml", "--experiment", "tiny", "--output", "run"], 0),
    "quantize": (["quantize", "--run", "run"], 0),
    "runs": (["runs", "."], 0),
    "evaluate": (["evaluate", "--run", "run", "--compare"], 0),
    "prune": (["prune", "--run", "run", "--output", "pruned", "--to", "0.9", "--rounds", "1", "--epochs", "1"], 0),
    "search": (["search", "--run", "run", "--output", "found", "--trials", "2", *SHORT], 0),
    "pareto": (["pareto", "run", "pruned", "--output", "front"], 0),
    "fit": (["fit", "front/pareto.json", "--board", "rv32-qemu"], 0),
}


def write_traps(folder: Path) -> None:
    """A module of every name that Python may look for, and configuration of tools that can name code."""
    packages = {name for names in importlib.metadata.packages_distributions() for name in names.split(".")[:1]}
    names = {*sys.stdlib_module_names, *packages, "sitecustomize", "usercustomize", "codegen", "nanou_deploy"}
    for name in sorted(
        name for name in names | {"nanou_train", "SCons", "conftest", "__main__"} if name.isidentifier()
    ):
        (folder / f"{name}.py").write_text(EVIL)
    (folder / "site_scons").mkdir()
    (folder / "site_scons" / "site_init.py").write_text(EVIL)
    (folder / "SConstruct").write_text(EVIL)
    (folder / "platformio.ini").write_text("[platformio]\nplatforms_dir = .\n[env]\nextra_scripts = pre:click.py\n")
    (folder / "esptool.cfg").write_text("[esptool]\ncustom_reset_sequence = W(__import__('json'))\n")
    (folder / "matplotlibrc").write_text("backend: module://json\n")
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\npythonpath = ['.']\n")


def write_inputs(folder: Path, experiment: str = EXPERIMENT) -> None:
    """What these command lines read, beside pictures: a model, a camera's frames, configurations new and old."""
    model = QuantizedModel("small", flatbuffer(), segmentation(Preprocessing(6, 8)), camera=CameraSize(16, 12))
    save_model(model, folder / "small.tflite")
    (folder / "camera.raw").write_bytes(bytes(range(256)) * 6)
    (folder / "e.yaml").write_text(experiment)
    (folder / "old.yaml").write_text("epochs: 3\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("hostile")
    write_traps(made)
    write_drives(made)
    write_inputs(made)
    return made


def check(folder: Path, arguments: list[str], code: int) -> None:
    mark = folder.with_name("marks.txt")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "NANOU_MARK": str(mark)}
    command = [sys.executable, "-P", "-m", "nanou_deploy.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, check=False)
    assert not mark.exists(), mark.read_text()
    assert done.returncode == code, done.stderr
    assert "absl::InitializeLog" not in done.stderr  # as TensorFlow says where codegen.start_tensorflow is passed by


@pytest.mark.parametrize("name", QUICK)
def test_a_command_runs_nothing_of_the_current_folder(folder: Path, name: str) -> None:
    check(folder, *QUICK[name])


@pytest.mark.slow
def test_nor_do_commands_that_train(folder: Path, require_module: object) -> None:
    (folder / "nanou.toml").unlink(missing_ok=True)  # init's, which proposes another beginning for so few pictures
    for arguments, code in TRAINING.values():
        check(folder, arguments, code)


def test_the_traps_work(folder: Path) -> None:
    """A Python that is started without the option does run them."""
    mark = folder.with_name("sprung.txt")
    environment = {**os.environ, "NANOU_MARK": str(mark)}
    subprocess.run([sys.executable, "-c", "import click"], cwd=folder, env=environment, check=True)
    assert mark.read_text().startswith("click ")


def test_every_command_is_tried() -> None:
    """`demo` is what the others do, one after another."""
    assert {name.split()[0] for name in (*QUICK, *TRAINING)} == set(cli.list_commands(None)) - {"demo"}  # type: ignore[arg-type]


def test_child_pythons_are_started_in_one_way() -> None:
    for package in ("codegen", "nanou_deploy", "nanou_train"):
        for path in (REPOSITORY / package).rglob("*.py"):
            if path.name != "child_python.py":
                assert "sys.executable" not in path.read_text(encoding="utf-8"), path
    for path in (REPOSITORY / "firmware").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for use in re.findall(r'\[(?:str\()?\w+\)?, "(-[^"]+)"', text):
            assert use == "-P", path
