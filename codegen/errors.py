"""Errors that a user can act on. Each says what is wrong and where; `hint` says what to try."""

from __future__ import annotations


class CodegenError(Exception):
    """Base of all errors raised on purpose by the compiler. The CLI prints message and hint, no traceback."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ModelError(CodegenError):
    """The input file is missing, damaged, or not the file that its sidecar describes."""


class UnsupportedError(CodegenError):
    """The model is valid but uses something that the compiler does not implement or cannot prove."""


class CompilerLimit(UnsupportedError):  # noqa: N818 (says what is wrong)
    """The compiler has no code for it, while TensorFlow Lite Micro runs it and checks what it relies on."""


class BudgetError(CodegenError):
    """The model cannot be compiled within the memory that the user allows."""


class WriteError(CodegenError):
    """The target folder cannot be replaced without losing something that nanou-deploy did not write."""
