"""How much of a layer its channels repeat, from the covariance of its activations.

Channels are the variables, all other axes are samples. `redundancy_score` is 1 - r / C, where r is the effective rank
(Roy and Vetterli, "The effective rank", EUSIPCO 2007): the exponential of the entropy of the covariance's eigenvalues
(the squared singular values of the centered activations) as shares of their sum. Equal channels score 1 - 1 / C,
uncorrelated channels of equal power 0, a layer that says nothing 1.
"""

from __future__ import annotations

from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from nanou_train.errors import TrainError

Float = npt.NDArray[np.float64]


class LayerRedundancy(TypedDict):
    """`redundancy_score` 0..1; `condition_number` of the singular values, at most 1 / eps; `rank` in channels."""

    redundancy_score: float
    condition_number: float
    rank: int
    num_channels: int


def compute_layer_redundancy(activations: npt.ArrayLike | Any, eps: float = 1e-6) -> LayerRedundancy:
    """Redundancy of activations (..., C), array or tensor of any float type.

    Singular values below `eps` times the largest count as 0 for `rank`, and the layer is dead where the largest is
    below `eps` times the activations' own size, as with channels that never change. Raises TrainError for fewer than
    two samples and for values that are not finite. With fewer samples than channels the score is too high.
    """
    values = np.asarray(activations, np.float64)
    channels = values.shape[-1] if values.ndim > 1 else 0
    samples = values.reshape(-1, channels) if channels else np.empty((0, 0))
    if len(samples) < 2:
        raise TrainError(
            f"activations of shape {values.shape} have no two samples of a channel", hint="give (..., C), batch first"
        )
    if not np.isfinite(samples).all():
        raise TrainError("activations are not finite", hint="lower learning_rate, or look for it with debug_mode")
    centered = samples - samples.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(centered.T @ centered / len(samples))
    power, largest = np.maximum(eigenvalues, 0.0), float(eigenvalues[-1])
    if largest <= eps**2 * float(np.mean(samples**2)):
        return LayerRedundancy(redundancy_score=1.0, condition_number=1 / eps, rank=0, num_channels=channels)
    relative = np.sqrt(power / largest)
    return LayerRedundancy(
        redundancy_score=float(np.clip(1.0 - effective_rank(power) / channels, 0.0, 1.0)),
        condition_number=float(1.0 / max(relative[0], eps)),
        rank=int(np.count_nonzero(relative > eps)),
        num_channels=channels,
    )


def effective_rank(power: Float) -> float:
    """Compute exp of the entropy of eigenvalues `power` (C,) as shares of their sum: 1..C; 0 where all are 0."""
    if not power.any():
        return 0.0
    shares = power[power > 0] / power.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


class Check(TypedDict):
    """One known case: what the score should be, what it is, and whether they agree."""

    name: str
    expected: float
    found: float
    passed: bool


def validate_nas_computation() -> dict[str, Any]:
    """Compute cases whose redundancy is known: {"passed": bool, "checks": [Check, ...]}."""
    rng = np.random.default_rng(0)
    free = rng.standard_normal((20_000, 8))
    mixed = free[:, :2] @ rng.standard_normal((2, 8))
    cases = {
        "independent channels": (free, "redundancy_score", 0.0, 0.01),
        "equal channels": (np.repeat(free[:, :1], 8, axis=1), "redundancy_score", 1 - 1 / 8, 1e-9),
        "each channel twice": (np.repeat(free[:, :4], 2, axis=1), "redundancy_score", 0.5, 0.01),
        "dead layer": (np.zeros((100, 8)), "redundancy_score", 1.0, 0.0),
        "constant layer": (np.full((100, 8), 0.3), "redundancy_score", 1.0, 0.0),
        "another unit": (1e-4 * free + 5.0, "redundancy_score", 0.0, 0.01),
        "rank of two mixed sources": (mixed, "rank", 2.0, 0.0),
        "condition of equal channels": (np.repeat(free[:, :1], 8, axis=1), "condition_number", 1e6, 0.0),
    }
    checks = []
    for name, (values, field, expected, tolerance) in cases.items():
        found = float(compute_layer_redundancy(values)[field])  # type: ignore[literal-required]
        checks.append(Check(name=name, expected=expected, found=found, passed=abs(found - expected) <= tolerance))
    return {"passed": all(check["passed"] for check in checks), "checks": checks}
