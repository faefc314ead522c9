"""`predict`: pictures of any kind become masks and decisions, those that a device makes of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from codegen.graph.model import Preprocessing, QuantizedModel, segmentation
from codegen.tflite.builder import ModelBuilder
from codegen.tflite.files import save_model
from nanou_deploy.device.rgb565 import camera_frame
from nanou_deploy.errors import EXIT_TOOL_MISSING, EXIT_USAGE, DeployError
from nanou_deploy.predict import sources, videos
from nanou_deploy.predict.drawing import MOST_TILES, contact_sheet, mask_png, overlay_picture
from nanou_deploy.predict.engine import open_engine
from nanou_deploy.predict.folder import PredictionFolder
from nanou_deploy.predict.policy import open_policy
from nanou_deploy.predict.prediction import VIEW_PX, empty_prediction
from nanou_deploy.predict.session import predict_shots
from nanou_deploy.predict.sources import Names, Shot, new_pictures, shots_of
from nanou_train.data.images import read_frames
from nanou_train.errors import DataError
from tests import navigation
from tests.camera_masks import camera_masks, pack_mask
from tests.command_line import run, run_json
from tests.unit.test_evaluate_tensors import classifier
from tests.unit.test_sidecar import COLOURS

TFLM = ("--executor", "tflm")


def bright() -> QuantizedModel:
    """Drivable where a pixel is light, and more red than blue."""
    b = ModelBuilder()
    source = b.activation((1, 6, 8, 3), 1 / 127.5, 0)
    weights = np.array([40, 30, -20], np.int8).reshape(1, 1, 1, 3)
    output = b.convolution(source, weights, [0.1], np.zeros(1, np.int32), scale=0.1, zero_point=0)
    return QuantizedModel("small", b.finish([source], [output]), segmentation(Preprocessing(6, 8)))


MODEL = bright()


def picture(seed: int, size: tuple[int, int] = (48, 36)) -> Image.Image:
    """Soft patches, as pictures have them: what a camera does to single pixels is another matter."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two models, and five pictures of which one is in another folder under the same name."""
    save_model(MODEL, tmp_path / "small.tflite")
    save_model(COLOURS, tmp_path / "three.tflite")
    for seed, name in enumerate(("pics/a.png", "pics/b c.png", "pics/z.jpg", "other/a.png", "other/wide.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(seed, (300, 40) if "wide" in name else (48, 36)).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("executor", ["tflm", "aot"])
def test_masks_and_decisions_are_a_devices(place: Path, executor: str, require_tool: Callable[..., str]) -> None:
    """Against Pillow, TensorFlow Lite Micro and the second implementation of navigation."""
    require_tool("gcc", "clang")
    for name, model in (("small", MODEL), ("three", COLOURS))[: 1 if executor == "aot" else 2]:
        paths = [place / "pics", place / "other" / "wide.png"]
        with open_engine(executor, place / f"{name}.tflite") as engine:
            found = list(predict_shots(engine, shots_of(paths, Names())))
        images = [Image.open(path) for path in (*sorted((place / "pics").iterdir()), paths[1])]
        frames = [camera_frame(image, model.camera, big_endian=True) for image in images]
        for one, packed in zip(found, camera_masks(model, frames, big_endian=True), strict=True):
            assert one.mask is not None
            assert one.drivable is not None
            assert one.decision is not None
            assert pack_mask(one.mask, tuple(map(model.classes.index, model.drivable))).tobytes() == packed.tobytes()
            cover = navigation.cover(one.drivable)
            decided = (one.decision.left_permille, one.decision.centre_permille, one.decision.right_permille)
            assert decided == (cover.left_permille, cover.centre_permille, cover.right_permille)
            go, steer = navigation.judge(navigation.Policy(), cover)
            assert (one.decision.go, one.decision.steer) == (go, steer)
        assert len({one.drivable_share for one in found}) > 1


def test_a_drive_is_decided_by_what_came_before(require_tool: Callable[..., str]) -> None:
    require_tool("gcc", "clang")
    rng, policy, taken_us = np.random.default_rng(4), navigation.Policy(), 0
    state, gone = navigation.STOPPED, set()
    with open_policy() as program:
        for number in range(300):
            width = (1, 2, 7, 80)[number // 75]
            is_first = number % 75 == 0
            if is_first:
                state = navigation.STOPPED
            mask: npt.NDArray[np.bool_] = rng.random((9, width)) < rng.choice([0.4, 0.8, 1.0])
            taken_us += int(rng.choice([100_000, 600_000], p=[0.95, 0.05]))
            state = navigation.see(policy, state, navigation.cover(mask), taken_us, taken_us)
            decided = program.see(mask, taken_us, is_first=is_first)
            assert (decided.go, decided.steer) == (state.go, state.steer)
            gone.add(decided.go)
        assert gone == {True, False}


def test_the_folder_has_all(place: Path) -> None:
    """Names are unique and plain, masks hold indices, and earlier predictions are replaced."""
    code, document = run_json("predict", "pics", "other", "--model", "three.tflite", *TFLM, "--output", "o", cwd=place)
    assert code == 0
    assert document["preprocessing"].startswith("each picture squeezed to 160x120 RGB565")
    assert [one["name"] for one in document["predictions"]] == ["a", "b_c", "z", "a-2", "wide"]
    assert (
        json.loads((place / "o/predictions.json").read_text()) | {"output": "o", "schema": document["schema"]}
        == document
    )
    for one in document["predictions"]:
        mask = Image.open(place / "o" / one["files"]["mask"])
        assert (mask.mode, mask.size) == ("P", (8, 6))
        share = np.isin(np.asarray(mask), [1, 2]).mean()
        assert share == pytest.approx(one["drivable_share"])
        assert (place / "o" / one["files"]["overlay"]).is_file()
    assert Image.open(place / "o/contact_sheet.png").width > 1000
    assert run_json("predict", "pics/a.png", "--model", "small.tflite", *TFLM, "--output", "o", cwd=place)[0] == 0
    assert [path.name for path in (place / "o/masks").iterdir()] == ["a.png"]
    (place / "o/mine.txt").write_text("x")
    done = run("predict", "pics/a.png", "--model", "small.tflite", *TFLM, "--output", "o", cwd=place)
    assert (done.returncode, (place / "o/mine.txt").read_text()) == (1, "x")


@pytest.mark.parametrize("columns", [60, 80])
def test_the_table_fits(place: Path, columns: int) -> None:
    from tests.unit.test_command_table import Terminal

    done = run("predict", "pics", "--model", "small.tflite", *TFLM, cwd=place, stream=Terminal, COLUMNS=str(columns))
    assert all(len(line) <= columns for line in done.stdout.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines())
    assert "executor  tflm, the int8 model by TensorFlow Lite Micro" in done.stdout
    assert (place / "build/predict/contact_sheet.png").is_file()
    assert "build/predict" in run("clean", cwd=place).stdout


def test_directly_is_as_evaluate_does(place: Path) -> None:
    """A checkerboard survives only where no camera is between."""
    board = np.indices((6, 8)).sum(axis=0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).convert("RGB").save(place / "board.png")
    words = ("predict", "board.png", "--model", "small.tflite", *TFLM, "--direct")
    assert run_json(*words, cwd=place)[1]["predictions"][0]["drivable_share"] == 0.5
    assert np.asarray(Image.open(place / "build/predict/masks/board.png")).tolist() == (board // 255).tolist()


def test_thresholds_and_limits(place: Path) -> None:
    words = ("predict", "pics", "--model", "small.tflite", *TFLM, "--limit", "2")
    shares = [
        [one["drivable_share"] for one in run_json(*words, "--threshold", threshold, cwd=place)[1]["predictions"]]
        for threshold in ("0.01", "0.99")
    ]
    assert len(shares[0]) == 2
    assert sum(shares[0]) > sum(shares[1])


# ---- Other models ----------------------------------------------------------------------------------------------


def test_a_classifier_gives_labels(place: Path) -> None:
    (place / "colours.tflite").write_bytes(classifier())
    assert run("describe", "colours.tflite", "--classes", "red,green,blue", cwd=place).returncode == 0
    Image.new("RGB", (9, 9), (10, 10, 250)).save(place / "sea.png")
    code, document = run_json("predict", "sea.png", "--model", "colours.tflite", *TFLM, cwd=place)
    (one,) = document["predictions"]
    assert (code, one["label"], next(iter(one["scores"])), one["decision"]) == (0, "blue", "blue", None)
    assert document["preprocessing"] == "resized to 1x1 by box, RGB"
    shown = run("predict", "sea.png", "--model", "colours.tflite", *TFLM, cwd=place)
    assert "sea      blue" in shown.stdout


def test_a_raw_model_takes_and_gives_arrays(place: Path) -> None:
    (place / "raw.tflite").write_bytes(classifier(picture=False))
    (place / "data").mkdir()
    np.save(place / "data/input.npy", np.array([[1, 0, 0], [0, 0, 1]], np.float32))
    code, document = run_json("predict", "data", "--model", "raw.tflite", *TFLM, "--output", "o", cwd=place)
    assert (code, document["cases"], document["outputs"]) == (0, 2, {"outputs/output.npy": [2, 3]})
    assert np.argmax(np.load(place / "o/outputs/output.npy"), axis=1).tolist() == [0, 2]
    done = run("predict", "pics", "--model", "raw.tflite", *TFLM, cwd=place)
    assert (done.returncode, "takes no picture" in done.stderr) == (1, True)


# ---- Sources ---------------------------------------------------------------------------------------------------


def animation(path: Path, count: int = 4, **options: object) -> Path:
    first, *others = (picture(seed, (20, 10)) for seed in range(count))
    first.save(path, save_all=True, append_images=others, **options)  # type: ignore[arg-type]
    return path


def test_animations_are_drives(tmp_path: Path) -> None:
    gif = animation(tmp_path / "a.gif", duration=200)
    shots = list(shots_of([gif], Names(), every=2))
    assert [(shot.name, shot.taken_us, shot.is_first) for shot in shots] == [
        ("a_000001", 0, True),
        ("a_000002", 400_000, False),
    ]
    webp = animation(tmp_path / "b.webp", duration=50, lossless=True)
    assert [shown_ms for _, shown_ms in read_frames(webp)] == [0, 50, 100, 150]
    last = list(read_frames(webp))[-1][0].image
    assert np.array_equal(np.asarray(last), np.asarray(picture(3, (20, 10))))


def test_a_damaged_animation_is_named(tmp_path: Path) -> None:
    gif = animation(tmp_path / "a.gif")
    gif.write_bytes(gif.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"a\.gif"):
        list(shots_of([gif], Names()))


def test_a_folder_may_be_a_drive(place: Path) -> None:
    shots = list(shots_of([place / "pics"], Names(), fps=4))
    assert [(shot.taken_us, shot.is_first) for shot in shots] == [(0, True), (250_000, False), (500_000, False)]
    assert [shot.taken_us for shot in shots_of([place / "pics"], Names())] == [None] * 3


def test_new_pictures_are_told_once_they_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_POLL_S", 0.0)
    (tmp_path / "old.png").write_bytes(b"x")
    looks = new_pictures(tmp_path)
    assert next(looks) is None
    (tmp_path / "new.png").write_bytes(b"begin")
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert next(looks) is None
    (tmp_path / "new.png").write_bytes(b"begin and end")
    assert next(looks) is None
    assert next(looks) == tmp_path / "new.png"
    assert next(looks) is None


def test_a_folder_is_watched_until_the_limit(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is warned of."""
    (place / "inbox").mkdir()
    monkeypatch.setattr(sources, "_POLL_S", 0.0)

    def appear(folder: Path) -> object:
        (folder / "bad.png").write_text("x")
        yield folder / "bad.png"
        for name in ("one", "two", "three"):
            picture(1).save(folder / f"{name}.png")
            yield folder / f"{name}.png"

    monkeypatch.setattr("nanou_deploy.predict.session.new_pictures", appear)
    done = run("predict", "--watch", "inbox", "--limit", "2", "--model", "small.tflite", *TFLM, cwd=place)
    assert (done.returncode, "warning: cannot read inbox/bad.png" in done.stderr) == (0, True)
    document = json.loads((place / "build/predict/predictions.json").read_text())
    assert [one["name"] for one in document["predictions"]] == ["one", "two"]


FAKE_CV2 = """
import numpy as np
CAP_PROP_FPS, CAP_PROP_POS_MSEC, COLOR_BGR2RGB = 5, 0, 4
class VideoCapture:
    def __init__(self, source):
        self.source, self.number = source, 0
    def isOpened(self):
        return "closed" not in str(self.source)
    def get(self, what):
        return 25.0 if what == CAP_PROP_FPS else 40.0 * (self.number - 1)
    def grab(self):
        self.number += 1
        if "crash" in str(self.source) and self.number == 3:
            import os
            os.abort()
        return self.number <= 5
    def retrieve(self):
        return True, np.full((6, 8, 3), (self.number, 0, 255), np.uint8)
def cvtColor(frame, code):
    return frame[..., ::-1].copy()
"""


@pytest.fixture
def decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for OpenCV, whose interface it has; what is tested is the way from there to here."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "cv2.py").write_text(FAKE_CV2)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).resolve().parents[2]}")
    for name in ("ok.mp4", "closed.mp4", "crash.mp4"):
        (tmp_path / name).write_bytes(b"video")
    return tmp_path


def test_a_video_is_a_drive(decoder: Path) -> None:
    shots = list(shots_of([decoder / "ok.mp4"], Names(), every=2))
    assert [shot.taken_us for shot in shots] == [0, 80_000, 160_000]
    assert [shot.image.getpixel((0, 0)) for shot in shots] == [(255, 0, 1), (255, 0, 3), (255, 0, 5)]
    assert next(videos.video_frames(0))[0].size == (8, 6)


@pytest.mark.parametrize(("name", "said"), [("closed", "cannot be opened"), ("crash", "ended its decoder")])
def test_a_video_that_fails_is_named(decoder: Path, name: str, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        list(shots_of([decoder / f"{name}.mp4"], Names()))


def test_without_opencv_is_said_how_to_get_it(place: Path) -> None:
    (place / "x.mp4").write_bytes(b"x")
    with mock.patch("importlib.util.find_spec", return_value=None):
        done = run("predict", "x.mp4", "--model", "small.tflite", *TFLM, cwd=place)
    assert (done.returncode, "nanou-deploy[video]" in done.stderr) == (EXIT_TOOL_MISSING, True)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), EXIT_USAGE, "give PICTURES"),
        (("pics", "--webcam", "0"), EXIT_USAGE, "--webcam takes no PICTURES"),
        (("--webcam", "0", "--watch", "pics"), EXIT_USAGE, "exclude each other"),
        (("pics", "--port", "exec:x", "--direct"), EXIT_USAGE, "a device decides by itself"),
        (("nothing",), 1, "there is no file or folder nothing"),
        (("--watch", "nothing"), 1, "nothing is no folder"),
        (("small.tflite",), 1, "cannot read small.tflite as an image"),
        (("pics", "--executor", "keras"), 1, "keras needs a training run"),
    ],
)
def test_what_cannot_be_is_said_and_nothing_is_written(
    place: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = run("predict", *words, "--model", "small.tflite", cwd=place)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert not (place / "build").exists()


# ---- Drawing ---------------------------------------------------------------------------------------------------


def test_many_pictures_make_one_sheet(tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path, "title", ("background", "drivable"), {})
    for number in range(MOST_TILES + 41):
        shot = Shot(f"p{number}", "x", picture(0))
        folder.add(empty_prediction(shot))
    folder.finish()
    assert len(folder.entries) == MOST_TILES + 41
    sheet = Image.open(tmp_path / "contact_sheet.png")
    assert sheet.height < 250 * MOST_TILES / 4


def test_overlays_have_the_decision_below_a_bounded_view() -> None:
    large = empty_prediction(Shot("x", "x", picture(1, (3000, 40))))
    assert (large.size_px, large.view.shape[1]) == ((3000, 40), VIEW_PX)
    drawn = overlay_picture(large, 2)
    assert drawn.shape[1] == VIEW_PX
    assert contact_sheet([large], "A title", ("a", "b")).shape[2] == 3
    mask = np.array([[0, 2], [1, 31]], np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(mask_png(mask, 32)))), mask)
