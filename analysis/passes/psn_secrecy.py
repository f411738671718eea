"""Was the PSN kept secret until it was used?

A stranger who knows a queue pair's number and next PSN can inject packets into its connection, so a
PSN that is exchanged in secret must not appear in clear before the first packet that carries it.
This pass looks for every announced PSN in all that was captured before its first use, outside TLS
records: as six hexadecimal digits, as a decimal number, and as three bytes in either order.

Any three bytes turn up by chance in enough data, so a find is weighed: how many finds does chance
give in so many bytes (bytes x PSNs / 2^24), and how probable is what stands beside this one (the
queue pair's number, the word "psn", a zero byte that makes it a 32-bit number)? The probability
that chance did it stands beside every find. TLS records are not searched, since ciphertext holds
any three bytes; neither is RDMA payload, for bytes, where there is so much of it that a find proves
nothing.

rdma_cm, pingpong and perftest tell the PSN in clear by design: that is no secret to keep, and said
so.

Findings: `psn-in-clear` (the PSN stands in clear before its first use; by chance less than once in
a million), `psn-perhaps-in-clear` (by chance less than once in 10,000), `psn-by-chance` (chance
explains it), `psn-not-secret` (the exchange itself goes in clear), `tls-old` (TLS below 1.2),
`certificate-not-verified` (a program known to take any certificate; else endpoint logs tell whether
they were verified, or nobody does: TLS 1.3 encrypts them).

Verdicts: *pass*; *fail* for a negotiated PSN in clear or an old TLS; *inconclusive* for one that is
perhaps in clear; *not-applicable* where nothing was negotiated in secret. Once PSNs are on the wire
everybody on the path can read them: secrecy lasts until the first packet, and a random PSN is a
speed bump, not a lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from analysis.context import Context
from analysis.conversations import SIDES
from analysis.finding import Finding, PassResult, Severity, Verdict, counted
from analysis.leaks import Leak, Piece, Secret, search, searches_payload
from analysis.negotiated import Negotiated
from dissectors.tcp import TCP

BUDGET = 1 << 24
"""Bytes of clear payload that are searched."""
WEIGHTS = (
    (1e-6, "psn-in-clear", Severity.ERROR),
    (1e-4, "psn-perhaps-in-clear", Severity.WARNING),
    (float("inf"), "psn-by-chance", Severity.INFO),
)
"""What a find is called whose probability by chance is below this, and what it weighs."""
COMES_TO = {Severity.ERROR: Verdict.FAIL, Severity.WARNING: Verdict.INCONCLUSIVE}
LISTED = 100
TAKES_ANY = ("rdma-multi-client",)
"""Sources whose client does not verify the server's certificate."""


def run(context: Context) -> PassResult:
    """Search the clear bytes for the PSNs that were to be secret."""
    secrets = list(_secrets(context))
    findings = [*_open_exchanges(context), *_old_tls(context), *_unverified(context)]
    if secrets:
        pieces = list(_clear(context, max(secret.used for secret in secrets)))
        findings += _weighed(search(secrets, pieces))
        count = sum(len(piece.data) for piece in pieces)
        capped = ", the limit" if count >= BUDGET else ""
        summary = f"{len(secrets)} announced PSNs looked for in {count} bytes in clear{capped}"
        if not searches_payload(secrets, pieces):
            summary += " (in RDMA payload as text only)"
    else:
        summary = "no PSN was negotiated in secret"
        if sources := sorted({said.source for said in context.statements if _is_open(said)}):
            summary += f": {', '.join(sources)} exchanged them in clear, for everybody to read"
    versions = sorted({str(v["version"]) for v in _sessions(context).values() if "version" in v})
    if versions:
        summary += f"; exchanged inside {', '.join(versions)}, {_certificates(context)}"
    grave = {finding.severity for finding in findings}
    nothing = Verdict.PASS if secrets else Verdict.NOT_APPLICABLE
    verdict = next((COMES_TO[weight] for weight in COMES_TO if weight in grave), nothing)
    return PassResult(verdict, summary, tuple(findings))


def _weighed(leaks: list[Leak]) -> Iterator[Finding]:
    """A finding for each of `leaks`, the least probable by chance first."""
    for leak in sorted(leaks, key=lambda leak: leak.chance)[:LISTED]:
        code, severity = next((c, s) for limit, c, s in WEIGHTS if leak.chance < limit)
        beside = f" beside {' and '.join(leak.beside)}" if leak.beside else ""
        yield Finding(
            code,
            severity,
            f"PSN {leak.secret.psn:#08x} of end {leak.secret.side} stands in clear ({leak.form})"
            f"{beside} before its first use; in so many bytes chance gives {leak.expected:.2g} "
            f"finds, and this one with probability {leak.chance:.1g}",
            leak.frames[:20],
            leak.secret.connection,
        )


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
                yield Secret(value, connection.end(side).qpn, connection.number, side, used)


def _open_exchanges(context: Context) -> Iterator[Finding]:
    sources: dict[str, list[Negotiated]] = {}
    for connection in context.conversations.connections:
        for said in filter(_is_open, connection.negotiated):
            sources.setdefault(said.source, []).append(said)
    for source, told in sources.items():
        frames = dict.fromkeys(said.frame for said in told if said.frame is not None)
        yield Finding(
            "psn-not-secret",
            Severity.INFO,
            f"{source} exchanged the PSNs of {counted(len(told), 'connection')} in clear: "
            "everybody on the path knew them before the first packet",
            tuple(frames)[:20],
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


def _certificates(context: Context) -> str:
    """Whether the ends verified certificates: TLS 1.3 encrypts them, so only logs can tell."""
    logged = [said.tls for said in context.statements if said.tls and said.stream is None]
    if logged and all(tls.get("peer_certificate") for tls in logged):
        return "certificates verified by their logs"
    return "certificates not known to be verified"


def _unverified(context: Context) -> Iterator[Finding]:
    """Sources whose program is known to take any certificate."""
    found = [said for said in context.statements if said.tls and said.source in TAKES_ANY]
    if found:
        frames = tuple(said.frame for said in found[:20] if said.frame is not None)
        yield Finding(
            "certificate-not-verified",
            Severity.INFO,
            f"{found[0].source} does not verify its server's certificate: somebody in between "
            "could have spoken TLS with both ends and read or changed the PSNs, and no capture "
            "of one side shows it",
            frames,
        )


def _clear(context: Context, before: int) -> Iterator[Piece]:
    """What was said in clear in frames before `before`, up to BUDGET bytes."""
    left = BUDGET
    for piece in _candidates(context, before):
        data = piece.data[:left]
        left -= len(data)
        if data:
            yield piece._replace(data=data)
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
