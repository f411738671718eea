"""The capture written again with comments on the packets that matter, for Wireshark to show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from analysis.conversations import SIDES
from analysis.document import Results
from analysis.finding import PsnVerdict, Severity
from captures.pcapng_writer import Writer

SIGN = {PsnVerdict.MATCH: "= negotiated"}


def annotate(results: Results, path: Path) -> int:
    """Write the judged capture to `path` as pcapng with comments; how many packets have one.

    Frame numbers stay as they were. Raises OSError where `path` cannot be written.
    """
    remarks: defaultdict[int, list[str]] = defaultdict(list)
    for number, text in (*_announcements(results), *_firsts(results), *_findings(results)):
        if text not in remarks[number]:
            remarks[number].append(text)
    capture = results.context.capture
    interfaces = capture.interfaces
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            writer = Writer(stream, comment=f"verdict of rocelab verify: {results.verdict}")
            for known in interfaces:
                writer.interface(
                    known.name, link_type=known.link_type, snap_length=known.snap_length
                )
            writer.secrets(results.context.key_log.text)
            for frame in capture.frames():
                comments = [frame.comment] if frame.comment else []
                writer.packet(
                    frame.data,
                    max(0, frame.time_ns),
                    interface=frame.interface,
                    original_length=frame.original_length,
                    comment="\n".join(comments + remarks.get(frame.number, [])),
                )
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return len(remarks)


def _announcements(results: Results) -> Iterator[tuple[int, str]]:
    for connection in results.context.conversations.connections:
        for said in connection.negotiated:
            for one in (said.a, said.b):
                if one.frame is not None and one.sq_psn is not None:
                    side = next(s for s in SIDES if connection.end(s) == one.end)
                    how = "in clear" if said.witness == "clear" else "inside TLS"
                    yield (
                        one.frame,
                        f"{said.source}, {how}: the first request from {side.upper()} ({one.end}) "
                        f"will carry PSN {one.sq_psn:#08x}",
                    )


def _firsts(results: Results) -> Iterator[tuple[int, str]]:
    for judgement in results.judgements:
        if judgement.frame is not None and judgement.first is not None:
            sign = SIGN.get(judgement.verdict, f"({judgement.verdict}: {judgement.sentence})")
            yield (
                judgement.frame,
                f"first request from {judgement.sender.upper()} of connection "
                f"{judgement.connection}: PSN {judgement.first:#08x} {sign}",
            )


def _findings(results: Results) -> Iterator[tuple[int, str]]:
    for finding in results.findings:
        if finding.severity is not Severity.INFO:
            for frame in finding.frames:
                yield frame, f"{finding.severity}: {finding.code}: {finding.message}"
