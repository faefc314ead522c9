"""The golden chain on whole models, and that it notices and locates one wrong weight."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codegen.compile import compile_model
from codegen.graph.model import QuantizedModel
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.tflite.files import load_model
from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.library import open_model
from nanou_deploy.measure.bench import bench
from nanou_deploy.verify.golden import make_cases
from nanou_deploy.verify.verify import picture_frames, verify
from tests.command_line import run
from tests.exactness import assert_exact
from tests.generated import flip_weight, small_model, u_net

pytestmark = pytest.mark.usefixtures("compiler")
RequireTool = Callable[..., str]


@pytest.mark.parametrize("board", ["host", "rv32-qemu"])
def test_u_net_is_exact(board: str, tmp_path: Path, require_tool: RequireTool) -> None:
    if board == "rv32-qemu":
        require_tool("qemu-system-riscv32")
    compiled = assert_exact(u_net(), tmp_path, board=board)
    # Streaming: the skip connection is a ring that is long enough for its detour, and still a part of the tensor.
    together = sum(p.rows * p.row_bytes for p in compiled.plan.placements if p.region == "work")
    assert compiled.plan.working_bytes < 0.45 * together
    skip = next(stage for stage in compiled.program.stages if stage.stem == "quantize").inputs[0]
    assert 1 < compiled.plan.placement(skip).depth_rows < compiled.plan.placement(skip).rows


DEFAULT_MODEL = {"host": 30, "rv32-qemu": 4, "cortex-m0-qemu": 1, "cortex-m4-qemu": 3, "cortex-m7-qemu": 1}


def test_default_model(require_tool: RequireTool) -> None:
    for tool in ("riscv64-unknown-elf-gcc", "qemu-system-riscv32", "arm-none-eabi-gcc", "qemu-system-arm"):
        require_tool(tool)
    report = verify(open_model(None), [(find_board(board), count) for board, count in DEFAULT_MODEL.items()])
    assert report.passed, report
    ran = {executor.name: executor.cases for executor in report.executors if executor.status != "absent"}
    assert {f"aot {board}": count for board, count in DEFAULT_MODEL.items()}.items() <= ran.items()
    assert ran["aot host ASan+UBSan"] == ran["application host"] == ran["TFLM"] == ran["NumPy oracle"] == 30


@pytest.fixture
def simulator(require_tool: RequireTool, require_module: Callable[[str], None]) -> None:
    for module in ("labwired", "esptool"):
        require_module(module)
    require_tool("riscv64-unknown-elf-gcc")


@pytest.mark.usefixtures("simulator")
def test_small_model_on_simulated_chips() -> None:
    report = verify(small_model(), [(find_board(board), 2) for board in ("esp32c3-sim", "esp32c6-sim")])
    assert report.passed, report
    assert sum(executor.name.endswith("-sim") for executor in report.executors) == 4  # the harness, the application


@pytest.mark.soak
@pytest.mark.usefixtures("simulator")
def test_default_model_on_simulated_chips() -> None:
    report = verify(open_model(None), [(find_board(board), 1) for board in ("esp32c3-sim", "esp32c6-sim")])
    assert report.passed, report


def test_public_model(shared_model: Callable[[str], Path], require_tool: RequireTool) -> None:
    require_tool("qemu-system-riscv32")
    require_tool("qemu-system-arm")
    model = load_model(shared_model("nano_u_botanic.tflite"))
    report = verify(
        model, [(find_board(name), n) for name, n in (("host", 20), ("rv32-qemu", 3), ("cortex-m4-qemu", 3))]
    )
    assert report.passed, report


@pytest.mark.parametrize("layer", [0, 10])
def test_a_flipped_weight_is_located(layer: int, tmp_path: Path) -> None:
    model = small_model()
    library = tmp_path / "nanou_model"
    write_project(render_aot(compile_model(model)), library)
    flip_weight(library, layer)
    report = verify(model, [(find_board("host"), 4)], library=library)
    assert not report.passed
    broken = next(e for e in report.executors if e.name == "aot host")
    assert broken.first_divergence is not None
    assert broken.first_divergence.operator_index == layer
    assert all(e.status == "equal" for e in report.executors if not e.name.startswith(("aot", "application")))


def test_cases_hold_extremes_noise_and_images() -> None:
    compiled = compile_model(open_model(None))
    image = np.full((60, 80, 3), 200, np.uint8)
    frames = picture_frames(compiled.model, compiled.graph, [image, image])
    cases = make_cases(compiled.graph, 17, seed=3, real_frames=frames)
    assert len(cases) == 17
    assert len(cases.frames) == 17
    labels = dict(zip(cases.labels, cases.frames.reshape(-1, 60, 80, 3), strict=True))
    assert (labels["all -128"] == -128).all()
    assert (labels["all 127"] == 127).all()
    assert np.count_nonzero(labels["first pixel 127"] == 127) == 3
    assert (labels["checkerboard"] + labels["the other checkerboard"] == -1).all()
    for ramp in (labels["ramp across"][0], labels["ramp down"][:, 0]):
        assert (ramp[0].tolist(), ramp[-1].tolist()) == ([-128] * 3, [127] * 3)
        assert (np.diff(ramp.astype(int), axis=0) > 0).all()
    assert len(np.unique(labels["random 0"])) == 256
    assert np.unique(labels["real 0"]).tolist() == [
        round((200 / 255 - 0.5) / 0.5 / compiled.graph.input.scale) + compiled.graph.input.zero_point
    ]


def test_bench_is_reproducible(require_tool: RequireTool) -> None:
    require_tool("qemu-system-riscv32")
    first, second = (bench(open_model(None), find_board("rv32-qemu")) for _ in range(2))
    assert first == second
    assert first.exact
    assert first.instructions is not None
    assert first.macs == 2_597_800
    assert 0 < first.ram_bytes < 60_000
    assert first.io_bytes == 60 * 80 * 4


def test_sidecar_of_another_file_is_refused(tmp_path: Path) -> None:
    model = open_model(None)
    (tmp_path / "a.tflite").write_bytes(model.flatbuffer[:-1] + b"\1")
    sidecar = {"schema": 1, "name": "a", "sha256": model.sha256, "threshold": 0.5, "provenance": {}}
    contract = {"height_px": 60, "width_px": 80}
    (tmp_path / "a.json").write_text(json.dumps({**sidecar, "preprocessing": contract}))
    done = run("generate", "--model", "a.tflite", cwd=tmp_path)
    assert done.returncode == 1
    assert "describes another file" in done.stderr


def test_compiled_twice_is_the_same_text() -> None:
    model = open_model(None)
    again = QuantizedModel(model.name, bytes(model.flatbuffer), model.contract)
    assert render_aot(compile_model(model)).files == render_aot(compile_model(again)).files
