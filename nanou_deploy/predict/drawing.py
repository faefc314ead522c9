"""Draw predictions: the mask over the picture, with the decision below, and a sheet of many."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from nanou_deploy.predict.prediction import VIEW_PX, Pixels, Prediction
from nanou_deploy.report.legend import AGREED_RGB, FALSE_DRIVABLE_RGB, class_entries, draw_legend
from nanou_deploy.report.pictures import class_overlay
from nanou_train.data.labels import class_color

_INK, _GREY, _PAPER = (25, 28, 32), (96, 102, 110), (255, 255, 255)
_CAPTION_PX, _LEAST_WIDTH_PX = 34, 320
_LINE_RGB = (250, 250, 250)
TILE_WIDTH_PX, _COLUMNS, _GAP_PX = 240, 4, 12
MOST_TILES = 60


def mask_png(mask: Pixels, class_count: int) -> bytes:
    """Encode class indices uint8 (H, W) as a PNG with a palette: values are the indices, colours for the eye."""
    image = Image.fromarray(mask, "L")
    image.putpalette([value for index in range(max(2, class_count)) for value in class_color(index)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def overlay_picture(one: Prediction, class_count: int) -> Pixels:
    """Draw the mask over the picture, the thirds that decide and the decision: uint8 (H, W, 3)."""
    picture = Image.fromarray(one.view)
    if (factor := -(-_LEAST_WIDTH_PX // picture.width)) > 1 and picture.height * factor <= VIEW_PX:
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    if one.mask is not None:
        mask = np.asarray(Image.fromarray(one.mask).resize(picture.size, Image.Resampling.NEAREST), np.uint8)
        picture = Image.fromarray(class_overlay(np.asarray(picture, np.uint8), mask, None, class_count))
        if one.decision is not None:
            _draw_thirds(picture)
    canvas = Image.new("RGB", (picture.width, picture.height + _CAPTION_PX), _PAPER)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    bold, small = ImageFont.load_default(size=18), ImageFont.load_default(size=12)
    colour = _INK
    if one.decision is not None:
        colour = AGREED_RGB if one.decision.go else FALSE_DRIVABLE_RGB
    draw.text((4, picture.height + 6), one.verdict or "no mask: see outputs/", fill=colour, font=bold)
    used = 14 + int(draw.textlength(one.verdict, font=bold))
    text = _fitting(draw, detail(one), picture.width - used - 4, small)
    draw.text((used, picture.height + 11), text, fill=_GREY, font=small)
    return np.asarray(canvas, np.uint8)


def detail(one: Prediction) -> str:
    """Say on what the verdict rests: cover of left, centre and right, or the highest scores."""
    if one.decision is not None:
        covers = (one.decision.left_permille, one.decision.centre_permille, one.decision.right_permille)
        return "drivable " + " | ".join(f"{cover / 10:.0f} %" for cover in covers)
    return ", ".join(f"{name} {value:.3g}" for name, value in one.scores[:3])


def _draw_thirds(picture: Image.Image) -> None:
    """Outline the lower half and its thirds, by which navigation decides."""
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    top = height // 2
    draw.line((0, top, width, top), fill=_LINE_RGB)
    for x in (width // 3, width - width // 3):
        draw.line((x, top, x, height), fill=_LINE_RGB)


def contact_sheet(
    predictions: Sequence[Prediction], title: str, classes: tuple[str, ...], *, of_all: int | None = None
) -> Pixels:
    """Draw predictions as a sheet of rows with their names, a title and a legend: uint8 (H, W, 3).

    `of_all`: how many there are, where these are a choice of them.
    """
    tiles = [_tile(one, len(classes)) for one in predictions]
    columns = min(_COLUMNS, len(tiles))
    height = max(tile.height for tile in tiles)
    rows = -(-len(tiles) // columns)
    head_px, foot_px = 44, 34 if predictions[0].mask is not None else 8
    width = max(_GAP_PX + columns * (TILE_WIDTH_PX + _GAP_PX), 2 * (TILE_WIDTH_PX + _GAP_PX) + _GAP_PX)
    canvas = Image.new("RGB", (width, head_px + rows * (height + _GAP_PX) + foot_px), _PAPER)
    draw, small = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    count = of_all or len(tiles)
    counted = f"{len(tiles)} of {count} pictures" if count > len(tiles) else f"{count} picture{'s' * (count != 1)}"
    draw.text((_GAP_PX, 8), _fitting(draw, title, width - 2 * _GAP_PX, small), fill=_INK, font=small)
    draw.text((_GAP_PX, 24), counted, fill=_GREY, font=small)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        canvas.paste(tile, (_GAP_PX + column * (TILE_WIDTH_PX + _GAP_PX), head_px + row * (height + _GAP_PX)))
    if predictions[0].mask is not None:
        draw_legend(draw, _GAP_PX, canvas.height - foot_px + 8, class_entries(classes), small)
    return np.asarray(canvas, np.uint8)


def _tile(one: Prediction, class_count: int) -> Image.Image:
    overlay = Image.fromarray(overlay_picture(one, class_count))
    picture = overlay.crop((0, 0, overlay.width, overlay.height - _CAPTION_PX))
    picture = picture.resize((TILE_WIDTH_PX, max(1, round(picture.height * TILE_WIDTH_PX / picture.width))))
    tile = Image.new("RGB", (TILE_WIDTH_PX, min(picture.height, 2 * TILE_WIDTH_PX) + 34), _PAPER)
    tile.paste(picture, (0, 0))
    draw, bottom = ImageDraw.Draw(tile), tile.height - 34
    bold, small = ImageFont.load_default(size=13), ImageFont.load_default(size=11)
    colour = _INK if one.decision is None else AGREED_RGB if one.decision.go else FALSE_DRIVABLE_RGB
    draw.rectangle((0, bottom, TILE_WIDTH_PX, tile.height), fill=_PAPER)
    draw.text((0, bottom + 2), one.verdict, fill=colour, font=bold)
    used = 8 + int(draw.textlength(one.verdict, font=bold)) if one.verdict else 0
    draw.text((used, bottom + 4), _fitting(draw, detail(one), TILE_WIDTH_PX - used, small), fill=_GREY, font=small)
    draw.text((0, bottom + 18), _fitting(draw, one.name, TILE_WIDTH_PX, small), fill=_GREY, font=small)
    return tile


def _fitting(
    draw: ImageDraw.ImageDraw, text: str, width_px: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> str:
    """As much of the text as there is room for."""
    if draw.textlength(text, font=font) <= width_px:
        return text
    while text and draw.textlength(text + "…", font=font) > width_px:
        text = text[:-1]
    return text + "…" if text else ""
