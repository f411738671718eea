"""What a colour means: each end has one, TLS has one, and trouble has one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    """CSS colours of a figure."""

    a: str
    b: str
    tls: str
    trouble: str
    ink: str
    muted: str
    rule: str
    paper: str

    def end(self, end: str) -> str:
        """The colour of end `a` or `b`."""
        return self.a if end == "a" else self.b


PAGE = Palette(
    *(f"var(--{name})" for name in ("a", "b", "tls", "fail", "ink", "muted", "rule", "paper"))
)
"""The page's own variables, so that a figure follows it into the dark and onto paper."""

PAPER = Palette(
    a="#1d5a9e",
    b="#a34a0c",
    tls="#63479c",
    trouble="#b3261e",
    ink="#1b1f23",
    muted="#585f67",
    rule="#dcdcd4",
    paper="#ffffff",
)
"""For files that stand alone."""
