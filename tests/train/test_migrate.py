"""Old configurations become experiments, and what means something else now is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from nanou_deploy.cli import cli
from nanou_train.errors import ConfigError
from nanou_train.experiments.experiment_file import load_experiment
from nanou_train.experiments.migrate import migrate_file

FLAT = """\
model: nano_u
epochs: 50
batch_size: 8
learning_rate: 1e-3
distillation: true
teacher_weights: teacher.h5
alpha: 0.3
temperature: 4.0
nas: true
layers_to_monitor: ["conv2d", "conv2d_1", "encoder1a_pw"]
nas_frequency: 5
"""
NESTED = """\
training:
  standard:
    model: {name: nano_u}
    epochs: 3
  taught:
    model: nano_u
    distillation: {alpha: 0.7, temperature: 2}
    nas: {enabled: false, frequency: 20}
"""


def _migrate(tmp_path: Path, text: str, *options: str) -> Path:
    (tmp_path / "old.yaml").write_text(text)
    new = tmp_path / "new.yaml"
    result = CliRunner().invoke(
        cli, ["migrate-config", str(tmp_path / "old.yaml"), "--output", str(new), *options], catch_exceptions=False
    )
    assert result.exit_code == 0
    return new


def test_every_old_key_arrives(tmp_path: Path) -> None:
    config = load_experiment(_migrate(tmp_path, FLAT, "--name", "mine"), "mine")
    student = config.student
    assert (student.preset, student.epochs, student.batch_size, student.learning_rate) == ("nano_u", 50, 8, 0.001)
    assert (config.distillation.enabled, config.teacher.weights) == (True, Path("teacher.h5"))
    assert (config.distillation.alpha, config.distillation.temperature) == (0.3, 4.0)
    assert (config.run.nas.enabled, config.run.nas.layers, config.run.nas.frequency) == (True, ("encoder1a_pw",), 5)


def test_what_means_something_else_is_said_with_its_line(tmp_path: Path) -> None:
    new = _migrate(tmp_path, FLAT)
    warnings = migrate_file(tmp_path / "old.yaml").warnings
    assert len(warnings) == 4
    alpha = next(warning for warning in warnings if ", alpha:" in warning)
    assert "line 7, alpha: 0.3 weights the distillation term now" in alpha
    assert "write 0.7" in alpha
    assert any("line 10, layers_to_monitor: conv2d, conv2d_1" in warning for warning in warnings)
    assert all(f"# {warning}" in new.read_text() for warning in warnings)


def test_blocks_and_several_experiments(tmp_path: Path) -> None:
    new = _migrate(tmp_path, NESTED)
    standard, taught = load_experiment(new, "standard"), load_experiment(new, "taught")
    assert (standard.distillation.enabled, standard.student.epochs) == (False, 3)
    distillation = taught.distillation
    assert (distillation.enabled, distillation.alpha, distillation.temperature) == (True, 0.7, 2.0)
    assert (taught.run.nas.enabled, taught.run.nas.frequency) == (False, 20)


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("model: nano_u\nepoch: 3\n", 'line 2: unknown key "epoch"', "epochs"),
        ("model: nano\n", 'line 1: no model preset "nano"', "nano_u"),
        ("model: nano_u\nepochs: many\n", "line 2, .*epochs = 'many'", "epochs"),
        ("distillation:\n  alhpa: 1\n", r'line 2: unknown key "distillation.alhpa"', "alpha"),
        ("training:\n  a: &training.a\n    epochs: 3\n  b:\n    <<: *training.a\n", "line 5: <<", "extends"),
        ("[1, 2]\n", "is no old configuration", "batch_size"),
        ("speed: 3\n", 'line 1: unknown key "speed"', "model"),
    ],
)
def test_mistakes_have_their_line_and_write_nothing(tmp_path: Path, text: str, says: str, hint: str) -> None:
    (tmp_path / "old.yaml").write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        migrate_file(tmp_path / "old.yaml")
    assert hint in caught.value.hint


def test_a_file_is_not_replaced_unasked(tmp_path: Path) -> None:
    new = _migrate(tmp_path, FLAT)
    new.write_text("mine")
    arguments = ["migrate-config", str(tmp_path / "old.yaml"), "--output", str(new)]
    assert isinstance(CliRunner().invoke(cli, arguments).exception, ConfigError)
    assert new.read_text() == "mine"
    _migrate(tmp_path, FLAT, "--force")
    assert new.read_text() != "mine"
