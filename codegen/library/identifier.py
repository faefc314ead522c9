"""Name a model in C: the identifier that all external symbols of its library begin with."""

from __future__ import annotations

import re

from codegen.library.resources import api_header

# Targets that CMake, or a generator of its, keeps for itself; files of a library name one after the model.
CMAKE_TARGETS = frozenset(
    """
    all all_build clean depend edit_cache help install list_install_components package package_source preinstall
    rebuild_cache run_tests test zero_check
    """.split()  # noqa: SIM905 - as below
)

# What a program may already have under such a name: keywords of C and C++, the standard library's functions that
# people's models are called after, and what the generated file itself declares.
_RESERVED = frozenset(
    """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept const consteval
    constexpr constinit const_cast continue decltype default delete do double dynamic_cast else enum explicit export
    extern false float for friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or
    or_eq private protected public register reinterpret_cast requires restrict return short signed sizeof static
    static_assert static_cast struct switch template this thread_local throw true try typedef typeid typename union
    unsigned using virtual void volatile wchar_t while xor xor_eq linux unix
    abort abs accept atan atoi bind calloc ceil clock close connect cos div exit exp fabs floor free index isalpha
    isdigit labs link listen log main malloc memchr memcmp memcpy memmove memset open pipe pow printf putchar puts qsort
    raise rand read realloc recv remove rename round scanf select send signal sin sleep socket sqrt srand stat std
    strcat strchr strcmp strcpy strlen strncmp strncpy strstr system tan time tmpfile trunc wait write
    app arena frames frames_t inputs invoke invoke_rows layer net only_row outputs passing_rows prepare reset ring
    ring_row ring_t row run schedule step tensor_data trace traced whole_frames kernel only_rows next_row
    """.split()  # noqa: SIM905 - a hundred quoted lines would hide the list
)


def model_identifier(name: str) -> str:
    """Make a C identifier of a model's name: lower case, `_` for other characters, `m_` before what cannot stand alone.

    That is a digit or an underscore at the beginning, a word with a meaning of its own, and what would meet nanou.h.
    """
    plain = re.sub(r"[^a-z0-9_]", "_", name.lower())
    beginning = re.compile(rf"\b(?:{plain}\b|{plain}_|{plain.upper()}_)")
    ours = ("layer_", "state_", "input_", "output_", "requantize")
    is_taken = plain in _RESERVED | CMAKE_TARGETS or plain.startswith(ours)
    return f"m_{plain}" if re.match(r"[0-9_]", plain) or is_taken or beginning.search(_declared()) else plain


def _declared() -> str:
    """nanou.h without its comments."""
    return re.sub(r"/\*.*?\*/", "", api_header(), flags=re.DOTALL)
