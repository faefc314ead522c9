"""A project's file: what it says, is asked for and is refused; and what `up` finds in place."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from codegen.tflite.files import save_model
from nanou_deploy.cli import cli, up_steps
from nanou_deploy.cli import init as init_module
from nanou_deploy.cli.project_file import KEYS, parse_project, read_project
from nanou_deploy.cli.up import STATE
from nanou_deploy.errors import EXIT_ERROR, EXIT_USAGE, DeployError
from nanou_deploy.resources import models_folder
from tests.command_line import run
from tests.conftest import REPOSITORY
from tests.generated import small_model
from tests.train.annotation_files import write_labelme

MODEL = models_folder() / "nano_u_terrain.tflite"


def test_every_key_is_the_default_of_options_that_there_are() -> None:
    for key in KEYS:
        for command, parameter in key.options.items():
            found = cli.get_command(click.Context(cli), command)
            assert found is not None, command
            assert parameter in {one.name for one in found.params}, (key.name, command)


# What parameters mean the same as a key, by their names; and why some of them take no default from it.
MEANING = {
    "model": {"model", "models", "run_folder", "parent"}, "board": {"board", "boards"}, "camera.size": {"camera"},
    "threshold": {"threshold"}, "from": {"start_from"}, "policy": {"policy"}, "camera.flip": {"flip"},
    "limits.ram": {"max_ram"},
    "limits.flash": {"max_flash"}, "limits.instructions": {"max_instructions"}, "experiment": {"experiment"},
    "experiments": {"config"}, "data.root": {"data"}, "data.group_by": {"group_by"}, "data.licence": {"licence"},
}  # fmt: skip
ANOTHERS = {
    "init": "writes the file",
    "import": "makes a model of another file",
    "describe": "changes the file that it is given",
    "cost": "compares networks on boards", "pareto": "compares runs on boards", "model-size": "sizes of any network",
    "label-assist": "a first model proposes, which need not be the project's",
    "bench-train": "measures a machine, not an experiment",
}  # fmt: skip
EXCEPT = {
    # The data of a run are in its manifest; of other models they are given.
    *((command, "data") for command in ("evaluate", "quantize", "prune", "search", "verify", "card", "experiment")),
    *((command, "group_by") for command in ("evaluate", "quantize", "card", "data-check")),  # prepared data know it
    ("bench", "boards"),  # of --compare
    ("card", "boards"),  # what is counted is recorded, so it is asked for
    ("card", "licence"),  # of any model; the project's is in its data set
    ("evaluate", "run_folder"),  # --model takes runs too
    ("quantize", "threshold"),  # goes into the model; the project's stands above the model's
}


def test_every_commands_parameters_take_what_the_file_says() -> None:
    keys = {key.name: key for key in KEYS}
    lacking, seen = [], set()
    for command in cli.list_commands(click.Context(cli)):
        found = cli.get_command(click.Context(cli), command)
        assert found is not None
        for name in [parameter.name or "" for parameter in found.params]:
            for key, names in MEANING.items():
                if name not in names or keys[key].options.get(command) == name:
                    continue
                if (command, name) in EXCEPT:
                    seen.add((command, name))
                elif command not in ANOTHERS:
                    lacking.append(f"{command}: {name} is not {key}")
    assert not lacking
    assert seen == EXCEPT


def test_the_guide_has_every_key_and_its_example_is_read() -> None:
    text = (REPOSITORY / "docs" / "PROJECT.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[a-z_.]+`(?:, )?)+) \|", text, re.MULTILINE)
    assert sorted(re.findall(r"`([a-z_.]+)`", " ".join(rows))) == sorted(key.name for key in KEYS)
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert parse_project(tomllib.loads(example)).trains


def test_no_key_names_a_port_a_program_or_a_password() -> None:
    named = {parameter for key in KEYS for parameter in key.options.values()}
    assert not named & {"port", "ports", "device", "storage", "force", "web", "bind"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bord = 'esp32s3'", "did you mean board"),
        ("board = true", "board is no text"),
        ("board = ''", "board is ''"),
        ('board = "a\\u001b[2J"', "board is 'a"),
        ("board = ['host']", "board is no text"),
        ("[data]\nports = '/dev/null'", "unknown key 'data.ports'"),
        ("[data]\nimages = 'a'\nmasks = 'b'", "data.root missing"),
        ("[data]\nimages = 'a'\nroot = 'b'", "data.masks missing"),
        ("[data]\nlabels = 'a'", "data.root missing"),
        ("[data]\nlabels = 'a'\nmasks = 'b'\nroot = 'c'", "both data.masks and data.labels"),
        ("[data.images]\nroot = 'a'", "data.images is no text"),
        ("board = 'a'\nboard = 'b'", "overwrite a value"),
        ("board = \nmodel = 'a'", "line 1"),
        ("a = " + "[" * 5000, "nanou.toml"),
        ("a" * (1 << 17), "more than 65,536 bytes"),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, said: str) -> None:
    """Before any command begins, and without what a terminal would act on."""
    (tmp_path / "nanou.toml").write_text(text)
    done = run("boards", cwd=tmp_path)
    assert done.returncode == EXIT_ERROR
    assert said in done.stderr
    assert "\x1b" not in done.stderr


def test_an_option_beats_the_file_and_the_file_the_default(tmp_path: Path) -> None:
    (tmp_path / "nanou.toml").write_text('model = "mine.tflite"\nboard = "rv32-qemu"\n')
    done = run("inspect", cwd=tmp_path)
    assert done.returncode == EXIT_ERROR
    assert "mine.tflite" in done.stderr.splitlines()[-1 if "try:" not in done.stderr else -2]
    assert "nanou.toml: model = mine.tflite\n" in done.stderr
    done = run("inspect", "--model", str(MODEL), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "nanou.toml: board = rv32-qemu\n")
    assert run("doctor", "--help", cwd=tmp_path).stderr == ""


def test_help_shows_what_the_file_says(tmp_path: Path) -> None:
    names = {key.name for key in KEYS} - {"data.images", "data.masks"}
    top, data, camera, limits = (
        "".join(f'{name.split(".")[-1]} = "what it says"\n' for name in sorted(names) if name.rpartition(".")[0] == own)
        for own in ("", "data", "camera", "limits")
    )
    (tmp_path / "nanou.toml").write_text(f"{top}[data]\n{data}[camera]\n{camera}[limits]\n{limits}")
    for command in cli.list_commands(click.Context(cli)):
        text = " ".join(run(command, "--help", cwd=tmp_path).stdout.split())
        assert " at 0x" not in text, command
        if command in ("build", "verify", "train", "search"):
            assert "[default: what it says, of nanou.toml" in text, command


def test_a_model_made_elsewhere_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "nanou.toml").write_text('model = "mine.tflite"\n')
    assert run("quantize", cwd=tmp_path).returncode == EXIT_USAGE  # and train would go into a folder of that name


def test_init_finds_what_is_here_and_writes_what_it_reads(tmp_path: Path) -> None:
    for name in ("pictures", "masks"):
        (tmp_path / name).mkdir()
    done = run("init", "--yes", "--group-by", r"^drive\d+", "--max-ram", "8KB", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = read_project(tmp_path / "nanou.toml")
    assert project is not None
    assert project.values["data.group_by"] == r"^drive\d+"
    assert (project.values["data.images"], project.values["data.masks"]) == ("pictures", "masks")
    text = (tmp_path / "nanou.toml").read_text()
    again = run("init", "--yes", cwd=tmp_path)
    assert again.returncode == EXIT_ERROR
    assert "is there already" in again.stderr
    assert (tmp_path / "nanou.toml").read_text() == text


def test_labels_of_a_tool_become_the_data_set(tmp_path: Path) -> None:
    write_labelme(tmp_path / "photos")
    done = run("init", "--yes", "--drivable", "trail, grass", "--ignore", "unsure", "--board", "host", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    project = read_project(tmp_path / "nanou.toml")
    assert project is not None
    assert (project.values["data.images"], project.values["data.labels"]) == ("photos", "photos")
    assert project.values["from"] == "offroad"  # three pictures teach nothing by themselves
    done = run("prepare", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "LabelMe: 3 pictures; grass is drivable, trail is drivable" in done.stdout
    assert run("prepare", "--masks", "photos", cwd=tmp_path).returncode == EXIT_USAGE  # drivable is of labels
    assert up_steps.steps_of(project)[0].name == "data"


def test_few_pictures_begin_with_the_shipped_student(tmp_path: Path) -> None:
    for name in ("pictures", "masks"):
        (tmp_path / name).mkdir()
    proposed = {}
    for count in (0, init_module.FEW_PICTURES - 1, init_module.FEW_PICTURES):
        for number in range(count):
            (tmp_path / "pictures" / f"{number}.png").touch()
        done = run("init", "--yes", "--board", "host", "--json", cwd=tmp_path)
        proposed[count] = json.loads(done.stdout)["values"].get("from")
        (tmp_path / "nanou.toml").unlink()
    assert list(proposed.values()) == [None, "offroad", None]
    for options, expected in ((("--from", "nothing"), None), (("--from", "offroad"), "offroad")):
        done = run("init", "--yes", "--board", "host", *options, "--json", cwd=tmp_path)
        assert json.loads(done.stdout).get("values", {}).get("from") == expected
        (tmp_path / "nanou.toml").unlink(missing_ok=True)


@pytest.mark.parametrize("name", ['a"b', "a'b\\c", "naïve ☃", "a # b", "[a]", "x" * 1024])
def test_any_printable_value_is_written_and_read(name: str) -> None:
    values = {"board": "host", "model": name}
    assert dict(parse_project(tomllib.loads(init_module.render(values))).values) == values


@pytest.mark.parametrize("option", [("--board", "esp32s4"), ("--camera", "big"), ("--images", "no"), ("--data", "no")])
def test_init_refuses_what_a_command_would(tmp_path: Path, option: tuple[str, str]) -> None:
    done = run("init", "--yes", *option, cwd=tmp_path)
    assert done.returncode in (EXIT_ERROR, EXIT_USAGE)
    assert option[1] in done.stderr
    assert not (tmp_path / "nanou.toml").exists()


def test_init_warns_of_a_folder_where_nothing_can_be_linked(tmp_path: Path) -> None:
    for folder, board, warns in (
        ("my robot", "esp32cam", True),
        ("other robot", "host", False),
        ("robot", "esp32cam", False),
    ):
        (tmp_path / folder).mkdir()
        done = run("init", "--yes", "--board", board, cwd=tmp_path / folder)
        assert (done.returncode, "has a space" in done.stderr) == (0, warns), done.stderr


def test_init_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(init_module, "_in_terminal", lambda: True)
    for name in ("photos", "truth"):
        (tmp_path / name).mkdir()
    answers = "photos\ntruth\n\nesp32c4\nesp32c3\naccurate\n\nruns/rover\n"
    done = CliRunner().invoke(cli, ["init"], input=answers, standalone_mode=False)
    assert done.exception is None, done.output
    project = read_project()
    assert project is not None
    assert project.values == {
        "board": "esp32c3", "experiment": "accurate", "model": "runs/rover", "data.images": "photos",
        "data.masks": "truth", "data.root": f"data/{init_module._name()}",
    }  # fmt: skip


def test_up_does_what_is_not_done_yet(tmp_path: Path) -> None:
    """A model that was made elsewhere, on this computer: one step."""
    save_model(small_model(), tmp_path / "mine.tflite")
    (tmp_path / "nanou.toml").write_text('model = "mine.tflite"\nboard = "host"\n')

    def up(*more: str) -> list[tuple[str, str]]:
        done = run("up", "--json", *more, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return [(one["outcome"], one["reason"]) for one in json.loads(done.stdout)["steps"]]

    assert up("--dry-run") == [("to do", "there is no build/host yet")]
    assert not (tmp_path / "build").exists()
    assert up() == [("made", "there is no build/host yet")]
    assert up() == [("in place", "")]
    (tmp_path / "nanou.toml").write_text('model = "mine.tflite"\nboard = "host"\n[limits]\nram = "8KB"\n')
    assert up("--dry-run") == [("to do", "what build/host was made of has changed")]
    (tmp_path / STATE).write_text("[]")
    assert up("--dry-run") == [("to do", "build/host was not made by `up`")]


def test_up_keeps_a_run_that_is_no_longer_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(up_steps, "_is_complete", lambda run: (run / "manifest.json").is_file())
    training = up_steps.steps_of(parse_project({"model": "runs/mine", "board": "host"}))[0]
    for content in ("first", "second"):
        Path("runs/mine").mkdir(parents=True)
        Path("runs/mine/manifest.json").write_text(content)
        training.prepare(training.made())
        assert not Path("runs/mine").exists()
    assert [Path(f"runs/mine-{number}/manifest.json").read_text() for number in (1, 2)] == ["first", "second"]
    Path("runs/mine").mkdir()
    Path("runs/mine/manifest.json").write_text("by hand")
    training.prepare("of another")
    assert Path("runs/mine/manifest.json").read_text() == "by hand"  # `train` says what to do with it


def test_pictures_are_watched_by_name_size_and_time_and_results_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    listed, read = up_steps.listing(tmp_path), up_steps.content(tmp_path)
    (tmp_path / "a.png").touch()
    assert up_steps.content(tmp_path) == read
    assert up_steps.listing(tmp_path) != listed or (tmp_path / "a.png").stat().st_mtime_ns == 0
    (tmp_path / "b.png").write_bytes(b"1")
    assert up_steps.content(tmp_path) != read
    assert up_steps.content(tmp_path / "none") == up_steps.listing(tmp_path / "none") == ""


def test_up_says_what_the_file_lacks(tmp_path: Path) -> None:
    assert "nanou-deploy init" in run("up", cwd=tmp_path).stderr
    (tmp_path / "nanou.toml").write_text('board = "host"\n')
    assert "says nothing of model" in run("up", cwd=tmp_path).stderr
    with pytest.raises(DeployError, match="board"):
        up_steps.steps_of(parse_project({"model": "a"}))


@pytest.mark.parametrize(
    ("folder", "name"), [("My Gärten 車", "my_garten"), ("車", "mine"), ("a  b--c", "a_b_c"), ("x" * 60, "x" * 40)]
)
def test_a_run_is_called_after_its_folder(
    folder: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    assert init_module._name() == name
