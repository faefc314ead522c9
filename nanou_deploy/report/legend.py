"""Say what the colours of overlays mean, in pages and in pictures."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import ImageDraw, ImageFont

from codegen.untrusted import printable
from nanou_train.data.labels import class_color

Rgb = tuple[int, int, int]
Entry = tuple[str, Rgb]

# Okabe and Ito's colours for colour-blind readers (Color Universal Design, 2008).
AGREED_RGB: Rgb = (0, 158, 115)
FALSE_DRIVABLE_RGB: Rgb = (213, 94, 0)
MISSED_RGB: Rgb = (0, 114, 178)
IGNORED_RGB: Rgb = (90, 90, 90)
_INK: Rgb = (60, 66, 72)
_BOX_PX, _GAP_PX, _NAME_CHARACTERS = 13, 7, 40


def class_entries(classes: Sequence[str]) -> tuple[Entry, ...]:
    """Say what colours a mask has: of two classes the second one's, else all."""
    if len(classes) == 2:
        return ((classes[1], AGREED_RGB),)
    return tuple((name, class_color(index)) for index, name in enumerate(classes))


def error_entries(classes: Sequence[str]) -> tuple[Entry, ...]:
    """Say what colours a mask has that is compared with the truth."""
    if len(classes) == 2:
        names = ("drivable", "drivable only to the model", "missed by the model")
        return tuple(zip(names, (AGREED_RGB, FALSE_DRIVABLE_RGB, MISSED_RGB), strict=True))
    return (*class_entries(classes), ("another class than in truth", FALSE_DRIVABLE_RGB))


def css_entries(entries: Sequence[Entry]) -> tuple[tuple[str, str], ...]:
    """Write the colours as in a style sheet."""
    return tuple((text, "#{:02x}{:02x}{:02x}".format(*rgb)) for text, rgb in entries)


def draw_legend(
    draw: ImageDraw.ImageDraw,
    left_px: int,
    top_px: int,
    entries: Sequence[Entry],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> int:
    """Draw a box and a name for each entry, in a row; return where it ends."""
    for name, colour in entries:
        text = printable(name, _NAME_CHARACTERS)
        draw.rectangle((left_px, top_px + 2, left_px + _BOX_PX, top_px + 2 + _BOX_PX), fill=colour)
        draw.text((left_px + _BOX_PX + _GAP_PX, top_px), text, fill=_INK, font=font)
        left_px += _BOX_PX + _GAP_PX + int(draw.textlength(text, font=font)) + 4 * _GAP_PX
    return left_px
