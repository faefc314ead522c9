"""Read frames of videos and webcams, decoded by OpenCV (the extra nanou-deploy[video]) in a process that may die."""

from __future__ import annotations

import importlib.util
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from codegen.child_python import python_command
from codegen.untrusted import printable
from nanou_deploy.errors import DeployError, ToolMissing
from nanou_deploy.predict.video_process import HEAD
from nanou_train.data.images import MOST_PIXELS

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".3gp")
HINT = "install it: `python -m pip install 'nanou-deploy[video]'`; a GIF or animated WebP needs nothing"

_FILE_HINT = "check the path; convert the video to MP4 (H.264), or to single pictures"
_WEBCAM_HINT = "check that it is plugged in and no other program uses it; 0 is the first one"


def video_frames(source: Path | int, *, every: int = 1) -> Iterator[tuple[Image.Image, int]]:
    """Yield every n-th frame of a video file, or of the webcam of that number, with its time in microseconds.

    A webcam never ends. Raises ToolMissing without OpenCV; DeployError where the source cannot be opened, has no
    frame, or is damaged.
    """
    name = f"webcam {source}" if isinstance(source, int) else str(source)
    if importlib.util.find_spec("cv2") is None:
        raise ToolMissing(f"reading {name} needs OpenCV, which is not installed", hint=HINT)
    argument = f"webcam:{source}" if isinstance(source, int) else str(source.absolute())
    command = python_command("-m", "nanou_deploy.predict.video_process", argument, str(every))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        count = 0
        try:
            while (frame := _read_frame(process, name)) is not None:
                count += 1
                yield frame
        finally:
            process.kill()
            said = process.stderr.read(100_000).decode(errors="replace") if process.stderr else ""
        _check_end(process.wait(), count, name, said)


def _read_frame(process: subprocess.Popen[bytes], name: str) -> tuple[Image.Image, int] | None:
    assert process.stdout is not None
    head = process.stdout.read(HEAD.size)
    if len(head) < HEAD.size:
        process.wait()  # so that its exit code is its own, not that of being killed
        return None
    width_px, height_px, taken_us = HEAD.unpack(head)
    if not 0 < width_px * height_px <= MOST_PIXELS:
        raise DeployError(f"{name} has frames of {width_px}x{height_px}, more than {MOST_PIXELS:,} pixels")
    data = process.stdout.read(3 * width_px * height_px)
    if len(data) < 3 * width_px * height_px:
        raise DeployError(f"{name} ended within a frame", hint="the file is damaged: convert it again")
    pixels = np.frombuffer(data, np.uint8).reshape(height_px, width_px, 3)
    return Image.fromarray(pixels), taken_us


def _check_end(code: int, count: int, name: str, said: str) -> None:
    if code == 3:
        raise ToolMissing(printable(said.strip(), 200), hint=HINT)
    if code not in (0, 4) or not count:
        what = "cannot be opened, or has no frame" if code in (0, 4) else f"ended its decoder with code {code}"
        raise DeployError(f"{name} {what}", hint=_WEBCAM_HINT if name.startswith("webcam ") else _FILE_HINT)
