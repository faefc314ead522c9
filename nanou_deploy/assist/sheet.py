"""Draw proposals side by side with their pictures, for looking over many at once."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from codegen.untrusted import printable
from nanou_deploy.assist.proposals import Proposal
from nanou_deploy.report.legend import IGNORED_RGB, class_entries, draw_legend
from nanou_deploy.report.pictures import class_overlay
from nanou_train.data.images import Pixels

_TILE_PX, _GAP_PX, _TEXT_PX, _COLUMNS = 180, 8, 16, 3
_MOST_TILES = 120
_INK, _PAPER = (25, 28, 32), (255, 255, 255)


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A picture and its overlay, uint8 (h, 2 w, 3), and a line of text."""

    pixels: Pixels
    text: str


def thumbnail(one: Proposal, class_count: int) -> Thumbnail:
    """Draw the picture and what is proposed for it, grey where that is uncertain."""
    image = one.picture.image.convert("RGB")
    size = _TILE_PX, max(1, min(2 * _TILE_PX, round(image.height * _TILE_PX / image.width)))
    small = np.asarray(image.resize(size))
    classes = np.asarray(Image.fromarray(one.classes).resize(size, Image.Resampling.NEAREST), np.uint8)
    pixels = np.hstack([small, class_overlay(small, classes, None, class_count)])
    doubt = f"  {one.uncertain_share:.0%} uncertain" if one.uncertain_share else ""
    return Thumbnail(pixels, printable(one.name, 40) + doubt)


def proposal_sheet(tiles: Sequence[Thumbnail], classes: tuple[str, ...]) -> bytes:
    """Lay thumbnails out in rows, with a legend, as PNG; of very many, the first."""
    shown = tiles[:_MOST_TILES]
    cell = max(tile.pixels.shape[0] for tile in shown) + _TEXT_PX + _GAP_PX
    columns, rows = min(_COLUMNS, len(shown)), -(-len(shown) // _COLUMNS)
    canvas = Image.new("RGB", (columns * (2 * _TILE_PX + _GAP_PX) + _GAP_PX, rows * cell + 2 * _GAP_PX + 20), _PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=12)
    for number, tile in enumerate(shown):
        row, column = divmod(number, columns)
        left, top = _GAP_PX + column * (2 * _TILE_PX + _GAP_PX), _GAP_PX + row * cell
        canvas.paste(Image.fromarray(tile.pixels), (left, top))
        draw.text((left, top + tile.pixels.shape[0] + 1), tile.text, fill=_INK, font=font)
    top = canvas.height - 20
    left = draw_legend(draw, _GAP_PX, top, [*class_entries(classes), ("uncertain", IGNORED_RGB)], font)
    if len(tiles) > len(shown):
        draw.text((left, top), f"the first {len(shown)} of {len(tiles)}", fill=_INK, font=font)
    stream = io.BytesIO()
    canvas.save(stream, "PNG")
    return stream.getvalue()
