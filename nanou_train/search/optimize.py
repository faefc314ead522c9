"""Works on the trials of a study, together with other workers, until none is left anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from nanou_train.errors import ConfigError, DataError, TrainError
from nanou_train.runs.interrupts import Interrupted, interrupts_act, interrupts_wait
from nanou_train.search.attempts import ERROR, is_over, is_some_left, is_surplus, lost, retry

if TYPE_CHECKING:
    import optuna

Objective = Callable[["optuna.Trial"], tuple[float, ...]]
LOOK_S = 1.0
LOST_S = 10.0  # whoever ended a trial puts it back within milliseconds, or has died in between


def optimize(
    study: optuna.Study, total: int, objective: Objective, *, report: Callable[[], None] = lambda: None
) -> None:
    """`study.optimize` for `total` trials by all workers together, those of workers that die meanwhile among them.

    Where the objective raises TrainError the trial has failed, and the next one is taken. ConfigError and DataError,
    which would come back with each trial, and KeyboardInterrupt give the trial back and propagate; any other error
    counts against the trial and propagates.
    """
    import optuna

    lost_since: dict[int, float] = {}
    try:
        while not is_over(trials := study.get_trials(deepcopy=False), total):
            if is_some_left(trials, total):
                _take_one(study, total, objective)
                report()
                continue
            time.sleep(LOOK_S)
            optuna.storages.fail_stale_trials(study)
            now = time.monotonic()
            for trial in lost(study.get_trials(deepcopy=False), total):
                if now - lost_since.setdefault(trial.number, now) > LOST_S:
                    retry(study, trial)
    except optuna.exceptions.StorageInternalError as error:
        raise TrainError(
            f"the storage does not answer: {error.__cause__ or error}", hint="run the same command again to go on"
        ) from error


def _take_one(study: optuna.Study, total: int, objective: Objective) -> None:
    """One trial to its end. An interruption is acted on while the objective works, and otherwise afterwards."""
    with interrupts_wait() as interrupted:
        attempt = _Attempt(study, total, objective, interrupted)
        try:
            study.optimize(attempt, n_trials=1)
        except BaseException as error:
            if not attempt.is_dealt_with(error):
                raise _beneath(error)  # noqa: B904  which is that error, or what it hides
    if interrupted():
        raise KeyboardInterrupt


def _beneath(error: BaseException) -> BaseException:
    """Find the full disk that kept a trial from being ended: on its way out Optuna asserts that it was."""
    hidden = error.__context__
    return hidden if isinstance(error, AssertionError) and isinstance(hidden, OSError) else error


class _Attempt:
    """The objective as `study.optimize` calls it, for one trial; it notes which, and what it raises."""

    def __init__(self, study: optuna.Study, total: int, objective: Objective, interrupted: Interrupted) -> None:
        self._study, self._total, self._objective, self._interrupted = study, total, objective, interrupted
        self._number: int | None = None
        self._raised: BaseException | None = None

    def __call__(self, trial: optuna.Trial) -> tuple[float, ...]:
        import optuna

        self._number = trial.number
        try:
            if is_surplus(self._study.get_trials(deepcopy=False), trial.number, self._total):
                raise optuna.TrialPruned
            with interrupts_act(self._interrupted):
                return self._objective(trial)
        except BaseException as error:
            self._raised = error
            if isinstance(error, TrainError) and not isinstance(error, ConfigError | DataError):
                trial.set_user_attr(ERROR, str(error))
            raise

    def is_dealt_with(self, error: BaseException) -> bool:
        """Put the trial back if `study.optimize` has ended it as failed; whether the next one can be taken."""
        if self._number is None:
            return False
        trial = self._study.get_trials(deepcopy=False)[self._number]
        if error is not self._raised:  # it could not be ended; if it has ended, others took this worker for dead
            return trial.state.is_finished()
        if ERROR in trial.user_attrs:
            return True
        retry(self._study, trial, blameless=isinstance(error, ConfigError | DataError | KeyboardInterrupt))
        return False
