"""Decode a video, or read a webcam, by OpenCV, and write its frames to standard output: run by `videos.py`.

Each frame is HEAD and then RGB bytes. A process of its own, since a video is a stranger's file for a native decoder.
"""

from __future__ import annotations

import math
import os
import struct
import sys
import time
from typing import Any

from codegen.tflite.interpreter_process import limit_resources

HEAD = struct.Struct("<IIQ")  # width, height, microseconds since the first frame
_MEMORY_BYTES, _FILE_BYTES = 8 << 30, 0
_UNKNOWN_RATE = 30.0


def main() -> int:
    """SOURCE EVERY: a path, or the number of a webcam after "webcam:"; of every n-th frame."""
    source, every = sys.argv[1], int(sys.argv[2])
    limit_resources(_MEMORY_BYTES, _FILE_BYTES)
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what codecs print is no frame
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;file")  # no playlist reaches a network
    try:
        import cv2
    except ImportError as error:
        print(f"OpenCV cannot be imported: {error}", file=sys.stderr)
        return 3
    camera = source.removeprefix("webcam:") if source.startswith("webcam:") else None
    capture = cv2.VideoCapture(int(camera) if camera else source)
    if not capture.isOpened():
        return 4
    try:
        _write_frames(capture, every, camera is not None, sink)
    except BrokenPipeError:
        return 0
    return 0


def _write_frames(capture: Any, every: int, is_live: bool, sink: Any) -> None:
    import cv2

    stated = capture.get(cv2.CAP_PROP_FPS)
    rate = stated if math.isfinite(stated) and 1 <= stated <= 1000 else _UNKNOWN_RATE
    start, number, last_us = time.monotonic(), 0, 0
    while capture.grab():
        shown_ms = capture.get(cv2.CAP_PROP_POS_MSEC)
        if is_live:
            taken_us = int((time.monotonic() - start) * 1e6)
        elif math.isfinite(shown_ms) and (shown_ms > 0 or number == 0):
            taken_us = int(max(0.0, shown_ms) * 1000)
        else:
            taken_us = int(number / rate * 1e6)
        if number % every == 0:
            found, frame = capture.retrieve()
            if not found:
                break
            last_us = max(last_us, taken_us)  # containers may say that time goes back
            rgb = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
            sink.write(HEAD.pack(rgb.shape[1], rgb.shape[0], last_us) + rgb.tobytes())
            sink.flush()
        number += 1


if __name__ == "__main__":
    sys.exit(main())
