"""Play the pictures of a folder in place of a camera's, in RGB565 as a sensor would have sent them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codegen.graph.model import CameraSize
from nanou_deploy.device.messages import CameraFrame
from nanou_deploy.device.rgb565 import camera_frame
from nanou_deploy.errors import DeployError
from nanou_train.data.images import SUFFIXES, open_image

_PARTS = ("test", "val", "train")  # the part that no network was trained on comes first


@dataclass(frozen=True)
class PictureFolder:
    """Pictures in the order of their names, and the camera they stand in for. OV sensors send big-endian pixels."""

    paths: tuple[Path, ...]
    size: CameraSize
    big_endian: bool = True

    def play(self, *, endless: bool = True) -> Iterator[CameraFrame]:
        """Yield each picture as a camera frame; from the first again after the last if `endless`. Raises DataError."""
        for path in itertools.cycle(self.paths) if endless else self.paths:
            pixels = camera_frame(open_image(path), self.size, big_endian=self.big_endian)
            yield CameraFrame(pixels, self.size.width_px, self.size.height_px, self.big_endian)


def find_pictures(root: Path, size: CameraSize) -> PictureFolder:
    """Find the pictures of a data set (its test part if it has one) or of any folder. Raises DeployError for none."""
    folders = [root / part / "img" for part in _PARTS] + [root / "img", root]
    for folder in folders:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []
        if paths:
            return PictureFolder(tuple(paths), size)
    what = "holds no pictures" if root.is_dir() else "is no folder"
    raise DeployError(f"{root} {what}", hint=f"give a data set, or a folder of {', '.join(sorted(SUFFIXES))} files")
