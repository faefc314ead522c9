"""Print: results on stdout, progress on stderr, errors in two lines, JSON objects that name their schema and version.

Every word on its way to a terminal passes here, and here alone is decided about colour, width and tables. Control
characters are escaped, since names and messages may be a stranger's; nothing is taken for markup.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import math
import os
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from codegen.untrusted import printable, printable_lines
from nanou_deploy.errors import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE, INTENDED_ERRORS, DeployError, IntendedError

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_COLUMNS = 160  # where no terminal sets the width
_GAP = "  "  # between columns of a table
_MOST_CHARACTERS = 6000  # of an error, which may quote a stranger's file
GOES_ON = object()  # a click context's obj, where one command is followed by others


# ---- Terminals -------------------------------------------------------------------------------------------------


def prepare_streams() -> None:
    """Make stdout and stderr write what their encoding lacks as an escape instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")


def abandon_stdout() -> None:
    """Write nothing more there: what is left in the buffer would fail again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def columns_of(stream: TextIO) -> int | None:
    """Return the width of the terminal behind a stream, None where there is none. $COLUMNS overrides it."""
    if not stream.isatty():
        return None
    if os.environ.get("COLUMNS", "").isdecimal():
        return max(20, int(os.environ["COLUMNS"]))
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def is_coloured(stream: TextIO) -> bool:
    """Whether a stream is a terminal that may get colours: https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def make_console(stream: TextIO) -> Console:
    """Make a console of rich's that does what this module decides."""
    from rich.console import Console

    return Console(
        file=stream,
        width=columns_of(stream) or _PIPE_COLUMNS,
        color_system="standard" if is_coloured(stream) else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _write(text: str, stream: TextIO, *, label: str = "", wrap: bool = True, **style: Any) -> None:
    """Print a line, broken between words where a terminal would break it anywhere; only the label gets the style."""
    width = columns_of(stream)
    text = printable(f"{label}{text}")
    if wrap and width is not None and len(text) > width:
        indent = " " * (len(label) or len(text) - len(text.lstrip()))
        text = textwrap.fill(
            text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False, tabsize=1
        )
    if style and is_coloured(stream):
        styled = len(label) or len(text)
        text = click.style(text[:styled], **style) + text[styled:]
    click.echo(text, file=stream, color=True)


def say(text: str = "", *, label: str = "", **style: Any) -> None:
    """Print a line of a result on stdout; `style` is click's, for terminals: of the label alone where there is one."""
    _write(text, sys.stdout, label=label, **style)


def note(text: str, **style: Any) -> None:
    """Print a line on stderr."""
    _write(text, sys.stderr, **style)


def progress(message: str) -> None:
    """Print a line of progress on stderr."""
    note(f"  {message}", fg="bright_black")


def remark(message: str) -> None:
    """Print what the user has to know of a result that is no error, on stderr."""
    note(f"note: {message}", fg="yellow")


class _LogLines(logging.Handler):
    """What the library has to say, each line once, as progress or as a warning on stderr."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if message not in self._said:
            self._said.add(message)
            (warn if record.levelno >= logging.WARNING else progress)(message)


def show_log() -> None:
    """Print on stderr what nanou_train and nanou_deploy log from INFO on."""
    handler = _LogLines()
    for name in ("nanou_train", "nanou_deploy"):
        logger = logging.getLogger(name)
        if not any(isinstance(one, _LogLines) for one in logger.handlers):
            logger.setLevel(logging.INFO)
            logger.addHandler(handler)
            logger.propagate = False


def heading(message: str) -> None:
    """Print the heading of a stage on stderr."""
    note(message, bold=True)


def warn(message: str) -> None:
    """Print on stderr what is not as it might be expected."""
    note(f"warning: {message}", fg="yellow")


def next_step(*command: object) -> None:
    """Print the command that comes next, quoted, so that it runs as printed; not where `up` goes on by itself."""
    context = click.get_current_context(silent=True)
    if context is not None and context.obj is GOES_ON:
        return
    _write(f"next: {shlex.join(map(str, command))}", sys.stdout, wrap=False)


# ---- JSON ------------------------------------------------------------------------------------------------------


def emit_json(schema: str, content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout. `schema` is "command/version". What is no number becomes null."""
    document = _finite({"schema": f"nanou-deploy/{schema}", **content})
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _finite(value: Any) -> Any:
    """Plain data of JSON's types; RFC 8259 has no NaN and no infinity."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key) if isinstance(key, Path) else key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _finite(dataclasses.asdict(value))
    if hasattr(value, "item"):
        return _finite(value.item())
    raise TypeError(f"{type(value).__name__} has no JSON form")


# ---- Tables ----------------------------------------------------------------------------------------------------


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[int] = ()) -> None:
    """Print a table on stdout, numbers in the columns `right`.

    Nothing in it is ever broken: columns for which a terminal has no room go below their row, by name.
    """
    from rich.cells import cell_len

    numbers, cells = set(right), [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *cells, strict=True)]
    room, used, inside = columns_of(sys.stdout), -len(_GAP), list[int]()
    for number, width in enumerate(widths):
        if room is None or used + len(_GAP) + width <= room:
            used += len(_GAP) + width
            inside.append(number)

    def line(row: Sequence[str]) -> str:
        padded = ((row[i], " " * (widths[i] - cell_len(row[i])), i in numbers) for i in inside)
        return _GAP.join(space + text if is_number else text + space for text, space, is_number in padded).rstrip()

    below = [i for i in range(len(columns)) if i not in inside]
    say()
    say(line(columns), bold=True)
    say("─" * used)
    for row in cells:
        say(line(row))
        if told := [f"{columns[i]}: {row[i]}" for i in below if row[i]]:
            say(f"    {'; '.join(told)}")
    say()


# ---- Errors ----------------------------------------------------------------------------------------------------


def fail(error: Exception) -> int:
    """Report an intended error and return its exit code; anything else is a defect and keeps its traceback."""
    reported: Exception | IntendedError = _of_the_system(error)
    if not isinstance(reported, INTENDED_ERRORS):
        raise error
    code = reported.exit_code if isinstance(reported, DeployError) else EXIT_ERROR
    _report(str(reported), reported.hint, code)
    return code


def fail_usage(error: click.ClickException) -> int:
    """Report a wrong command line, as `fail` does, and return the exit code."""
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path} --help" if context else ""
    code = EXIT_USAGE if isinstance(error, click.UsageError) else EXIT_ERROR
    _report(error.format_message(), hint, code)
    return code


def interrupted(error: BaseException) -> int:
    """Say that the user ended the command, and what it leaves if it says so; return the exit code."""
    kept: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        kept += getattr(cause, "__notes__", ())
        cause = cause.__cause__ or cause.__context__
    _report(": ".join(["interrupted", *kept[:1]]), "", EXIT_INTERRUPTED)
    return EXIT_INTERRUPTED


def _report(message: str, hint: str, code: int) -> None:
    message = message if len(message) <= _MOST_CHARACTERS else f"{message[:_MOST_CHARACTERS]}…"
    head = "error: " if code != EXIT_INTERRUPTED else ""  # what the user ended is none
    for word, colour, text in ((head, "red", message), ("try: ", "green", hint)):
        if text:
            shown = click.style(word, fg=colour, bold=True) if word and is_coloured(sys.stderr) else word
            click.echo(f"{shown}{printable_lines(text)}", err=True, color=True)
    try:
        if "--json" in sys.argv:
            emit_json("error/1", {"error": message, "hint": hint, "exit_code": code})
        sys.stdout.flush()
    except OSError:  # perhaps what was just reported
        abandon_stdout()


_SYSTEM_HINTS = {
    errno.ENOSPC: "make room there, or name another folder",
    errno.EDQUOT: "make room there, or name another folder",
    errno.EFBIG: "make room there, or name another folder",
    errno.EROFS: "name a folder that can be written to",
    errno.EACCES: "check the rights of the file and its folder, or name another one",
    errno.EPERM: "check the rights of the file and its folder, or name another one",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "close other programs, or raise the limit: ulimit -n",
}


def _of_the_system(error: Exception) -> Exception:
    """In words, what the operating system refused: neither a defect nor what a command can foresee."""
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return DeployError("a path holds a NUL character, which no file's name has", hint="look at where it is written")
    if isinstance(error, RuntimeError) and str(error).startswith("Symlink loop from "):  # Path.resolve until 3.12
        return DeployError(f"{str(error)[18:]} is a link that leads to itself", hint="check the path")
    if isinstance(error, MemoryError):
        return DeployError("there is not enough memory for this", hint="close other programs, or use smaller inputs")
    if not isinstance(error, OSError) or error.errno is None:
        return error
    names = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    what = error.strerror or str(error)
    return DeployError(f"{names}: {what}" if names else what, hint=_SYSTEM_HINTS.get(error.errno, "check the path"))


# ---- Values ----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def said_when_interrupted(kept: str) -> Iterator[None]:
    """Have Ctrl-C say what is kept and how to go on (`interrupted`)."""
    try:
        yield
    except BaseException as error:  # of what a library makes of it too
        error.add_note(kept)
        raise


def percent(value: float | None) -> str:
    """Write a share of 1 in percent, with one decimal; a dash for what was not measured."""
    return "-" if value is None else f"{100 * value:.1f}"


def as_dict(value: Any) -> dict[str, Any]:
    """Turn a frozen dataclass into plain data."""
    return dataclasses.asdict(value)
