"""Starting PSNs: in the order drawn, how often each bit is set, how far apart they lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from analysis.figures.palette import PAPER, Palette
from analysis.figures.psn_time import specification, style
from analysis.templating import hex24

Ints = NDArray[np.int64]
WIDTH = 780
BITS = 24
SIZE = 1 << BITS
LIMIT = 1000
"""Marks drawn at most."""
STEPS = 200
FAR = 6
"""Gaps are drawn up to so many times the mean one."""
BY_CHANCE = 0.001
"""What lies outside of the band does so by chance as rarely as this, over all bits together."""
HEXADECIMAL = "'0x' + format(datum.value, '06x')"


def charts(psns: Sequence[int], palette: Palette = PAPER) -> dict[str, dict[str, Any]]:
    """Name -> Vega-Lite specification, of at least two `psns` in the order drawn."""
    values = np.asarray(psns, np.int64)
    return {
        "psn-drawn": drawn(values, palette),
        "psn-bits": bits(values, palette),
        "psn-gaps": gaps(values, palette),
    }


def drawn(psns: Ints, palette: Palette = PAPER) -> dict[str, Any]:
    """Each PSN over its place in the order; of many, evenly chosen ones."""
    places = np.unique(np.linspace(0, len(psns) - 1, min(len(psns), LIMIT)).astype(np.int64))
    rows = [{"draw": int(k) + 1, "psn": int(psns[k]), "PSN": hex24(int(psns[k]))} for k in places]
    ticks = [SIZE * part // 4 for part in range(4)] + [SIZE - 1]
    made = alt.Chart(alt.NamedData("draws")).mark_point(
        size=24, filled=True, opacity=0.75, color=palette.a
    )
    made = made.encode(
        x=alt.X(
            "draw:Q",
            title="draw",
            scale=alt.Scale(domain=[0, len(psns) + 1], nice=False),
            axis=alt.Axis(tickCount=8),
        ),
        y=alt.Y(
            "psn:Q",
            title=None,
            scale=alt.Scale(domain=[0, SIZE - 1], nice=False, padding=6),
            axis=alt.Axis(values=ticks, labelExpr=HEXADECIMAL),
        ),
        tooltip=["draw:Q", "PSN:N"],
    )
    return specification(style(made.properties(width=WIDTH, height=260), palette), draws=rows)


def bits(psns: Ints, palette: Palette = PAPER) -> dict[str, Any]:
    """How often each bit is set; in the band where chance leaves it."""
    n = len(psns)
    low, high = (float(edge) / n for edge in binom.interval(1 - BY_CHANCE / BITS, n, 0.5))
    rows = []
    for bit in range(BITS - 1, -1, -1):
        share = float((psns >> bit & 1).mean())
        kind = "by chance" if low <= share <= high else "not by chance"
        rows.append({"bit": bit, "share": share, "kind": kind})
    band = (
        alt.Chart(alt.NamedData("band"))
        .mark_rect(color=palette.rule, opacity=0.6)
        .encode(y=alt.Y("low:Q"), y2="high:Q")
    )
    colours = alt.Scale(domain=["by chance", "not by chance"], range=[palette.a, palette.trouble])
    shapes = alt.Scale(domain=["by chance", "not by chance"], range=["circle", "diamond"])
    marks = (
        alt.Chart(alt.NamedData("bits"))
        .mark_point(size=60, filled=True, opacity=1)
        .encode(
            x=alt.X("bit:O", title="bit", sort="descending", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                "share:Q",
                title="share of draws in which it is set",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(format="%", tickCount=4),
            ),
            color=alt.Color("kind:N", scale=colours, legend=None),
            shape=alt.Shape("kind:N", scale=shapes, legend=None),
            tooltip=["bit:O", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    made = alt.layer(band, marks).properties(width=WIDTH, height=200)
    return specification(style(made, palette), bits=rows, band=[{"low": low, "high": high}])


def gaps(psns: Ints, palette: Palette = PAPER) -> dict[str, Any]:
    """How large the gaps between neighbouring PSNs are, and what chance leaves them."""
    ordered = np.sort(psns)
    wide = np.sort(np.diff(np.concatenate((ordered, [ordered[0] + SIZE])))) * len(psns) / SIZE
    at = np.linspace(0, FAR, STEPS)
    seen = np.searchsorted(wide, at, "right") / len(wide)
    rows = [{"gap": float(x), "share": float(y)} for x, y in zip(at, seen, strict=True)]
    chance = [{"gap": float(x), "share": float(1 - np.exp(-x))} for x in at]
    axes = {
        "x": alt.X(
            "gap:Q",
            title="gap to the next larger PSN, in mean gaps",
            scale=alt.Scale(domain=[0, FAR], nice=False),
            axis=alt.Axis(tickCount=FAR),
        ),
        "y": alt.Y(
            "share:Q",
            title="share of gaps up to that",
            scale=alt.Scale(domain=[0, 1]),
            axis=alt.Axis(format="%", tickCount=4),
        ),
    }
    expected = alt.Chart(alt.NamedData("chance")).mark_line(
        color=palette.muted, strokeDash=[5, 4], strokeWidth=1.5
    )
    found = alt.Chart(alt.NamedData("gaps")).mark_line(
        color=palette.a, strokeWidth=2, interpolate="step-after"
    )
    made = alt.layer(expected.encode(**axes), found.encode(**axes))
    made = made.properties(width=WIDTH, height=200)
    return specification(style(made, palette), gaps=rows, chance=chance)
