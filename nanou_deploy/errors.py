"""Errors of the deployment side, and the exit codes that scripts may rely on."""

from __future__ import annotations

from codegen.errors import CodegenError
from nanou_train.errors import TrainError

EXIT_OK = 0
EXIT_ERROR = 1  # anything not listed below
EXIT_USAGE = 2  # wrong command line (click's own)
EXIT_MISMATCH = 3  # a golden comparison found a difference, or a data check found something in two splits
EXIT_NOT_LINKED = 4  # project complete and verified on emulators, but the board's platform is not installed
EXIT_TOOL_MISSING = 5  # a compiler, emulator or package that the command needs is absent
EXIT_INTERRUPTED = 130  # Ctrl-C: 128 + SIGINT, as shells have it


class DeployError(Exception):
    """Base of all errors raised on purpose here. The CLI prints message and hint and exits with `exit_code`."""

    exit_code = EXIT_ERROR

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ToolMissing(DeployError):  # noqa: N818 (says what is wrong)
    """A program or package that this step needs is not installed; `hint` says how to get it."""

    exit_code = EXIT_TOOL_MISSING


class UsageMistake(DeployError):  # noqa: N818 (as above)
    """Something on the command line is none of what there is."""

    exit_code = EXIT_USAGE


INTENDED_ERRORS = (CodegenError, DeployError, TrainError)  # each has a `hint`; anything else is a defect
IntendedError = CodegenError | DeployError | TrainError
