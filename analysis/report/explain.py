"""The verdict in sentences a student understands."""

from __future__ import annotations

from collections.abc import Iterator

from analysis.finding import Finding, PsnVerdict, Severity, Status, Verdict
from analysis.negotiated import Convention
from analysis.report import words
from analysis.report.material import Material
from analysis.report.view import CheckView

REASONS = 4
"""Reasons given before the reader is sent to the findings."""

CHOSE = {
    Convention.SENDER_CHOOSES: "Each end chose the number that its own packets count from",
    Convention.RECEIVER_CHOOSES: "Each end chose the number that the other's packets count from",
}
HOW_TOLD = {
    "tls": "told the other inside an encrypted TLS session",
    "clear": "told the other in clear, where anyone on the path could read it",
    "endpoint_log": "logged it (the telling itself was not read)",
    "expect": "is expected, by the command line, to have told the other",
}
"""Kind of evidence, the strongest first -> how an end's choice is known."""


def explanation(material: Material) -> Iterator[str]:
    """What the verdict rests on."""
    if material.verdict is Verdict.PASS:
        yield from _passed(material)
    else:
        yield from _reasons(material)


def _passed(material: Material) -> Iterator[str]:
    matches = [j for j in material.judgements if j.verdict is PsnVerdict.MATCH]
    connections = len({j.connection for j in matches})
    said = [n for c in material.context.conversations.connections for n in c.negotiated]
    told = next((kind for kind in HOW_TOLD if any(n.witness == kind for n in said)), "expect")
    convention = next((n.convention for n in said if n.witness == told), Convention.SENDER_CHOOSES)
    yield (
        f"{CHOSE[convention]}, {HOW_TOLD[told]}, and the first RDMA request carries it. "
        f"{_count(len(matches), 'direction')} of {_count(connections, 'connection')} were "
        "compared, and every one matches."
    )
    if material.results.tls_unchecked:
        yield (
            "The numbers were exchanged inside TLS, and nobody has read that here: that they were "
            "the announced ones is the word of whoever wrote the logs."
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
