"""docs/DATA.md and docs/EVALUATION.md, executed: the commands in their code blocks, in order, on small drives."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codegen.graph.contract import decision_threshold, input_lookup
from codegen.tflite.files import load_model, save_model
from codegen.tflite.load import load_graph
from tests.conftest import REPOSITORY
from tests.train.picture_files import GRASS, ROAD, write_drives

TINY = """
experiments:
  tiny:
    model: {architecture: nano_u, filters: [4], bottleneck: 4}
    use_distillation: false
    augment: false
    epochs: 2
    batch_size: 4
"""
Run = Callable[[str], tuple[int, str, str]]


def commands(document: str) -> Iterator[str]:
    text = (REPOSITORY / "docs" / document).read_text(encoding="utf-8")
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            assert line.startswith("nanou-deploy "), line
            yield line.removeprefix("nanou-deploy ")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """photos/{images,masks,colors}, labels.yaml as in DATA.md, splits.csv, and an experiment that is soon over."""
    folder = tmp_path_factory.mktemp("walkthrough")
    write_drives(folder / "photos", drives=6)
    rows = ["image,split"]
    for path in sorted((folder / "photos" / "masks").rglob("*.png")):
        mask = np.asarray(Image.open(path))[..., None] > 0
        colored = folder / "photos" / "colors" / path.parent.name / path.name
        colored.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(mask, ROAD, GRASS).astype(np.uint8)).save(colored)
        rows.append(f"{path.parent.name}/{path.stem},{('train', 'val', 'test')[int(path.parent.name[5:]) % 3]}")
    (folder / "splits.csv").write_text("\n".join(rows))
    (folder / "tiny.yaml").write_text(TINY)
    text = (REPOSITORY / "docs/DATA.md").read_text().partition("### Label maps")[2]
    (labels,) = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (folder / "labels.yaml").write_text(labels)
    return folder


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line in the workplace: exit code, stdout, stderr. Training uses the short experiment."""
    from nanou_deploy.cli import main

    def run_line(line: str) -> tuple[int, str, str]:
        arguments = shlex.split(line)
        if arguments[0] == "train":
            arguments += ["--config", "tiny.yaml", "--experiment", "tiny"]
        monkeypatch.chdir(workplace)
        monkeypatch.setattr(sys, "argv", ["nanou-deploy", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run_line


@pytest.mark.slow
def test_data_and_evaluation(
    run: Run, workplace: Path, require_module: Callable[[str], None], require_tool: Callable[..., str]
) -> None:
    require_module("tensorflow")
    require_tool("gcc", "clang", "cc")
    for line in commands("DATA.md"):
        if line.startswith("label-assist") or "--labels" in line:
            continue  # there are masks here and no annotations: tests/train/test_annotations.py, test_label_assist.py
        code, _, trouble = run(line)
        assert code == 0, f"{line}: {trouble}"
    colors = json.loads((workplace / "data/colors/dataset.json").read_text())
    assert colors["classes"] == ["not_drivable", "drivable"]
    for split in ("train", "val", "test"):  # the same masks, by colour and by 0 and 255
        for path in (workplace / "data/trail" / split / "mask").iterdir():
            pair = path, workplace / "data/colors" / split / "mask" / path.name
            drivable, colored = (np.asarray(Image.open(one)) > 0 for one in pair)
            assert (drivable == colored).all()

    (workplace / "new").symlink_to(workplace / "photos")
    for line in commands("EVALUATION.md"):
        code, said, trouble = run(line)
        assert code == 0, f"{line}: {trouble}"
        if "--json" in line:
            assert list(json.loads(said)["executors"]) == ["aot"]
        if line.startswith("generate"):
            library = workplace / line.split("--output ")[1]
            model = load_model(workplace / "runs/trail/model/model.tflite")
            assert header_constant(library) == decision_threshold(model, load_graph(model.flatbuffer))
            assert "best f05" in model.provenance["threshold"]
    _check_evaluation(workplace / "build/evaluation")


def _check_evaluation(folder: Path) -> None:
    names = {"evaluation.json", "precision_recall.svg", "thresholds.svg", "reliability.svg", "worst.png", "report.html"}
    assert {path.name for path in folder.iterdir()} == names
    found = json.loads((folder / "evaluation.json").read_text())
    assert list(found["executors"]) == ["keras", "int8", "tflm", "aot"]
    assert len(found["comparisons"]) == 6
    for pair in found["comparisons"]:
        if "keras" not in (pair["first"], pair["second"]):
            assert (pair["differing_outputs"], pair["differing_pixels"]) == (0, 0)
    aot = found["executors"]["aot"]
    assert sum(map(sum, aot["confusion"])) == found["images"] * 60 * 80
    assert {one["group"] for one in aot["sequences"]} <= {f"drive{number}" for number in range(6)}
    page = (folder / "report.html").read_text()
    for section in ("evaluation", "classes", "confusion", "sequences", "comparison", "worst"):
        assert f'<section id="{section}">' in page
    assert "int8, tflm, aot" in page  # equal bytes are shown once


def test_the_threshold_is_the_firmwares_constant(run: Run, workplace: Path, require_tool: Callable[..., str]) -> None:
    """Another threshold in the sidecar: another constant in the C, and the compiled C decides by it."""
    require_tool("gcc", "clang", "cc")
    from nanou_deploy.build.library import open_model
    from nanou_deploy.evaluate.executors import run_compiled
    from nanou_train.data.terrain import generate

    shipped, constants, drivable = open_model(None), [], []
    graph = load_graph(shipped.flatbuffer)
    images, _ = generate(2, seed=5, height_px=60, width_px=80)
    outputs = run_compiled(shipped, input_lookup(shipped, graph)[images])
    for threshold in (0.2, 0.8):
        save_model(shipped.deciding(threshold=threshold), workplace / f"at{threshold}.tflite")
        assert run(f"generate --model at{threshold}.tflite --output build/at{threshold}")[0] == 0
        constants.append(header_constant(workplace / f"build/at{threshold}"))
        scale, zero_point = graph.output.scale, graph.output.zero_point
        assert constants[-1] == math.ceil(math.log(threshold / (1 - threshold)) / scale - 1e-9) + zero_point
        drivable.append(int((outputs >= constants[-1]).sum()))
    assert constants[0] < constants[1]
    assert drivable[0] > drivable[1]


def header_constant(library: Path) -> int:
    headers = "".join(path.read_text() for path in (library / "include").glob("*.h"))
    (constant,) = re.findall(r"#define \w+_THRESHOLD_Q \(?(-?\d+)", headers)
    return int(constant)


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("prepare --images photos/images --masks photos/colors --output out", 1, "24 of 24 pairs cannot be used"),
        ("prepare --images photos/images --masks nowhere --output out", 1, "no folder nowhere"),
        ("prepare --images photos/images --masks photos/masks --output out --size 60", 2, "is no size"),
        ("prepare --images photos/images --masks photos/masks --output photos/images", 1, "holds the source"),
        ("prepare --images photos/images --masks photos/masks --output out --filter sinc", 1, "resize filter 'sinc'"),
        ("prepare --images photos/images --masks photos/masks --output out --ratios 1 0 1", 1, "leave a split empty"),
        ("prepare --images photos/images --masks photos/masks --output out --label-map no.yaml", 1, "cannot read no.y"),
        ("data-check --data nowhere", 1, "there is no folder nowhere"),
        ("evaluate --executor keras", 1, "needs a training run"),
        ("evaluate --run nowhere", 1, "nowhere"),
        ("evaluate --threshold 1", 2, "threshold"),
        ("quantize --run nowhere --threshold 0.5 --choose-threshold f1", 2, "exclude each other"),
    ],
)
def test_mistakes_have_stable_exit_codes(run: Run, workplace: Path, line: str, code: int, says: str) -> None:
    before = sorted(path.relative_to(workplace) for path in workplace.rglob("*"))
    found, said, trouble = run(line)
    assert (found, said) == (code, "")
    assert says in trouble
    assert "try: " in trouble
    assert sorted(path.relative_to(workplace) for path in workplace.rglob("*")) == before


def test_a_leak_is_3(run: Run, workplace: Path) -> None:
    assert run("prepare --images photos/images --masks photos/masks --output data/by_image")[0] == 0
    code, said, _ = run("data-check --data data/by_image --group-by ^drive[0-9]+ --json")
    found = json.loads(said)
    assert (code, found["leaks"]) == (3, True)
    assert found["groups_across"]
    assert found["schema"] == "nanou-deploy/data-check/1"
