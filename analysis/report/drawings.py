"""Ladder and PSN charts of one connection as the page needs them."""

from __future__ import annotations

from collections.abc import Sequence

import vl_convert
from markupsafe import Markup

from analysis.figures import ladder, psn_time
from analysis.figures.palette import PAGE
from analysis.figures.sightings import Sightings, drawn
from analysis.report.view import ChartView, LadderView, LegendView
from analysis.templating import hex24

RUNGS = 100
"""Rungs of a ladder on the page."""

LEGENDS = {
    "request": "request from {owner}",
    "sent again": "request sent again",
    "response": "READ response or atomic result from {other}",
    "ack": "acknowledgement from {other}",
    "nak": "NAK from {other}",
}


def ladder_view(
    rungs: Sequence[ladder.Rung], names: tuple[str, str], title: str, start_ns: int
) -> LadderView:
    """The ladder for the page; `names` are the captions of A and B, times count from `start_ns`."""
    shown = ladder.elide(rungs, RUNGS)
    there = ladder.frames([rung for rung in shown if isinstance(rung, ladder.Step)])
    all_of = ladder.frames(rungs)
    caption = f"All {all_of} frames of the connection."
    if there < all_of:
        caption = f"{there} of the connection's {all_of} frames; lines in italics count the others."
    wide, narrow = (
        ladder.draw(shown, names, layout, PAGE, title=title, start_ns=start_ns)
        for layout in (ladder.WIDE, ladder.NARROW)
    )
    return LadderView(wide, narrow, caption)


def chart_view(name: str, sightings: Sightings, owner: str, base: int, start_ns: int) -> ChartView:
    """The chart of end `owner`'s sequence: places count from `base`, times from `start_ns`."""
    sequence = drawn(sightings, owner)
    shown = sequence.points
    made = psn_time.chart(shown, base, owner, start_ns, PAGE)
    spec = vl_convert.vegalite_to_vega({**made, "width": "container"})
    svg = vl_convert.vegalite_to_svg(made)
    kinds = [kind for kind in psn_time.SHAPES if any(point.kind == kind for point in shown)]
    caption = f"Heights are PSNs, counted from {hex24(base)}."
    if len(shown) < sequence.packets:
        caption += f" {len(shown):,} of {sequence.packets:,} packets are drawn, evenly chosen"
        caption += ", every NAK and repeat among them." if sequence.all_trouble else "."
    return ChartView(
        f"{name}-{owner}",
        owner,
        Markup(svg),
        spec,
        [_legend(kind, owner) for kind in kinds],
        caption,
    )


def _legend(kind: str, owner: str) -> LegendView:
    other = {"a": "B", "b": "A"}[owner]
    stroke = psn_time.colour(kind, owner, PAGE)
    fill = stroke if kind == "request" else PAGE.paper
    name = LEGENDS[kind].format(owner=owner.upper(), other=other)
    return LegendView(name, psn_time.PATHS[kind], fill, stroke)
