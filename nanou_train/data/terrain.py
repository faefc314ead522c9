"""Render terrain with exact masks: the embedded data set, which needs no download and no labelling.

A scene is a flat ground plane seen by a tilted, rolled pinhole camera. Two ground covers meet along an irregular
border, none to two paths cross it in any direction, objects stand on it, hills or trees close the horizon.

**Drivable** is path and short grass. **Not drivable** is tall grass, ploughed or stony soil, every standing object
and everything above the horizon. Colours are no key: short and tall grass share one palette, and so do paths,
soil, rocks and walls; what tells them apart is texture (smooth or rough) and shape. Position is no key either:
the horizon, the direction, width and number of the paths and the covers beside them vary from image to image.

Images are rendered at twice the size and box-averaged; a mask pixel is drivable where at least half of its four
samples are. Image i of a seed does not depend on how many images are asked for.
"""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[Any]  # of floats
Mask = npt.NDArray[np.bool_]
Rng = np.random.Generator

GREEN = ((0.30, 0.42, 0.16), (0.42, 0.48, 0.20), (0.52, 0.50, 0.26), (0.24, 0.36, 0.20), (0.36, 0.50, 0.14))
EARTH = ((0.48, 0.37, 0.25), (0.62, 0.54, 0.40), (0.50, 0.49, 0.46), (0.36, 0.35, 0.35), (0.56, 0.42, 0.32))
# Roughness octaves as (size_m, amplitude). The rough covers keep contrast at every size, so also far away.
SMOOTH = ((0.06, 0.06), (0.7, 0.05))
FINE = ((0.05, 0.14), (0.9, 0.06))
ROUGH = ((0.09, 0.5), (0.25, 0.6), (0.8, 0.6), (2.5, 0.4))
CELLS, STEPS = 32, 32  # of the noise table, powers of two
FAR_M = (10.0, 35.0)  # where trees or hills end the ground


@dataclass(frozen=True)
class View:
    """The camera's geometry at render size; all arrays float32 (H, W) unless stated.

    `far_m` is how far the ground reaches. `right_px` and `down_px` are rolled image coordinates relative to the
    horizon's centre; `x_m`, `z_m` the point on the ground (right of, in front of the camera), valid where `ground`;
    `footprint_m` what one pixel covers there.
    """

    focal_px: float
    camera_m: float
    far_m: float
    right_px: Float
    down_px: Float
    ground: Mask
    x_m: Float
    z_m: Float
    footprint_m: Float


def generate(
    count: int, *, seed: int, height_px: int = 60, width_px: int = 80
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Render `count` scenes: images uint8 (N, H, W, 3) RGB and masks uint8 (N, H, W), 1 = drivable."""
    images = np.empty((count, height_px, width_px, 3), np.uint8)
    masks = np.empty((count, height_px, width_px), np.uint8)

    def render(index: int) -> None:
        images[index], masks[index] = render_scene(np.random.default_rng([seed, index]), height_px, width_px)

    # NumPy releases the interpreter lock in its loops; scenes share nothing, so the order does not matter.
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(render, range(count)))
    return images, masks


def split_seed(seed: int, split: str) -> int:
    """Derive the generator seed of one split, so that train, val and test never share a scene."""
    return seed * 8 + ("train", "val", "test").index(split)


def render_scene(rng: Rng, height_px: int, width_px: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Render one scene: image uint8 (H, W, 3), mask uint8 (H, W) of 0/1."""
    view = _camera(rng, 2 * height_px, 2 * width_px)
    rgb, drivable = _ground(rng, view)
    _horizon(rng, view, rgb, drivable)
    _objects(rng, view, rgb, drivable)
    image = _expose(rng, _box_average(rgb))
    samples = drivable.reshape(height_px, 2, width_px, 2).sum(axis=(1, 3))
    return image, (samples >= 2).astype(np.uint8)


def _camera(rng: Rng, height: int, width: int) -> View:
    focal, camera = width * rng.uniform(0.65, 1.1), rng.uniform(0.35, 1.4)
    horizon, roll = height * rng.uniform(-0.15, 0.6), np.clip(rng.normal(0.0, 0.09), -0.26, 0.26)
    column = np.arange(width, dtype=np.float32)[None, :] + np.float32(0.5 - width / 2)
    row = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5 - horizon)
    cos, sin = np.float32(np.cos(roll)), np.float32(np.sin(roll))
    right, down = cos * column + sin * row, cos * row - sin * column
    far = rng.uniform(*FAR_M)
    z = np.minimum(np.float32(focal * camera) / np.maximum(down, np.float32(0.2)), np.float32(far))
    x = z * right / np.float32(focal)
    # A pixel covers far more along the view than across it; the geometric mean is what blurs the texture.
    footprint = z / np.float32(focal) * np.sqrt(z / np.float32(camera))
    return View(focal, camera, far, right, down, down > focal * camera / far, x, z, footprint)


@functools.cache
def _noise_table() -> Float:
    """Smooth periodic value noise, mean 0, range -0.5..0.5: float32 (CELLS * STEPS)**2, flat, cubically interpolated.

    The same for every scene; scenes differ in where they read it. One table look-up per pixel is what makes
    rendering fast enough to need no stored data set.
    """
    lattice = np.random.default_rng(0).random((CELLS, CELLS), dtype=np.float32) - np.float32(0.5)
    step = np.arange(CELLS * STEPS)
    cell, t = step // STEPS, ((step % STEPS) / np.float32(STEPS)).astype(np.float32)
    t = t * t * (3 - 2 * t)
    rows = lattice[cell] * (1 - t)[:, None] + lattice[(cell + 1) % CELLS] * t[:, None]
    table: Float = rows[:, cell] * (1 - t) + rows[:, (cell + 1) % CELLS] * t
    return table.ravel()


def _noise(rng: Rng, a: Float | float, b: Float | float) -> Float:
    """Smooth noise of mean 0 and range -0.5..0.5 at coordinates a, b (one cell = one unit)."""
    side = CELLS * STEPS
    start_a, start_b = rng.integers(side, size=2).tolist()
    if rng.random() < 0.5:
        a, b = b, a
    i = (np.asarray(a * np.float32(STEPS)).astype(np.int32) + start_a) & (side - 1)
    j = (np.asarray(b * np.float32(STEPS)).astype(np.int32) + start_b) & (side - 1)
    values: Float = _noise_table()[i * side + j]
    return values


def _roughness(rng: Rng, view: View, octaves: tuple[tuple[float, float], ...], stretch: float = 1.0) -> Float:
    """Relative brightness around 1; an octave fades where a pixel covers more than its size."""
    total = np.ones_like(view.x_m)
    for size, amplitude in octaves:
        fade = np.minimum(np.float32(1.0), np.float32(size) / view.footprint_m)
        total += np.float32(amplitude) * fade * _noise(rng, view.x_m / size, view.z_m / (size * stretch))
    return total


def _color(rng: Rng, palette: tuple[tuple[float, float, float], ...]) -> Float:
    """Mix a color of two of the palette's, with its own lightness: float32 (3,)."""
    first, second = rng.choice(len(palette), 2, replace=False)
    mix = np.asarray(palette[first]) + rng.uniform(0, 0.6) * (np.asarray(palette[second]) - np.asarray(palette[first]))
    return np.asarray(mix * rng.uniform(0.75, 1.25) + rng.normal(0, 0.015, 3), np.float32)


def _cover(rng: Rng, view: View, kind: str) -> Float:
    """Float32 (H, W, 3) of one ground cover."""
    if kind == "short_grass":
        return _color(rng, GREEN) * _roughness(rng, view, FINE)[..., None]
    if kind == "tall_grass":
        # Blades stand up: streaks along the image's vertical, as fine as the distance makes them.
        scale = np.float32(view.focal_px * rng.uniform(0.02, 0.05)) / view.z_m + np.float32(1.5)
        blades = _noise(rng, view.right_px / scale, view.down_px / (scale * 4))
        return (
            _color(rng, GREEN) * (np.float32(0.85) * _roughness(rng, view, ROUGH) + np.float32(0.7) * blades)[..., None]
        )
    soil = _roughness(rng, view, ROUGH, stretch=rng.uniform(0.6, 1.5))
    if rng.random() < 0.5:
        angle, pitch_m = rng.uniform(0, np.pi), rng.uniform(0.35, 0.8)
        across = np.float32(np.cos(angle)) * view.x_m + np.float32(np.sin(angle)) * view.z_m
        fade = np.minimum(np.float32(1.0), np.float32(pitch_m / 2) / view.footprint_m)
        soil += np.float32(0.22) * fade * np.sin(np.float32(2 * np.pi / pitch_m) * across)
    return np.float32(0.9) * _color(rng, EARTH) * soil[..., None]


def _ground(rng: Rng, view: View) -> tuple[Float, Mask]:
    """Covers, paths and shadows over the whole frame (the part above the horizon is painted over later)."""
    rough = ["tall_grass", "soil"]
    rng.shuffle(rough)
    kinds = [rough[0], "short_grass" if rng.random() < 0.8 else rough[1]]
    size = rng.uniform(2.5, 8.0)
    border = _noise(rng, view.x_m / size, view.z_m / size) + rng.normal(0.08, 0.15) + rng.normal(0, 0.04) * view.x_m
    border += np.float32(0.05) * _noise(rng, view.x_m / 0.25, view.z_m / 0.25)
    second = border > 0
    rgb = np.where(second[..., None], _cover(rng, view, kinds[1]), _cover(rng, view, kinds[0]))
    drivable = np.where(second, kinds[1] == "short_grass", kinds[0] == "short_grass")
    for _ in range(rng.choice(3, p=(0.2, 0.6, 0.2))):
        on_path, surface = _path(rng, view)
        rgb = np.where(on_path[..., None], surface, rgb)
        drivable = drivable | on_path
    if rng.random() < 0.5:
        size = rng.uniform(0.4, 3.0)
        edge = _noise(rng, view.x_m / size, view.z_m / (size * rng.uniform(0.5, 3.0))) - rng.uniform(-0.1, 0.25)
        lit = 1 - np.float32(rng.uniform(0.25, 0.6)) * np.clip(edge * rng.uniform(4, 30), 0, 1)
        rgb = rgb * lit[..., None]
    haze = np.clip(view.z_m / np.float32(FAR_M[1]) * rng.uniform(0, 0.6), 0, 0.6)[..., None]
    return np.asarray(rgb * (1 - haze) + np.float32(0.7) * haze, np.float32), drivable & view.ground


def _path(rng: Rng, view: View) -> tuple[Mask, Float]:
    """Draw a band along a winding line through a random ground point in a random direction, with ragged edges."""
    heading, width = rng.uniform(-1.4, 1.4) * rng.uniform(0.2, 1.0), rng.uniform(0.6, 2.6)
    x0, z0 = rng.uniform(-1.5, 1.5), rng.uniform(1.0, 6.0)
    cos, sin = np.float32(np.cos(heading)), np.float32(np.sin(heading))
    along = sin * (view.x_m - np.float32(x0)) + cos * (view.z_m - np.float32(z0))
    across = cos * (view.x_m - np.float32(x0)) - sin * (view.z_m - np.float32(z0))
    bend, length = rng.uniform(0, 1.5), rng.uniform(6, 25)
    across = across - bend * np.sin(along * np.float32(2 * np.pi / length) + np.float32(rng.uniform(0, 2 * np.pi)))
    half = np.float32(width / 2) * (1 + np.float32(0.5) * _noise(rng, along / 3, 0.0))
    ragged = np.float32(rng.uniform(0.0, 0.3)) * _noise(rng, view.x_m / 0.3, view.z_m / 0.3)
    offset = np.abs(across) + ragged
    tone = _roughness(rng, view, SMOOTH)
    if rng.random() < 0.5:
        ruts = np.abs(np.abs(across) - half * np.float32(0.5)) < half * np.float32(0.15)
        tone = tone * np.where(ruts, np.float32(rng.uniform(0.8, 1.1)), np.float32(1.0))
    return offset < half, np.asarray(_color(rng, EARTH) * tone[..., None], np.float32)


def _horizon(rng: Rng, view: View, rgb: Float, drivable: Mask) -> None:
    """Sky, and hills or a line of trees in front of it, in place."""
    up = np.float32(view.focal_px * view.camera_m / view.far_m) - view.down_px  # above the ground's far end
    zenith, haze = np.asarray(((0.35, 0.55, 0.85), (0.75, 0.78, 0.82))[rng.integers(2)]), rng.uniform(0.75, 1.0)
    fraction = np.clip(up / np.float32(0.6 * rgb.shape[0]), 0, 1)[..., None]
    sky = haze + (zenith - haze) * fraction
    sky = sky + 0.25 * np.clip(_noise(rng, view.right_px / 30, up / 10), 0, 1)[..., None]
    rgb[...] = np.where(view.ground[..., None], rgb, sky)
    tall = rng.uniform(-2, 30)
    outline = tall + 0.6 * abs(tall) * _noise(rng, view.right_px / rng.uniform(8, 60), 0.0)
    outline = outline + 5 * _noise(rng, view.right_px / 3, up / 3)
    hills = (up >= 0) & (up < outline)
    tone = 0.8 + 0.7 * _noise(rng, view.right_px / 5, up / 5) + 0.5 * _noise(rng, view.right_px / 2, up / 2)
    color = 0.8 * _color(rng, GREEN if rng.random() < 0.8 else EARTH)
    rgb[hills] = color * tone[hills][:, None]
    drivable[hills] = False


def _objects(rng: Rng, view: View, rgb: Float, drivable: Mask) -> None:
    """Bushes, rocks, trees and walls, far ones first, in place; each shades the ground at its foot."""
    places = [(rng.uniform(1.2, 18.0), kind) for kind in rng.choice(4, size=rng.poisson(2.2), p=(0.4, 0.3, 0.15, 0.15))]
    for z, kind in sorted(places, reverse=True):
        px_per_m = view.focal_px / z
        x = rng.uniform(-0.6, 0.6) * rgb.shape[1] / px_per_m
        right = (view.right_px - np.float32(x * px_per_m)) / np.float32(px_per_m)
        up = np.float32(view.camera_m) - view.down_px / np.float32(px_per_m)  # height above the foot, metres
        ragged = _noise(rng, right / 0.25, up / 0.25) + 0.5 * _noise(rng, right / 0.08, up / 0.08)
        if kind == 0:  # bush
            width, height = rng.uniform(0.3, 1.5), rng.uniform(0.3, 1.6)
            shape = (right / width) ** 2 + ((up - 0.4 * height) / (0.6 * height)) ** 2 + 0.9 * ragged < 1
            paint = 0.85 * _color(rng, GREEN) * (1 + 1.2 * ragged + 0.3 * (up / height - 0.5))[..., None]
        elif kind == 1:  # rock
            width, height = rng.uniform(0.15, 0.9), rng.uniform(0.15, 0.8)
            shape = np.abs(right / width) ** 3 + np.abs((up - 0.4 * height) / (0.6 * height)) ** 2.5 + 0.3 * ragged < 1
            light = 0.9 + 0.5 * (up / height - 0.4) + rng.uniform(-0.4, 0.4) * right / width
            paint = _color(rng, EARTH) * (light + 0.25 * ragged)[..., None]
        elif kind == 2:  # tree
            width, height = rng.uniform(0.08, 0.25), rng.uniform(2.0, 5.0)
            crown = (right / (8 * width)) ** 2 + ((up - height) / (0.4 * height)) ** 2 + 0.9 * ragged < 1
            shape = ((np.abs(right) < width) & (up > 0) & (up < height)) | crown
            trunk, leaves = 0.6 * _color(rng, EARTH), 0.7 * _color(rng, GREEN)
            paint = np.where(crown[..., None], leaves, trunk) * (1 + 1.2 * ragged)[..., None]
        else:  # wall
            width, height = rng.uniform(0.5, 3.0), rng.uniform(0.4, 2.2)
            shape = (np.abs(right) < width) & (up > 0) & (up < height)
            course = np.floor(up / 0.22)
            joints = (up / 0.22 - course < 0.15) | ((right / 0.45 + 0.5 * course) % 1 < 0.08)
            paint = _color(rng, EARTH) * (np.where(joints, 0.65, 1.0) + 0.1 * ragged)[..., None]
        foot = (right / (1.3 * width)) ** 2 + ((view.z_m - z) / max(0.3, width)) ** 2
        rgb *= np.where(view.ground, 1 - 0.45 * np.clip(1.6 - foot, 0, 1), 1)[..., None].astype(np.float32)
        rgb[shape] = paint[shape]
        drivable[shape] = False


def _box_average(rgb: Float) -> Float:
    height, width, _ = rgb.shape
    return np.asarray(rgb.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)), np.float32)


def _expose(rng: Rng, rgb: Float) -> npt.NDArray[np.uint8]:
    """Light, white balance, contrast, lens and sensor: linear float32 (H, W, 3) -> uint8."""
    rgb = np.clip(rgb * (rng.uniform(0.75, 1.3) * rng.normal(1, 0.06, 3)), 0, 1) ** rng.uniform(0.75, 1.3)
    if rng.random() < 0.3:
        padded = np.pad(rgb, ((1, 1), (1, 1), (0, 0)), mode="edge")
        rgb = 0.5 * rgb + 0.125 * (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:])
    rgb = rgb + rng.uniform(0, 0.025) * rng.standard_normal(rgb.shape, dtype=np.float32)
    pixels: npt.NDArray[np.uint8] = np.clip(rgb * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels
