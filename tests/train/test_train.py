"""Whole runs, small: files, manifest, reproducibility, failures, and the way to an int8 model."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codegen.tflite.load import load_graph
from nanou_train.data.augment import augment, augment_with_logits
from nanou_train.data.dataset import Dataset, terrain_dataset
from nanou_train.errors import TrainError
from nanou_train.experiments.keys import as_config
from nanou_train.runs.run_folder import (
    load_student,
    read_manifest,
    run_dataset,
    start_run,
    weights_sha256,
    write_manifest,
)

TINY = {
    "epochs": 1, "teacher_epochs": 1, "batch_size": 4, "terrain": {"train": 8, "val": 4, "test": 4},
    "input_size": (12, 16),
    "model": {"architecture": "nano_u", "filters": [4], "bottleneck": 4, "skips": False},
    "teacher": {"architecture": "bu_net", "filters": [4], "bottleneck": 4, "skips": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[tuple[str, float]]]:
    if not os.environ.get("NANOU_REQUIRE_TOOLS"):
        pytest.importorskip("tensorflow")
    from nanou_train.training.train import train_model

    seen: list[tuple[str, float]] = []
    folder = tmp_path_factory.mktemp("runs")
    result = train_model(
        experiment_name="quick_test", output_dir=folder, progress=lambda *event: seen.append(event), **TINY
    )
    return dict(result), seen


@pytest.fixture(autouse=True)
def _tensorflow(require_module: Callable[[str], None]) -> None:
    require_module("tensorflow")


def test_a_run_leaves_everything_that_is_promised(finished: tuple[dict[str, Any], list[Any]]) -> None:
    result, seen = finished
    assert (result["status"], result["error"]) == ("completed", "")
    folder = result["experiment_dir"]
    assert result["model_path"] == folder / "student.keras"
    names = {path.name for path in folder.iterdir()}
    assert names == {"manifest.json", "student.keras", "teacher.keras", "metrics.json", "metrics.csv", "epochs"}
    manifest = read_manifest(folder)
    assert manifest["weights"]["student"] == weights_sha256(load_student(folder))
    assert manifest["configuration"]["student"]["epochs"] == 1
    assert manifest["data"]["train"]["count"] == 8
    assert manifest["versions"]["tensorflow"].startswith("2.")
    assert set(result["final_metrics"]) == {"student", "teacher", "constant_mask"}
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["model"] for row in rows] == ["teacher", "student"]
    assert float(rows[1]["distillation_loss"]) > 0
    assert json.loads((folder / "metrics.json").read_text())["test"] == result["final_metrics"]
    fractions = [fraction for _, fraction in seen]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_a_run_becomes_an_int8_model(finished: tuple[dict[str, Any], list[Any]]) -> None:
    from nanou_train.runs.quantize_run import quantize_run

    folder = finished[0]["experiment_dir"]
    model = quantize_run(folder, name="tiny")
    manifest = read_manifest(folder)
    assert model.name == "tiny"
    assert model.provenance["weights"] == manifest["weights"]
    assert model.provenance["metrics"]["float"]["miou"] == pytest.approx(
        manifest["metrics"]["student"]["miou"], abs=1e-6
    )
    assert abs(model.provenance["metrics"]["int8"]["miou"] - model.provenance["metrics"]["float"]["miou"]) < 0.1
    json.dumps(model.provenance)


def test_dim_pictures_do_not_narrow_the_input_s_range() -> None:
    """A camera may see brighter ones; the contract is of all pixel values, or nothing could load the model."""
    from nanou_train.runs.quantize_run import spanning

    dim = np.full((2, 4, 5, 3), 90, np.uint8)
    found = spanning(dim)
    assert (found.min(), found.max(), np.count_nonzero(found != dim)) == (0, 255, 6)
    assert (dim == 90).all()
    assert spanning(found) is found


def test_a_student_can_go_on_from_a_file(finished: tuple[dict[str, Any], list[Any]]) -> None:
    from nanou_train.training.start import initial_student

    before = finished[0]["experiment_dir"]
    students = [
        initial_student(as_config({**TINY, "start_from": start}), classes=2)
        for start in (before, before / "student.keras")
    ]
    assert weights_sha256(students[0]) == weights_sha256(students[1])


def test_a_student_can_go_on_with_its_encoder_frozen(
    finished: tuple[dict[str, Any], list[Any]], tmp_path: Path
) -> None:
    from nanou_train.training.train import train_model

    before = finished[0]["experiment_dir"]
    changes = {**TINY, "start_from": before, "freeze": "encoder", "quantization_aware": True, "use_distillation": False}
    result = train_model(experiment_name="quick_test", output_dir=tmp_path, seed=7, **changes)
    assert result["error"] == ""
    old, new = load_student(before), load_student(result["experiment_dir"])
    changed = {
        layer.name: any(
            not np.array_equal(one, other)
            for one, other in zip(layer.get_weights(), new.get_layer(layer.name).get_weights(), strict=True)
        )
        for layer in old.layers
        if layer.weights
    }
    frozen = {name for name in changed if name.startswith(("encoder", "bottleneck"))}
    assert not any(changed[name] for name in frozen)
    assert all(changed[name] for name in changed.keys() - frozen)
    assert float(new.get_layer("encoder1a_dw_relu6_range").high) == 6.0
    assert float(new.get_layer("logits_range").high) < 8.0

    other = {key: value for key, value in changes.items() if key not in ("model", "teacher", "input_size")}
    wrong = train_model(experiment_name="quick_test", output_dir=tmp_path / "other", **other, model_name="nano_u_skips")
    assert "nano_u_skips takes" in wrong["error"]


def test_other_data_than_the_runs_are_refused(finished: tuple[dict[str, Any], list[Any]]) -> None:
    manifest = read_manifest(finished[0]["experiment_dir"])
    other = terrain_dataset(TINY["terrain"], seed=99)
    with pytest.raises(TrainError, match="not the one that this run was trained on"):
        run_dataset(manifest, dataset=other)


def test_a_swapped_student_is_noticed(finished: tuple[dict[str, Any], list[Any]], tmp_path: Path) -> None:
    folder = finished[0]["experiment_dir"]
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    (tmp_path / "student.keras").write_bytes((folder / "teacher.keras").read_bytes())
    with pytest.raises(TrainError, match="not the model that"):
        load_student(tmp_path)
    (tmp_path / "student.keras").write_bytes(b"PK")
    with pytest.raises(TrainError, match="cannot read"):
        load_student(tmp_path)


def test_an_interrupted_run_is_no_run(tmp_path: Path) -> None:
    start_run(tmp_path / "run", {"seed": 0})
    with pytest.raises(TrainError, match="is running, not completed"):
        read_manifest(tmp_path / "run")
    write_manifest(tmp_path / "run", {"status": "failed", "error": "the loss is nan"})
    with pytest.raises(TrainError, match="is failed, not completed: the loss is nan"):
        read_manifest(tmp_path / "run")
    start_run(tmp_path / "run", {"seed": 1})  # and may be started again
    with pytest.raises(TrainError, match="no training run"):
        read_manifest(tmp_path / "absent")


def test_intended_failures_come_back_as_status(tmp_path: Path) -> None:
    from nanou_train.training.train import train_model

    for arguments, says in (
        ({"experiment_name": "dmeo"}, "demo"),
        ({"experiment_name": "demo", "epoch": 3}, "epochs"),
        ({"experiment_name": "demo", "data_root": tmp_path / "absent"}, "absent"),
    ):
        result = train_model(output_dir=tmp_path, **arguments)
        assert result["status"] == "failed"
        assert says in result["error"]
        assert result["model_path"] is None
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine.txt").write_text("keep")
    result = train_model(experiment_name="demo", output_dir=tmp_path, **TINY)
    assert "holds no training run" in result["error"]
    assert (tmp_path / "demo" / "mine.txt").read_text() == "keep"


def _fit(data: Dataset, **changes: Any) -> tuple[list[np.ndarray], Any]:
    import keras

    from nanou_train.networks.architectures import create_bu_net
    from nanou_train.training.train import train_single_model

    keras.utils.set_random_seed(3)
    model = create_bu_net((24, 32, 3), (4,), 4)  # few layers, because compiling the step takes most of the time
    config = as_config({"epochs": 2, "batch_size": 4, **changes})
    result = train_single_model(model, config, data.train, data.val, seed=5)
    return model.get_weights(), result


def test_the_same_seed_gives_the_same_weights(small: Dataset) -> None:
    (first, _), (second, _) = _fit(small), _fit(small)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    rng = np.random.default_rng
    one, other = (augment(small.train.images, small.train.masks, rng(seed))[0] for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_the_model_learns_and_keeps_its_best_epoch(small: Dataset) -> None:
    _, result = _fit(small, epochs=12, learning_rate=0.02, augment=False)
    assert result.history[-1]["loss"] < 0.8 * result.history[0]["loss"]
    scores = [row["val_miou"] for row in result.history]
    assert scores[result.best_epoch - 1] == max(scores)


def test_early_stopping_stops(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.9])  # the second epoch is the best, and two without a better one follow
    monkeypatch.setattr("nanou_train.training.train_network.evaluate_model", lambda *_, **__: {"miou": next(scores)})
    _, result = _fit(small, epochs=5, early_stopping=True, patience=2)
    assert [row["val_miou"] for row in result.history] == [0.5, 0.7, 0.6, 0.7]
    assert result.best_epoch == 2


def test_sizes_must_agree(small: Dataset) -> None:
    from nanou_train.networks.architectures import create_nano_u
    from nanou_train.training.train import train_single_model

    with pytest.raises(TrainError, match=r"training images are \(24, 32, 3\)"):
        train_single_model(create_nano_u((48, 64, 3), (4,), 4), as_config({}), small.train)


@pytest.mark.parametrize("strength", ["light", "full"])
def test_augmentation_is_seeded_and_keeps_pixels_masks_and_logits_together(strength: Any) -> None:
    masks = np.zeros((64, 12, 16), np.uint8)
    masks[:, 4:] = 1
    masks[:, 8:, 5:9] = 0
    images = np.repeat(masks[..., None] * np.uint8(200), 3, axis=-1)
    logits = np.where(masks[..., None], 5.0, -5.0).astype(np.float32)
    changed, moved, carried = augment_with_logits(images, masks, logits, np.random.default_rng(1), strength)
    again = augment_with_logits(images, masks, logits, np.random.default_rng(1), strength)
    assert np.array_equal(changed, again[0])
    assert (changed.shape, changed.dtype, moved.shape) == (images.shape, np.uint8, masks.shape)
    assert np.mean(moved != masks) > 0.05
    assert carried is not None
    assert np.mean((carried[..., 0] > 0) == (moved == 1)) > 0.97  # bilinear and nearest part at edges only
    bright = changed.mean(axis=-1)
    assert (
        np.mean([np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(bright, moved, strict=True)]) > 0.9
    )


def test_augmentation_off_changes_nothing() -> None:
    images, masks = np.full((2, 4, 4, 3), 7, np.uint8), np.ones((2, 4, 4), np.uint8)
    same = augment(images, masks, np.random.default_rng(0), "off")
    assert same[0] is images
    assert same[1] is masks


def test_cached_teacher_logits_are_the_mean_over_mirror_images(small: Dataset) -> None:
    from nanou_train.networks.architectures import create_bu_net, preprocessing_of
    from nanou_train.training.teacher_views import teacher_logits

    teacher = create_bu_net((24, 32, 3), (4,), 4)
    logits = teacher_logits(teacher, small.train.images)
    np.testing.assert_allclose(logits[:, :, ::-1], teacher_logits(teacher, small.train.images[:, :, ::-1]), atol=1e-5)
    x = preprocessing_of(teacher).normalize(small.train.images)
    np.testing.assert_allclose(logits, (teacher(x) + teacher(x[:, :, ::-1])[:, :, ::-1]) / 2, atol=1e-4)


def test_the_running_average_is_what_a_training_keeps(small: Dataset) -> None:
    """With a decay that forgets at once, the average is the last step's weights; with a slow one it is not."""
    options = {"epochs": 2, "keep": "last", "augment": "off"}
    plain, _ = _fit(small, **options)
    quick, _ = _fit(small, **options, weight_average=1e-9)
    slow, _ = _fit(small, **options, weight_average=0.9)
    for one, other in zip(plain, quick, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert max(float(np.abs(one - other).max()) for one, other in zip(plain, slow, strict=True)) > 1e-3


def test_grey_pictures_of_another_size(tmp_path: Path) -> None:
    """Nothing but the configuration says it: 20x28, one channel, networks by mapping; and on to the int8 model."""
    from nanou_train.runs.quantize_run import quantize_run
    from nanou_train.training.train import train_model

    network = {"architecture": "nano_u", "filters": [4, 4], "bottleneck": 4, "skips": False}
    changes = {"model": network, "use_distillation": False, "input_channels": 1, "input_size": (20, 28)}
    settings: dict[str, Any] = {**TINY, **changes}
    result = train_model(experiment_name="quick_test", output_dir=tmp_path, augment="full", **settings)
    assert result["error"] == ""
    model = quantize_run(result["experiment_dir"])
    graph = load_graph(model.flatbuffer)
    assert (graph.input.shape, graph.output.shape) == ((1, 20, 28, 1), (1, 20, 28, 1))
    assert model.preprocessing.channels == 1


def test_a_size_that_needs_padding_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    from nanou_train.training.train import train_model

    result = train_model(experiment_name="quick_test", output_dir=tmp_path, input_size=(50, 70))
    assert result["status"] == "failed"
    assert "the student pools 3 times by 2 or 3, and height 50 and width 70 cannot" in result["error"]
    assert result["error"].endswith("use 48x64 or 54x72, or fewer stages")
    assert not list(tmp_path.iterdir())


def test_a_teacher_may_have_another_size(tmp_path: Path, small: Dataset) -> None:
    """As in a search among sizes. It is measured by what its student was told: its answers, resized."""
    from nanou_train.networks.architectures import create_bu_net
    from nanou_train.networks.saving import save_model
    from nanou_train.training.teacher_views import teacher_logits
    from nanou_train.training.train import train_model

    teacher = create_bu_net((12, 16, 3), (4,), 4)
    save_model(teacher, tmp_path / "teacher.keras")
    keys = {"teacher_weights": tmp_path / "teacher.keras", "teacher_cache": True, "teacher_views": 2, "epochs": 1}
    result = train_model(
        experiment_name="quick_test", input_size=(24, 32), batch_size=4, dataset=small, output_dir=tmp_path, **keys
    )
    assert (result["status"], result["error"]) == ("completed", "")
    drivable = teacher_logits(teacher, small.test.images)[..., 0] >= 0
    assert result["final_metrics"]["teacher"]["accuracy"] == np.mean(drivable == small.test.masks)
