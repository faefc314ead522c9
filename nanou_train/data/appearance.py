"""Change a picture's light, colours and season, never its geometry, so that masks and a teacher's answers stay true.

Training that has seen one autumn trusts its colours. Here each chosen picture takes on colours of its own, or those of
another picture of the batch: its palette (mean and deviation of each channel; Reinhard et al. 2001, Color Transfer
between Images), or the low frequencies of its amplitude spectrum, which hold light and haze while the phase holds what
is where (Yang and Soatto 2020, FDA, arXiv 2004.05498; mixed by a share as Xu et al. 2021, arXiv 2105.11120).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nanou_train.data.augment import Float, Pixels

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_LEAST_DEVIATION = 4.0


def change_appearance(images: Pixels, rng: np.random.Generator, share: float) -> Pixels:
    """Give a `share` of pictures uint8 (B, H, W, C) other colours, each by one of three ways; C is 1 or 3."""
    chosen = np.flatnonzero(rng.random(len(images)) < share)
    if not len(chosen):
        return images
    ways = rng.integers(0, 3, len(chosen))
    donors = rng.integers(0, len(images), len(chosen))
    values = images[chosen].astype(np.float32)
    for way, change in enumerate((_recolor, _take_palette, _take_spectrum)):
        own = np.flatnonzero(ways == way)
        if len(own):
            values[own] = change(values[own], images[donors[own]].astype(np.float32), rng)
    changed = images.copy()
    changed[chosen] = np.clip(values + 0.5, 0, 255).astype(np.uint8)
    return changed


def _recolor(values: Float, _donors: Float, rng: np.random.Generator) -> Float:
    """Draw another saturation (0: grey, as under snow or fog), balance, gamma and exposure for each picture."""
    count, channels = len(values), values.shape[-1]
    if channels == 3:
        grey = (values @ _LUMA)[..., None]
        values = grey + rng.uniform(0, 1.6, (count, 1, 1, 1)).astype(np.float32) * (values - grey)
        values = values * rng.uniform(0.7, 1.4, (count, 1, 1, channels)).astype(np.float32)
    gamma = np.exp(rng.uniform(-0.6, 0.6, (count, 1, 1, 1))).astype(np.float32)
    lit = 255 * (np.clip(values, 0, 255) / 255) ** gamma
    return np.asarray(lit * rng.uniform(0.7, 1.3, (count, 1, 1, 1)).astype(np.float32), np.float32)


def _take_palette(values: Float, donors: Float, rng: np.random.Generator) -> Float:
    """Move mean and deviation of each channel towards the donor's, all the way or part of it."""
    mean, deviation = _statistics(values)
    other_mean, other_deviation = _statistics(donors)
    share = rng.uniform(0.3, 1.0, (len(values), 1, 1, 1)).astype(np.float32)
    moved = (values - mean) * (other_deviation / deviation) + other_mean
    return np.asarray(values + share * (moved - values), np.float32)


def _statistics(values: Float) -> tuple[Float, Float]:
    return values.mean(axis=(1, 2), keepdims=True), values.std(axis=(1, 2), keepdims=True) + np.float32(
        _LEAST_DEVIATION
    )


def _take_spectrum(values: Float, donors: Float, rng: np.random.Generator) -> Float:
    """Mix the amplitudes of low frequencies, up to 1 to 9 % of the sampling rate, with the donor's; phases stay."""
    own, other = np.fft.rfft2(values, axes=(1, 2)), np.fft.rfft2(donors, axes=(1, 2))
    height, width = values.shape[1:3]
    rows, columns = np.abs(np.fft.fftfreq(height))[:, None], np.fft.rfftfreq(width)[None, :]
    reach = rng.uniform(0.01, 0.09, (len(values), 1, 1))
    is_low = ((rows <= reach) & (columns <= reach))[..., None]
    share = rng.uniform(0.3, 1.0, (len(values), 1, 1, 1)) * is_low
    amplitude = (1 - share) * np.abs(own) + share * np.abs(other)
    mixed: npt.NDArray[np.float64] = np.fft.irfft2(
        amplitude * np.exp(1j * np.angle(own)), s=(height, width), axes=(1, 2)
    )
    return mixed.astype(np.float32)
