"""The view as one HTML file whose policy allows its own scripts and style, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import vl_convert
from markupsafe import Markup

from analysis.report.view import ReportView
from analysis.templating import environment, source

POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {style}; "
    "base-uri 'none'; form-action 'none'"
)


def render(report: ReportView) -> str:
    """The page. What it says comes from `report` and is escaped; what it runs is ours."""
    scripts = [source("report/packets.js")]
    if report.charts:
        scripts += [vega(), source("report/charts.js")]
    style = source("report/report.css")
    policy = POLICY.format(scripts=" ".join(map(digest, scripts)), style=digest(style))
    return (
        environment()
        .get_template("report/page.html.j2")
        .render(
            report=report,
            scripts=scripts,
            style=style,
            policy=Markup(policy),
            version=own_version(),
        )
    )


def digest(text: str) -> str:
    """A content-security-policy source that allows exactly `text` inline."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def vega() -> Markup:
    """vega, vega-lite and vega-embed as one script, out of vl-convert: nothing is fetched."""
    return Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def own_version() -> str:
    """The installed version, or `(not installed)` for a bare source tree."""
    try:
        return installed_version("rocelab")
    except PackageNotFoundError:
        return "(not installed)"
