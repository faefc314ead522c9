"""PlatformIO wants a class of this name for each platform."""

from platformio.public import PlatformBase


class Espressif32Platform(PlatformBase):
    """Nothing beyond what every platform does."""
