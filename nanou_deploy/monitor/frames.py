"""Play the pictures of a folder in place of a camera's, in RGB565 as a sensor would have sent them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from codegen.graph.model import CameraSize
from nanou_deploy.device.messages import CameraFrame
from nanou_deploy.device.rgb565 import camera_frame
from nanou_deploy.errors import DeployError
from nanou_train.data.images import SUFFIXES, check_depth, read_picture
from nanou_train.data.pairs import picture_paths, skipped_in_words
from nanou_train.errors import DataError

_LOG = logging.getLogger(__name__)
_PARTS = ("test", "val", "train")  # the part that no network was trained on comes first


@dataclass(frozen=True)
class PictureFolder:
    """Pictures in the order of their names, and the camera they stand in for. OV sensors send big-endian pixels."""

    paths: tuple[Path, ...]
    size: CameraSize
    big_endian: bool = True

    def play(self, *, endless: bool = True) -> Iterator[CameraFrame]:
        """Yield each picture as a camera frame; if `endless` again and again. Raises DeployError."""
        for path in itertools.cycle(self.paths) if endless else self.paths:
            try:
                picture = read_picture(path)
                check_depth(picture)
            except DataError as error:
                raise DeployError(str(error), hint=error.hint) from error
            pixels = camera_frame(picture.image, self.size, big_endian=self.big_endian)
            yield CameraFrame(pixels, self.size.width_px, self.size.height_px, self.big_endian)


def find_pictures(root: Path, size: CameraSize) -> PictureFolder:
    """Find the pictures of a data set (its test part if it has one) or of any folder. Raises DeployError for none."""
    folders = [root / part / "img" for part in _PARTS] + [root / "img", root]
    for folder in folders:
        paths, skipped = picture_paths(folder) if folder.is_dir() else ([], [])
        stems = {path.stem for path in paths}
        skipped = [one for one in skipped if one[1].stem not in stems]  # labels beside their pictures are meant to be
        if paths:
            left_out = f", {skipped_in_words(skipped)}" if skipped else ""
            _LOG.log(logging.WARNING if skipped else logging.INFO, "%s: %d pictures%s", folder, len(paths), left_out)
            return PictureFolder(tuple(paths), size)
    what = "holds no pictures" if root.is_dir() else "is no folder"
    raise DeployError(f"{root} {what}", hint=f"give a data set, or a folder of {', '.join(sorted(SUFFIXES))} files")
