"""Experiment files: inheritance, overrides, and errors that name the place and the near names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nanou_train.errors import ConfigError
from nanou_train.experiments.experiment_file import DEFAULT_CONFIG, experiment_names, load_experiment
from nanou_train.experiments.keys import as_config, flat, sweep_points
from nanou_train.networks.architectures import PRESETS, ModelConfig


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "experiments.yaml"
    path.write_text(text)
    return path


def test_shipped_experiments_are_valid_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = experiment_names()
    assert {"default", "demo", "quick_test"} <= set(names)
    presets = {name: load_experiment(DEFAULT_CONFIG, name).student.preset for name in names}
    assert {name: presets[name] for name in ("default", "demo", "accurate_nano_u", "good", "accurate", "u_net")} == {
        "default": "nano_u", "demo": "nano_u", "accurate_nano_u": "nano_u",
        "good": "nano_u_wide", "accurate": "nano_u_wide", "u_net": "nano_u_skips",
    }  # fmt: skip


def test_children_override_parents_and_arguments_override_both(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "experiments:\n  a: {epochs: 3, alpha: 0.5}\n  b: {extends: a, epochs: 4}\n  c: {extends: b, batch_size: 2}\n",
    )
    config = load_experiment(path, "c", {"alpha": 0.9})
    assert (config.student.epochs, config.student.batch_size, config.distillation.alpha) == (4, 2, 0.9)


def test_a_file_of_ones_own_extends_shipped_experiments(tmp_path: Path) -> None:
    """And an experiment of the file hides the shipped one of its name, but not from shipped ones."""
    path = _write(tmp_path, "experiments: {mine: {extends: demo, epochs: 3}, terrain: {extends: mine, batch_size: 4}}")
    shipped, mine, own = (
        load_experiment(DEFAULT_CONFIG, "demo"),
        *(load_experiment(path, n) for n in ("mine", "terrain")),
    )
    assert mine == shipped.model_copy(update={"student": shipped.student.model_copy(update={"epochs": 3})})
    assert (own.student.epochs, own.student.batch_size, own.data) == (3, 4, shipped.data)
    with pytest.raises(ConfigError, match='no experiment "demo"'):  # to train a shipped one takes no file
        load_experiment(path, "demo")


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("experiments: {demo: {epoch: 3}}", 'unknown key "epoch"', "epochs"),
        ("experiments: {dmeo: {epochs: 3}}", 'no experiment "demo"', "dmeo"),
        ("experiments: {demo: {extends: bse}, base: {}}", 'no experiment "bse" .which "demo" extends', "base"),
        ("experiments: {demo: {extends: b}, b: {extends: demo}}", "demo extends b extends demo: a cycle", "remove"),
        ("experiments: {demo: {epochs: 0}}", "epochs = 0", "epochs"),
        ("experiments: {demo: {alpha: 1.5}}", r"alpha = 1\.5", "alpha"),
        ("experiments: {demo: {augment: strong}}", "augment = 'strong'", "augment"),
        ("experiments: {demo: {activation_ranges: fixed}}", "activation_ranges = 'fixed'", "activation_ranges"),
        ("experiments: {demo: {epochs: many}}", "epochs = 'many'", "epochs"),
        ("experiments: {demo: {terrain: {trian: 3}}}", r"terrain\.trian", "train"),
        ("experiments: {demo: {model_name: nano}}", "model_name = 'nano': no model preset", "nano_u"),
        ("experiments: {demo: {model: {architecture: nano_u, filters: []}}}", r"model\.filters", "model"),
        ("experiments: {demo: {model: {architecture: vgg}}}", r"model\.architecture = 'vgg'", "model"),
        ("experiments: {demo: {input_size: [48]}}", r"input_size", "input_size"),
        ("experiments: {demo: {input_channels: 4}}", r"input_channels = 4", "input_channels"),
        ("experiments: {demo: {strategy: all}}", r"strategy = 'all'", "strategy"),
        ("experiments: {demo: [1]}", "is no mapping", "KEY"),
        ("experiments: [", "line 1: not YAML", "line"),
        ("other: 1", "has no experiments", "experiments"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, says: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_experiment(_write(tmp_path, text), "demo")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        (
            "experiments:\n  demo:\n    epochs: 3\n    epoch: 3\n",
            r'yaml, line 4, experiment "demo": unknown key',
            "epochs",
        ),
        ("experiments:\n  a:\n    alpha: 2\n  demo: {extends: a}\n", r'line 3, experiment "a": alpha = 2', "at most 1"),
        ("experiments:\n  demo:\n    extends: bse\n  base: {}\n", r'line 3: no experiment "bse"', "base"),
        (
            "experiments:\n  demo:\n    extends: b\n  b:\n    extends: demo\n",
            "line 5: demo extends b extends",
            "remove",
        ),
        ("experiments:\n  demo:\n    terrain:\n      train: 8\n      vel: 4\n", r"line 5, .*terrain\.vel", "val"),
        ("experiments:\n  demo:\n    constraints: {min_iou: 1}\n", r"line 3, .*constraints\.min_iou", "min_miou"),
        ("experiments:\n  demo: {}\n  demo: {}\n", r'line 3: not YAML: found duplicate key "demo"', "correct"),
        ("experiments:\n  demo:\n    <<: *training.standard\n", "line 3: <<", "extends"),
        ("experiments:\n  a: &a {}\n  demo:\n    <<: *a\n", "line 4: <<", "extends"),
        ("experiments:\n  demo: {}\nexperiment: {}\n", 'line 3: unknown key "experiment"', "experiments:"),
        ("training:\n  demo: {}\n", "line 1: unknown key .*has no experiments", "migrate-config"),
        ("experiments:\n  demo: &a\n    terrain: *a\n", r"line 3: \*a", "write the values out"),
        ("experiments:\n  demo:\n    model_name: nano\n", "line 3, .*model_name = 'nano': no model preset", "nano_u"),
        ("experiments:\n  demo:\n    sweep: {alpha: [0.1, 7]}\n", r"line 3, .*sweep .*alpha = 7", "alpha"),
        ("experiments:\n  demo:\n    sweep: {alpah: [1]}\n", r'line 3, .*sweep: unknown key "alpah"', "alpha"),
        ("experiments:\n  demo:\n    sweep: {alpha: []}\n", r"line 3, .*sweep = ", "KEY: [VALUE"),
        ("experiments:\n  demo:\n    sweep: [{sweep: [{epochs: 1}]}]\n", "line 3, .*a sweep within a sweep", "outer"),
    ],
)
def test_mistakes_have_their_line(tmp_path: Path, text: str, says: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_experiment(_write(tmp_path, text), "demo")
    assert hint in caught.value.hint


NESTED = """\
experiments:
  base:
    student:
      epochs: 7
      plateau: {factor: 0.3}
      network: {architecture: nano_u, filters: [4], bottleneck: 8}
    distillation: {enabled: false}
    run: {logs: {folder: logs}}
  child: {extends: base, student: {learning_rate: 0.2}, run: {logs: {batches: true}}}
"""
DOTTED = """\
experiments:
  child:
    student.epochs: 7
    student: {learning_rate: 0.2}
    student.plateau.factor: 0.3
    student.network: {architecture: nano_u, filters: [4], bottleneck: 8}
    distillation.enabled: no
    run: {logs.folder: logs, logs.batches: yes}
"""
FLAT = """\
experiments:
  base: {model_name: nano_u, epochs: 7, plateau_factor: 0.3, use_distillation: false, log_dir: logs}
  child:
    extends: base
    model: {architecture: nano_u, filters: [4], bottleneck: 8}
    learning_rate: 0.2
    verbose_logging: true
"""


def test_a_key_means_the_same_however_it_is_spelled(tmp_path: Path) -> None:
    """Nested, dotted or by its short name: one experiment, one description in manifests."""
    nested, dotted, flat_keys = (load_experiment(_write(tmp_path, text), "child") for text in (NESTED, DOTTED, FLAT))
    assert nested == dotted == flat_keys
    assert nested.recorded() == flat_keys.recorded()
    assert (nested.student.epochs, nested.student.learning_rate, nested.run.logs.batches) == (7, 0.2, True)
    assert as_config(flat(nested)) == as_config(nested.model_dump()) == nested  # as older and newer manifests say it


def test_overrides_and_sweeps_take_every_spelling(tmp_path: Path) -> None:
    path = _write(tmp_path, NESTED)
    grids: list[dict[str, Any]] = [{"epochs": [9]}, {"student.epochs": [9]}, {"student": {"epochs": [9]}}]
    changes: list[dict[str, Any]] = [{"epochs": 9}, {"student.epochs": 9}, {"student": {"epochs": 9}}]
    for grid, change in zip(grids, changes, strict=True):
        assert load_experiment(path, "child", change).student.epochs == 9
        for sweep in (grid, [change]):
            assert sweep_points(load_experiment(path, "child", {"sweep": sweep})) == ({"student.epochs": 9},)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ("epochs: 3\n    student: {epochs: 3}", r"line 4, .*: epochs and student\.epochs are the same key"),
        ("student: {epochs: 3}\n    student.epochs: 4", r"line 4, .*student\.epochs and student\.epochs are the same"),
        ("student:\n      epoch: 3", r'line 4, .*unknown key "student\.epoch"'),
        ("student:\n      model_name: nano_u", r'line 4, .*unknown key "student\.model_name"'),
        ("student:\n      plateau:\n        factor: 2", r"line 5, .*student\.plateau\.factor = 2"),
        ("student: 3", "line 3, .*student = 3, but student is a section"),
        ("run:", "line 3, .*run = None, but run is a section"),
        ("student:\n      epochs:", r"line 4, .*student\.epochs = None"),
        ("student: {epochs: '3'}", r"line 3, .*student\.epochs = '3'"),
        ("student: {epochs: 3.0}", r"line 3, .*student\.epochs = 3\.0"),
        ("student: {epochs: true}", r"line 3, .*student\.epochs = True"),
        ("student: {epochs: 9999999999}", r"line 3, .*student\.epochs = 9999999999"),
        ("distillation: {enabled: 1}", r"line 3, .*distillation\.enabled = 1"),
        ("student: {learning_rate: .nan}", "line 3: nan is no number"),
        ("student: {start_from: 2020-01-01}", "line 3: 2020-01-01 is a date"),
        ('run: {output_dir: "a\\0b"}', r"line 3, .*run\.output_dir = .*no file"),
        ("teacher: 3", "line 3, .*teacher = 3"),
        ("teacher: a.keras\n    teacher_weights: b.keras", "line 4, .*teacher and teacher_weights are the same key"),
        ("sweep: {run: {restarts: 2}}", "line 3, .*sweep = .*no values to try"),
    ],
)
def test_mistakes_in_sections_have_their_line(tmp_path: Path, keys: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        load_experiment(_write(tmp_path, f"experiments:\n  demo:\n    {keys}\n"), "demo")
    assert caught.value.hint


def test_a_teacher_is_a_section_a_path_or_a_network(tmp_path: Path) -> None:
    network = "{architecture: bu_net, filters: [4], bottleneck: 4}"
    for text, same in (
        ("a.keras", {"teacher_weights": "a.keras"}),
        ("{weights: a.keras, epochs: 3}", {"teacher_weights": "a.keras", "teacher_epochs": 3}),
        (network, {"teacher.network": {"architecture": "bu_net", "filters": [4], "bottleneck": 4}}),
    ):
        path = _write(tmp_path, f"experiments: {{demo: {{teacher: {text}}}}}")
        assert load_experiment(path, "demo") == as_config(same)
    swept = load_experiment(_write(tmp_path, "experiments: {demo: {sweep: {teacher: [a.keras, b.keras]}}}"), "demo")
    assert [*swept.sweep] == ["teacher.weights"]


def test_a_sweep_of_billions_is_refused_by_its_count(tmp_path: Path) -> None:
    values = [number / 10_000 for number in range(1, 2001)]
    sweep = {"learning_rate": values, "alpha": values, "blend": values}
    with pytest.raises(ConfigError, match=r"line 1, .*a sweep of 8,000,000,000 runs"):
        load_experiment(_write(tmp_path, f"experiments: {{demo: {{sweep: {sweep}}}}}"), "demo")


def test_a_mistaken_override_is_no_fault_of_the_file(tmp_path: Path) -> None:
    path = _write(tmp_path, "experiments:\n  demo: {epochs: 3}\n")
    with pytest.raises(ConfigError, match=r'experiment "demo" of .*yaml, as changed: unknown key "epoch"'):
        load_experiment(path, "demo", {"epoch": 3})


def test_sweeps_are_grids_or_lists(tmp_path: Path) -> None:
    text = "experiments: {a: {sweep: {alpha: [0.1, 0.9], epochs: [1, 2]}}, b: {sweep: [{epochs: 3}, {alpha: 0.5}]}}"
    path = _write(tmp_path, text)
    assert sweep_points(load_experiment(path, "a")) == (
        {"distillation.alpha": 0.1, "student.epochs": 1},
        {"distillation.alpha": 0.1, "student.epochs": 2},
        {"distillation.alpha": 0.9, "student.epochs": 1},
        {"distillation.alpha": 0.9, "student.epochs": 2},
    )
    assert sweep_points(load_experiment(path, "b")) == ({"student.epochs": 3}, {"distillation.alpha": 0.5})


def test_a_manifest_names_no_place_and_watching_decides_nothing() -> None:
    config = as_config({"output_dir": Path("elsewhere"), "use_nas": True})
    assert "output_dir" not in config.recorded()["run"]
    assert config.recorded()["run"]["nas"]["enabled"] is True
    assert config.deciding() == as_config({}).deciding()
    assert as_config({"alpha": 0.5}).deciding() != config.deciding()


def test_a_bare_off_and_the_former_truth_values_mean_a_strength(tmp_path: Path) -> None:
    for text, strength in (("off", "off"), ("true", "light"), ("false", "off"), ("full", "full")):
        path = _write(tmp_path, f"experiments: {{demo: {{augment: {text}}}}}")
        assert load_experiment(path, "demo").data.augment == strength


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*absent\.yaml"):
        load_experiment(tmp_path / "absent.yaml", "demo")


def test_networks_by_mapping_take_the_input_of_the_experiment(tmp_path: Path) -> None:
    text = "model: {architecture: nano_u, filters: [4, 8], bottleneck: 8}, teacher_name: bu_net_small"
    path = _write(tmp_path, f"experiments: {{demo: {{{text}, input_size: [36, 48], input_channels: 1}}}}")
    config = load_experiment(path, "demo")
    assert config.network("student", 3) == ModelConfig("nano_u", (36, 48, 1), (4, 8), 8, True, 3)
    assert config.network("teacher", 2) == replace(PRESETS["bu_net_small"], input_shape=(36, 48, 1))
    assert load_experiment(path, "demo", {"model": None}).network("student", 2).filters == PRESETS["nano_u"].filters
