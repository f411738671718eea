"""What a measurement found, and what it was to find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GIGA = 1e9


@dataclass(frozen=True, slots=True)
class Row:
    """A result. `figures` by name, the unit at its end (UNITS); the first is the row's figure."""

    id: str
    title: str
    figures: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Goal:
    """`figure` shall be at least (`most`: at most) `limit`, or `limit` times the figure of the same
    name in the row `of`.
    """

    figure: str
    limit: float
    of: str = ""
    most: bool = False

    def __str__(self) -> str:
        sign = "<=" if self.most else ">="
        if self.of:
            return f"{sign} {self.limit:g} x {self.of}"
        return f"{sign} {shown(self.figure, self.limit)}"

    def measured(self, rows: Mapping[str, Row], row: Row) -> float | None:
        """The figure, or its ratio to that of the row `of`; None where one is missing."""
        own = row.figures.get(self.figure)
        if not self.of:
            return own
        other = rows[self.of].figures.get(self.figure) if self.of in rows else None
        return own / other if own is not None and other else None

    def met(self, rows: Mapping[str, Row], row: Row) -> bool | None:
        """None where there is nothing to compare with."""
        found = self.measured(rows, row)
        if found is None:
            return None
        return found <= self.limit if self.most else found >= self.limit


# Figure -> how it is written, with its unit.
UNITS = {
    "gbit_s": "{:.2f} Gbit/s",
    "median_us": "{:.1f} us",
    "p99_us": "p99 {:.1f} us",
    "messages_s": "{:,.0f} messages/s",
    "connections_s": "{:.0f} connections/s",
    "p99_ms": "p99 {:.1f} ms",
    "kib_per_connection": "{:.1f} KiB a connection",
    "cpu_s_per_gb": "{:.2f} CPU s/GB",
    "cpu_ms_per_connection": "{:.2f} CPU ms a connection",
    "repeated_mb": "{:.1f} MB sent again",
    "amplification": "{:.3f} packets sent for 1",
    "expected_amplification": "{:.3f} by formula",
    "packets_per_loss": "{:.1f} packets gone back",
}


def shown(figure: str, value: float) -> str:
    """A figure with its unit, as people read it."""
    return UNITS[figure].format(value)
