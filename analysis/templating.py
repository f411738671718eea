"""The Jinja2 environment of pages and drawings: files of `templates/`, autoescape always on."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

FOLDER = Path(__file__).resolve().parent.parent / "templates"


def hex24(psn: int) -> str:
    """A 24-bit number as people compare it: 0xc0ffee."""
    return f"0x{psn:06x}"


def count(number: int) -> str:
    """A number with its thousands apart: 12,648,430."""
    return f"{number:,}"


def embed(value: Any) -> Markup:
    """JSON for a data block in a page: no character in it can end the block or open a tag."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)


@cache
def environment() -> Environment:
    """The one environment; a name a template misspells is an error, not an empty string."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(hex24=hex24, count=count, embed=embed)
    return made


def source(name: str) -> Markup:
    """One of our own style sheets or scripts, word for word."""
    return Markup((FOLDER / name).read_text(encoding="utf-8"))
