"""The report: one HTML file that shows what a capture proves."""

from __future__ import annotations

from pathlib import Path

from analysis.document import Results
from analysis.report import build, page
from analysis.report.material import Material


def write(results: Results, path: Path) -> Path:
    """Write the report of a judged capture to `path`; raises OSError where that is not possible."""
    html = page.render(build.build(Material(results)))
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(html, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path
