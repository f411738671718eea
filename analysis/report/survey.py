"""The page of `rocelab psn --report`: starting PSNs alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import page
from analysis.report import starting
from analysis.report.view import StartsView
from analysis.survey import Survey

NAMED = 5


@dataclass(frozen=True, slots=True)
class SurveyPage:
    """The whole page."""

    title: str
    source: str
    starts: StartsView


def write(survey: Survey, paths: Sequence[Path], out: Path) -> Path:
    """Write the page of `survey`, taken from `paths`; raises OSError where that is impossible."""
    names = [path.name for path in paths]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    hosts = len({draw.drawer for draw in survey.draws if draw.drawer})
    source = f"{len(survey.draws):,} starting PSNs" + (f" of {hosts:,} hosts" if hosts else "")
    shown = SurveyPage(", ".join(names[:NAMED]) + more, source, starting.view(survey))
    return page.write(out, page.render("psn/page.html.j2", report=shown))
