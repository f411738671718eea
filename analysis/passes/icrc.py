"""Is every RoCE packet as its sender made it?

The invariant CRC (ICRC) at the end of every RoCE packet covers all that no router may change: the
addresses, BTH with its PSN, the payload. A receiver drops a packet whose ICRC is wrong, so such a
packet proves nothing, and the other passes leave it out.

Verdicts: *pass* if the ICRC of every packet is right; *fail* if one is wrong (`icrc-wrong`: damaged
on its way, or edited afterwards); *inconclusive* if some cannot be checked because bytes are
missing (`icrc-not-checkable`: cut by a snap length, fragmented, damaged).
"""

from __future__ import annotations

import numpy as np

from analysis.context import Context
from analysis.finding import Finding, PassResult, Severity, Verdict
from dissectors.icrc import ICRC_BAD, ICRC_OK, ICRC_UNCHECKABLE


def run(context: Context) -> PassResult:
    """Count what the decoder found."""
    status = context.table["icrc_status"]
    right, wrong, unknown = (
        np.flatnonzero(status == value) for value in (ICRC_OK, ICRC_BAD, ICRC_UNCHECKABLE)
    )
    total = len(right) + len(wrong) + len(unknown)
    findings = []
    if len(wrong):
        findings.append(
            Finding(
                "icrc-wrong",
                Severity.ERROR,
                f"{len(wrong)} of {total} RoCE packets have a wrong ICRC: they were damaged, or "
                "changed after they were sent; they prove nothing and are left out",
                context.frames(wrong),
            )
        )
    if len(unknown):
        findings.append(
            Finding(
                "icrc-not-checkable",
                Severity.WARNING,
                f"the ICRC of {len(unknown)} of {total} RoCE packets cannot be checked: bytes are "
                "missing; capture whole packets (tcpdump -s 0)",
                context.frames(unknown),
            )
        )
    if not total:
        return PassResult(Verdict.NOT_APPLICABLE, "no RoCE packets")
    verdict = Verdict.FAIL if len(wrong) else Verdict.INCONCLUSIVE if len(unknown) else Verdict.PASS
    summary = f"{len(right)} of {total} RoCE packets have the right ICRC"
    return PassResult(verdict, summary, tuple(findings))
