"""PSN over time: one end's sequence, its requests and the answers that follow them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from analysis.figures.palette import PAPER, Palette
from analysis.templating import hex24

WIDTH = 780
LIMIT = 1500
"""Marks a chart holds at most."""

SHAPES = {
    "request": "circle",
    "sent again": "triangle-up",
    "response": "diamond",
    "ack": "stroke",
    "nak": "cross",
}
PATHS = {
    "request": "M4 0A4 4 0 1 1 -4 0A4 4 0 1 1 4 0Z",
    "sent again": "M0 -4.5L4.5 4H-4.5Z",
    "response": "M0 -5L4 0L0 5L-4 0Z",
    "ack": "M-4.5 0H4.5",
    "nak": "M-1.5 -5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5V-1.5H-1.5Z",
}
"""The same shapes for the page's legend."""


@dataclass(frozen=True, slots=True)
class Point:
    """One packet of a sequence.

    `ahead` is its PSN counted from the chart's base (so a wrap is no jump) and `span` the PSNs it
    takes (more than 1 for an RDMA READ request); `sender` is the end it came from.
    """

    frame: int
    time_ns: int
    psn: int
    ahead: int
    kind: str
    sender: str
    opcode: str
    span: int = 1


def colour(kind: str, owner: str, palette: Palette) -> str:
    """The mark's colour: whose packet it is, or trouble."""
    if kind in ("nak", "sent again"):
        return palette.trouble
    return palette.end(owner if kind == "request" else {"a": "b", "b": "a"}[owner])


def thin(points: Sequence[Point], limit: int = LIMIT) -> list[Point]:
    """At most `limit` points: evenly taken, trouble and both ends of the capture always kept."""
    if len(points) <= limit:
        return list(points)
    plain = [point for point in points if point.kind not in ("nak", "sent again")]
    trouble = [point for point in points if point.kind in ("nak", "sent again")][: limit // 2]
    room = limit - len(trouble)
    kept = [
        plain[number * (len(plain) - 1) // (room - 1)] for number in range(min(room, len(plain)))
    ]
    return sorted((*kept, *trouble), key=lambda point: point.frame)


def chart(
    points: Sequence[Point],
    base: int,
    owner: str,
    start_ns: int,
    palette: Palette = PAPER,
) -> alt.LayerChart:
    """The sequence of end `owner`: PSNs by their distance from `base`, times from `start_ns`."""
    rows: list[dict[str, Any]] = [
        {
            "ms": (point.time_ns - start_ns) / 1e6,
            "ahead": point.ahead,
            "last": point.ahead + point.span - 1,
            "kind": point.kind,
            "frame": point.frame,
            "PSN": hex24(point.psn),
            "opcode": point.opcode,
            "from": point.sender.upper(),
        }
        for point in points
    ]
    kinds = [kind for kind in SHAPES if any(row["kind"] == kind for row in rows)]
    label = f"'0x' + format(({base} + datum.value + 16777216) % 16777216, '06x')"
    x = alt.X(
        "ms:Q",
        title="milliseconds since the first frame of the capture",
        scale=alt.Scale(zero=False, nice=False, padding=12),
        axis=alt.Axis(tickCount=8, labelOverlap=True),
    )
    y = alt.Y(
        "ahead:Q",
        title=None,
        scale=alt.Scale(zero=False, nice=False, padding=12),
        axis=alt.Axis(labelExpr=label, tickMinStep=1, format="d"),
    )
    zoom = alt.selection_interval(
        bind="scales", name="zoom", zoom="wheel![event.shiftKey]", encodings=["x", "y"]
    )
    data = alt.Data(values=rows)
    long = [row for row in rows if row["last"] > row["ahead"]]
    spans = (
        alt.Chart(alt.Data(values=long))
        .mark_rule(strokeWidth=3, opacity=0.35, clip=True)
        .encode(x=x, y=y, y2="last:Q", color=alt.value(palette.end(owner)))
    )
    colours = alt.Scale(domain=kinds, range=[colour(kind, owner, palette) for kind in kinds])
    shapes = alt.Scale(domain=kinds, range=[SHAPES[kind] for kind in kinds])
    marks = (
        alt.Chart(data)
        .mark_point(size=55, strokeWidth=1.5, opacity=1, clip=True)
        .encode(
            x=x,
            y=y,
            stroke=alt.Stroke("kind:N", scale=colours, legend=None),
            fill=alt.condition(
                "datum.kind == 'request'",
                alt.Fill("kind:N", scale=colours, legend=None),
                alt.value(palette.paper),
            ),
            shape=alt.Shape("kind:N", scale=shapes, legend=None),
            tooltip=["opcode:N", "PSN:N", "from:N", "frame:Q", alt.Tooltip("ms:Q", format=".3f")],
        )
        .add_params(zoom)
    )
    tall = max((row["last"] for row in rows), default=0) - min(
        (row["ahead"] for row in rows), default=0
    )
    height = min(300, 60 + 24 * tall)
    layers = [spans, marks] if long else [marks]
    return style(alt.layer(*layers).properties(width=WIDTH, height=height), palette)


def style(made: Any, palette: Palette) -> Any:
    """The look all charts share; on a page they stand on its own ground and in its own type."""
    words = {"labelColor": palette.muted, "titleColor": palette.muted, "titleFontWeight": 400}
    lines = dict.fromkeys(("gridColor", "domainColor", "tickColor"), palette.rule)
    sizes = {"labelFontSize": 12, "titleFontSize": 12}
    on_page = palette.paper.startswith("var")
    made = made.configure(
        background="transparent" if on_page else palette.paper,
        font="inherit" if on_page else "DejaVu Sans, sans-serif",
    )
    made = made.configure_axis(**words, **lines, **sizes).configure_legend(**words, **sizes)
    made = made.configure_axisY(labelFont="DejaVu Sans Mono, monospace")
    return made.configure_view(stroke=None)
