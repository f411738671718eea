"""PSN over time: one end's sequence, its requests and the answers that follow them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from analysis.figures.palette import PAPER, Palette
from analysis.templating import hex24

WIDTH = 780
LIMIT = 1000
"""Marks a chart holds at most."""

SHAPES = {
    "request": "circle",
    "sent again": "triangle-up",
    "response": "diamond",
    "ack": "stroke",
    "nak": "cross",
}
"""Kind of packet -> its mark."""
KINDS = tuple(SHAPES)
TROUBLE = np.isin(KINDS, ("sent again", "nak"))
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


def thin(kinds: NDArray[np.int64], limit: int = LIMIT) -> NDArray[np.int64]:
    """Places of at most `limit` packets, evenly taken; of trouble (at most half) as much as fits.

    `kinds` are indices of KINDS.
    """
    if len(kinds) <= limit:
        return np.arange(len(kinds))
    trouble = _evenly(np.flatnonzero(TROUBLE[kinds]), limit // 2)
    plain = _evenly(np.flatnonzero(~TROUBLE[kinds]), limit - len(trouble))
    return np.sort(np.concatenate((trouble, plain)))


def _evenly(places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    if len(places) <= count:
        return places
    return places[np.linspace(0, len(places) - 1, count).astype(np.int64)]


def chart(
    points: Sequence[Point],
    base: int,
    owner: str,
    start_ns: int,
    palette: Palette = PAPER,
) -> dict[str, Any]:
    """A Vega-Lite specification of the sequence of end `owner`.

    PSNs are drawn by their distance from `base`, times by that from `start_ns`.
    """
    rows = _rows(points, start_ns)
    long = [row for row in rows if row["last"] > row["ahead"]]
    heights = [row[key] for row in rows for key in ("ahead", "last")]
    height = min(300, 60 + 24 * (max(heights, default=0) - min(heights, default=0)))
    axes = _axes(base)
    layers = [_spans(axes, owner, palette)] if long else []
    layers.append(_marks(axes, rows, owner, palette))
    made = alt.layer(*layers).properties(width=WIDTH, height=height)
    return specification(style(made, palette), packets=rows, spans=long)


def _rows(points: Sequence[Point], start_ns: int) -> list[dict[str, Any]]:
    return [
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


def _axes(base: int) -> dict[str, Any]:
    wide = alt.Scale(zero=False, nice=False, padding=12)
    label = f"'0x' + format(({base} + datum.value + {1 << 24}) % {1 << 24}, '06x')"
    return {
        "x": alt.X(
            "ms:Q",
            title="milliseconds since the first frame of the capture",
            scale=wide,
            axis=alt.Axis(tickCount=8, labelOverlap=True),
        ),
        "y": alt.Y(
            "ahead:Q",
            title=None,
            scale=wide,
            axis=alt.Axis(labelExpr=label, tickMinStep=1, format="d"),
        ),
    }


def _spans(axes: dict[str, Any], owner: str, palette: Palette) -> alt.Chart:
    """The PSNs that an RDMA READ request takes for its response."""
    made = alt.Chart(alt.NamedData("spans")).mark_rule(strokeWidth=3, opacity=0.35, clip=True)
    return made.encode(**axes, y2="last:Q", color=alt.value(palette.end(owner)))


def _marks(
    axes: dict[str, Any], rows: Sequence[Mapping[str, Any]], owner: str, palette: Palette
) -> alt.Chart:
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    colours = alt.Scale(domain=kinds, range=[colour(kind, owner, palette) for kind in kinds])
    shapes = alt.Scale(domain=kinds, range=[SHAPES[kind] for kind in kinds])
    solid = alt.condition(
        "datum.kind == 'request'",
        alt.Fill("kind:N", scale=colours, legend=None),
        alt.value(palette.paper),
    )
    # The wheel alone belongs to the page: it scrolls.
    zoom = alt.selection_interval(bind="scales", name="zoom", zoom="wheel![event.shiftKey]")
    made = alt.Chart(alt.NamedData("packets")).mark_point(
        size=55, strokeWidth=1.5, opacity=1, clip=True
    )
    return made.encode(
        **axes,
        stroke=alt.Stroke("kind:N", scale=colours, legend=None),
        fill=solid,
        shape=alt.Shape("kind:N", scale=shapes, legend=None),
        tooltip=["opcode:N", "PSN:N", "from:N", "frame:Q", alt.Tooltip("ms:Q", format=".3f")],
    ).add_params(zoom)


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


def specification(made: Any, **data: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A chart's Vega-Lite specification, its named data put in last: altair copies all it holds."""
    return {**made.to_dict(validate=False), "datasets": data}
