"""A worker's loop: take a trial, evaluate it while beating, end it; until no trial is left anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from nanou_train.errors import ConfigError, DataError, TrainError
from nanou_train.runs.interrupts import interrupts_wait
from nanou_train.search.ledger import Claim, Ledger
from nanou_train.search.pulse import Pulse

LONGEST_WAIT_S = 1.0


class Lost(Exception):  # noqa: N818 (an event, no error)
    """This worker's trial was given to another; its result does not count."""


class Stopped(Exception):  # noqa: N818 (likewise)
    """This worker has been asked to stop; its trial goes back."""


@dataclass(frozen=True)
class Outcome:
    """What a trial ends with: a value for each objective, and constraints by name, 0 or less where met."""

    values: tuple[float, ...]
    constraints: Mapping[str, float] = field(default_factory=dict)


Check = Callable[[], None]
Evaluate = Callable[[Claim, Check], Outcome]


def serve(
    ledger: Ledger,
    evaluate: Evaluate,
    *,
    report: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> int:
    """Take trials until none is left anywhere, those of dead workers among them; how many ended here.

    `evaluate(claim, check)` calls `check` now and then, which raises `Lost` or `Stopped`. Where it raises TrainError
    the trial has failed and the next one is taken. ConfigError and DataError, which would come back with each trial,
    and KeyboardInterrupt give the trial back and propagate; any other error counts against the trial and propagates.
    """
    ended = 0
    while not should_stop():
        ledger.take_over()
        with interrupts_wait() as interrupted:  # a trial that nobody has claimed yet could not be given back
            claim = ledger.claim()
            if interrupted() and claim is not None:
                ledger.give_back(claim)
        if interrupted():
            raise KeyboardInterrupt
        if claim is not None:
            ended += _serve_one(ledger, claim, evaluate, should_stop)
            report()
        elif ledger.is_over():
            break
        else:
            time.sleep(min(LONGEST_WAIT_S, ledger.worker.beat_s / 4))
    return ended


def _serve_one(ledger: Ledger, claim: Claim, evaluate: Evaluate, should_stop: Callable[[], bool]) -> bool:
    """One trial to its end; False where it was lost or given back."""
    try:
        with Pulse(ledger, claim) as pulse:

            def check() -> None:
                if pulse.lost.is_set():
                    raise Lost
                if should_stop():
                    raise Stopped

            outcome = evaluate(claim, check)
        with interrupts_wait() as interrupted:
            done = ledger.complete(claim, outcome.values, outcome.constraints)
        if interrupted():
            raise KeyboardInterrupt
        return done
    except (ConfigError, DataError, KeyboardInterrupt):
        with interrupts_wait():
            ledger.give_back(claim)
        raise
    except TrainError as error:
        return ledger.fail(claim, str(error))
    except Lost:
        return False
    except Stopped:
        ledger.give_back(claim)
        return False
    except Exception:
        ledger.give_back(claim, blameless=False)
        raise
