"""Was the PSN kept secret until it was used?

A stranger who knows a queue pair's number and next PSN can inject packets into its connection, so a
PSN that is exchanged in secret must not appear in clear before the first packet that carries it.
This pass looks for every announced PSN in all that was captured before its first use, outside TLS
records: as six hexadecimal digits, as a decimal number, and as three bytes in either order. Any
three bytes turn up by chance in enough data, so TLS records are not looked at; neither is RDMA
payload, for bytes, where there is so much of it that hits by chance are to be expected. The number
of hits to be expected by chance stands beside every hit.

rdma_cm, pingpong and perftest tell the PSN in clear by design: that is no secret to keep, and said
so.

Findings: `psn-in-clear` (the PSN stands in clear before its first use), `psn-not-secret` (the
exchange itself goes in clear), `psn-by-chance` (hits, but chance explains them), `tls-old` (TLS
below 1.2).

Verdicts: *pass*; *fail* for a negotiated PSN in clear or an old TLS; *not-applicable* where nothing
was negotiated in secret. Once PSNs are on the wire everybody on the path can read them: secrecy
lasts until the first packet, and a random PSN is a speed bump, not a lock.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.context import Context
from analysis.conversations import SIDES
from analysis.finding import Finding, PassResult, Severity, Verdict
from analysis.negotiated import Negotiated
from dissectors.tcp import TCP

BUDGET = 1 << 24
"""Bytes of clear payload that are searched."""
BY_CHANCE = 0.01
"""Hits expected by chance from which on a hit proves nothing."""
SPECIAL = 1 << 16
"""PSNs below this look like any small number: they are searched as text only."""
TEXTS = (
    (
        "hexadecimal",
        re.compile(rb"(?<![0-9A-Fa-f])0{0,2}([0-9A-Fa-f]{6})(?![0-9A-Fa-f])"),
        16,
    ),
    ("decimal", re.compile(rb"(?<![0-9])([0-9]{5,8})(?![0-9])"), 10),
)
"""How a PSN may stand in text: what that is called, a pattern, its base."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A PSN that was announced: whose it is, and the frame from which on it is no secret."""

    psn: int
    connection: int
    side: str
    used: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes in clear, the frame that carried them, and whether they are RDMA payload."""

    frame: int
    data: bytes
    rdma: bool = False


def run(context: Context) -> PassResult:
    """Search the clear bytes for the PSNs that were to be secret."""
    secrets = list(_secrets(context))
    findings = [*_open_exchanges(context), *_old_tls(context)]
    if secrets:
        pieces = list(_clear(context, max(secret.used for secret in secrets)))
        findings += _search(secrets, pieces)
        count = sum(len(piece.data) for piece in pieces)
        capped = ", the limit" if count >= BUDGET else ""
        summary = f"{len(secrets)} announced PSNs looked for in {count} bytes in clear{capped}"
        if not _as_bytes(secrets, pieces, rdma=True):
            summary += " (in RDMA payload as text only)"
    else:
        summary = "no PSN was negotiated in secret"
    versions = sorted({str(v["version"]) for v in _sessions(context).values() if "version" in v})
    if versions:
        summary += f"; exchanged inside {', '.join(versions)}"
    grave = any(finding.severity is Severity.ERROR for finding in findings)
    verdict = Verdict.FAIL if grave else Verdict.PASS if secrets else Verdict.NOT_APPLICABLE
    return PassResult(verdict, summary, tuple(findings))


def _is_open(said: Negotiated) -> bool:
    return said.witness == "clear"


def _secrets(context: Context) -> Iterator[Secret]:
    frames = context.table["frame"]
    end = int(frames[-1]) + 1 if len(frames) else 0
    for connection in context.conversations.connections:
        if any(_is_open(said) for said in connection.negotiated):
            continue
        for side in SIDES:
            at = int(context.sequences.first[2 * connection.number + SIDES.index(side)])
            used = context.frame(int(context.sequences.rows[at])) if at >= 0 else end
            values = {
                one.sq_psn
                for said in connection.negotiated
                for one in (said.a, said.b)
                if one.end == connection.end(side) and one.sq_psn is not None
            }
            for value in values:
                yield Secret(value, connection.number, side, used)


def _open_exchanges(context: Context) -> Iterator[Finding]:
    sources: dict[str, list[Negotiated]] = {}
    for connection in context.conversations.connections:
        for said in filter(_is_open, connection.negotiated):
            sources.setdefault(said.source, []).append(said)
    for source, told in sources.items():
        frames = tuple(said.frame for said in told[:20] if said.frame is not None)
        yield Finding(
            "psn-not-secret",
            Severity.INFO,
            f"{source} exchanged the PSNs of {len(told)} connections in clear: everybody on the "
            "path knew them before the first packet",
            frames,
        )


def _sessions(context: Context) -> Mapping[int, Mapping[str, object]]:
    """TLS of the streams in which something was negotiated."""
    return {
        said.stream: said.tls
        for said in context.statements
        if said.tls is not None and said.stream is not None
    }


def _old_tls(context: Context) -> Iterator[Finding]:
    for number, tls in _sessions(context).items():
        if tls.get("version") in ("SSLv3", "TLSv1", "TLSv1.1"):
            stream = next(s for s in context.streams if s.number == number)
            yield Finding(
                "tls-old",
                Severity.ERROR,
                f"TCP stream {number}: {tls['version']} is broken, use TLS 1.2 or later",
                stream.frames[:1],
            )


def _clear(context: Context, before: int) -> Iterator[Piece]:
    """What was said in clear in frames before `before`, up to BUDGET bytes."""
    left = BUDGET
    for piece in _candidates(context, before):
        data = piece.data[:left]
        left -= len(data)
        if data:
            yield replace(piece, data=data)
        if not left:
            return


def _candidates(context: Context, before: int) -> Iterator[Piece]:
    for stream in context.streams:
        for sent, records in zip((stream.from_client, stream.from_server), stream.tls, strict=True):
            clear_from = records[-1].end if records else 0
            # What follows the last record of a TLS stream was cut off, not sent in clear.
            if (
                records
                and len(sent.data) - clear_from < 5 + (1 << 14)
                and _goes_on(sent.data, clear_from)
            ):
                continue
            for at, (start, frame) in enumerate(zip(sent.offsets, sent.frames, strict=True)):
                stop = sent.offsets[at + 1] if at + 1 < len(sent.offsets) else len(sent.data)
                if frame < before and stop > clear_from:
                    yield Piece(frame, sent.data[max(start, clear_from) : stop])
    table = context.table
    others = np.flatnonzero(~table.has(TCP) & (table["payload_length"] > 0))
    others = others[table["frame"][others] < before]
    for row in others.tolist():
        start, length = (int(table[name][row]) for name in ("payload_offset", "payload_length"))
        payload = table.frame_bytes(row)[start : start + length]
        yield Piece(context.frame(row), payload, bool(context.roce[row]))


def _goes_on(data: bytes, at: int) -> bool:
    """Whether what stands at `at`, if anything, is the beginning of another TLS record."""
    head = data[at : at + 2]
    return not head or (20 <= head[0] <= 24 and head[1:2] in (b"", b"\x03"))


def _expected(secrets: list[Secret], pieces: list[Piece], *, rdma: bool) -> float:
    """Hits by chance if one kind of piece is searched for bytes, in both orders."""
    octets = sum(len(piece.data) for piece in pieces if piece.rdma == rdma)
    return 2 * octets * len(secrets) / (1 << 24)


def _as_bytes(secrets: list[Secret], pieces: list[Piece], *, rdma: bool) -> bool:
    """Whether a hit on three bytes means anything: never so in much RDMA payload."""
    return not rdma or _expected(secrets, pieces, rdma=True) < BY_CHANCE


def _search(secrets: list[Secret], pieces: list[Piece]) -> Iterator[Finding]:
    by_psn: dict[int, list[Secret]] = {}
    for secret in secrets:
        by_psn.setdefault(secret.psn, []).append(secret)
    hits: dict[tuple[Secret, str], list[int]] = {}
    for form, value, frame in _hits(by_psn, secrets, pieces):
        for secret in by_psn[value]:
            if frame < secret.used:
                hits.setdefault((secret, form), []).append(frame)
    expected = sum(
        _expected(secrets, pieces, rdma=rdma)
        for rdma in (False, True)
        if _as_bytes(secrets, pieces, rdma=rdma)
    )
    for (secret, form), frames in hits.items():
        doubtful = form == "bytes" and expected >= BY_CHANCE
        yield Finding(
            "psn-by-chance" if doubtful else "psn-in-clear",
            Severity.INFO if doubtful else Severity.ERROR,
            f"PSN {secret.psn:#08x} of end {secret.side} stands in clear ({form}) before its first "
            "use" + (f"; by chance {expected:.2g} hits are expected" if form == "bytes" else ""),
            tuple(dict.fromkeys(frames))[:20],
            secret.connection,
        )


def _hits(
    by_psn: Mapping[int, list[Secret]], secrets: list[Secret], pieces: list[Piece]
) -> Iterator[tuple[str, int, int]]:
    """(form, PSN, frame) of every place where one of the PSNs stands."""
    wanted = np.zeros(1 << 24, bool)
    wanted[[psn for psn in by_psn if psn >= SPECIAL]] = True
    as_bytes = {rdma: _as_bytes(secrets, pieces, rdma=rdma) for rdma in (False, True)}
    for piece in pieces:
        for form, pattern, base in TEXTS:
            for match in pattern.finditer(piece.data):
                if (value := int(match[1], base)) in by_psn:
                    yield form, value, piece.frame
        for values in _windows(piece.data) if as_bytes[piece.rdma] else ():
            for value in values[wanted[values]].tolist():
                yield "bytes", value, piece.frame


def _windows(data: bytes) -> Iterator[NDArray[np.int64]]:
    """Every three bytes in a row as a number, in both byte orders."""
    octets = np.frombuffer(data, np.uint8).astype(np.int64)
    one, two, three = octets[:-2], octets[1:-1], octets[2:]
    if len(octets) >= 3:
        yield one << 16 | two << 8 | three
        yield three << 16 | two << 8 | one
