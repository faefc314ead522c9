"""The soak of hostile option values: every option of every command times values of every kind. For developers.

    python -m tests.property.option_soak --seconds 1 --command train --command verify

The commands are those that click knows, so that a new one joins by itself; each begins with words that let it do its
work (tests/unit/test_hostile_folder.py). A value is refused in words and with a documented exit code, or accepted; who
is still at work after `--seconds` is interrupted, and says so. Anything else is a failure: a traceback, a control
character on the terminal, a refusal or an answer to Ctrl-C that takes more than 5 s of processor time. Exit code 1 if
anything failed. `make test` tries how values are read, without the work.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from nanou_deploy.cli import cli
from nanou_deploy.cli.options import Output
from nanou_deploy.errors import EXIT_INTERRUPTED, EXIT_MISMATCH, EXIT_NOT_LINKED, EXIT_TOOL_MISSING, EXIT_USAGE
from tests.command_line import Finished, run
from tests.train.picture_files import write_drives
from tests.unit.test_hostile_folder import EXPERIMENT, QUICK, TRAINING, write_inputs

NUMBERS = (
    "-1", "0", "nan", "inf", "-inf", "1e400", "9" * 30, "9" * 5000, "1e-320", "0x10", "1_0", "\u0663", "", " ",
)  # fmt: skip
TEXTS = (
    "", " ", "-x", "--", "[/a]", "[red]x", "a\nb", "\x1b]0;t\x07\x1b[2J\x1b[31mr", "../x", "a b",
    "'\"$(x)`;\\", "%s%n{}",
    "x" * 300, "x" * 100_000, "\udcff", "o\u0308\u202e", "/dev/null", "/dev/full", "folder", "file", "loop", "pipe",
    "/", "small.tflite/x", ",", ",,a", "a=b=c", "0", "-1", "9" * 30, "http://[", "tcp://h:99999999",
    "exec:'",
)  # fmt: skip
KNOWN_CODES = (0, 1, EXIT_USAGE, EXIT_MISMATCH, EXIT_NOT_LINKED, EXIT_TOOL_MISSING, EXIT_INTERRUPTED)
ANSWER_S, WAIT_S = 5.0, 60.0  # of processor time; and in all, on a computer that has other work
Case = tuple[str, str, str]  # the command, the option (or the argument's place), the value


def words_of(command: str) -> list[str]:
    """A command line with which the command does its work, in the folder that `make_folder` makes."""
    named = {
        **{name: words for name, (words, _) in QUICK.items()},
        **{name: words for name, (words, _) in TRAINING.items()},
    }
    return named.get(command, [command])


def cases_of(command: str) -> Iterator[Case]:
    """Every option and argument that takes a value, times values of its kind, and of the other kind."""
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    for parameter in found.params:
        if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
            continue
        number = isinstance(parameter.type, click.types.IntParamType | click.types.FloatParamType)
        name = parameter.opts[-1] if isinstance(parameter, click.Option) else ""
        for value in (*NUMBERS, "x", "folder") if number else TEXTS:
            if isinstance(parameter.type, Output) and value == "/":  # root may write there
                continue
            yield command, name, value
        if parameter.nargs > 1:
            yield command, name, "nan"


def line_of(case: Case) -> list[str]:
    """The command line of a case: the option added, or put in place of what is there; an argument at its end."""
    command, name, value = case
    words = words_of(command)
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    if not name:
        return [*words[:1], *_options_of(found, words[1:]), "--", value]
    option = next(one for one in found.params if name in one.opts)
    return [*words, *[name, *[value] * option.nargs]]


def _options_of(command: click.Command, words: list[str]) -> list[str]:
    """The words without arguments, which take no option before them."""
    kept, rest = [], list(words)
    by_name = {name: one for one in command.params for name in one.opts if isinstance(one, click.Option)}
    while rest:
        word = rest.pop(0)
        if word in by_name:
            option = by_name[word]
            count = 0 if option.is_flag else option.nargs
            kept += [word, *rest[:count]]
            del rest[:count]
    return kept


def write_oddities(folder: Path) -> None:
    """What is no file that a command reads: a text, a folder, a link to itself, a pipe that nobody writes into."""
    (folder / "file").write_text("neither a model nor anything else\n")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")


def make_folder(folder: Path) -> None:
    """What commands read: pictures, a data set, a model, runs; and what is no file of theirs."""
    write_drives(folder, drives=5, frames=2, size=(24, 32))
    write_inputs(folder, EXPERIMENT.replace("    restarts: 2\n", ""))
    write_oddities(folder)
    needed = ("prepare", "generate", "build", "run", "train", "quantize", "pareto")
    for command in needed:
        done = run(*[word for word in words_of(command) if word != "pruned"], cwd=folder)
        assert done.returncode == 0, done


@contextmanager
def interrupted_after(seconds: float) -> Iterator[list[tuple[float, float]]]:
    """Ctrl-C after so long; gives when it came."""
    came: list[tuple[float, float]] = []

    def interrupt(*_: object) -> None:
        came.append(_now_s())
        signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield came
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def outcome(case: Case, folder: Path, seconds: float) -> str:
    """What becomes of a case. Raises AssertionError, or whatever the command raises that it should not."""
    begun = _now_s()
    with interrupted_after(seconds) as came:
        done = run(*line_of(case), cwd=folder)
    ended = _now_s()
    worked_s, waited_s = (end - start for end, start in zip(ended, came[0] if came else begun, strict=True))
    assert worked_s < ANSWER_S, (worked_s, done)
    assert waited_s < WAIT_S, (waited_s, done)
    return judge(done, interrupted=bool(came))


def _now_s() -> tuple[float, float]:
    return time.process_time(), time.monotonic()


def judge(done: Finished, *, interrupted: bool) -> str:
    """What a command has come to. Raises AssertionError."""
    assert done.returncode in KNOWN_CODES, done
    said = done.stdout + done.stderr
    assert "Traceback" not in said, done
    assert all(line.isprintable() for line in said.split("\n")), done
    assert all(Path("/dev", name).is_char_device() for name in ("null", "full")), done
    if done.returncode == EXIT_INTERRUPTED:
        assert interrupted, done
        assert "\ninterrupted" in f"\n{done.stderr}", done
        return "interrupted"
    if done.returncode in (1, EXIT_USAGE):
        assert "error: " in done.stderr or "none fits" in done.stdout, done  # which is a result
        assert len(done.stderr) < 20_000, done
        return "refused"
    return "done"


def soak(cases: list[Case], seconds: float) -> tuple[Counter[str], list[Case]]:
    """Outcomes, and the cases that failed. Each command has a folder of its own."""
    tally, failed = Counter[str](), list[Case]()
    with tempfile.TemporaryDirectory(prefix="nanou-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        make_folder(made)
        folder = Path(scratch) / "work"
        last = ""
        for case in cases:
            if case[0] != last:
                print(f"{case[0]} ({tally.total():,} values so far, {len(failed)} failures)", flush=True)
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(made, folder, symlinks=True, ignore=shutil.ignore_patterns("pipe"))
                os.mkfifo(folder / "pipe")
                last = case[0]
            try:
                tally[outcome(case, folder, seconds)] += 1
            except BaseException:
                failed.append(case)
                tally["FAILED"] += 1
                shown = case[0], case[1], case[2][:60]
                print(f"{shown}: {traceback.format_exc()[-3000:]}", file=sys.stderr, flush=True)
    return tally, failed


def main() -> int:
    commands = cli.list_commands(None)  # type: ignore[arg-type]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--command", action="append", choices=commands, help="Again for more; all without.")
    parser.add_argument("--option", help="This option alone.")
    parser.add_argument("--seconds", type=float, default=1.0, help="After which Ctrl-C comes.")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background commands ignore it
    cases = [case for command in options.command or commands for case in cases_of(command)]
    tally, failed = soak([case for case in cases if options.option in (None, case[1])], options.seconds)
    print(f"{tally.total():,} values of options, {len(failed)} failures")
    for what, count in tally.most_common():
        print(f"  {count:7,}  {what}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
