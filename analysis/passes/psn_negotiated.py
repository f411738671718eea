"""Are the PSNs that were negotiated the ones on the wire?

Each end of a connection tells the other its `sq_psn`, the PSN of the first request it will send.
This pass puts what was announced beside the first request that each end really sent. The first
request is the one with the lowest PSN, counted serially, not the one captured first: packets may be
sent again or overtake one another.

Four witnesses answer for each direction. *endpoint_log*: what the endpoints logged (truth files).
*tls*: the bytes exchanged inside TLS, decrypted from the capture. *bth*: BTH as we decode it.
*tshark*: BTH as tshark decodes it. Where an exchange went in clear (rdma_cm, pingpong), *clear*
says what it said. A witness that is missing is named as missing, with the reason.

Without the TLS keys endpoint logs may still tell what was announced. A match is then a *pass*, for
what was asked is answered: the wire carries what the endpoints logged. But it rests on their word,
so that `tls-not-checked` and the headline say that TLS itself was not read; so does a run without
tshark. A run directory always had its keys: without them it is inconclusive (capture-integrity).

Whose PSN is it? In a *sender-chooses* exchange (ours, perftest, pingpong) the announced PSN is that
of the announcer's own first request; in a *receiver-chooses* one (rdma_cm) it is that of its
peer's.

Verdict of a direction: *match*; *mismatch*; *swapped* (each end used what the other announced);
*off-by-n* (a little later or earlier than announced); *missing* (announced, but no request in this
direction); *not-captured* (the capture began after the first request); *copies-disagree* (two
places tell different announced PSNs); *not-negotiated* (nothing told what was announced).

Findings: `psn-mismatch`, `psn-swapped`, `psn-off-by-n`, `psn-copies-disagree`, `psn-not-captured`
(the verdict of a direction, with both values), `psn-missing` (announced and not seen, though it was
answered or logged, or nothing at all was captured), `psn-unused` (announced, and its end sent no
request: no fault), `psn-not-negotiated` (give --keylog, --truth, --log or --expect),
`psn-unmatched` (an end that was told of is in no connection of the capture), `tls-not-decrypted`
(the keys given are those of another session), `tls-not-checked` (see above), `witness-disagrees`
and `witness-failed` (tshark reads another PSN, or no BTH).

Queue pairs are paired by what was negotiated, else by DETH (UD), by which requests the responses
answer, or by being the only candidates between two hosts; the table says how. Addresses are taken
as they stand on the wire: behind a translator (NAT) nothing pairs.

Verdict of the pass: *fail* for mismatch, swapped, off-by-n, copies-disagree, or a tshark that reads
another PSN; *inconclusive* for what cannot be told: nothing negotiated or captured, TLS that the
key log does not decrypt, requests missing that were answered or logged; else *pass*, if at least
one direction matches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from analysis.context import Context
from analysis.conversations import SIDES, Connection
from analysis.finding import (
    Answer,
    Finding,
    Judgement,
    PassResult,
    PsnVerdict,
    Severity,
    Status,
    Verdict,
    counted,
    worst,
)
from analysis.negotiated import Announced, Negotiated
from dissectors import psn as serial
from dissectors.opcode import BY_VALUE

EXPECT = "expect"
NEAR = 256
"""Packets: further off than this is another number, not the same one counted differently."""

GRAVITY = {
    PsnVerdict.MATCH: Verdict.PASS,
    PsnVerdict.MISMATCH: Verdict.FAIL,
    PsnVerdict.SWAPPED: Verdict.FAIL,
    PsnVerdict.OFF_BY_N: Verdict.FAIL,
    PsnVerdict.COPIES_DISAGREE: Verdict.FAIL,
    PsnVerdict.MISSING: Verdict.NOT_APPLICABLE,
    PsnVerdict.NOT_CAPTURED: Verdict.INCONCLUSIVE,
    PsnVerdict.NOT_NEGOTIATED: Verdict.NOT_APPLICABLE,
}
WEIGHT = {Verdict.FAIL: Severity.ERROR, Verdict.INCONCLUSIVE: Severity.WARNING}
COMES_TO = {
    Severity.ERROR: Verdict.FAIL,
    Severity.WARNING: Verdict.INCONCLUSIVE,
    Severity.INFO: Verdict.NOT_APPLICABLE,
}
UNASKED = Answer(
    Status.MISSING,
    detail="not asked: it takes a millisecond a packet, so it reads the first connections' only",
)


Saying = tuple[Negotiated, Announced]
"""A statement, and what it says of the end in question."""


class Told(NamedTuple):
    """What the statements about a connection say of one end.

    `by` has those that tell its sq_psn by kind of witness. `values` is every sq_psn told, the
    capture's own words first; more than one is a contradiction.
    """

    said: Sequence[Saying] = ()
    by: Mapping[str, list[Saying]] = MappingProxyType({})
    values: Sequence[int] = ()

    @classmethod
    def of(cls, connection: Connection, side: str) -> Told:
        """What is told of end `side` of `connection`."""
        if not connection.negotiated:
            return NOTHING_TOLD
        end = connection.end(side)
        said = [
            (said, one)
            for said in connection.negotiated
            for one in (said.a, said.b)
            if one.end == end
        ]
        by: dict[str, list[Saying]] = {}
        for saying in said:
            if saying[1].sq_psn is not None:
                by.setdefault(saying[0].witness, []).append(saying)
        first = [one.sq_psn for kind in IN_ORDER for _, one in by.get(kind, ())]
        copies = [copy for _, one in said for copy in one.copies]
        return cls(said, by, list(dict.fromkeys(v for v in first + copies if v is not None)))


IN_ORDER = ("tls", "clear", "endpoint_log", "expect")
NOTHING_TOLD = Told()


class Seen(NamedTuple):
    """The first request of a direction, what answers the direction, and what came before.

    `earlier` counts the messages that the first acknowledgement says were completed before.
    """

    psn: int | None = None
    frame: int | None = None
    opcode: int = 0
    answered: int = 0
    earlier: int = 0

    @property
    def began_earlier(self) -> str:
        """What shows that requests had been sent before the first captured one, or ""."""
        opcode = BY_VALUE[self.opcode]
        if opcode is not None and not opcode.starts_message:
            return f"that packet ({opcode.text}) is not the first of its message"
        if self.earlier:
            return f"the first acknowledgement counts {self.earlier} earlier messages"
        return ""


@dataclass(frozen=True)
class Case:
    """All there is to judge by."""

    context: Context

    @cached_property
    def seen(self) -> list[Seen]:
        """By direction."""
        sequences, table = self.context.sequences, self.context.table
        answered = np.diff(sequences.answer_start).tolist()
        earlier = sequences.earlier_messages(table).tolist()
        there = np.flatnonzero(sequences.first >= 0)
        rows = sequences.rows[sequences.first[there]]
        columns = (table[name][rows].tolist() for name in ("bth_psn", "frame", "bth_opcode"))
        first = dict(zip(there.tolist(), zip(*columns, strict=True), strict=True))
        absent = (None, None, 0)
        return [
            Seen._make((*first.get(direction, absent), *rest))
            for direction, rest in enumerate(zip(answered, earlier, strict=True))
        ]

    @cached_property
    def unread(self) -> dict[frozenset[str | None], Answer]:
        """Why TLS between two hosts was not decrypted (of the first such stream); of any: `ANY`."""
        why = self.context.witness.undecrypted
        found: dict[frozenset[str | None], Answer] = {}
        for stream in self.context.streams:
            if stream.number in why:
                reason = why[stream.number]
                tried = self.context.key_log.text and reason != self.context.witness.absent
                status = Status.FAILED if tried else Status.MISSING
                answer = Answer(status, None, stream.frames[0], reason)
                found.setdefault(frozenset((stream.client[0], stream.server[0])), answer)
                found.setdefault(ANY, answer)
        return found

    @cached_property
    def owners(self) -> dict[int, list[tuple[int, str]]]:
        """Which (connection, side) announced a PSN, by PSN."""
        owners: dict[int, list[tuple[int, str]]] = {}
        for connection in self.context.conversations.connections:
            for side in SIDES:
                for value in Told.of(connection, side).values[:1]:
                    owners.setdefault(value, []).append((connection.number, side))
        return owners


def run(context: Context) -> PassResult:
    """Judge every direction of every connection."""
    judgements: list[Judgement] = []
    findings: list[Finding] = []
    verdicts: list[Verdict] = []
    case = Case(context)
    for connection in context.conversations.connections:
        seen = case.seen[2 * connection.number : 2 * connection.number + 2]
        told = Told.of(connection, SIDES[0]), Told.of(connection, SIDES[1])
        pair = _judge(case, connection, told, seen)
        judgements += pair
        found, verdict = _conclude(case, connection, pair, told, seen)
        findings += found
        verdicts.append(verdict)
    # Who asks for certain queue pairs leaves the others out of the question.
    asked = any(said.source == EXPECT for said in context.statements)
    findings += (untold := _not_negotiated(judgements, asked=asked))
    if untold and not asked:
        verdicts.append(Verdict.INCONCLUSIVE)
    findings += _not_found(context)
    findings += (unchecked := _tls_unchecked(context, judgements))
    matches = sum(j.verdict is PsnVerdict.MATCH for j in judgements)
    if not judgements:
        nothing = "no RDMA connection in this capture"
        return PassResult(Verdict.INCONCLUSIVE, nothing, tuple(findings))
    if context.conversations.unmatched:
        verdicts.append(Verdict.INCONCLUSIVE)
    verdict = worst(verdicts)
    if verdict in (Verdict.PASS, Verdict.NOT_APPLICABLE) and not matches:
        verdict = Verdict.INCONCLUSIVE
    summary = (
        f"{counted(len(judgements) // 2, 'connection')}, {len(judgements)} directions: "
        f"in {matches} the first request carries the announced PSN"
    )
    if unchecked:
        summary += "; what was said inside TLS was not checked"
    return PassResult(verdict, summary, tuple(findings), judgements=tuple(judgements))


def compare(
    announced: Sequence[int], other: Sequence[int], seen: Seen, other_seen: Seen
) -> tuple[PsnVerdict, str]:
    """The verdict for a direction, and the sentence that says it.

    `announced` and `other` are the sq_psn told of the sender and of its peer.
    """
    if not announced:
        return PsnVerdict.NOT_NEGOTIATED, "nothing told which PSN was announced"
    told = announced[0]
    if len(announced) > 1:
        values = " and ".join(f"{value:#08x}" for value in announced)
        return PsnVerdict.COPIES_DISAGREE, f"the announced PSN is told differently: {values}"
    if seen.psn is None:
        return PsnVerdict.MISSING, f"{told:#08x} was announced, no request was captured"
    if seen.psn == told:
        return PsnVerdict.MATCH, f"the first request carries the announced PSN {told:#08x}"
    return _difference(told, other, seen, other_seen)


def _difference(
    told: int, other: Sequence[int], seen: Seen, other_seen: Seen
) -> tuple[PsnVerdict, str]:
    """What kind of difference there is between the announced PSN and the first request's."""
    psn = seen.psn if seen.psn is not None else told
    both = f"announced {told:#08x}, the first request carries {psn:#08x}"
    if list(other) == [psn] and other_seen.psn in (None, told):
        return PsnVerdict.SWAPPED, f"{both}: that is what its peer announced (ends exchanged)"
    off = serial.difference(psn, told)
    if off > 0 and seen.began_earlier:
        return PsnVerdict.NOT_CAPTURED, f"{both}, but {seen.began_earlier}"
    if abs(off) <= NEAR:
        return PsnVerdict.OFF_BY_N, f"{both}: off by {off:+d}"
    return PsnVerdict.MISMATCH, both


def _judge(
    case: Case, connection: Connection, told: Sequence[Told], seen: Sequence[Seen]
) -> list[Judgement]:
    """Both directions of a connection."""
    values = [one.values for one in told]
    absent = _tls_absent(case, connection)
    judgements = []
    for number, side in enumerate(SIDES):
        verdict, sentence = compare(
            values[number], values[1 - number], seen[number], seen[1 - number]
        )
        announced = values[number][0] if values[number] else None
        witnesses = _witnesses(case.context, told[number], seen[number], announced, absent)
        judgements.append(
            Judgement(
                connection=connection.number,
                sender=side,
                announced=announced,
                first=seen[number].psn,
                frame=seen[number].frame,
                verdict=verdict,
                sentence=sentence,
                witnesses=witnesses,
            )
        )
    return judgements


ANY: frozenset[str | None] = frozenset()
"""Stands for any two hosts."""
NO_TLS = Answer(Status.MISSING, detail="no TLS exchange of this connection in the capture")
NO_LOG = Answer(Status.MISSING, detail="no endpoint log")
NO_REQUEST = Answer(Status.MISSING, detail="no request in this direction")


def _witnesses(
    context: Context, told: Told, seen: Seen, announced: int | None, no_tls: Answer
) -> dict[str, Answer]:
    """Each witness's answer, announcements compared with the wire, the wire with them."""
    wire = announced if seen.psn is None else seen.psn
    answers = {
        "endpoint_log": NO_LOG,
        "tls": no_tls,
        "bth": _reading(seen.psn, seen.frame, announced),
        "tshark": _tshark(context, seen, announced),
    }
    for kind, said in told.by.items():
        answers[kind] = _announcement(said, wire)
    return answers


def _announcement(found: Sequence[Saying], wire: int | None) -> Answer:
    statement, one = found[0]
    status = Status.AGREES
    for said, other in found:
        if other.sq_psn != wire and one.sq_psn == wire:
            statement, one = said, other
        if other.sq_psn != wire or any(copy != wire for copy in other.copies):
            status = Status.DISAGREES
    return Answer(status, one.sq_psn, one.frame, statement.observer)


def _reading(value: int | None, frame: int | None, announced: int | None) -> Answer:
    if value is None:
        return NO_REQUEST
    agrees = announced is None or value == announced
    return Answer(Status.AGREES if agrees else Status.DISAGREES, value, frame)


def _tshark(context: Context, seen: Seen, announced: int | None) -> Answer:
    if seen.frame is None:
        return NO_REQUEST
    read = context.witness.bth.get(seen.frame)
    if read is not None:
        return _reading(read.psn, seen.frame, announced)
    if seen.frame not in context.witness.asked:
        absent = context.witness.absent
        return Answer(Status.MISSING, detail=absent) if absent else UNASKED
    return Answer(Status.FAILED, frame=seen.frame, detail="tshark sees no BTH in this frame")


def _tls_absent(case: Case, connection: Connection) -> Answer:
    """Why no TLS bytes speak for this connection."""
    if not case.unread or any(said.witness == "clear" for said in connection.negotiated):
        return NO_TLS
    hosts = ANY if _logged_tls(connection) else frozenset((connection.a.ip, connection.b.ip))
    return case.unread.get(hosts, NO_TLS)


def _logged_tls(connection: Connection) -> bool:
    return any(said.tls for said in connection.negotiated)


def _conclude(
    case: Case,
    connection: Connection,
    pair: Sequence[Judgement],
    told: Sequence[Told],
    seen: Sequence[Seen],
) -> tuple[list[Finding], Verdict]:
    """Findings about one connection and what they come to."""
    findings = []
    verdicts = []
    for number, judgement in enumerate(pair):
        found = _doubts(connection, judgement)
        if judgement.verdict is PsnVerdict.MISSING:
            logged = len(case.context.work(connection, judgement.sender))
            found.append(_missing(judgement, pair, seen[number], logged))
        elif judgement.verdict not in (PsnVerdict.MATCH, PsnVerdict.NOT_NEGOTIATED):
            found.append(_wrong(case, connection, judgement, told[number]))
        verdicts.append(GRAVITY[judgement.verdict])
        verdicts += [COMES_TO[finding.severity] for finding in found]
        findings += found
    return findings, worst(verdicts)


def _wrong(case: Case, connection: Connection, judgement: Judgement, told: Told) -> Finding:
    sentence = f"from {connection.end(judgement.sender)}: {judgement.sentence}"
    if judgement.verdict is PsnVerdict.COPIES_DISAGREE:
        sentence += f" ({_who_said_what(told)})"
    frames = [a.frame for _, a in told.said if a.frame is not None]
    if judgement.frame is not None:
        frames.append(judgement.frame)
    if judgement.verdict is PsnVerdict.MISMATCH and judgement.first is not None:
        owners = case.owners.get(judgement.first, ())
        for number, side in [owner for owner in owners if owner[0] != connection.number][:1]:
            sentence += f"; end {side} of connection {number} announced that (logs exchanged?)"
    severity = WEIGHT[GRAVITY[judgement.verdict]]
    code = f"psn-{judgement.verdict}"
    return Finding(code, severity, sentence, tuple(dict.fromkeys(frames)), connection.number)


def _who_said_what(told: Told) -> str:
    """Each value that was told of an end, and by whom."""
    by_value: dict[int, list[str]] = {}
    for said, one in told.said:
        for value in dict.fromkeys((one.sq_psn, *one.copies)):
            if value is not None and said.observer not in by_value.setdefault(value, []):
                by_value[value].append(said.observer)
    return "; ".join(f"{value:#08x}: {', '.join(who)}" for value, who in by_value.items())


def _missing(judgement: Judgement, pair: Sequence[Judgement], seen: Seen, logged: int) -> Finding:
    """Announced and not seen: harmless where the end sent nothing, a gap where it was answered."""
    if logged:
        why = f"{judgement.sentence}, yet its log has {logged} completed requests"
        return Finding("psn-missing", Severity.WARNING, why, (), judgement.connection)
    if seen.answered:
        why = f"{judgement.sentence}, yet {seen.answered} responses answer what was sent"
        return Finding("psn-missing", Severity.WARNING, why, (), judgement.connection)
    if all(one.first is None for one in pair):
        why = f"{judgement.sentence} in either direction: not captured, or not used"
        return Finding("psn-missing", Severity.WARNING, why, (), judgement.connection)
    why = f"{judgement.sentence} in this direction: this end sent none, so nothing tests its PSN"
    return Finding("psn-unused", Severity.INFO, why, (), judgement.connection)


def _doubts(connection: Connection, judgement: Judgement) -> list[Finding]:
    """What the witnesses contradict or cannot confirm."""
    tshark, bth, tls = (judgement.witnesses[name] for name in ("tshark", "bth", "tls"))
    if tshark.value in (None, bth.value) and Status.FAILED not in (tshark.status, tls.status):
        return []
    findings = []
    frames = () if judgement.frame is None else (judgement.frame,)
    if tshark.value is not None and tshark.value != bth.value:
        message = f"we read PSN {bth.value:#08x} in this frame, tshark {tshark.value:#08x}"
        findings.append(
            Finding("witness-disagrees", Severity.ERROR, message, frames, connection.number)
        )
    if tshark.status is Status.FAILED:
        findings.append(
            Finding("witness-failed", Severity.WARNING, tshark.detail, frames, connection.number)
        )
    if tls.status is Status.FAILED and judgement.sender == SIDES[0]:
        message = f"TLS of this connection: {tls.detail}"
        at = () if tls.frame is None else (tls.frame,)
        findings.append(
            Finding("tls-not-decrypted", Severity.WARNING, message, at, connection.number)
        )
    return findings


def _not_found(context: Context) -> list[Finding]:
    """Ends that were told of and are in no connection."""
    return [
        Finding(
            "psn-unmatched",
            Severity.WARNING,
            f"{said.observer}: {said.a.end} is an end of no connection in this capture",
        )
        for said in context.conversations.unmatched
    ]


def _tls_unchecked(context: Context, judgements: Sequence[Judgement]) -> list[Finding]:
    """One finding for all directions that match a PSN said inside TLS that nobody read."""
    connections = context.conversations.connections
    left = [
        (judgement, tls)
        for judgement in judgements
        if judgement.verdict is PsnVerdict.MATCH
        and (tls := judgement.witnesses["tls"]).status is Status.MISSING
        and (tls.frame is not None or _logged_tls(connections[judgement.connection]))
    ]
    if not left:
        return []
    (first, tls), *_ = left
    word = "the user's" if "expect" in first.witnesses else "the endpoint logs'"
    return [
        Finding(
            "tls-not-checked",
            Severity.INFO,
            f"{counted(len(left), 'direction')} matched by {word} word alone: the announced PSN "
            f"was said inside TLS, and that was not read ({tls.detail}). Whoever writes the logs "
            "can make them agree: give --keylog to check TLS too",
            tuple(answer.frame for _, answer in left[:20] if answer.frame is not None)[:1],
            first.connection if len(left) == 1 else None,
        )
    ]


def _not_negotiated(judgements: Sequence[Judgement], *, asked: bool) -> list[Finding]:
    """One finding for all directions that nothing told of; a remark if others were `asked` for."""
    untold = [
        j for j in judgements if j.verdict is PsnVerdict.NOT_NEGOTIATED and j.first is not None
    ]
    if not untold:
        return []
    frames = tuple(j.frame for j in untold[:20] if j.frame is not None)
    return [
        Finding(
            "psn-not-negotiated",
            Severity.INFO if asked else Severity.WARNING,
            f"nothing in the capture or beside it tells which PSN was announced for "
            f"{counted(len(untold), 'direction')}: give --keylog, --truth, --log or --expect, or "
            "capture the exchange too",
            tuple(sorted(frames)),
            untold[0].connection if len(untold) == 1 else None,
        )
    ]
