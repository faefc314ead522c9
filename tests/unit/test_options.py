"""Every option of every command reads what anybody may write: bounded, in words, before any work.

The commands are those that click knows, so that a new one joins by itself. What they do with what they have read is
tests/property/option_soak.py's.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from unittest import mock

import click
import pytest

from nanou_deploy.cli import cli
from nanou_deploy.cli.interrupts import no_interrupt_lost
from nanou_deploy.cli.options import Output, Real
from nanou_deploy.cli.output import said_when_interrupted
from nanou_deploy.errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, DeployError
from tests.command_line import run
from tests.property.option_soak import cases_of, judge, line_of, write_oddities

COMMANDS = cli.list_commands(None)  # type: ignore[arg-type]


def types_of(parameter: click.Parameter) -> tuple[click.ParamType, ...]:
    return tuple(parameter.type.types) if isinstance(parameter.type, click.Tuple) else (parameter.type,)


@pytest.mark.parametrize("command", COMMANDS)
def test_numbers_are_bounded_on_both_sides(command: str) -> None:
    """And are numbers: NaN lies within every range of click's."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    for parameter in found.params:
        for kind in types_of(parameter):
            if isinstance(kind, click.IntRange | click.FloatRange):
                assert None not in (kind.min, kind.max), parameter.name
            assert not isinstance(kind, click.FloatRange) or isinstance(kind, Real), parameter.name
            assert kind is not click.INT, parameter.name
            assert kind is not click.FLOAT or (command, parameter.name) == ("prepare", "ratios"), parameter.name


@pytest.mark.parametrize("command", COMMANDS)
def test_every_value_is_read_or_refused_in_words(command: str, tmp_path: Path) -> None:
    """With the work left out: what remains is the reading. An option that takes a value is tried with some 35."""
    write_oddities(tmp_path)
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    with mock.patch.object(found, "callback", return_value=EXIT_OK):
        for case in cases_of(command):
            done = run(*line_of(case), cwd=tmp_path)
            judge(done, interrupted=False)
            assert done.returncode in (EXIT_OK, EXIT_ERROR, EXIT_USAGE), (case, done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "loop", "pipe"]


@pytest.mark.parametrize("size", ["60x80", "4096x1"])
def test_sizes(size: str, tmp_path: Path) -> None:
    assert "is no size" not in run("train", "--size", size, "--data", "absent", cwd=tmp_path).stderr


def test_an_output_takes_no_other_s_name(tmp_path: Path) -> None:
    """The folder itself, where the path has no name; and never the root."""
    (tmp_path / "run").mkdir()
    with mock.patch("nanou_train.training.train.train_model") as train:
        train.return_value = {"status": "failed", "error": "stopped here"}
        assert "stopped here" in run("train", "--output", ".", cwd=tmp_path / "run").stderr
    assert train.call_args.kwargs["output_dir"] / train.call_args.kwargs["run_name"] == tmp_path / "run"
    assert "root of all folders" in run("train", "--output", "/", cwd=tmp_path).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_no_output_takes_the_place_of_a_device(command: str) -> None:
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    for kind in (kind for parameter in found.params for kind in types_of(parameter)):
        if isinstance(kind, Output):
            with pytest.raises(DeployError, match="it is a device or pipe"):
                kind.convert("/dev/null", None, None)


def test_ctrl_c_in_a_finalizer_comes_again() -> None:
    class Closing:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    def close() -> None:
        Closing()
        signal.sigtimedwait({signal.SIGUSR2}, 5)

    with no_interrupt_lost(), pytest.raises(KeyboardInterrupt):
        close()


def test_whatever_a_library_makes_of_ctrl_c(tmp_path: Path) -> None:
    """TensorFlow's C code turns it into SystemError, or into an exception of its own."""
    found = cli.get_command(click.Context(cli), "boards")
    assert found is not None

    def convert(**_given: object) -> None:
        with suppress(KeyboardInterrupt), said_when_interrupted("all is as it was"):
            signal.raise_signal(signal.SIGINT)
        with said_when_interrupted("all is as it was"):
            raise SystemError("bad argument to internal function")

    with mock.patch.object(found, "callback", convert):
        done = run("boards", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (EXIT_INTERRUPTED, "interrupted: all is as it was\n")
