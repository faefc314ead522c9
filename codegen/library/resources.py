"""Where templates and the public header live: beside the packages in a checkout, inside them once installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

_PACKAGE = Path(__file__).resolve().parents[1]  # codegen


def _find(installed: str, checkout: str) -> Path:
    inside = _PACKAGE / installed
    return inside if inside.exists() else _PACKAGE.parent / checkout


def template_folder(part: str) -> Path:
    """templates/PART."""
    return _find("_templates", "templates") / part


@cache
def template_environment() -> jinja2.Environment:
    """Templates substitute and loop only; an undefined name is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_find("_templates", "templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=jinja2.select_autoescape(("html.j2",)),
    )


def api_header() -> str:
    """The text of nanou.h, copied into every generated library."""
    return _find("_include", "firmware/include").joinpath("nanou.h").read_text(encoding="utf-8")
