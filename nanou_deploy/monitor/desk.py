"""Hand what a person asks for on the page to the feeds: numbers to drive by, and keeping them in the project file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nanou_deploy.device.tuning import NAMES
from nanou_deploy.errors import DeployError

Numbers = Mapping[str, int]
_MOST = 100_000  # of any number


class Controls:
    """Keeps what is asked of each device until its feed takes it; a newer number replaces an older one."""

    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._wanted: dict[str, dict[str, int]] = {address: {} for address in addresses}
        self._lock = threading.Lock()

    def ask(self, address: str, numbers: Numbers) -> None:
        """Note what is wanted. Raises DeployError for a device that is not watched."""
        if address not in self._wanted:
            raise DeployError("this device is not watched", hint="load the page again")
        with self._lock:
            self._wanted[address].update(numbers)

    def take(self, address: str) -> Numbers:
        with self._lock:
            wanted, self._wanted[address] = self._wanted[address], {}
        return wanted


@dataclass(frozen=True)
class Desk:
    """What a page may do. `save` writes numbers into the project file and says so; it raises DeployError.

    `values` says what threshold_q is of: "logits", "probabilities", or "" where no model was given.
    """

    controls: Controls
    save: Callable[[Numbers], str]
    values: str = ""


def checked_numbers(document: object) -> dict[str, int]:
    """Take the numbers of a request, which may be anybody's: known names, whole numbers of sane size.

    Raises ValueError.
    """
    if not isinstance(document, dict) or not document or len(document) > len(NAMES):
        raise ValueError("numbers are an object")
    for name, value in document.items():
        if name not in NAMES or isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST:
            raise ValueError("a number is unknown, no whole number, or too large")
    return dict(document)
