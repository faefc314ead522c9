"""Say what a model made of one picture, in plain data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nanou_deploy.device.messages import Decision
from nanou_deploy.predict.sources import Shot

Pixels = npt.NDArray[np.uint8]
VIEW_PX = 640  # longest side of the pictures that overlays are drawn on
_SCORES_KEPT = 5


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model made of one picture.

    `view` is the picture, uint8 (H, W, 3), no side longer than VIEW_PX; `size_px` its own width and height. A model
    that segments gives `mask`, class indices uint8 (H, W), `drivable` of the same shape, and `decision`, None where no
    class counts as drivable. A classifier gives `label` and `scores`, real values by class. Others give `outputs`, one
    array for each output of the file.
    """

    name: str
    source: str
    size_px: tuple[int, int]
    view: Pixels
    taken_us: int | None = None
    mask: Pixels | None = None
    drivable: npt.NDArray[np.bool_] | None = None
    decision: Decision | None = None
    label: str = ""
    scores: tuple[tuple[str, float], ...] = ()
    outputs: tuple[npt.NDArray[Any], ...] = ()

    @property
    def drivable_share(self) -> float | None:
        """The share of the mask that counts as drivable."""
        return None if self.drivable is None else float(self.drivable.mean())

    @property
    def verdict(self) -> str:
        """In a few words: GO, STOP and where to steer, or the label."""
        if self.decision is None:
            return self.label
        steer = self.decision.steer
        side = f" {'left' if steer < 0 else 'right'} {abs(steer)}" if steer else ""
        return f"GO{side}" if self.decision.go else "STOP"

    def as_json(self) -> dict[str, Any]:
        """Everything but pictures and arrays as JSON types; of scores the highest."""
        return {
            "name": self.name,
            "source": self.source,
            "width_px": self.size_px[0],
            "height_px": self.size_px[1],
            "taken_us": self.taken_us,
            "drivable_share": self.drivable_share,
            "decision": None if self.decision is None else asdict(self.decision),
            "label": self.label or None,
            "scores": dict(self.scores[:_SCORES_KEPT]),
            "outputs": [list(output.shape) for output in self.outputs],
        }


def empty_prediction(shot: Shot) -> Prediction:
    """Return the picture alone, of which nothing was predicted yet."""
    image = shot.image.convert("RGB")
    size_px = (image.width, image.height)
    image.thumbnail((VIEW_PX, VIEW_PX))
    return Prediction(shot.name, shot.source, size_px, np.asarray(image, np.uint8), shot.taken_us)
