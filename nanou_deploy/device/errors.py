"""Name every fault of a device or of the line to it as an exception; none becomes a result."""

from __future__ import annotations

from nanou_deploy.errors import DeployError


class DeviceError(DeployError):
    """Base of all faults of a device or of the line to it."""


class DeviceAbsent(DeviceError):  # noqa: N818 (says what is wrong)
    """There is nothing at the address, or what is there never spoke this protocol."""


class DeviceTimeout(DeviceError):  # noqa: N818
    """The device answered before, but not this request, however often it was repeated."""


class DeviceReset(DeviceError):  # noqa: N818
    """The device started again in the middle of what it was asked; nothing of it counts."""


class VersionMismatch(DeviceError):  # noqa: N818
    """The device speaks another version of the protocol than this tool."""

    def __init__(self, device: int, tool: int) -> None:
        older = "its firmware is older than this tool" if device < tool else "this tool is older than its firmware"
        hint = "flash it again" if device < tool else "install a newer nanou-deploy, or flash it again with this one"
        super().__init__(f"the device speaks version {device} of the protocol, not {tool}: {older}", hint=hint)


class StaleModel(DeviceError):  # noqa: N818
    """The device runs another model than the one that was meant."""


class LinkLost(DeviceError):  # noqa: N818
    """The port disappeared or the other side closed it."""


class MalformedAnswer(DeviceError):  # noqa: N818
    """The device answered what the protocol does not allow, or what contradicts what it said before."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="is this nanou-deploy's firmware, and as new as this tool? flash it again")


class CameraMismatch(DeviceError):  # noqa: N818
    """The device's camera gives pictures of another size than its model was generated for."""


class DeviceStopped(DeviceError):  # noqa: N818
    """Whoever asked does not want to know any more: `stop` was set."""


class DeviceRefused(DeviceError):  # noqa: N818
    """The device understood and said no. `status` is the number of docs/PROTOCOL.md, `name` its name there."""

    def __init__(self, message: str, *, status: int, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.name = name
