"""The beat of a worker: while one thread evaluates a trial, another tells that it is alive and looks after others."""

from __future__ import annotations

import threading
from types import TracebackType

from nanou_train.search.ledger import Claim, Ledger


class Pulse:
    """While a trial is worked on: beats, and looks after others. `lost` is set where the trial was taken away."""

    def __init__(self, ledger: Ledger, claim: Claim) -> None:
        self._ledger, self._claim = ledger, claim
        self.lost, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        count = 0
        while not self._done.wait(self._ledger.worker.beat_s):
            count += 1
            try:
                if not self._ledger.write(self._claim.trial, {"owner": self._ledger.worker.beat(count)}):
                    self.lost.set()
                    return
                self._ledger.take_over()
            except Exception:  # a storage that does not answer for a while: three beats may be missed
                continue
