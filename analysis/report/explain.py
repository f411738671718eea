"""The verdict in sentences a student understands."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.finding import Finding, PsnVerdict, Severity, Status, Verdict
from analysis.report import words
from analysis.report.material import Material
from analysis.report.view import CheckView

REASONS = 4
"""Reasons given before the reader is sent to the findings."""

HOW_TOLD = {
    "tls": "told the other inside an encrypted TLS session",
    "clear": "told the other in clear, where anyone on the path could read it",
    "endpoint_log": "logged what it told the other (the telling itself is not in the capture)",
    "expect": "is expected, by what was said on the command line, to begin at a given number",
}
"""Kind of evidence -> how an end's choice is known."""


def explanation(material: Material) -> Iterator[str]:
    """What the verdict rests on."""
    if material.verdict is Verdict.PASS:
        yield from _passed(material)
    else:
        yield from _reasons(material)


def _passed(material: Material) -> Iterator[str]:
    matches = [j for j in material.judgements if j.verdict is PsnVerdict.MATCH]
    connections = len({j.connection for j in matches})
    spoken = next(iter(_told_by(material)), "endpoint_log")
    yield (
        f"Each end chose the number its packets count from, {HOW_TOLD[spoken]}, and used it in the "
        f"header of its first RDMA request. {_count(len(matches), 'direction')} of "
        f"{_count(connections, 'connection')} were compared, and every one matches."
    )
    agreeing = sum(
        j.witnesses["tshark"].status is Status.AGREES for j in matches if "tshark" in j.witnesses
    )
    if agreeing == len(matches):
        yield "tshark, a decoder that shares no code with this one, reads the same numbers."
    else:
        yield (
            "The second decoder, tshark, did not confirm "
            f"{_count(len(matches) - agreeing, 'direction')}: see the witnesses below."
        )


def _told_by(material: Material) -> Iterator[str]:
    said = {n.witness for c in material.context.conversations.connections for n in c.negotiated}
    return (witness for witness in HOW_TOLD if witness in said)


def _reasons(material: Material) -> Iterator[str]:
    wanted = Severity.ERROR if material.verdict is Verdict.FAIL else Severity.WARNING
    reasons = [f for f in material.findings if f.severity is wanted]
    if not reasons:
        reasons = [f for f in material.findings if f.severity is not Severity.INFO]
    said = dict.fromkeys(_reason(material, finding) for finding in reasons)
    yield from list(said)[:REASONS]
    if len(said) > REASONS:
        yield f"{len(said) - REASONS:,} more reasons stand under Findings."


def _reason(material: Material, finding: Finding) -> str:
    text = words.sentence(finding.message)
    return text if finding.connection is None else f"{material.name(finding.connection)}: {text}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def checks(material: Material) -> list[CheckView]:
    """What each pass concluded."""
    return [
        CheckView(
            name, str(result.verdict), words.MOODS[result.verdict], words.sentence(result.summary)
        )
        for name, result in material.results.passes.items()
    ]
