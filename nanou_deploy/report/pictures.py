"""Draw what a model saw and decided: overlays, PNG bytes, the side-by-side panel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from codegen.atomic_files import write_bytes
from nanou_deploy.report.legend import (
    AGREED_RGB,
    FALSE_DRIVABLE_RGB,
    IGNORED_RGB,
    MISSED_RGB,
    draw_legend,
    error_entries,
)
from nanou_train.data.images import IGNORE
from nanou_train.data.labels import BINARY_CLASSES, class_color

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.uint8]

_AGREED_TINT, _ERROR_TINT = 0.6, 0.95

PANEL_TITLES = ("camera", "truth", "float", "int8")


@dataclass(frozen=True, eq=False)
class Panel:
    """One example. `image` is uint8 (H, W, 3); masks are class indices uint8 (H, W), None where unknown."""

    name: str
    image: Picture
    truth: Mask | None
    float_mask: Mask | None
    int8_mask: Mask | None
    classes: tuple[str, ...] = BINARY_CLASSES


@dataclass(frozen=True, eq=False)
class Tile:
    """One picture of a panel: uint8 (H, W, 3), or None where there is nothing to show, and its caption."""

    title: str
    picture: Picture | None
    caption: str


def iou(mask: Mask, truth: Mask) -> float:
    """Compute the intersection over union of the drivable class; 1.0 where neither has a drivable pixel."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def overlay(image: Picture, mask: Mask, truth: Mask | None) -> Picture:
    """Lay the decision over the image in grey: uint8 (H, W, 3).

    Without truth every drivable pixel has one colour; with it, agreement, false drivable and missed differ.
    """
    grey = image.astype(np.float32).mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.8 + 40.0
    reference = mask if truth is None else truth
    for where, colour, tint in (
        (mask & reference, AGREED_RGB, _AGREED_TINT),
        (mask & (1 - reference), FALSE_DRIVABLE_RGB, _ERROR_TINT),
        ((1 - mask) & reference, MISSED_RGB, _ERROR_TINT),
    ):
        chosen = where.astype(bool)
        grey[chosen] = grey[chosen] * (1.0 - tint) + np.asarray(colour, np.float32) * tint
    blended: Picture = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return blended


def class_overlay(image: Picture, mask: Mask, truth: Mask | None, class_count: int) -> Picture:
    """Lay classes over the image as `overlay` does: each in its colour, where truth is another in the error colour."""
    unknown = (mask if truth is None else truth) == IGNORE
    if unknown.any():
        known = [None if one is None else np.where(unknown, np.uint8(0), one) for one in (mask, truth)]
        assert known[0] is not None
        picture = class_overlay(image, known[0], known[1], class_count)
        picture[unknown] = IGNORED_RGB
        return picture
    if class_count == 2:
        return overlay(image, mask, truth)
    grey = image.astype(np.float32).mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.8 + 40.0
    colours = np.array([class_color(index) for index in range(class_count)], np.float32)[mask]
    blended = grey * (1.0 - _AGREED_TINT) + colours * _AGREED_TINT
    if truth is not None:
        blended[mask != truth] = FALSE_DRIVABLE_RGB
    return np.asarray(np.clip(np.rint(blended), 0, 255), np.uint8)


def panel_tiles(panel: Panel) -> tuple[Tile, ...]:
    """Make the tiles of a panel: camera, truth, float and int8, in the order of PANEL_TITLES."""
    count = len(panel.classes)

    def decision(title: str, mask: Mask | None, missing: str) -> Tile:
        if mask is None:
            return Tile(title, None, missing)
        caption = "" if panel.truth is None else decision_score(mask, panel.truth, count)
        return Tile(title, class_overlay(panel.image, mask, panel.truth, count), caption)

    def label(truth: Mask | None) -> Tile:
        if truth is None:
            return Tile(PANEL_TITLES[1], None, "no label")
        known = truth[truth != IGNORE] if (truth != IGNORE).any() else np.zeros(1, np.uint8)
        caption = f"{100 * np.mean(known):.0f} % drivable" if count == 2 else f"{len(np.unique(known))} classes"
        return Tile(PANEL_TITLES[1], class_overlay(panel.image, truth, None, count), caption)

    return (
        Tile(PANEL_TITLES[0], panel.image, panel.name),
        label(panel.truth),
        decision(PANEL_TITLES[2], panel.float_mask, "no float model"),
        decision(PANEL_TITLES[3], panel.int8_mask, "no int8 model"),
    )


def decision_score(mask: Mask, truth: Mask, class_count: int) -> str:
    """Say how much of a decision is right: the IoU of drivable ground, or with more classes the share of pixels."""
    mask, truth = mask[truth != IGNORE], truth[truth != IGNORE]
    if not truth.size:
        return "not labelled"
    if class_count == 2:
        return f"IoU {100 * iou(mask, truth):.1f} %"
    return f"{100 * np.mean(mask == truth):.1f} % of pixels right"


def png_bytes(picture: Picture, *, quick: bool = False) -> bytes:
    """Encode uint8 (H, W, 3) as a PNG of the same size. The same picture always gives the same bytes.

    `quick`: in a fraction of the time, for many pictures; a fifth larger.
    """
    buffer, how = io.BytesIO(), {"compress_level": 3} if quick else {"optimize": True}
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="PNG", **how)
    return buffer.getvalue()


def panel_picture(panels: Sequence[Panel], *, tile_width_px: int = 280) -> Picture:
    """Draw all panels as one uint8 (H, W, 3) picture: a row each, titled columns, and a legend under them.

    Small camera frames are enlarged by a whole factor so that each model pixel stays a sharp square.
    Raises ValueError without panels.
    """
    if not panels:
        raise ValueError("a panel picture needs at least one panel")
    margin_px, gap_px, head_px, foot_px, caption_px = 24, 12, 34, 44, 26
    height_px, width_px = panels[0].image.shape[:2]
    factor = max(1, tile_width_px // width_px)
    cell_w, cell_h = width_px * factor, height_px * factor
    size = (
        2 * margin_px + 4 * cell_w + 3 * gap_px,
        margin_px + head_px + len(panels) * (cell_h + caption_px) + foot_px,
    )
    canvas = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    title_font, caption_font = ImageFont.load_default(size=18), ImageFont.load_default(size=14)
    for column, title in enumerate(PANEL_TITLES):
        draw.text((margin_px + column * (cell_w + gap_px), margin_px - 4), title, fill=(25, 28, 32), font=title_font)
    for row, panel in enumerate(panels):
        top = margin_px + head_px + row * (cell_h + caption_px)
        for column, tile in enumerate(panel_tiles(panel)):
            left = margin_px + column * (cell_w + gap_px)
            if tile.picture is None:
                draw.rectangle((left, top, left + cell_w - 1, top + cell_h - 1), outline=(200, 204, 208))
            else:
                enlarged = Image.fromarray(tile.picture).resize((cell_w, cell_h), Image.Resampling.NEAREST)
                canvas.paste(enlarged, (left, top))
            draw.text((left, top + cell_h + 4), tile.caption, fill=(96, 102, 110), font=caption_font)
    draw_legend(draw, margin_px, size[1] - foot_px + 12, error_entries(panels[0].classes), caption_font)
    return np.asarray(canvas, dtype=np.uint8)


def write_panel_png(path: Path, panels: Sequence[Panel], *, tile_width_px: int = 280) -> None:
    """Write `panel_picture` to PATH, making its folder. Raises ValueError without panels, OSError from writing."""
    write_bytes(path, png_bytes(panel_picture(panels, tile_width_px=tile_width_px)))
