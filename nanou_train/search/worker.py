"""Who works on a trial: a process on a machine, and how others find out that it no longer does."""

from __future__ import annotations

import os
import platform
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Worker:
    """`machine` is the same only where one process can see the other's `pid`: host, boot and process namespace.

    `born` tells a process from a later one with the same `pid`; empty where the system does not say. A worker beats
    every `beat_s` seconds.
    """

    name: str
    host: str
    machine: str
    pid: int
    born: str
    beat_s: float

    @classmethod
    def here(cls, beat_s: float) -> Worker:
        """This process."""
        host = platform.node()
        boot, namespace = _line("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid")
        machine = f"{host} {boot[:8]} {namespace}".strip()
        return cls(uuid.uuid4().hex[:12], host, machine, os.getpid(), _born(os.getpid()), beat_s)

    def beat(self, count: int) -> dict[str, Any]:
        """What a trial is told on each beat; JSON types only."""
        return {**asdict(self), "beat": count}

    def knows_gone(self, owner: Mapping[str, Any]) -> bool:
        """True where the owner ran on this machine and no longer exists; False says nothing."""
        if owner.get("machine") != self.machine:
            return False
        pid = int(owner["pid"])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # it exists, and is somebody else's
            pass
        born = _born(pid)
        return bool(born and owner.get("born") and born != owner["born"]) or _is_zombie(pid)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on (the second may hold spaces)."""
    return _line(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _born(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if len(fields) > 19 else ""


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] == ["Z"]


def _line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
