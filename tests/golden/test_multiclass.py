"""More than two classes from pictures to compiled C: prepare, train, quantize, evaluate, compile, decide."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from codegen.compile import compile_model
from codegen.errors import ModelError
from codegen.graph.contract import (
    class_names,
    decide_classes,
    decision_threshold,
    drivable_classes,
    input_lookup,
)
from codegen.graph.model import Preprocessing, QuantizedModel
from codegen.library.escaping import c_string
from codegen.library.render import render_aot
from codegen.library.write import write_project
from codegen.tflite.files import load_model, save_model
from codegen.tflite.load import load_graph
from nanou_deploy.build.library import open_model
from nanou_train.data.dataset import DatasetSpec, load_dataset
from tests.camera_masks import pack_mask

CLASSES = ("sky", "grass", 'road "A" ??/ 日本')
COLORS = ((80, 140, 230), (60, 150, 50), (130, 120, 110))
SIZE = (24, 36)

PROGRAM = """
#include <stdio.h>
#include "app_model.h"

static uint8_t arena[APP_ARENA_BYTES] __attribute__((aligned(APP_ARENA_ALIGNMENT_BYTES)));
static uint8_t classes[APP_OUTPUT_WIDTH_PX], bits[APP_MASK_ROW_BYTES];
static const char *const names[APP_CLASSES] = APP_CLASS_NAMES;

int main(void) {
    nanou_t net;
    if (nanou_init(&net, APP_MODEL, arena, sizeof arena) != NANOU_OK) {
        return 1;
    }
    for (int i = 0; i < APP_CLASSES; ++i) {
        fprintf(stderr, "%s\\n", names[i]);
    }
    while (fread(nanou_input(&net, 0), 1, APP_INPUT_BYTES, stdin) == APP_INPUT_BYTES) {
        if (nanou_invoke(&net) != NANOU_OK) {
            return 2;
        }
        for (uint32_t y = 0; y < APP_OUTPUT_HEIGHT_PX; ++y) {
            const int8_t *const output = nanou_output(&net, 0);
            const int8_t *const row = output + y * (APP_OUTPUT_WIDTH_PX * APP_OUTPUT_CHANNELS);
            app_class_row(row, classes);
            app_mask_row(row, bits);
            fwrite(classes, 1, sizeof classes, stdout);
            fwrite(bits, 1, sizeof bits, stdout);
        }
    }
    return 0;
}
"""

CONFIG = """
experiments:
  tiny:
    model: {architecture: nano_u, filters: [6], bottleneck: 8, skips: true}
    teacher: {architecture: bu_net, filters: [4], bottleneck: 6}
    input_size: [24, 36]
    epochs: 15
    teacher_epochs: 6
    batch_size: 2
    learning_rate: 0.02
    teacher_learning_rate: 0.02
    teacher_cache: true
    quantization_aware: true
    weight_average: 0.5
    augment: full
"""


def write_scenes(folder: Path, count: int) -> None:
    """Bands of sky and grass, and a road of changing width in the grass; masks in the colours of the classes."""
    height, width = SIZE
    for index in range(count):
        rng = np.random.default_rng(index)
        classes = np.zeros(SIZE, np.uint8)
        horizon, left = rng.integers(6, 14), rng.integers(2, 18)
        classes[horizon:] = 1
        classes[horizon:, left : left + rng.integers(8, 16)] = 2
        mask = np.array(COLORS, np.uint8)[classes]
        noisy = np.clip(mask + rng.integers(-25, 26, (height, width, 3)), 0, 255).astype(np.uint8)
        for kind, pixels in (("images", noisy), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / kind / f"{index:03d}.png")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Data set folder, run folder, and what training returned."""
    if not os.environ.get("NANOU_REQUIRE_TOOLS"):
        pytest.importorskip("tensorflow")
    from ruamel.yaml import YAML

    from nanou_train.data.prepare import PrepareSpec, prepare
    from nanou_train.data.sources import MaskFolders
    from nanou_train.training.train import train_model

    root = tmp_path_factory.mktemp("multiclass")
    write_scenes(root / "raw", 40)
    labels = {
        "classes": {name: [list(color)] for name, color in zip(CLASSES, COLORS, strict=True)},
        "drivable": list(CLASSES[1:]),
    }
    YAML().dump(labels, root / "labels.yaml")
    (root / "experiments.yaml").write_text(CONFIG)
    source = MaskFolders(root / "raw/images", root / "raw/masks", label_map=root / "labels.yaml")
    prepare(PrepareSpec(source, root / "data", contract=Preprocessing(*SIZE)))
    result = train_model(
        root / "experiments.yaml", "tiny", data_root=root / "data", output_dir=root, run_name="run", seed=1
    )
    assert result["error"] == ""
    return root / "data", root / "run", dict(result)


@pytest.fixture(scope="module")
def quantized(trained: tuple[Path, Path, dict[str, Any]]) -> QuantizedModel:
    from nanou_train.runs.int8_model import save_int8
    from nanou_train.runs.quantize_run import quantize_run

    model = quantize_run(trained[1], name="tiny")
    save_int8(trained[1], model)
    return model


def test_training_measures_every_class(trained: tuple[Path, Path, dict[str, Any]]) -> None:
    metrics = trained[2]["final_metrics"]
    assert set(metrics) == {"constant_mask", "student", "teacher"}
    for scores in metrics.values():
        assert {f"iou_{name}" for name in CLASSES} < set(scores)
    assert metrics["student"]["miou"] > metrics["constant_mask"]["miou"]


def test_the_contract_names_classes_and_what_is_drivable(quantized: QuantizedModel, tmp_path: Path) -> None:
    graph = load_graph(quantized.flatbuffer)
    assert graph.output.shape == (1, *SIZE, 3)
    assert (quantized.classes, quantized.drivable) == (CLASSES, CLASSES[1:])
    assert drivable_classes(quantized, graph) == (1, 2)
    save_model(quantized, tmp_path / "again.tflite")
    assert load_model(tmp_path / "again.tflite") == quantized
    bare = quantized.deciding(classes=(), drivable=())
    assert (class_names(bare, graph), drivable_classes(bare, graph)) == (("class0", "class1", "class2"), ())
    with pytest.raises(ModelError, match="names 2 classes"):
        class_names(quantized.deciding(classes=("a", "b"), drivable=()), graph)
    with pytest.raises(ModelError, match="none of the classes"):
        quantized.deciding(drivable=("lava",))


def test_int8_keeps_what_the_student_learned(quantized: QuantizedModel) -> None:
    metrics, agreement = quantized.provenance["metrics"], quantized.provenance["agreement"]
    assert abs(metrics["int8"]["miou"] - metrics["fake_quant"]["miou"]) < 0.02
    assert agreement["matched"]["within_1"] == 1.0


def test_a_threshold_means_nothing(trained: tuple[Path, Path, dict[str, Any]], quantized: QuantizedModel) -> None:
    from nanou_train.errors import TrainError
    from nanou_train.runs.threshold import with_threshold

    data = load_dataset(DatasetSpec.of(trained[0], quantized.preprocessing))
    with pytest.raises(TrainError, match="not by a threshold"):
        with_threshold(quantized, data, threshold=0.4)


def test_compiled_c_decides_every_pixel_alike(
    quantized: QuantizedModel,
    trained: tuple[Path, Path, dict[str, Any]],
    tmp_path: Path,
    require_tool: Callable[..., str],
) -> None:
    from codegen.tflite.interpreters import run_builtin_ref

    images = load_dataset(DatasetSpec.of(trained[0], quantized.preprocessing)).test.images
    rng = np.random.default_rng(0)
    frames = np.concatenate(
        [
            input_lookup(quantized, load_graph(quantized.flatbuffer))[images],
            rng.integers(-128, 128, (40, *SIZE, 3)).astype(np.int8),
        ]
    )
    outputs = run_builtin_ref(quantized.flatbuffer, frames)
    expected, written, names = decided_by_c(quantized, frames, outputs, tmp_path, require_tool("gcc", "clang"))
    assert written == expected
    assert names == list(CLASSES)


def test_one_output_channel_decides_by_threshold(tmp_path: Path, require_tool: Callable[..., str]) -> None:
    model = open_model(None)
    graph = load_graph(model.flatbuffer)
    frames = np.random.default_rng(0).integers(-128, 128, (4, *graph.input.shape[1:])).astype(np.int8)
    from codegen.tflite.oracle import run_oracle

    expected, written, names = decided_by_c(
        model, frames, run_oracle(graph, frames), tmp_path, require_tool("gcc", "clang")
    )
    assert written == expected
    assert names == ["background", "drivable"]


def decided_by_c(
    model: QuantizedModel, frames: Any, outputs: Any, folder: Path, compiler: str
) -> tuple[bytes, bytes, list[str]]:
    """Class and mask rows that Python's contract makes of `outputs`, those of the generated C, and the names in it."""
    graph = load_graph(model.flatbuffer)
    classes = decide_classes(outputs.reshape(-1, *graph.output.shape[1:]), decision_threshold(model, graph))
    packed = pack_mask(classes, drivable_classes(model, graph))
    library = folder / "library"
    write_project(render_aot(compile_model(model)), library)
    (folder / "main.c").write_text(PROGRAM)
    command = [compiler, "-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror"]
    sources = [folder / "main.c", *sorted((library / "src").glob("*.c"))]
    includes = [f"-I{folder}" for folder in (library / "include", library / "app")]
    subprocess.run([*command, *includes, "-o", folder / "main", *sources], check=True)
    done = subprocess.run([str(folder / "main")], input=frames.tobytes(), capture_output=True, check=True)
    return np.concatenate([classes, packed], axis=-1).tobytes(), done.stdout, done.stderr.decode().splitlines()


def test_every_executor_and_the_report(trained: tuple[Path, Path, dict[str, Any]], quantized: QuantizedModel) -> None:
    from nanou_deploy.evaluate.evaluate_executors import evaluate_executors, write_evaluation

    data = load_dataset(DatasetSpec.of(trained[0], quantized.preprocessing))
    result = evaluate_executors(
        ("keras", "int8", "tflm", "aot"), quantized, trained[1], data, threshold=0.5, progress=lambda _: None
    )
    int8 = [one for one in result.executors if one.executor != "keras"]
    assert len({one.confusion for one in int8}) == 1
    assert all(pair.differing_outputs == 0 for pair in result.comparisons if "keras" not in (pair.first, pair.second))
    written = write_evaluation(
        trained[1].parent / "evaluation", result, data.test, quantized.preprocessing, quantized, ("x",)
    )
    assert {path.name for path in written} >= {"report.html", "worst.png", "evaluation.json"}


def test_names_are_c_strings() -> None:
    assert c_string('a"b\\?*/é') == '"a\\042b\\134\\077\\052\\057\\303\\251"'


def test_equal_outputs_go_to_the_lower_class() -> None:
    outputs = np.array([[5, 5, 1], [1, 7, 7], [-128, -128, -128]], np.int8)
    assert decide_classes(outputs, 0).tolist() == [0, 1, 0]
    assert decide_classes(np.array([[3], [4], [127]], np.int8), 4).tolist() == [0, 1, 1]
    assert decide_classes(np.array([[127]], np.int8), 128).tolist() == [0]
