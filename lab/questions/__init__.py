"""Questions that people with an RDMA capture ask, and their answers: one text file each.

The first line is the question; the rest is the answer, in paragraphs and indented commands.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The questions' names, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def page(name: str) -> tuple[str, str]:
    """Return (question, answer); ValueError says which names there are."""
    if name not in names():
        raise ValueError(f"expected a question, one of {', '.join(names())}; found {name!r}")
    question, _, answer = (FOLDER / f"{name}.md").read_text(encoding="utf-8").partition("\n")
    return question, answer.strip()
