"""The command line as a script sees it: exit codes, JSON on stdout, errors without tracebacks."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from codegen.graph.model import Contract
from codegen.tflite.files import save_model
from nanou_deploy.build.built_folder import mark_built
from nanou_deploy.cli.output import emit_json, emit_table, next_step, say
from tests.command_line import run, run_json
from tests.generated import flip_weight, small_model

REPOSITORY = Path(__file__).resolve().parents[2]


def run_process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nanou_deploy.cli", *arguments]
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=env, check=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with small.tflite, for commands that do the same with any model."""
    save_model(small_model(), tmp_path / "small.tflite")
    return tmp_path


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    probe = (
        "import sys; sys.argv = ['nanou-deploy', '--help']\n"
        "from nanou_deploy.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert not {'numpy', 'tensorflow', 'keras', 'pydantic', 'rich'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", probe], cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def test_errors_come_before_the_work(tmp_path: Path) -> None:
    """TensorFlow, which takes seconds to start, is not even asked for what is wrong on the command line."""
    (tmp_path / "file").touch()
    lines = (
        "train --data nope", "train --config nope", "train --experiment nope", "train --from nope",
        "train --output file/x", "experiment --experiment nope", "experiment --experiment default --output file/x",
        "quantize --run nope", "evaluate --model nope", "evaluate --run nope", "evaluate --output file/x",
        "prune --run nope --output out", "search --run nope --output out", "bench-train --experiment nope",
        "bench-train --data nope", "bench --compare --markdown file/x", "pareto nope --output out",
        "fit nope --board host", "prepare --images nope --masks nope --output out", "demo --output file/x",
        "model-size nano_v",
    )  # fmt: skip
    probe = (
        "import sys\nfrom nanou_deploy.cli import main\n"
        f"for line in {lines!r}:\n"
        "    sys.argv = ['nanou-deploy', *line.split()]\n"
        "    try: main()\n"
        "    except SystemExit as end: assert end.code in (1, 2), line\n"
        "    assert 'tensorflow' not in sys.modules, line\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, "-c", probe], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("error: ") == len(lines)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspect", "--model", "absent.tflite"], "cannot read absent.tflite"),
        (["inspect", "--model", "garbage.tflite"], "is not a TFLite file"),
        (["verify", "--model", "cut.tflite"], "damaged or truncated"),
        (["evaluate", "--model", "empty"], "holds no model/model.tflite"),
        (["quantize", "--run", "empty"], "try:"),
        (["generate", "--max-ram", "4KB"], "more than 4,096"),
        (["build", "--model", "runs/mine", "--board", "host"], "there is no run runs/mine yet\ntry: `nanou-deploy up`"),
        (["train", "--data", "absent"], "`nanou-deploy prepare` makes one"),
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


def test_no_error_quotes_a_whole_file_or_ends_in_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff" * 100_000)
    done = run("fit", "binary", "--board", "host", cwd=tmp_path)
    assert (done.returncode, len(done.stderr) < 400) == (1, True)
    done = run("inspect", "--model", "x" * 100_000, cwd=tmp_path)
    assert (done.returncode, len(done.stderr) < 7000) == (1, True)
    done = run("inspect", "--model", "a\0b", cwd=tmp_path)  # no argument can be that, but what a file says
    assert (done.returncode, done.stderr.startswith("error: ")) == (1, True)


def test_the_process_says_the_same(tmp_path: Path) -> None:
    for arguments in (["inspect", "--model", "absent.tflite", "--json"], ["verify", "--cases", "0"], ["boards"]):
        process, here = run_process(*arguments, cwd=tmp_path), run(*arguments, cwd=tmp_path)
        assert (process.returncode, process.stdout) == (here.returncode, here.stdout)
        assert process.stderr.splitlines()[:1] == here.stderr.splitlines()[:1]  # hints name the program


def test_an_error_as_json(tmp_path: Path) -> None:
    code, document = run_json("inspect", "--model", "absent.tflite", cwd=tmp_path)
    assert (code, document["exit_code"]) == (1, 1)
    assert "absent.tflite" in document["error"]


def test_wrong_usage_is_2(tmp_path: Path) -> None:
    assert run("build", cwd=tmp_path).returncode == 2
    for arguments in (["build", "--board", "esp32s4"], ["buld"], ["build", "--bord", "x"]):
        done = run(*arguments, cwd=tmp_path)
        assert (done.returncode, "did you mean" in done.stderr.lower()) == (2, True), done.stderr
        code, document = run_json(*arguments, cwd=tmp_path)
        assert (code, document["schema"], document["exit_code"]) == (2, "nanou-deploy/error/1", 2)
    assert run("verify", "--cases", "0", cwd=tmp_path).returncode == 2
    assert run("verify", "--board", "host:many", cwd=tmp_path).returncode == 2
    assert run("verify", "--board", "host:3", "--board", "host:4", cwd=tmp_path).returncode == 2


def test_inspect(tmp_path: Path) -> None:
    code, document = run_json("inspect", cwd=tmp_path)
    assert code == 0
    assert document["macs"] == 2_597_800
    assert document["arena_bytes"] >= document["working_bytes"] + document["io_bytes"]
    assert len(document["operators"]) == 27  # resizes are folded into what follows
    assert "MAX_POOL_2D" in run("inspect", cwd=tmp_path).stdout


def test_inspect_proofs(tmp_path: Path) -> None:
    code, document = run_json("inspect", "--proofs", cwd=tmp_path)
    assert (code, document["failures"]) == (0, [])
    assert len(document["layers"]) == 27
    assert all(c["failure"] == "" for layer in document["layers"] for c in layer["channels"])
    assert document["memory"]["peak_bytes"] <= document["memory"]["working_bytes"]
    assert {"RISC-V, 32 bits", "x86-64"} < {bound["processor"] for bound in document["stack"]}
    shown = run("inspect", "--proofs", cwd=tmp_path)
    assert shown.returncode == 0
    for category in ("sums", "requantization", "index ranges", "memory", "stack"):
        assert f"\n{category} " in shown.stdout
    assert "NOT proven" not in shown.stdout


def test_generate_is_repeatable(small: Path) -> None:
    code, first = run_json("generate", "--model", "small.tflite", "--output", "lib", cwd=small)
    _, second = run_json("generate", "--model", "small.tflite", "--output", "lib", cwd=small)
    assert (code, first["changed"], second["changed"]) == (0, True, False)
    assert sorted(first["files"]) == sorted(
        p.relative_to(small / "lib").as_posix() for p in (small / "lib").rglob("*") if p.is_file()
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
    model = "components/nanou_model/src/nano_u_offroad.c"
    for path in ("platformio.ini", "src/main.c", model, "boards/partitions.csv"):
        assert (project / path).is_file()


def test_build_of_a_model_that_decides_nothing_says_so(
    tmp_path: Path, small: Path, require_tool: Callable[..., str]
) -> None:
    require_tool("riscv64-unknown-elf-gcc")
    save_model(replace(small_model(), contract=Contract()), small / "raw.tflite")
    given = ("build", "--model", "raw.tflite", "--board", "esp32c3", "--cases", "1")
    made = run(*given, "--json", cwd=small, PLATFORMIO_CORE_DIR=str(tmp_path / "no_platforms_here"))
    document = json.loads(made.stdout)
    assert (made.returncode, document["decides"], document["golden"]["passed"]) == (4, False, True)
    assert "serves u_net to a host and does not decide" in made.stderr
    assert (small / "build" / "esp32c3" / "src" / "main.c").is_file()


def test_build_for_an_emulated_board(small: Path, require_tool: Callable[..., str]) -> None:
    require_tool("qemu-system-riscv32")
    code, document = run_json("build", "--model", "small.tflite", "--board", "rv32-qemu", "--cases", "2", cwd=small)
    assert code == 0
    assert Path(small, document["build"]["elf"]).is_file()


def test_verify_of_an_edited_library_is_3(small: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    run("generate", "--model", "small.tflite", "--output", "lib", cwd=small)
    flip_weight(small / "lib", 4)
    code, document = run_json("verify", "--model", "small.tflite", "--library", "lib", "--cases", "2", cwd=small)
    assert (code, document["passed"]) == (3, False)
    broken = next(e for e in document["executors"] if e["name"] == "aot host")
    assert broken["first_divergence"]["operator_index"] == 4


def test_verify_on_several_boards(small: Path, require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    require_tool("qemu-system-riscv32")
    code, document = run_json(
        "verify", "--model", "small.tflite", "--board", "host:3", "--board", "rv32-qemu", "--cases", "2", cwd=small
    )
    assert (code, document["boards"], document["cases"]) == (0, ["host", "rv32-qemu"], 3)
    counts = {executor["name"]: executor["equal_cases"] for executor in document["executors"]}
    assert (counts["TFLM"], counts["aot host"], counts["aot rv32-qemu"]) == (3, 3, 2)


def test_clean_keeps_edited_work(small: Path) -> None:
    for name in ("a", "b"):
        run("generate", "--model", "small.tflite", "--output", f"build/{name}", cwd=small)
    (small / "build" / "b" / "src" / "mine.c").write_text("int mine;\n")
    (small / "build" / "notes.txt").write_text("mine too")
    said = run("clean", cwd=small).stdout
    assert "removed build/a" in said
    assert "kept build/b" in said
    assert not (small / "build" / "a").exists()
    assert (small / "build" / "b" / "src" / "mine.c").exists()
    run("clean", "--force", cwd=small)
    assert [p.name for p in (small / "build").iterdir()] == ["notes.txt"]


def test_clean_shows_and_removes_what_was_built_beside(small: Path) -> None:
    run("generate", "--model", "small.tflite", "--output", "build/host/nanou_model", cwd=small)
    mark_built(small / "build" / "host" / "harness")
    for name in ("mine", "theirs"):
        (small / "build" / name).mkdir()
    (small / "build" / "theirs" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    mark_built(small / "build" / "mine")  # was there before
    before = sorted(small.rglob("*"))
    code, document = run_json("clean", "--dry-run", cwd=small)
    assert (code, document["removed"]) == (0, ["build/host/harness", "build/host/nanou_model"])
    assert run("clean", "--dry-run", cwd=small).stdout.count("would remove build/host/") == 2
    assert sorted(small.rglob("*")) == before
    run("clean", cwd=small)
    assert sorted(path.name for path in (small / "build").iterdir()) == ["mine", "theirs"]


def test_what_is_printed_is_plain_and_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    next_step("nanou-deploy", "quantize", "--run", Path("runs/My Robot's"))
    assert shlex.split(capsys.readouterr().out)[1:] == ["nanou-deploy", "quantize", "--run", "runs/My Robot's"]
    say("\x1b[2Jcleared\rfake\u202e")
    assert capsys.readouterr().out == "\\x1b[2Jcleared\\rfake\\u202e\n"
    emit_table(("Name", "[/a]"), [("[bold]x[/a]\x1b", 1), ("\u6f22", 22)], right=[1])
    table = capsys.readouterr().out
    assert "[bold]x[/a]\\x1b     1\n" in table
    assert table.splitlines()[-2].endswith("22")
    emit_json("test/1", {"nan": float("nan"), "deep": [{"inf": -math.inf, "path": Path("a")}]})
    assert json.loads(capsys.readouterr().out) == {
        "schema": "nanou-deploy/test/1", "nan": None, "deep": [{"inf": None, "path": "a"}]
    }  # fmt: skip


def test_everything_is_printed_through_one_door() -> None:
    """Which escapes what a terminal would act on."""
    for path in (REPOSITORY / "nanou_deploy" / "cli").glob("*.py"):
        found = re.findall(r"click\.s?echo|(?<![\w.])print\(", path.read_text(encoding="utf-8"))
        assert path.name == "output.py" or not found, path


def test_boards_and_doctor(tmp_path: Path) -> None:
    _, boards = run_json("boards", cwd=tmp_path)
    assert {"host", "rv32-qemu", "esp32c3-sim", "esp32s3", "esp32dev", "esp32c3"} <= {
        b["name"] for b in boards["boards"]
    }
    code, doctor = run_json("doctor", cwd=tmp_path)
    assert code in (0, 5)
    assert doctor["ok"] == (code == 0)
