"""What a value may be in a template: plain by default, quoted by a filter of the template's language.

Names, paths and sizes come from files that anybody may have written, and generated text is compiled, configured and
run. So a template's value without a filter must be plain, which is to say free of all that means something in the
template's language: quotes, what opens or ends a comment, interpolation, line breaks. Where a value may be anything,
the template names the filter that quotes it (`{{ name | c_string }}`). Forgetting the filter is an error when it is
rendered, not a hole. HTML and SVG are escaped throughout. `Rendered` is text of the template's own language that this
program has made, such as a part that another template has rendered.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup, escape

from codegen.errors import UnsupportedError
from codegen.untrusted import shown

# What must not be in a plain value, by language, besides what is not printable.
_NOT_PLAIN: Mapping[str, str] = {
    "C": r"[\"\\]|\*/|/\*|//|\?\?",
    "CMake": r"[\"\\$;#()]|\[=*\[",
    "JSON": r"[\"\\]",
    "YAML": r"[\"'\\{}\[\]&*!|>%@`]|: |:$| #|^[-?#]",
    "INI": r"\$\{|^\[|(^|\s)[;#]",
    "Kconfig": r"[\"\\$]",
    "Markdown": r"[`\\<>&|\[\]!*~]",
    "CSS": r"[^\w #%.-]",
}
_LANGUAGES: Mapping[str, str] = {
    ".c": "C",
    ".h": "C",
    ".cc": "C",
    ".ino": "C",
    ".S": "C",  # goes through the C preprocessor
    ".cmake": "CMake",
    "CMakeLists.txt": "CMake",
    ".json": "JSON",
    ".yml": "YAML",
    ".ini": "INI",
    ".properties": "INI",
    "sdkconfig.defaults": "Kconfig",
    "sdkconfig.board": "Kconfig",
    "Kconfig.projbuild": "Kconfig",
    ".md": "Markdown",
    ".css": "CSS",
    ".html": "HTML",
    ".svg": "HTML",
}


class Rendered(str):
    """Text in the language of the file that it goes into, exempt from what its templates' values are held to."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


@cache
def language_of(template: str) -> str:
    """Tell the language of a template such as common/model.h.j2, by what its name ends in."""
    name = template.rsplit("/", 1)[-1].removesuffix(".j2")
    found = [language for ending, language in _LANGUAGES.items() if name.endswith(ending)]
    if not found:
        raise AssertionError(f"{template}: codegen/library/escaping.py knows no language for this name")
    return found[0]


@jinja2.pass_context
def finalize(context: jinja2.runtime.Context, value: Any) -> Markup:
    """Write one `{{ value }}`. Raises UnsupportedError where it is not plain in the template's language."""
    if hasattr(value, "__html__"):  # from a macro, a filter or another template
        return Markup(value)
    text = str(value)
    language = language_of(context.name or "")
    if language == "HTML":
        return escape(text)
    if not text.isprintable() or re.search(_NOT_PLAIN[language], text):
        raise UnsupportedError(
            f"{shown(text)} cannot stand in generated {language}", hint="rename it: plain letters and digits will do"
        )
    return Markup(text)


def c_string(text: str) -> str:
    """Quote UTF-8 as a C string literal: what could end it, or a comment, and all but plain ASCII as octal."""
    plain = (chr(code) if 32 <= code < 127 and chr(code) not in '"\\?*/' else f"\\{code:03o}" for code in text.encode())
    return '"' + "".join(plain) + '"'


def cmake_argument(text: str) -> str:
    """Quote one argument, whatever is in it (cmake-language(7))."""
    return '"' + re.sub(r'[\\"$]', r"\\\g<0>", one_line(text)) + '"'


def json_text(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def yaml_scalar(text: str) -> str:
    """Quote a scalar with double quotes (YAML 1.2, 7.3.1)."""
    return '"' + "".join(_yaml_character(character) for character in text) + '"'


def _yaml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def markdown_text(text: str) -> str:
    """One line of text that nothing in it formats, links or ends; also in a table's cell."""
    plain = re.sub(r"[\\`*_\[\]|~]|^[-+#=]|(?<=\d)[.)](?=\s)", r"\\\g<0>", one_line(text).strip())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: str) -> str:
    """Quote a code span, by a fence longer than any run of backticks in it (CommonMark, 6.1)."""
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " * (line.startswith("`") or line.endswith("`"))
    return f"{fence}{space}{line}{space}{fence}"


def shell_word(text: str) -> str:
    """One word of a POSIX shell's line. Raises UnsupportedError for what a terminal would act on."""
    if not text.isprintable():
        raise UnsupportedError(f"{shown(text)} cannot stand in a shell's line", hint="rename the file or folder")
    return shlex.quote(text)


def one_line(text: str) -> str:
    """Replace each line break, control character and other unprintable by a blank."""
    return "".join(character if character.isprintable() else " " for character in text)


FILTERS: Mapping[str, Callable[[Any], str]] = {
    "c_string": c_string,
    "cmake": cmake_argument,
    "json": json_text,
    "yaml": yaml_scalar,
    "md": markdown_text,
    "code": markdown_code,
    "shell": shell_word,
}


def install(environment: jinja2.Environment) -> None:
    """Hold every template of the environment to the rules above."""

    def marked(quote: Callable[[Any], str]) -> Callable[[Any], Markup]:
        return lambda value: Markup(quote(value))

    environment.autoescape = True
    environment.finalize = finalize
    environment.filters.update({name: marked(quote) for name, quote in FILTERS.items()})
