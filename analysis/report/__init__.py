"""The report: one HTML file that shows what a capture proves."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import vl_convert
from markupsafe import Markup

from analysis import page
from analysis.document import Results
from analysis.report import build
from analysis.report.material import Material
from analysis.templating import source


def write(results: Results, path: Path) -> Path:
    """Write the report of a judged capture to `path`; raises OSError where that is not possible."""
    report = build.build(Material(results))
    scripts = [source("report/packets.js")]
    if report.charts:
        scripts += [vega(), source("report/charts.js")]
    return page.write(path, page.render("report/page.html.j2", scripts, report=report))


@cache
def vega() -> Markup:
    """vega, vega-lite and vega-embed as one script, out of vl-convert: nothing is fetched."""
    return Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
