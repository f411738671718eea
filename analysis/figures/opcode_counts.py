"""How many packets of each opcode: a bar chart, requests darker than responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis.figures.palette import PAPER, Palette
from analysis.figures.psn_time import specification, style


@dataclass(frozen=True, slots=True)
class OpcodeCount:
    """Packets of one opcode."""

    name: str
    code: int
    packets: int
    request: bool


def chart(
    counts: Sequence[OpcodeCount], palette: Palette = PAPER, width: int = 520
) -> dict[str, Any]:
    """A Vega-Lite specification: bars in the order given."""
    rows = [
        {
            "opcode": row.name,
            "packets": row.packets,
            "kind": "request" if row.request else "response",
        }
        for row in counts
    ]
    made = (
        alt.Chart(alt.NamedData("opcodes"))
        .mark_bar(height={"band": 0.7})
        .encode(
            x=alt.X("packets:Q", title="packets", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("opcode:N", sort=None, title=None, axis=alt.Axis(labelLimit=260)),
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=["request", "response"], range=[palette.ink, palette.muted]),
                legend=alt.Legend(title=None, orient="bottom"),
            ),
            tooltip=["opcode:N", "packets:Q"],
        )
        .properties(width=width, height=alt.Step(22))
    )
    return specification(style(made, palette), opcodes=rows)
