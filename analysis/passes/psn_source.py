"""How random are the starting PSNs, and what chose them?

Every connection of the capture has two starting PSNs: what was announced, or where nothing tells,
the first request's. They are tested for randomness, and compared with what known sources give:
constants, counters, the queue pair's number, stuck bits, the clock, lrand48(), rand(), a Mersenne
Twister (`rocelab passes lrand48` and so on say how each is told and how often chance looks like
it).

Verdicts: *fail* if a known source explains them (`psn-predictable`) or a test of randomness rejects
them (`psn-not-random`); *pass* if nothing tells them from random ones, as far as so many can show;
*not-applicable* if there are too few to show even a stuck bit. `rocelab verify` does not ask this
question; `rocelab psn` asks nothing else, shows every test, and takes several captures together.

A healthy source is blamed in one capture of ten thousand (`rocelab psn` is stricter: one of a
hundred). docs/calibration.md has the measured rates, and how many PSNs it takes to find each source
out. A random PSN is no authentication either: everybody on the path reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from analysis.context import Context
from analysis.draws import of_capture
from analysis.finding import Finding, PassResult, Severity, Verdict
from analysis.survey import Survey, survey

ALPHA = 1e-4
"""Share of healthy captures that are blamed."""


def run(context: Context) -> PassResult:
    """The survey of all starting PSNs of the capture."""
    found = survey(of_capture(context), ALPHA)
    verdict = found.verdict
    if verdict is Verdict.INCONCLUSIVE:
        verdict = Verdict.NOT_APPLICABLE
    return PassResult(verdict, found.headline, tuple(_findings(found)), figures={"survey": found})


def _findings(found: Survey) -> Iterator[Finding]:
    for match in found.matches:
        came = [p for p in match.predictions if p.true]
        frames = tuple(p.frame for p in came if p.frame is not None)
        proof = f"; predicted {came[0].predicted:#08x}, seen {came[0].seen:#08x}" if came else ""
        message = f"{match.name}: {match.says}{proof}"
        yield Finding("psn-predictable", Severity.ERROR, message, frames)
    if not found.matches:
        for test in found.rejected:
            yield Finding("psn-not-random", Severity.ERROR, f"{test.name}: {test.says}")
