"""The user's folder outlives builds, exchanges and `clean`; numbers of the policy are typed and bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from codegen.library import write
from codegen.library.render import with_manifest
from codegen.library.write import write_project
from nanou_deploy.boards.boards import BOARDS, find_board
from nanou_deploy.build.drive_config import DriveConfig, Policy, parse_policy, render_app_config
from nanou_deploy.build.user_folder import MOTORS, make_user_folder, path_from, user_sources
from nanou_deploy.errors import EXIT_USAGE, DeployError
from tests.command_line import run


def project(text: str) -> object:
    return with_manifest({"src/main.c": text}, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a user's folder that has been worked on."""
    folder = tmp_path / "project"
    write_project(project("1"), folder)
    make_user_folder(folder / "user", find_board("esp32cam"), "two_pwm")
    (folder / "user" / "motors.c").write_text("mine")
    (folder / "user" / "notes").mkdir()
    return folder


def listing(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("force", [False, True])
def test_a_new_project_takes_the_old_ones_place_around_it(folder: Path, force: bool) -> None:
    before, number = listing(folder / "user"), (folder / "user").stat().st_ino
    assert write_project(project("2"), folder, force=force)
    assert (folder / "src" / "main.c").read_text() == "2"
    assert listing(folder / "user") == before
    assert (folder / "user" / "notes").is_dir()
    assert (folder / "user").stat().st_ino == number  # an editor's open folder stays the one it is
    assert not write_project(project("2"), folder)  # unchanged: it is no part of the project


@pytest.mark.parametrize("step", ["_copy_durably", "_exchange", "_swap", "_carry_over"])
def test_it_is_there_whenever_writing_ends(folder: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each step, and after it; what an editor saves meanwhile stays, too."""
    before = listing(folder / "user")
    sound = getattr(write, step)

    def end(*arguments: Path) -> None:
        assert listing(folder / "user") == before
        sound(*arguments)
        assert listing(folder / "user") == before
        raise KeyboardInterrupt

    monkeypatch.setattr(write, step, end)
    with pytest.raises(KeyboardInterrupt):
        write_project(project("2"), folder)
    assert listing(folder / "user") == before


def test_what_is_saved_meanwhile_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = write._copy_durably

    def copy(*folders: Path) -> None:
        sound(*folders)
        (folder / "user" / "motors.c").write_text("saved")

    monkeypatch.setattr(write, "_copy_durably", copy)
    write_project(project("2"), folder)
    assert (folder / "user" / "motors.c").read_text() == "saved"


@pytest.mark.parametrize("options", [[], ["--force"]])
def test_clean_leaves_it(folder: Path, options: list[str]) -> None:
    before = listing(folder / "user")
    done = run("clean", str(folder.parent), *options, cwd=folder.parent)
    assert done.returncode == 0
    assert "it is yours" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["user"]
    assert listing(folder / "user") == before
    assert write_project(project("2"), folder)
    assert listing(folder / "user") == before


def test_it_is_made_once(tmp_path: Path) -> None:
    board = find_board("esp32cam")
    for motors in MOTORS:
        assert make_user_folder(tmp_path / motors, board, motors)
        assert (tmp_path / motors / "motors.c").read_text() == (tmp_path / motors / f"examples/{motors}.c").read_text()
        assert {path.stem for path in user_sources(tmp_path / motors)} == {"motors", "policy", "tasks"}
    (tmp_path / "log" / "motors.c").unlink()
    assert not make_user_folder(tmp_path / "log", board, "two_pwm")
    assert not (tmp_path / "log" / "motors.c").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(MOTORS)
    with pytest.raises(DeployError, match="no C file"):
        user_sources(tmp_path)


@pytest.mark.parametrize("board", [name for name, board in BOARDS.items() if board.kind == "hardware"])
def test_pins_are_of_the_board(board: str, tmp_path: Path) -> None:
    make_user_folder(tmp_path / "user", find_board(board))
    header = (tmp_path / "user" / "user.h").read_text()
    assert f"made once for {board}" in header
    assert "LEFT_PIN            -" not in header


def test_a_project_says_where_it_is(tmp_path: Path) -> None:
    assert path_from(tmp_path / "build" / "esp32", tmp_path / "build" / "esp32" / "user") == "user"
    assert path_from(tmp_path / "build" / "esp32", tmp_path / "user") == "../../user"


@pytest.mark.parametrize(
    "settings",
    [
        {"go": "1001"},
        {"go": "-1"},
        {"go": "7e2"},
        {"go": "٣"},
        {"go": "500"},  # below stop
        {"turn": "50"},  # below straight
        {"start_pictures": "0"},
        {"stale_ms": "600"},  # not below hold_ms
        {"hold_ms": "99999999999999999999"},
        {"speed": "1"},
    ],
)
def test_a_policy_is_typed_and_bounded(settings: dict[str, str]) -> None:
    with pytest.raises(DeployError) as raised:
        parse_policy(settings)
    assert raised.value.hint


def test_numbers_become_a_header() -> None:
    policy = parse_policy({"go": "650", "stop": "500", "hold_ms": "800"})
    assert policy == Policy(go=650, stop=500, hold_ms=800)
    header = render_app_config(DriveConfig(policy, "vertical"))
    for line in ("APP_GO_PERMILLE   650", "APP_HOLD_US  800000u", "APP_FLIP_VERTICAL   1", "APP_FLIP_HORIZONTAL 0"):
        assert f"#define {line}\n" in header


@pytest.mark.parametrize("command", ["build", "run"])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--policy", "go=5000"], "go=5000"),
        (["--policy", "go"], "'go'"),
        (["--policy", "stop=800"], "stop is larger than go"),
        (["--flip", "sideways"], "sideways"),
        (["--motors", "legs"], "legs"),
        (["--user", "build/host"], "build/host"),
        (["--user", "build/host/nanou_model"], "build/host/nanou_model"),
    ],
)
def test_wrong_options_are_usage_errors(command: str, options: list[str], named: str, tmp_path: Path) -> None:
    done = run(command, "--board", "host", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (EXIT_USAGE, "")
    assert named in done.stderr
    assert not list(tmp_path.iterdir())
