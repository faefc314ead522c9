"""What the teacher is asked before training, and what an epoch draws from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nanou_train.data.dataset import Split, terrain_dataset
from nanou_train.experiments.keys import as_config
from nanou_train.networks.architectures import create_bu_net, preprocessing_of
from nanou_train.runs.run_folder import read_manifest
from nanou_train.training.loop import TrainingLoop
from nanou_train.training.teacher_views import Views, make_views, teacher_logits
from nanou_train.training.train import train_model
from nanou_train.training.train_network import train_with_distillation

SHAPE = (24, 32, 3)
KEYS = {
    "teacher_cache": True, "teacher_views": 3, "blend": 0.5, "augment": "full",
    "epochs": 1, "batch_size": 4, "alpha": 1.0,
}  # fmt: skip
CONFIG = as_config(KEYS)


@pytest.fixture(scope="module")
def train() -> Split:
    return terrain_dataset({"train": 12, "val": 4, "test": 4}, seed=0, height_px=24, width_px=32).train


@pytest.fixture(scope="module")
def views(train: Split) -> Views:
    return make_views(create_bu_net(SHAPE, (4,), 4), train, CONFIG)


def test_the_first_view_is_the_image_itself_and_every_answer_belongs_to_its_view(train: Split) -> None:
    teacher, said = create_bu_net(SHAPE, (4,), 4), []
    found = make_views(teacher, train, CONFIG, said.append)
    assert found.images.shape == (3, 12, 24, 32, 3)
    assert found.logits.shape == (3, 12, 24, 32, 1)
    assert (found.images[0] == train.images).all()
    assert (found.masks[0] == train.masks).all()
    for view in range(3):
        np.testing.assert_allclose(found.logits[view], teacher_logits(teacher, found.images[view]), atol=2e-3)
    assert said == [f"the teacher answers view {one} of 3" for one in (1, 2, 3)]


def test_views_have_other_colours_and_epochs_draw_them_as_they_are(train: Split) -> None:
    teacher = create_bu_net(SHAPE, (4,), 4)
    config = as_config({**KEYS, "blend": 0.0, "augment": "off", "data.appearance": 1.0})
    found = make_views(teacher, train, config)
    assert (found.images[0] == train.images).all()
    assert all((found.images[1:] != train.images).any(axis=(0, 2, 3, 4)))
    assert (found.masks == train.masks).all()
    np.testing.assert_allclose(found.logits[1], teacher_logits(teacher, found.images[1]), atol=2e-3)
    student = create_bu_net(SHAPE, (4,), 4)
    loop = TrainingLoop(student, found, config, train, seed=0, state=None)
    drawn, _, _ = next(loop.batches(1))
    known = preprocessing_of(student).normalize(found.images.reshape(-1, *SHAPE))
    assert all((one == known).all(axis=(1, 2, 3)).any() for one in drawn)


def test_views_are_the_same_for_every_run_and_differ_from_each_other(train: Split, views: Views) -> None:
    again = make_views(create_bu_net(SHAPE, (4,), 4), train, CONFIG)
    assert (again.images == views.images).all()
    assert (views.images[1] != views.images[2]).any()


def test_answers_are_kept_for_runs_with_the_same_teacher_data_and_views(train: Split, tmp_path: Path) -> None:
    teacher, said = create_bu_net(SHAPE, (4,), 4), []
    first = make_views(teacher, train, CONFIG, said.append, cache=tmp_path / "kept")
    assert len(said) == 3
    again = make_views(teacher, train, CONFIG, said.append, cache=tmp_path / "kept")
    assert len(said) == 3
    assert (again.logits == first.logits).all()
    assert (again.masks == first.masks).all()
    other = Split(train.images[::-1].copy(), train.masks, train.stems)
    for what, data, config in (
        (create_bu_net(SHAPE, (4,), 4), train, CONFIG),
        (teacher, other, CONFIG),
        (teacher, train, as_config({**KEYS, "blend": 0.9})),
    ):
        before = len(said)
        make_views(what, data, config, said.append, cache=tmp_path / "kept")
        assert len(said) == before + 3
    assert len(list((tmp_path / "kept").iterdir())) == 4


def test_blended_views_have_the_teachers_decision_as_their_mask(train: Split) -> None:
    teacher = create_bu_net(SHAPE, (4,), 4)
    found = make_views(teacher, train, as_config({**KEYS, "blend": 1.0}))
    assert (found.masks[1:] == (found.logits[1:, ..., 0] > 0)).all()
    plain = make_views(teacher, train, as_config({**KEYS, "blend": 0.0, "augment": "off"}))
    assert (plain.images == train.images).all()
    assert (plain.masks == train.masks).all()


def test_an_epoch_draws_images_masks_and_answers_of_the_same_view(views: Views) -> None:
    chosen = np.array([5, 0, 7])
    images, masks, logits = views.drawn(chosen, np.random.default_rng(0))
    for item, image in enumerate(chosen):
        (view,) = (v for v in range(3) if (views.images[v, image] == images[item]).all())
        assert (views.masks[view, image] == masks[item]).all()
        assert (views.logits[view, image] == logits[item]).all()


def test_training_uses_them(train: Split, tmp_path: Path) -> None:
    """On what the teacher says of views alone (alpha 1), the masks change nothing."""
    teacher, results = create_bu_net(SHAPE, (4,), 4, name="teacher"), []
    config = as_config({**KEYS, "output_dir": tmp_path})
    student = create_bu_net(SHAPE, (4,), 4, name="student")
    start = student.get_weights()
    for masks in (train.masks, 1 - train.masks):
        student.set_weights(start)
        train_with_distillation(student, teacher, config, Split(train.images, masks, train.stems), seed=1)
        results.append(student.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((one != before).any() for one, before in zip(results[0], start, strict=True))


def test_a_teacher_may_be_augmented_otherwise_than_its_student(tiny_presets: None, tmp_path: Path) -> None:
    """Its weights are those of a run that augments everything so."""
    weights = []
    for name, changes in (("all", {"augment": "full"}), ("teacher", {"augment": "off", "teacher_augment": "full"})):
        changes = {"epochs": 1, "batch_size": 8, "terrain": {"train": 16, "val": 4, "test": 4}, **changes}
        result = train_model(experiment_name="quick_test", output_dir=tmp_path, run_name=name, **changes)
        assert result["status"] == "completed", result["error"]
        weights.append(read_manifest(result["experiment_dir"])["weights"])
    assert weights[0]["teacher"] == weights[1]["teacher"]
    assert weights[0]["student"] != weights[1]["student"]
