"""The page's view of a judged capture."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.figures.sightings import sight
from analysis.finding import Verdict
from analysis.report import (
    connection,
    evidence,
    explain,
    facts,
    packet_rows,
    starting,
    traffic,
    words,
)
from analysis.report.material import Material
from analysis.report.view import FindingView, ReportView, StartsView
from analysis.survey import Survey

DETAILED = 2
"""Connections shown in full."""
FINDINGS = 100
"""Findings listed."""
FRAMES = 12
"""Frame numbers listed of a finding."""

SECTIONS = {
    "evidence": "Evidence",
    "findings": "Findings",
    "states": "Queue pairs",
    "ladder": "Ladder",
    "psn": "PSN over time",
    "packets": "Packets",
    "traffic": "Traffic",
    "starts": "Starting PSNs",
    "negotiated": "Negotiated",
    "work": "Work",
    "capture": "The capture",
}
"""Template of a section -> its name in the table of contents."""

NEGOTIATED = (
    "What each end told the other before the first RDMA packet. Whoever knows these numbers can "
    "send packets that the other end accepts: RDMA itself has no secret but them. A PSN alone is a "
    "speed bump, not a lock: one network card can try all 16,777,216 in about ten seconds."
)
NOT_NEGOTIATED = (
    "Nothing of the exchange that set these queue pairs up is in the capture or beside it, so what "
    "was agreed is not known."
)


def build(material: Material) -> ReportView:
    """Everything the page shows, bounded however large the capture is."""
    shown = evidence.by_trouble(material)[:DETAILED]
    sightings = [sight(material.table, material.context.sequences, c.number) for c in shown]
    pairs = zip(shown, sightings, strict=True)
    views = [connection.view(material, each, packets) for each, packets in pairs]
    starts = _starts(material)
    there = {
        "starts": starts is not None,
        "traffic": material.context.roce.any(),
        "work": any(each.work.rows for each in views),
        **dict.fromkeys(("states", "ladder", "psn", "negotiated"), bool(views)),
    }
    present = [section for section in SECTIONS if there.get(section, True)]
    left = len(material.findings) - FINDINGS
    return ReportView(
        title=_title(material),
        source=_source(material),
        verdict=str(material.verdict),
        headline=_headline(material),
        explanation=list(explain.explanation(material)),
        checks=explain.checks(material),
        contents=[(section, SECTIONS[section]) for section in present],
        connections=views,
        starts=starts,
        no_connections="The capture holds no RDMA connection to judge.",
        overview=evidence.overview(material),
        packets=packet_rows.view(material, sightings),
        conversations=traffic.conversations(material),
        opcodes=traffic.opcodes(material),
        findings=findings(material),
        findings_left_out=f"{left:,} more findings are not listed." if left > 0 else "",
        negotiated_lede=NEGOTIATED if any(v.negotiated for v in views) else NOT_NEGOTIATED,
        facts=facts.facts(material),
        fingerprints=facts.fingerprints(material),
        commands=facts.commands(material),
    )


def _starts(material: Material) -> StartsView | None:
    """The survey of starting PSNs, if it was made and says anything."""
    source = material.results.passes.get("psn-source")
    if source is None:
        return None
    found: Survey = source.figures["survey"]
    return starting.view(found) if found.matches or len(found.draws) >= starting.ENOUGH else None


def _headline(material: Material) -> str:
    if material.results.source_alone:
        return words.PREDICTABLE
    if material.verdict is Verdict.PASS and material.results.tls_unchecked:
        return words.TLS_UNCHECKED
    return words.HEADLINES[str(material.verdict)]


def _title(material: Material) -> str:
    return material.context.run.scenario if material.context.run is not None else material.file.name


def _source(material: Material) -> str:
    if material.context.run is None:
        return f"a capture of {len(material.table):,} frames"
    clients = len(material.context.conversations.connections)
    hosts = " and ".join(
        str(material.context.run.hosts[role].get("ip", ""))
        for role in ("client", "server")
        if isinstance(material.context.run.hosts.get(role), dict)
    )
    parts = [
        f"run {material.context.run.id}",
        f"{material.context.run.backend} backend",
        f"{clients} connection{'s' if clients != 1 else ''}",
        hosts,
    ]
    return ", ".join(part for part in parts if part)


def findings(material: Material) -> Sequence[FindingView]:
    """Findings, the gravest first."""
    grave = {"error": 0, "warning": 1, "info": 2}
    ordered = sorted(material.findings, key=lambda finding: grave[finding.severity])
    return [
        FindingView(
            code=finding.code,
            severity=str(finding.severity),
            mood=words.SEVERITIES[finding.severity],
            message=words.sentence(finding.message),
            connection="" if finding.connection is None else material.name(finding.connection),
            frames=finding.frames[:FRAMES],
            more_frames=max(0, len(finding.frames) - FRAMES),
        )
        for finding in ordered[:FINDINGS]
    ]
