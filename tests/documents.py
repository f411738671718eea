"""Tables in the pages under docs, for tests that hold them to the code."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def table(page: str, heading: str) -> list[dict[str, str]]:
    """The rows of the first table under `heading`, by the names of their columns; backquotes are
    left out. AssertionError where there is none.
    """
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    starts = [number for number, line in enumerate(lines) if line.lstrip("# ") == heading]
    assert starts, f"{page} has no heading {heading!r}"
    rows = []
    for line in lines[starts[0] + 1 :]:
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
        elif rows or line.startswith("#"):
            break
    assert len(rows) > 2, f"{page} has no table under {heading!r}"
    names, _, *cells = rows
    return [dict(zip(names, row, strict=True)) for row in cells]
