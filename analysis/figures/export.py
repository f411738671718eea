"""Figures to files: SVG, and PNG and PDF made from it, with no browser."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import vl_convert

SCALE = 2
"""Pixels of a PNG per unit of the drawing."""

FORMATS: dict[str, Callable[[str], bytes]] = {
    "svg": str.encode,
    "png": lambda svg: bytes(vl_convert.svg_to_png(svg, scale=SCALE)),
    "pdf": lambda svg: bytes(vl_convert.svg_to_pdf(svg)),
}
"""File name's end -> from SVG text to its bytes."""


def export(
    figures: Mapping[str, str], folder: Path, formats: Sequence[str] = tuple(FORMATS)
) -> list[Path]:
    """Write each figure (name -> SVG text) in each format; returns the files written.

    Raises KeyError for a format that is not in FORMATS, OSError where a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, svg in figures.items():
        for ending in formats:
            path = folder / f"{name}.{ending}"
            path.write_bytes(FORMATS[ending](svg))
            written.append(path)
    return written
