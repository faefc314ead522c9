"""Find templates and the public header: beside the packages in a checkout, inside them once installed."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from codegen.library.escaping import Rendered, install

_PACKAGE = Path(__file__).resolve().parents[1]  # codegen


def _find(installed: str, checkout: str) -> Path:
    inside = _PACKAGE / installed
    return inside if inside.exists() else _PACKAGE.parent / checkout


def template_folder(part: str) -> Path:
    """Find templates/PART."""
    return _find("_templates", "templates") / part


def render_template(name: str, /, **values: Any) -> Rendered:
    """Render templates/NAME with these values, which escaping.py holds to the template's language."""
    return Rendered(_environment().get_template(name).render(values))


@cache
def _environment() -> jinja2.Environment:
    """Set up templates that substitute and loop only; an undefined name is an error."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_find("_templates", "templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    install(environment)
    return environment


def api_header() -> str:
    """Read nanou.h, which is copied into every generated library."""
    return _find("_include", "firmware/include").joinpath("nanou.h").read_text(encoding="utf-8")
