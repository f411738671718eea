"""Verdicts in words a student understands, each with the mood that colours it."""

from __future__ import annotations

from typing import NamedTuple

from analysis.finding import PsnVerdict, Severity, Status, Verdict
from analysis.report.view import Tag


class Words(NamedTuple):
    """How a direction's verdict is shown: a tag, its mood, the sign between the two numbers."""

    tag: str
    mood: str
    sign: str


DIRECTIONS = {
    PsnVerdict.MATCH: Words("match", "pass", "="),
    PsnVerdict.MISMATCH: Words("mismatch", "fail", "≠"),
    PsnVerdict.SWAPPED: Words("swapped convention", "fail", "⇄"),
    PsnVerdict.OFF_BY_N: Words("off by n", "fail", "≠"),
    PsnVerdict.MISSING: Words("missing on the wire", "unsure", "?"),
    PsnVerdict.NOT_CAPTURED: Words("first request not captured", "unsure", "?"),
    PsnVerdict.COPIES_DISAGREE: Words("copies disagree", "fail", "≠"),
    PsnVerdict.NOT_NEGOTIATED: Words("not negotiated in this capture", "unsure", "?"),
}

WITNESSES = {
    "endpoint_log": "The endpoints' own logs",
    "tls": "TLS bytes of the capture, decrypted by tshark",
    "bth": "BTH on the wire, read by rocelab",
    "tshark": "BTH on the wire, read by tshark",
    "clear": "What was said in clear",
    "expect": "The number expected on the command line",
}

STATUSES = {
    Status.AGREES: Tag("agrees", "pass"),
    Status.DISAGREES: Tag("disagrees", "fail"),
    Status.MISSING: Tag("missing", "unsure"),
    Status.FAILED: Tag("failed", "fail"),
}

PAIRED_BY = {
    "exchange": "Paired by what the ends told each other.",
    "deth": "Paired by the source queue pair that UD packets name.",
    "responses": "Paired by which requests the responses answer.",
    "addresses": "Paired by their addresses: there is no other candidate.",
    "none": "One direction alone was seen.",
}

MOODS = {
    Verdict.PASS: "pass",
    Verdict.FAIL: "fail",
    Verdict.INCONCLUSIVE: "unsure",
    Verdict.NOT_APPLICABLE: "plain",
}
"""Verdict of a pass -> its mood."""

HEADLINES = {
    "pass": "The PSNs that were agreed are the ones on the wire.",
    "fail": "The capture contradicts what was agreed.",
    "inconclusive": "This capture cannot settle whether the agreed PSNs are the ones on the wire.",
    "not-applicable": "There is nothing here to judge.",
}
TLS_UNCHECKED = "The PSNs on the wire are those that were logged; TLS itself was not checked."
PREDICTABLE = "The starting PSNs are not random."

SEVERITIES = {Severity.ERROR: "fail", Severity.WARNING: "unsure", Severity.INFO: "plain"}
"""Severity of a finding -> its mood."""

PARAMETERS = {
    "ip": "address its RoCE packets come from",
    "qpn": "queue pair number: the other end writes it into dest_qp",
    "sq_psn": "PSN of the first request it will send",
    "gid": "RDMA address of the port",
    "path_mtu": "largest payload of one packet, bytes",
    "addr": "start of the memory it opens to the other end",
    "r_key": "key the other end must show to reach that memory",
    "length": "size of that memory, bytes",
}
"""Names of an EndpointInfo in the exchange -> their meaning."""

PROGRAMS = ("tshark", "tcpdump", "rocelab", "scapy")
"""Names that keep their small letter at the start of a sentence."""

HEXADECIMAL = {"sq_psn": 6, "qpn": 6, "addr": 16, "r_key": 8, "psn": 6, "rkey": 8}
"""Parameters shown in hexadecimal -> digits."""

ENTERED = {
    "RESET": "Created. It neither sends nor receives.",
    "INIT": "Bound to a port, with its access rights. Receives may be posted.",
    "RTR": "Ready to receive: knows its peer, and which PSN to expect first.",
    "RTS": "Ready to send: its own requests count from here.",
    "SQD": "Send queue drained.",
    "SQE": "Send queue in error.",
    "ERR": "In error: everything outstanding is flushed.",
}
"""Queue-pair state -> what entering it means."""


def sentence(text: str) -> str:
    """`text` with a capital in front (but for programs' names) and a full stop behind."""
    text = text.strip()
    if not text:
        return ""
    start = text[0] if text.startswith(PROGRAMS) else text[0].upper()
    return start + text[1:] + ("" if text[-1] in ".!?" else ".")
