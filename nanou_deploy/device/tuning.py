"""Encode and check TUNE: the policy's numbers and the threshold, told and changed while a device runs."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from nanou_deploy.build.drive_config import Policy
from nanou_deploy.device.messages import expect, unpack
from nanou_deploy.errors import DeployError

_NUMBERS = struct.Struct("<hHHHHHH")
_ANSWER = struct.Struct("<hHHHHHHHB")
THRESHOLDS = (-128, 128)  # least and most of int8 outputs; 128 means never
NAMES = ("threshold_q", "go", "stop", "turn", "straight", "start_pictures", "stale_ms")


@dataclass(frozen=True)
class Tuning:
    """The numbers that a device drives by. `policy.hold_ms` is built in: no host can lengthen how long motors may run.

    A pixel is drivable from the int8 output `threshold_q` on, where `has_threshold`.
    """

    threshold_q: int
    policy: Policy
    has_threshold: bool = True

    def changed(self, numbers: Mapping[str, object]) -> Tuning:
        """Replace numbers of NAMES. Raises DeployError for others, and for what is no whole number or out of bounds."""
        for name, value in numbers.items():
            if name not in NAMES:
                raise DeployError(f"{name!r:.40} cannot be tuned", hint=f"numbers are {', '.join(NAMES)}")
            if isinstance(value, bool) or not isinstance(value, int):
                raise DeployError(f"{name} is no whole number", hint="give one")
        given = {name: value for name, value in numbers.items() if isinstance(value, int)}
        threshold_q = given.pop("threshold_q", self.threshold_q)
        if threshold_q != self.threshold_q and not (
            self.has_threshold and THRESHOLDS[0] <= threshold_q <= THRESHOLDS[1]
        ):
            raise DeployError(
                f"threshold_q {threshold_q} is not {THRESHOLDS[0]} to {THRESHOLDS[1]}, or the model has no threshold",
                hint="a model of several classes decides by the highest output",
            )
        return replace(self, threshold_q=threshold_q, policy=replace(self.policy, **given))

    def numbers(self) -> dict[str, int]:
        """Return what can be tuned, by NAMES."""
        policy = asdict(self.policy)
        return {"threshold_q": self.threshold_q, **{name: policy[name] for name in NAMES[1:]}}

    def encode(self) -> bytes:
        return _NUMBERS.pack(*self.numbers().values())


def decode_tuning(payload: bytes) -> Tuning:
    """Decode the answer to TUNE. Raises MalformedAnswer."""
    threshold_q, go, stop, turn, straight, start, stale_ms, hold_ms, has = unpack(_ANSWER, payload, "TUNE")
    expect(len(payload) == _ANSWER.size and has in (0, 1), f"TUNE of {len(payload)} bytes")
    expect(THRESHOLDS[0] <= threshold_q <= THRESHOLDS[1] or not has, f"a threshold of {threshold_q}")
    try:
        policy = Policy(go, stop, turn, straight, start, stale_ms, hold_ms)
    except DeployError as error:
        expect(False, str(error))
        raise
    return Tuning(threshold_q, policy, bool(has))
