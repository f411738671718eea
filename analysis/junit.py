"""Results as a JUnit file for continuous integration: a test case a pass and a direction."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from analysis.document import Results
from analysis.finding import Judgement, PsnVerdict, Severity, Verdict

# What XML 1.0 cannot hold, escaped or not.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

KINDS = {
    Verdict.FAIL: "failure",
    Verdict.INCONCLUSIVE: "error",
    Verdict.NOT_APPLICABLE: "skipped",
}
"""What a verdict that is no pass becomes; inconclusive is an error, so that nobody takes it for
one.
"""
DIRECTION = {
    PsnVerdict.MATCH: Verdict.PASS,
    PsnVerdict.NOT_CAPTURED: Verdict.INCONCLUSIVE,
    PsnVerdict.NOT_NEGOTIATED: Verdict.NOT_APPLICABLE,
    PsnVerdict.MISSING: Verdict.NOT_APPLICABLE,
}


def write(results: Results, path: Path) -> None:
    """Write `results` to `path`; raises OSError where that is not possible."""
    suite = ET.Element("testsuite", name=f"rocelab verify {_text(str(results.context.path))}")
    for name, result in results.passes.items():
        detail = "\n".join(
            f"{f.severity} {f.code}: {f.message}"
            for f in result.findings
            if f.severity is not Severity.INFO
        )
        _case(suite, "pass", name, result.verdict, f"{result.summary}\n{detail}")
    for judgement in results.judgements:
        verdict = DIRECTION.get(judgement.verdict, Verdict.FAIL)
        _case(suite, "direction", _name(results, judgement), verdict, judgement.sentence)
    cases = suite.findall("testcase")
    for kind in KINDS.values():
        count = sum(case.find(kind) is not None for case in cases)
        suite.set(f"{kind}s" if kind != "skipped" else kind, str(count))
    suite.set("tests", str(len(cases)))
    ET.indent(suite)
    path.write_bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True) + b"\n")


def _name(results: Results, judgement: Judgement) -> str:
    connection = results.context.conversations.connections[judgement.connection]
    return f"connection {judgement.connection}, from {connection.end(judgement.sender)}"


def _case(suite: ET.Element, group: str, name: str, verdict: Verdict, detail: str) -> None:
    case = ET.SubElement(suite, "testcase", classname=f"rocelab.{group}", name=_text(name))
    kind = KINDS.get(verdict)
    if kind is not None:
        head, _, rest = _text(detail).partition("\n")
        ET.SubElement(case, kind, message=head, type=str(verdict)).text = rest


def _text(text: str) -> str:
    return UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
