"""Starting PSNs on a page: what chose them, what the tests say, three figures."""

from __future__ import annotations

from collections.abc import Iterator

import vl_convert
from markupsafe import Markup

from analysis.figures import starting_psns
from analysis.figures.palette import PAGE
from analysis.fingerprints.match import Match, Prediction
from analysis.report.view import Column, DrawingView, MatchView, StartsView, TableView
from analysis.survey import Survey
from analysis.templating import hex24

ENOUGH = 8
"""Fewer draws are not worth a figure."""
MATCHES = 20
"""Explanations shown in full."""

CAPTIONS = {
    "psn-drawn": "Every starting PSN in the order drawn. Random ones fill the plane evenly; a "
    "counter draws a line, a constant a level one, a small range a band.",
    "psn-bits": "How often each bit is set. Random bits lie in the grey band, but for one set of "
    "24 in a thousand; a stuck bit lies at 0 or 100 %.",
    "psn-gaps": "The gaps between neighbouring PSNs, and (dashed) as chance leaves them. A counter "
    "has only small ones.",
}


def view(survey: Survey) -> StartsView:
    """Everything the section shows."""
    left = len(survey.matches) - MATCHES
    return StartsView(
        verdict=str(survey.verdict),
        judgement=_sentence(survey.judgement),
        headline=_sentence(survey.headline),
        meaning=survey.meaning,
        matches=[_match(match) for match in survey.matches[:MATCHES]],
        matches_left_out=f"{left:,} more explanations are not listed." if left > 0 else "",
        drawings=list(_drawings(survey)),
        tests=_tests(survey),
        entropy=_entropy(survey),
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def drawings(survey: Survey) -> dict[str, str]:
    """Name -> SVG that stands alone; none of too few draws."""
    psns = [draw.psn for draw in survey.draws]
    made = starting_psns.charts(psns) if len(psns) >= ENOUGH else {}
    return {name: str(vl_convert.vegalite_to_svg(chart)) for name, chart in made.items()}


def _drawings(survey: Survey) -> Iterator[DrawingView]:
    psns = [draw.psn for draw in survey.draws]
    if len(psns) < ENOUGH:
        return
    for name, chart in starting_psns.charts(psns, PAGE).items():
        yield DrawingView(Markup(vl_convert.vegalite_to_svg(chart)), CAPTIONS[name])


def _match(match: Match) -> MatchView:
    return MatchView(
        match.name,
        match.says,
        f"Explains {match.explained:,} of {match.of:,}; random PSNs look like that with a chance "
        f"of {match.chance}.",
        [_prediction(each) for each in match.predictions],
    )


def _prediction(one: Prediction) -> tuple[str, str, bool]:
    if one.seen is None:
        return hex24(one.predicted), "not seen yet", False
    where = "" if one.frame is None else f" in frame {one.frame:,}"
    return hex24(one.predicted), f"{hex24(one.seen)}{where}", one.true


def _tests(survey: Survey) -> TableView:
    rejected = {test.name for test in survey.rejected}
    return TableView(
        "Tests of randomness. p is the chance that random PSNs look like this or worse.",
        (Column("Test"), Column("p", "num"), Column("Result"), Column("What so many would show")),
        [
            (
                test.name,
                "" if test.p is None else f"{test.p:.3f}" if test.p >= 0.001 else f"{test.p:.0e}",
                f"{'REJECTS: ' if test.name in rejected else ''}{test.says}",
                test.sees,
            )
            for test in survey.tested
        ],
    )


def _entropy(survey: Survey) -> TableView:
    return TableView(
        "Min-entropy as these draws bear it out (NIST SP 800-90B, 99 % confidence); the least "
        "counts.",
        (Column("Estimate"), Column("Bits", "num"), Column("Remark")),
        [
            (one.name, "" if one.bits is None else f"{one.bits:.1f}", one.says)
            for one in survey.entropy
        ],
    )
