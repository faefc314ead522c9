"""The command line as a script sees it: exit codes, JSON on stdout, errors without tracebacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    command = [sys.executable, "-m", "nanou_deploy.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, check=False)


def run_json(*arguments: str, cwd: Path, **environment: str) -> tuple[int, dict[str, Any]]:
    done = run(*arguments, "--json", cwd=cwd, **environment)
    document = json.loads(done.stdout)
    assert document["schema"].startswith("nanou-deploy/"), done.stderr
    return done.returncode, document


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    probe = (
        "import sys; sys.argv = ['nanou-deploy', '--help']\n"
        "from nanou_deploy.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'numpy', 'tensorflow', 'keras', 'pydantic', 'rich'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", probe], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "--model", "absent.tflite"], "cannot read absent.tflite"),
        (["inspect", "--model", "garbage.tflite"], "is not a TFLite file"),
        (["verify", "--model", "cut.tflite"], "damaged or truncated"),
        (["build", "--board", "esp32s4"], "did you mean"),
        (["evaluate", "--model", "empty"], "holds no model.tflite"),
        (["quantize", "--run", "empty"], "try:"),
        (["generate", "--max-ram", "4KB"], "more than 4,096"),
        (["train", "--data", "absent"], "absent"),
    ],
)
def test_wrong_input_is_an_error_in_words(arguments: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "garbage.tflite").write_bytes(b"garbage, and long enough")
    model = (REPOSITORY / "models" / "nano_u_terrain.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(model[: len(model) // 2])
    (tmp_path / "empty").mkdir()
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.tflite", "empty", "garbage.tflite"]


def test_an_error_as_json(tmp_path: Path) -> None:
    code, document = run_json("inspect", "--model", "absent.tflite", cwd=tmp_path)
    assert (code, document["exit_code"]) == (1, 1)
    assert "absent.tflite" in document["error"]


def test_wrong_usage_is_2(tmp_path: Path) -> None:
    assert run("build", cwd=tmp_path).returncode == 2
    assert run("verify", "--cases", "0", cwd=tmp_path).returncode == 2
    assert run("verify", "--board", "host:many", cwd=tmp_path).returncode == 2
    assert run("verify", "--board", "host:3", "--board", "host:4", cwd=tmp_path).returncode == 2


def test_inspect(tmp_path: Path) -> None:
    code, document = run_json("inspect", cwd=tmp_path)
    assert code == 0
    assert document["macs"] == 2_399_200
    assert document["arena_bytes"] >= document["working_bytes"] + document["io_bytes"]
    assert len(document["operators"]) == 32  # of 35: the resizes are folded into what follows
    assert "MAX_POOL_2D" in run("inspect", cwd=tmp_path).stdout


def test_inspect_proofs(tmp_path: Path) -> None:
    code, document = run_json("inspect", "--proofs", cwd=tmp_path)
    assert (code, document["failures"]) == (0, [])
    assert len(document["layers"]) == 32
    assert all(c["failure"] == "" for layer in document["layers"] for c in layer["channels"])
    assert document["memory"]["peak_bytes"] <= document["memory"]["working_bytes"]
    assert {"RISC-V, 32 bits", "x86-64"} < {bound["processor"] for bound in document["stack"]}
    shown = run("inspect", "--proofs", cwd=tmp_path)
    assert shown.returncode == 0
    for category in ("sums", "requantization", "index ranges", "memory", "stack"):
        assert f"\n{category} " in shown.stdout
    assert "NOT proven" not in shown.stdout


def test_generate_is_repeatable(tmp_path: Path) -> None:
    code, first = run_json("generate", "--output", "lib", cwd=tmp_path)
    _, second = run_json("generate", "--output", "lib", cwd=tmp_path)
    assert (code, first["changed"], second["changed"]) == (0, True, False)
    assert sorted(first["files"]) == sorted(
        p.relative_to(tmp_path / "lib").as_posix() for p in (tmp_path / "lib").rglob("*") if p.is_file()
    )


def test_build_without_the_platform_is_4(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("qemu-system-riscv32")
    core = str(tmp_path / "no_platforms_here")
    code, document = run_json("build", "--board", "esp32s3", "--cases", "2", cwd=tmp_path, PLATFORMIO_CORE_DIR=core)
    assert (code, document["exit_code"]) == (4, 4)
    assert document["golden"]["passed"]
    assert document["lint"] == {"errors": [], "warnings": []}
    assert "not installed" in document["reason"]
    project = tmp_path / "build" / "esp32s3"
    for path in ("platformio.ini", "src/main.c", "components/nanou_model/src/nanou_model.c", "boards/partitions.csv"):
        assert (project / path).is_file()


def test_build_for_an_emulated_board(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("qemu-system-riscv32")
    code, document = run_json("build", "--board", "rv32-qemu", "--cases", "2", cwd=tmp_path)
    assert code == 0
    assert Path(tmp_path, document["build"]["elf"]).is_file()


def test_verify_of_an_edited_library_is_3(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    run("generate", "--output", "lib", cwd=tmp_path)
    weights = tmp_path / "lib" / "src" / "nanou_weights.c"
    weights.write_text(
        weights.read_text().replace("nanou_layer_05_weights[36] = {\n    ", "nanou_layer_05_weights[36] = {\n    9")
    )
    code, document = run_json("verify", "--library", "lib", "--cases", "2", cwd=tmp_path)
    assert (code, document["passed"]) == (3, False)
    broken = next(e for e in document["executors"] if e["name"] == "aot host")
    assert broken["first_divergence"]["operator_index"] == 5


def test_verify_on_several_boards(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    require_tool("qemu-system-riscv32")
    code, document = run_json("verify", "--board", "host:3", "--board", "rv32-qemu", "--cases", "2", cwd=tmp_path)
    assert (code, document["boards"], document["cases"]) == (0, ["host", "rv32-qemu"], 3)
    counts = {executor["name"]: executor["equal_cases"] for executor in document["executors"]}
    assert (counts["TFLM"], counts["aot host"], counts["aot rv32-qemu"]) == (3, 3, 2)


def test_clean_keeps_edited_work(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run("generate", "--output", f"build/{name}", cwd=tmp_path)
    (tmp_path / "build" / "b" / "src" / "mine.c").write_text("int mine;\n")
    (tmp_path / "build" / "notes.txt").write_text("mine too")
    said = run("clean", cwd=tmp_path).stdout
    assert "removed build/a" in said
    assert "kept build/b" in said
    assert not (tmp_path / "build" / "a").exists()
    assert (tmp_path / "build" / "b" / "src" / "mine.c").exists()
    run("clean", "--force", cwd=tmp_path)
    assert [p.name for p in (tmp_path / "build").iterdir()] == ["notes.txt"]


def test_boards_and_doctor(tmp_path: Path) -> None:
    _, boards = run_json("boards", cwd=tmp_path)
    assert {"host", "rv32-qemu", "esp32c3-sim", "esp32s3", "esp32dev", "esp32c3"} <= {
        b["name"] for b in boards["boards"]
    }
    code, doctor = run_json("doctor", cwd=tmp_path)
    assert code in (0, 5)
    assert doctor["ok"] == (code == 0)
