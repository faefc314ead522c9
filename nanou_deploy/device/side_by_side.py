"""Talk to several devices at once, each in a thread, so that an interrupt of the program is answered at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

_Result = TypeVar("_Result")
_ENDING_S = 0.7  # for threads to end in, once they were told to


def run_side_by_side(works: Sequence[Callable[[], _Result]], stop: threading.Event) -> list[_Result]:
    """Run `works` at once and return their results in order.

    The first exception of any, or an interrupt, sets `stop`, which they look at; then it is raised here, after a
    fraction of a second even if a thread hangs in the line's driver.
    """
    results: dict[int, _Result] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            results[number] = works[number]()
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(works))]
    for thread in threads:
        thread.start()
    try:
        while any(thread.is_alive() for thread in threads) and not stop.is_set():
            for thread in threads:
                thread.join(0.1)
    finally:
        stop.set()
        for thread in threads:
            thread.join(_ENDING_S)
    if errors:
        raise errors[0]
    return [results[number] for number in range(len(works))]
