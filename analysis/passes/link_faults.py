"""What happened to packets between the two ends?

Where a link was recorded at both its ends (a run in virtual machines, or with a fault plan), every
RoCE packet stands twice in the capture: as it left and as it arrived. This pass pairs the two and
tells which packets were lost, damaged, duplicated, reordered or marked on the way. That is what the
network did; how the ends dealt with it is for psn-accounting.

Findings: `link-lost`, `link-damaged`, `link-duplicated`, `link-reordered`, `link-marked`
(congestion experienced), each with its frames: of a lost packet where it left, of others where it
arrived.

Verdicts: *pass*, whatever happened, for a network may do all this; *not-applicable* for a capture
made at one place.
"""

from __future__ import annotations

from analysis.context import Context
from analysis.finding import Finding, PassResult, Severity, Verdict
from analysis.link import FATES, fates, sent


def run(context: Context) -> PassResult:
    """Pair what left with what arrived."""
    table = context.whole
    count = sent(table)
    if count is None:
        return PassResult(Verdict.NOT_APPLICABLE, "the link was not recorded at both its ends")
    rows: dict[str, list[int]] = {fate: [] for fate in FATES}
    for fate in fates(table):
        rows[fate.kind].append(fate.row)
    findings = tuple(
        Finding(
            f"link-{kind}",
            Severity.INFO,
            f"{len(some)} of {count} RoCE packets {FATES[kind]}",
            tuple(table["frame"][some[:20]].tolist()),
        )
        for kind, some in rows.items()
        if some
    )
    told = ", ".join(f"{len(some)} {kind}" for kind, some in rows.items() if some)
    return PassResult(Verdict.PASS, f"{count} RoCE packets sent; {told or 'all arrived'}", findings)
