"""Errors of training and data that a user can act on; `hint` says what to try."""

from __future__ import annotations


class TrainError(Exception):
    """Base of all errors that nanou_train raises on purpose. The CLI prints message and hint, no traceback."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def advice(self) -> str:
        """Message and hint in one line, for where only text gets through."""
        return f"{self}; {self.hint}" if self.hint else str(self)


class DataError(TrainError):
    """A data set or one of its files is missing, unreadable or does not fit together."""


class ConfigError(TrainError):
    """An experiment file, a key or a value in it is wrong."""
