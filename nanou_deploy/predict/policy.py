"""Decide GO or STOP and the steering from masks, by the firmware's own C in a process on this computer."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from nanou_deploy.boards.boards import find_board
from nanou_deploy.build.build import build_program
from nanou_deploy.build.programs import policy_sources
from nanou_deploy.device.messages import Decision
from nanou_deploy.errors import DeployError

# As firmware/host/policy.c has them.
_REQUEST = struct.Struct("<HHHHQI")
_ANSWER = struct.Struct("<bbHHH")
_OF_A_DRIVE, _FOR_ITSELF, _FIRST_OF_A_DRIVE = range(3)


class Policy:
    """The running program. Made by `open_policy`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def judge(self, drivable: npt.NDArray[np.bool_]) -> Decision:
        """Decide by one mask, bool (H, W), without any other before it."""
        return self._ask(_FOR_ITSELF, drivable, 0)

    def see(self, drivable: npt.NDArray[np.bool_], taken_us: int, *, is_first: bool = False) -> Decision:
        """Decide by the next mask of a drive, judged at once; times in microseconds never go back."""
        return self._ask(_FIRST_OF_A_DRIVE if is_first else _OF_A_DRIVE, drivable, taken_us)

    def _ask(self, kind: int, drivable: npt.NDArray[np.bool_], taken_us: int) -> Decision:
        height_px, width_px = drivable.shape
        head = _REQUEST.pack(kind, width_px, height_px, 0, taken_us, 0)
        source, sink = self._process.stdin, self._process.stdout
        assert source is not None
        assert sink is not None
        answer = b""
        with suppress(BrokenPipeError):
            source.write(head + np.packbits(drivable, axis=-1).tobytes())
            source.flush()
            answer = sink.read(_ANSWER.size)
        if len(answer) != _ANSWER.size:
            raise DeployError(f"the navigation policy ended with code {self._process.wait(10)}", hint="report this")
        go, steer, *covers = _ANSWER.unpack(answer)
        return Decision(bool(go), steer, *covers)


@contextmanager
def open_policy() -> Iterator[Policy]:
    """Compile and start the policy. Raises ToolMissing where there is no C compiler."""
    with TemporaryDirectory(prefix="nanou-") as scratch:
        program = build_program(policy_sources(), find_board("host"), Path(scratch)).elf
        with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                yield Policy(process)
            finally:
                process.kill()
