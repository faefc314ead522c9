"""The threshold for another place: what few pictures can tell, and what they cannot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.tflite.files import load_model, save_model
from nanou_deploy.cli import options
from nanou_train.data.images import IGNORE
from nanou_train.data.pairs import FileCount
from nanou_train.data.sources import MaskFolders
from nanou_train.errors import DataError, TrainError
from nanou_train.evaluation import curves
from nanou_train.evaluation.evaluate import Predictor
from nanou_train.runs.calibrate import LabelledPictures, calibrate, read_pictures
from tests.command_line import run, run_json
from tests.unit.test_sidecar import COLOURS, MODEL, flatbuffer

COUNT, HEIGHT, WIDTH = 20, 6, 8


def pictures_of(logits: npt.NDArray[np.float64], masks: npt.NDArray[np.uint8]) -> tuple[Predictor, LabelledPictures]:
    """A predictor of just these logits."""
    predictor = Predictor("fixed", lambda _: logits, lambda p: float(np.log(p / (1 - p))))
    return predictor, LabelledPictures(np.zeros((*masks.shape, 3), np.uint8), masks, FileCount())


def noise(offset: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint8]]:
    """Logits of a calibrated network, shifted by `offset`."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (COUNT, HEIGHT, WIDTH))
    masks = (rng.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    return logits + offset, masks


def test_a_shift_of_all_probabilities_is_found_and_taken_back() -> None:
    logits, masks = noise(-1.5)
    masks[0, 0] = IGNORE
    found = calibrate(MODEL, *pictures_of(logits, masks))
    assert found.is_certain
    assert abs(np.log(found.model.threshold / (1 - found.model.threshold)) + 1.5) < 0.8
    assert found.score > found.score_before + 0.03
    assert found.score_before < found.score_held_out <= found.score
    assert 0 < found.gain_error < found.gain
    assert found.model.provenance["threshold"] == "best miou of the int8 model on 20 pictures, before 0.5"
    known = masks != IGNORE
    decided = logits >= np.log(found.model.threshold / (1 - found.model.threshold))
    ious = [(decided == c)[known & (masks == c)].sum() / ((decided == c) | (masks == c))[known].sum() for c in (0, 1)]
    assert found.score == pytest.approx(np.mean(ious))


def test_a_threshold_that_gains_on_no_other_pictures_is_not_taken() -> None:
    rng = np.random.default_rng(2)
    masks = rng.integers(0, 2, (COUNT, HEIGHT, WIDTH)).astype(np.uint8)
    chance = calibrate(MODEL, *pictures_of(rng.normal(0, 1, masks.shape), masks))
    assert chance.score > chance.score_before >= chance.score_held_out
    assert not chance.is_certain
    assert not calibrate(MODEL, *pictures_of(np.where(masks, 5.0, -5.0), masks)).is_certain


@pytest.mark.parametrize(("value", "said"), [(0, "of one kind"), (1, "of one kind"), (IGNORE, "nothing is labelled")])
def test_masks_of_one_kind_say_nothing_of_a_threshold(value: int, said: str) -> None:
    masks = np.full((COUNT, HEIGHT, WIDTH), value, np.uint8)
    with pytest.raises(DataError, match=said):
        calibrate(MODEL, *pictures_of(np.zeros(masks.shape), masks))


def test_commands_know_the_objectives() -> None:
    assert options.OBJECTIVES == curves.OBJECTIVES


def test_what_decides_by_no_threshold_gets_none() -> None:
    logits, masks = noise(0)
    with pytest.raises(TrainError, match="by the highest output"):
        calibrate(COLOURS, *pictures_of(logits, masks))
    with pytest.raises(TrainError, match="no objective"):
        calibrate(MODEL, *pictures_of(logits, masks), "accuracy")


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Pictures whose masks follow the model's own output, but from another threshold on."""
    rng = np.random.default_rng(3)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(8):
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
        mask = np.where(pixels[..., 2] > 180, 255, 0).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{number}.png")
    save_model(replace(MODEL, flatbuffer=flatbuffer(scale=0.05)), tmp_path / "own.tflite")
    return tmp_path


def test_pictures_are_read_as_the_model_sees_them(labelled: Path) -> None:
    wide = QuantizedModel("wide", flatbuffer(), segmentation(Preprocessing(6, 8, color_order="BGR")))
    rgb, bgr = (read_pictures(MaskFolders(labelled / "images", labelled / "masks"), m).images for m in (MODEL, wide))
    assert np.array_equal(rgb[..., ::-1], bgr)
    for number in range(4, 8):
        for kind in ("images", "masks"):
            (labelled / kind / f"{number}.png").unlink()
    with pytest.raises(DataError, match="4 labelled pictures are too few"):
        read_pictures(MaskFolders(labelled / "images", labelled / "masks"), MODEL)


def test_the_command_changes_the_sidecar_alone_or_writes_a_copy(labelled: Path) -> None:
    line = ("calibrate", "--model", "own.tflite", "--images", "images", "--masks", "masks")
    before = (labelled / "own.tflite").read_bytes()
    code, document = run_json(*line, "--output", "fit.tflite", cwd=labelled)
    assert code == 0
    assert document["threshold"] != 0.5
    assert load_model(labelled / "own.tflite").threshold == 0.5
    assert load_model(labelled / "fit.tflite").threshold == document["threshold"]
    assert run_json(*line, cwd=labelled) == (0, {**document, "written": "own.json"})
    assert load_model(labelled / "own.tflite").threshold == document["threshold"]
    assert (labelled / "own.tflite").read_bytes() == (labelled / "fit.tflite").read_bytes() == before
    settled = (labelled / "own.json").read_bytes()
    assert run_json(*line, cwd=labelled)[1]["written"] is None
    assert (labelled / "own.json").read_bytes() == settled


def test_the_model_that_comes_along_is_not_changed(labelled: Path) -> None:
    done = run("calibrate", "--images", "images", "--masks", "masks", cwd=labelled)
    assert done.returncode == 2
    assert "--output FILE.tflite" in done.stderr
