"""Record what feeds showed as lines of JSON, and play that again. A record may be anybody's: each line is checked.

The first line names the format; every other is an event with its time in seconds since the first one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass as checked

from codegen.untrusted import printable
from nanou_deploy.device import messages as m
from nanou_deploy.device.messages import check_picture, decode_decision, expect
from nanou_deploy.errors import DeployError
from nanou_deploy.monitor.events import Ended, Event, Facts, Fault, Lines, MotorsTold, Sight, Tuned
from nanou_deploy.monitor.feed import Sink

FORMAT = "nanou-deploy/feed/1"
LINE_BYTES = 24 << 20  # a picture of PICTURE_LIMIT_PX is no board's; this is one of 2048x1536, and more
RECORD_BYTES = 2 << 30
_MOST_MASK_SIDE_PX = 4096
_MOST_WAIT_S = 10.0
_STRICT = ConfigDict(extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")
_Address = Annotated[str, Field(max_length=300)]
_Text = Annotated[str, Field(max_length=2000)]


@checked(frozen=True, config=_STRICT)
class _Problem:
    """A fault, or an end with or without one."""

    address: _Address
    error: _Text = ""
    hint: _Text = ""


@checked(frozen=True, config=_STRICT)
class _Line:
    """One event: the field of its kind is there, and no other."""

    at_s: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
    facts: Facts | None = None
    sight: Sight | None = None
    lines: Lines | None = None
    motors: MotorsTold | None = None
    tuned: Tuned | None = None
    fault: _Problem | None = None
    ended: _Problem | None = None


_KINDS: dict[type[Any], str] = {
    Facts: "facts", Sight: "sight", Lines: "lines", MotorsTold: "motors", Tuned: "tuned", Fault: "fault",
    Ended: "ended",
}  # fmt: skip
_LINES: TypeAdapter[_Line] = TypeAdapter(_Line)


class Recorder(AbstractContextManager["Recorder"]):
    """Writes each event that it is shown, and hands it on. Ends by itself at RECORD_BYTES."""

    def __init__(self, path: Path, sink: Sink) -> None:
        """Make the file. Raises DeployError where it is there already or cannot be made."""
        self._path, self._sink, self._lock, self._bytes = path, sink, threading.Lock(), 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: BinaryIO = path.open("xb")
        except FileExistsError as error:
            raise DeployError(f"{path} exists already", hint="name another file with --record") from error
        except OSError as error:
            raise DeployError(f"cannot write {path}: {error.strerror}", hint="check its folder and rights") from error
        self._start = time.monotonic()
        self._write(json.dumps({"format": FORMAT}).encode())

    def show(self, event: Event) -> None:
        """Write and hand on an event. Raises DeployError where the disk is full."""
        kind = _KINDS[type(event)]
        value: Any = event
        if isinstance(event, Fault | Ended):
            error = event.error
            value = _Problem(event.address, str(error or "")[:2000], (error.hint if error else "")[:2000])
        line = _LINES.dump_json(_Line(time.monotonic() - self._start, **{kind: value}), exclude_defaults=True)
        with self._lock:
            if self._bytes + len(line) <= RECORD_BYTES:
                self._write(line)
        self._sink(event)

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except OSError as error:
            raise DeployError(f"cannot write {self._path}: {error.strerror}", hint="make room there") from error
        self._bytes += len(line) + 1

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True)
class Played:
    """An event of a record and when it was, in seconds since the record began."""

    at_s: float
    event: Event


def read_record(path: Path) -> Iterator[Played]:
    """Read the events of a record, one by one. Raises DeployError naming the line that is none, but for a torn last."""
    hint = "`monitor --record FILE` writes records"
    if path.exists() and not path.is_file():
        raise DeployError(f"{path} is no file", hint=hint)
    try:
        with path.open("rb") as file:
            if not _is_header(file.readline(LINE_BYTES)):
                raise DeployError(f"{path} is no record of a monitor", hint=hint)
            number = 1
            while line := file.readline(LINE_BYTES):
                number += 1
                if not line.endswith(b"\n") and not file.read(1):  # it was ended while it wrote
                    return
                try:
                    yield _played(line)
                except (ValueError, DeployError) as error:
                    what = printable(str(error).splitlines()[0], 200)
                    raise DeployError(f"{path}, line {number}: {what}", hint=hint) from error
    except OSError as error:
        raise DeployError(f"cannot read {path}: {error.strerror}", hint=hint) from error


def addresses_of(path: Path) -> tuple[str, ...]:
    """Find the devices of a record. Raises DeployError."""
    found = tuple(dict.fromkeys(played.event.address for played in read_record(path)))
    if not found:
        raise DeployError(f"{path} holds no event", hint="record for longer")
    if len(found) > 64:
        raise DeployError(f"{path} names {len(found)} devices", hint="that is no record of one desk")
    return found


def play(path: Path, sink: Sink, *, least_s: float = 0.0, stop: threading.Event | None = None) -> None:
    """Show a record's events as they came, or pictures `least_s` apart where that is given. Raises DeployError."""
    stop, start, before_s = stop or threading.Event(), time.monotonic(), 0.0
    for played in read_record(path):
        if least_s:
            wait_s = least_s if isinstance(played.event, Sight) else 0.0
        else:
            wait_s = min(_MOST_WAIT_S, played.at_s - before_s)
            before_s = max(before_s, played.at_s)
            start += wait_s
            wait_s = start - time.monotonic()
        if stop.wait(max(0.0, wait_s)):
            return
        sink(played.event)


# ---- Lines of a stranger -----------------------------------------------------------------------------------------


def _is_header(line: bytes) -> bool:
    try:
        document = json.loads(line) if len(line) < 1000 else None
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("format") == FORMAT


def _played(line: bytes) -> Played:
    """Check one line. Raises ValueError (pydantic's are) or DeployError."""
    found = _LINES.validate_json(line)
    events = [value for name in _KINDS.values() if (value := getattr(found, name)) is not None]
    if len(events) != 1:
        raise ValueError(f"{len(events)} events in a line")
    (event,) = events
    if isinstance(event, _Problem):
        address, error = _plain(event.address), None
        if event.error:
            error = DeployError(_plain(event.error), hint=_plain(event.hint))
        if found.ended is not None:
            return Played(found.at_s, Ended(address, error))
        return Played(found.at_s, Fault(address, error or DeployError("the line broke")))
    if isinstance(event, Sight):
        _check_sight(event)
    return Played(found.at_s, _printable(event))


def _check_sight(sight: Sight) -> None:
    width_px, height_px = sight.width_px, sight.height_px
    expect(0 < width_px <= _MOST_MASK_SIDE_PX and 0 < height_px <= _MOST_MASK_SIDE_PX, "a mask without pixels")
    expect(len(sight.mask) == m.mask_row_bytes(width_px) * height_px, f"a mask of {len(sight.mask)} bytes")
    picture, decided = sight.picture, sight.decision
    if picture is not None:
        check_picture(picture.width_px, picture.height_px, len(picture.pixels))
    decode_decision(
        int(decided.go), decided.steer, decided.left_permille, decided.centre_permille, decided.right_permille
    )
    expect(len(sight.stages_us) <= 16, f"{len(sight.stages_us)} stages")


def _plain(text: str) -> str:
    return printable(text, 2000)


def _printable(event: Any) -> Any:
    """Escape every text of an event, however deep."""
    if isinstance(event, str):
        return _plain(event)
    if isinstance(event, tuple):
        return tuple(map(_printable, event))
    if is_dataclass(event) and not isinstance(event, type):
        return type(event)(**{field.name: _printable(getattr(event, field.name)) for field in fields(event)})
    return event
