"""The golden chain on whole models, and that it notices and locates one wrong weight."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.compile import compile_model
from codegen.model import QuantizedModel, load_model
from codegen.render import render_aot
from codegen.target import ARMV7E_M, REGISTERS_32, XTENSA, Target
from codegen.write import write_project
from nanou_deploy.boards import find_board
from nanou_deploy.golden import make_cases
from nanou_deploy.pipeline import bench, bench_layers, open_model, verify
from tests.exactness import assert_exact, compile_bytes
from tests.model_builder import ModelBuilder

pytestmark = pytest.mark.usefixtures("compiler")
RequireTool = Callable[..., str]


def u_net() -> bytes:
    """Skips, QUANTIZE at one of them, PAD with a strided convolution, LOGISTIC at the end."""
    rng = np.random.default_rng(5)
    b = ModelBuilder()

    def conv(source: int, channels: int, kernel: int, depthwise: bool = False, **options: object) -> int:
        width = b.tensors[source]["shape"][3]
        shape = (1, kernel, kernel, channels) if depthwise else (channels, kernel, kernel, width)
        weights = rng.integers(-127, 128, shape).astype(np.int8)
        scales = list(rng.uniform(0.002, 0.01, channels))
        bias = rng.integers(-900, 900, channels).astype(np.int32)
        settings = {"scale": 0.04, "zero_point": -128, "activation": "relu6", **options}
        return b.convolution(source, weights, scales, bias, depthwise=depthwise, **settings)

    source = b.activation((1, 16, 24, 3), 1 / 127.5, 0)
    first = conv(source, 4, 3)
    skip = conv(conv(first, 4, 3, depthwise=True), 6, 1)
    down = conv(b.pad(skip, [(0, 0), (0, 1), (0, 1), (0, 0)]), 8, 3, stride=(2, 2), padding="valid")
    deep = conv(b.max_pool(down, (2, 2), (2, 2)), 8, 3, dilation=(2, 2), scale=0.06)
    up = b.resize_nearest(deep, (16, 24))
    joined = b.concatenate([b.quantize(skip, 0.06, -128), up])
    logits = conv(joined, 1, 1, activation="none", scale=0.1, zero_point=5)
    return b.finish([source], [b.logistic(logits)])


@pytest.mark.parametrize("board", ["host", "rv32-qemu"])
def test_u_net_is_exact(board: str, tmp_path: Path, require_tool: RequireTool) -> None:
    if board == "rv32-qemu":
        require_tool("qemu-system-riscv32")
    compiled = assert_exact(u_net(), tmp_path, board=board, sanitize=board == "host")
    # Streaming: the skip connection is a ring that is long enough for its detour, and still a part of the tensor.
    together = sum(p.rows * p.row_bytes for p in compiled.plan.placements if p.region == "work")
    assert compiled.plan.working_bytes < 0.45 * together
    skip = next(stage for stage in compiled.program.stages if stage.stem == "quantize").inputs[0]
    assert 1 < compiled.plan.placement(skip).depth_rows < compiled.plan.placement(skip).rows


@pytest.mark.parametrize(
    ("board", "count"),
    [("host", 30), ("rv32-qemu", 4), ("esp32c3-sim", 1), ("cortex-m4-qemu", 3), ("cortex-m7-qemu", 1)],
)
def test_default_model(
    board: str, count: int, require_tool: RequireTool, require_module: Callable[[str], None]
) -> None:
    if board == "rv32-qemu":
        require_tool("qemu-system-riscv32")
    if board == "esp32c3-sim":
        require_module("labwired")
        require_tool("riscv64-unknown-elf-gcc")
    if board.startswith("cortex"):
        require_tool("qemu-system-arm")
        require_tool("arm-none-eabi-gcc")
    report = verify(open_model(None), [(find_board(board), count)])
    assert report.passed, report
    assert {e.cases for e in report.executors if e.status != "absent"} == {count}


def test_public_model(shared_model: Callable[[str], Path], require_tool: RequireTool) -> None:
    require_tool("qemu-system-riscv32")
    require_tool("qemu-system-arm")
    model = load_model(shared_model("nano_u_botanic.tflite"))
    report = verify(
        model, [(find_board(name), n) for name, n in (("host", 20), ("rv32-qemu", 3), ("cortex-m4-qemu", 3))]
    )
    assert report.passed, report


def flip_weight(library: Path, layer: int) -> None:
    """Change one weight of one layer in the generated C, as a bit flip in flash would."""
    path = library / "src" / "nanou_weights.c"
    pattern = re.compile(rf"(nanou_layer_{layer:02d}_weights\[\d+\] = \{{\s*)(-?\d+)")
    text, changed = pattern.subn(lambda m: f"{m[1]}{int(m[2]) ^ 0x40}", path.read_text())
    assert changed == 1
    path.write_text(text)


@pytest.mark.parametrize("layer", [0, 16, 34])
def test_a_flipped_weight_is_located(layer: int, tmp_path: Path) -> None:
    model = open_model(None)
    library = tmp_path / "nanou_model"
    write_project(render_aot(compile_model(model)), library)
    flip_weight(library, layer)
    report = verify(model, [(find_board("host"), 4)], library=library)
    assert not report.passed
    broken = next(e for e in report.executors if e.name == "aot host")
    assert broken.first_divergence is not None
    assert broken.first_divergence.operator_index == layer
    assert all(e.status == "equal" for e in report.executors if not e.name.startswith("aot"))


STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror", "-O2")


@pytest.mark.parametrize("name", ["gcc", "clang"])
@pytest.mark.parametrize("which", ["default", "u_net"])
@pytest.mark.parametrize("target", [REGISTERS_32, ARMV7E_M, XTENSA], ids=lambda target: target.name)
def test_generated_c_is_clean(name: str, which: str, target: Target, tmp_path: Path, require_tool: RequireTool) -> None:
    compiler = require_tool(name)
    compiled = compile_bytes(u_net(), target=target) if which == "u_net" else compile_model(open_model(None), target)
    write_project(render_aot(compiled), tmp_path / "library")
    for source in sorted((tmp_path / "library" / "src").glob("*.c")):
        command = [compiler, *STRICT, f"-I{tmp_path / 'library' / 'include'}", "-c", str(source), "-o", "/dev/null"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), source.name


def test_cases_hold_extremes_noise_and_images() -> None:
    compiled = compile_model(open_model(None))
    image = np.full((60, 80, 3), 200, np.uint8)
    cases = make_cases(compiled.graph, compiled.model.preprocessing, 14, seed=3, images=[image, image])
    assert len(cases) == 14
    assert len(cases.frames) == 14
    labels = dict(zip(cases.labels, cases.frames, strict=True))
    assert (labels["all -128"] == -128).all()
    assert (labels["all 127"] == 127).all()
    assert np.count_nonzero(labels["first pixel 127"] == 127) == 3
    assert len(np.unique(labels["random 0"])) == 256
    assert np.unique(labels["image 0"]).tolist() == [
        round((200 / 255 - 0.5) / 0.5 / compiled.graph.input.scale) + compiled.graph.input.zero_point
    ]


def test_bench_is_reproducible(require_tool: RequireTool) -> None:
    require_tool("qemu-system-riscv32")
    first, second = (bench(open_model(None), find_board("rv32-qemu")) for _ in range(2))
    assert first == second
    assert first.exact
    assert first.instructions is not None
    assert first.macs == 2_399_200
    assert 0 < first.ram_bytes < 60_000
    assert first.io_bytes == 60 * 80 * 4


def test_layers_add_up(require_tool: RequireTool) -> None:
    require_tool("qemu-system-riscv32")
    board = find_board("rv32-qemu")
    layers = bench_layers(open_model(None), board)
    whole = bench(open_model(None), board).instructions
    assert whole is not None
    assert sum(cost.instructions for cost in layers) == pytest.approx(whole, rel=0.01)
    assert all(cost.instructions > cost.macs for cost in layers if cost.macs)
    assert [cost.operator for cost in layers][-2:] == [34, -1]


def test_sidecar_of_another_file_is_refused(tmp_path: Path) -> None:
    model = open_model(None)
    (tmp_path / "a.tflite").write_bytes(model.flatbuffer[:-1] + b"\1")
    sidecar = {"schema": 1, "name": "a", "sha256": model.sha256, "threshold": 0.5, "provenance": {}}
    contract = {"height_px": 60, "width_px": 80}
    (tmp_path / "a.json").write_text(json.dumps({**sidecar, "preprocessing": contract}))
    command = [sys.executable, "-m", "nanou_deploy.cli", "inspect", "--model", str(tmp_path / "a.tflite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "describes another file" in done.stderr
    assert "Traceback" not in done.stderr


def test_compiled_twice_is_the_same_text() -> None:
    model = open_model(None)
    again = QuantizedModel(model.name, bytes(model.flatbuffer), model.preprocessing, model.threshold, {})
    assert render_aot(compile_model(model)).files == render_aot(compile_model(again)).files
