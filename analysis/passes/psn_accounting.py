"""Is every PSN of every request accounted for?

After the first request the PSNs must go on without a hole: each request takes one PSN, an RDMA READ
as many as its response has packets (dma_len / path MTU, rounded up), and the count wraps at 2^24. A
request may be sent again. A response carries the PSN of the request it answers; MSN, in the AETH of
an acknowledgement, counts the messages completed so far, so both together show when one was
changed.

Findings: `psn-gap` (PSNs never seen: packets are missing from the capture), `psn-stray` (a request
far off its sequence), `response-ahead` (a response to what was not sent yet), `response-behind` (to
what came before the first request), `msn-inconsistent` (an acknowledgement whose MSN does not go
with its PSN), `unanswered` (the last requests were never acknowledged; a remark where their
sender's own log says that it gave them up), `work-not-seen` (an endpoint log has more completed
requests than messages were captured), `response-missing` (a READ or atomic without all of its
response), `requests-repeated` (sent again: not an error).

Verdicts: *pass* if all is accounted for; *fail* for a stray or a response ahead; *inconclusive* for
what is missing or does not go together. UC has no acknowledgements and may lose packets; UD counts
the PSNs of a queue pair over all its destinations, so gaps are not judged there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from analysis.context import Context
from analysis.conversations import SIDES
from analysis.finding import Finding, PassResult, Severity, Verdict, counted
from analysis.pairing import Ints, Mask
from analysis.sequences import FAR, IS_READ, IS_READ_RESPONSE, Sequences
from dissectors import aeth
from dissectors.aeth import AETH
from dissectors.aeth import decode as decode_syndrome
from dissectors.opcode import BY_VALUE

SUCCESS = "IBV_WC_SUCCESS"
UNANSWERED = {"IBV_WC_RETRY_EXC_ERR", "IBV_WC_RNR_RETRY_EXC_ERR"}
RELIABLE = ("RC", "RD", "XRC")
CONTINUOUS = (*RELIABLE, "UC")
LISTED = 100
"""Connections named in findings of one kind; the rest are counted."""
BAND = 2 * FAR


def _opcodes(*words: str) -> Mask:
    return np.array(
        [bool(op is not None and any(word in op.name for word in words)) for op in BY_VALUE]
    )


IS_ATOMIC = _opcodes("COMPARE_SWAP", "FETCH_ADD")
IS_ATOMIC_RESPONSE = _opcodes("ATOMIC_ACKNOWLEDGE")
SYNDROME_KIND = np.array([decode_syndrome(value).kind for value in range(256)])
FATAL = (
    aeth.NAK_INVALID_REQUEST,
    aeth.NAK_REMOTE_ACCESS_ERROR,
    aeth.NAK_REMOTE_OPERATIONAL_ERROR,
    aeth.NAK_INVALID_RD_REQUEST,
)


@dataclass(frozen=True)
class Ledger:
    """The sequences with what all checks need of them; masks have an element a direction."""

    context: Context

    @property
    def sequences(self) -> Sequences:
        return self.context.sequences

    @cached_property
    def transport(self) -> Any:
        """Transport by direction."""
        names = [connection.transport for connection in self.context.conversations.connections]
        return np.repeat(np.array(names, dtype="U3"), 2)

    @cached_property
    def reliable(self) -> Mask:
        """Directions whose requests are acknowledged."""
        return np.isin(self.transport, RELIABLE)

    @cached_property
    def refused(self) -> Mask:
        """Directions in which a request was refused for good: what follows stays unanswered."""
        table, answers = self.context.table, self.sequences.answers
        fatal = table.has(AETH)[answers] & np.isin(table["aeth_syndrome"][answers], FATAL)
        refused = np.zeros(len(self.transport), bool)
        refused[self.sequences.answer_direction[fatal]] = True
        return refused

    @cached_property
    def _completions(self) -> list[list[str]]:
        """The statuses of requests that endpoints logged, by direction; empty without logs."""
        context = self.context
        if not context.truths:
            return []
        return [
            [str(event.get("status")) for event in context.work(connection, side)]
            for connection in context.conversations.connections
            for side in SIDES
        ]

    @cached_property
    def done(self) -> Ints:
        """How many requests the sender logged as completed with success, by direction."""
        done = np.zeros(len(self.transport), np.int64)
        done[: len(self._completions)] = [said.count(SUCCESS) for said in self._completions]
        return done

    @cached_property
    def gave_up(self) -> Mask:
        """Directions whose sender logged that it got no answer."""
        gave_up = np.zeros(len(self.transport), bool)
        gave_up[: len(self._completions)] = [bool(UNANSWERED & {*s}) for s in self._completions]
        return gave_up

    def opcode(self, rows: Ints) -> Any:
        """BTH opcodes of table rows."""
        return self.context.table["bth_opcode"][rows]


def run(context: Context) -> PassResult:
    """All checks over all directions at once."""
    ledger = Ledger(context)
    requests = len(context.sequences.rows)
    if not requests and not len(context.sequences.answers):
        return PassResult(Verdict.NOT_APPLICABLE, "no requests")
    findings = tuple(finding for check in CHECKS for finding in check(ledger))
    grave = {finding.severity for finding in findings}
    verdict = (
        Verdict.FAIL
        if Severity.ERROR in grave
        else Verdict.INCONCLUSIVE
        if Severity.WARNING in grave
        else Verdict.PASS
    )
    repeats = int(context.sequences.repeat.sum())
    return PassResult(
        verdict, f"{counted(requests, 'request')}, {repeats} of them repeats", findings
    )


def by_direction(
    ledger: Ledger,
    kind: tuple[str, Severity],
    direction: Ints,
    rows: Ints,
    message: Callable[[int, Ints], str],
) -> Iterator[Finding]:
    """A finding for each direction there is in `direction`; `message` gets which and its places.

    `kind` is code and severity; `rows` are the table rows in question, one for each `direction`.
    """
    code, severity = kind
    if not len(direction):
        return
    order = np.argsort(direction, kind="stable")
    found, start = np.unique(direction[order], return_index=True)
    groups = np.split(order, start[1:])
    for which, group in list(zip(found.tolist(), groups, strict=True))[:LISTED]:
        frames = ledger.context.frames(rows[group])
        connection = ledger.context.conversations.connections[which // 2]
        sender = connection.end("ab"[which % 2])
        yield Finding(
            code, severity, f"from {sender}: {message(which, group)}", frames, connection.number
        )
    if len(groups) > LISTED:
        rest = len(groups) - LISTED
        yield Finding(code, severity, f"the same in {rest} more directions")


def strays(ledger: Ledger) -> Iterator[Finding]:
    """`psn-stray`: one request far off, its neighbours go on without it."""
    at = np.flatnonzero(ledger.sequences.stray)
    rows = ledger.sequences.rows[at]
    psn = ledger.context.table["bth_psn"][rows]

    def message(_: int, group: Ints) -> str:
        return f"PSN {int(psn[group[0]]):#08x} does not belong to the sequence around it"

    yield from by_direction(
        ledger, ("psn-stray", Severity.ERROR), ledger.sequences.direction[at], rows, message
    )


def gaps(ledger: Ledger) -> Iterator[Finding]:
    """`psn-gap`: PSNs between the first and the last request that no request has."""
    sequences = ledger.sequences
    in_order = np.flatnonzero(
        ~sequences.stray & np.isin(ledger.transport, CONTINUOUS)[sequences.direction]
    )
    start = sequences.place[in_order] + BAND * sequences.direction[in_order]
    by_place = np.argsort(start, kind="stable")
    in_order, start = in_order[by_place], start[by_place]
    reached = np.maximum.accumulate(start + sequences.span[in_order])
    direction = sequences.direction[in_order]
    hole = np.flatnonzero((start[1:] > reached[:-1]) & (direction[1:] == direction[:-1]))
    after = in_order[hole + 1]
    width = start[hole + 1] - reached[hole]
    psn = ledger.context.table["bth_psn"][sequences.rows[after]].astype(np.int64)

    def message(_: int, group: Ints) -> str:
        first = (int(psn[group[0]]) - int(width[group[0]])) & 0xFFFFFF
        more = f", and {len(group) - 1} more gaps" if len(group) > 1 else ""
        count = int(width[group[0]])
        return f"{count} PSNs from {first:#08x} on appear in no request{more}"

    yield from by_direction(
        ledger,
        ("psn-gap", Severity.WARNING),
        sequences.direction[after],
        sequences.rows[after],
        message,
    )


def ahead(ledger: Ledger) -> Iterator[Finding]:
    """`response-ahead`: a response with a PSN that had not been requested when it came."""
    sequences = ledger.sequences
    at = np.flatnonzero(
        (sequences.answer_top > -FAR) & (sequences.answer_place >= sequences.answer_top)
    )
    rows = sequences.answers[at]
    psn = ledger.context.table["bth_psn"][rows]

    def message(_: int, group: Ints) -> str:
        return (
            f"a response carries PSN {int(psn[group[0]]):#08x}, which was not requested before it"
        )

    yield from by_direction(
        ledger, ("response-ahead", Severity.ERROR), sequences.answer_direction[at], rows, message
    )


def behind(ledger: Ledger) -> Iterator[Finding]:
    """`response-behind`: a response with a PSN from before the first request.

    rxe acknowledges with such a PSN before it has completed anything (MSN 0): that is let pass.
    """
    sequences, table = ledger.sequences, ledger.context.table
    begun = np.flatnonzero(sequences.first >= 0)
    lowest = np.full(len(ledger.transport), -FAR)
    lowest[begun] = sequences.place[sequences.first[begun]]
    idle = table.has(AETH)[sequences.answers] & (table["aeth_msn"][sequences.answers] == 0)
    at = np.flatnonzero((sequences.answer_place < lowest[sequences.answer_direction]) & ~idle)
    rows = sequences.answers[at]
    psn = table["bth_psn"][rows]

    def message(_: int, group: Ints) -> str:
        return f"a response carries PSN {int(psn[group[0]]):#08x}, before the first request's"

    yield from by_direction(
        ledger,
        ("response-behind", Severity.WARNING),
        sequences.answer_direction[at],
        rows,
        message,
    )


def message_numbers(ledger: Ledger) -> Iterator[Finding]:
    """`msn-inconsistent`: MSN and PSN of an acknowledgement do not go together.

    Where nothing had been sent again yet, MSN must be the number of messages that end at or before
    its PSN; a READ counts from the start of its response, a refused request does not count.
    """
    sequences, table = ledger.sequences, ledger.context.table
    answers, direction = sequences.answers, sequences.answer_direction
    kind = SYNDROME_KIND[table["aeth_syndrome"][answers]]
    place = sequences.answer_place - (kind != "ack")
    counted = sequences.completed(direction, place)
    read = IS_READ_RESPONSE[ledger.opcode(answers)]
    latest = sequences.completed(direction, sequences.answer_top - 1)
    msn = table["aeth_msn"][answers].astype(np.int64)
    base = sequences.earlier_messages(table)
    low = (counted + base[direction]) & 0xFFFFFF
    high = (np.where(read, np.minimum(counted + 1, latest), counted) + base[direction]) & 0xFFFFFF
    checked = table.has(AETH)[answers] & ledger.reliable[direction]
    checked &= (sequences.answer_top > -FAR) & (sequences.answer_place >= 0)
    checked &= ~_after_repeat(sequences)
    at = np.flatnonzero(checked & (msn != low) & (msn != high))

    def message(_: int, group: Ints) -> str:
        one = at[group[0]]
        return (
            f"an answer to PSN {int(table['bth_psn'][answers[one]]):#08x} has MSN {int(msn[one])}, "
            f"but {int(low[one])} messages end there"
        )

    yield from by_direction(
        ledger, ("msn-inconsistent", Severity.WARNING), direction[at], answers[at], message
    )


def _after_repeat(sequences: Sequences) -> Mask:
    """Answers that came after a request of their direction was sent again, or out of order."""
    late = ~sequences.stray & (sequences.place < sequences.top)
    first = np.full(len(sequences.first), np.iinfo(np.int64).max)
    np.minimum.at(first, sequences.direction[late], sequences.rows[late])
    after: Mask = sequences.answers > first[sequences.answer_direction]
    return after


def unanswered(ledger: Ledger) -> Iterator[Finding]:
    """`unanswered`: the last requests of a reliable direction were never acknowledged."""
    sequences = ledger.sequences
    count = len(ledger.transport)
    end = np.full(count, -FAR, np.int64)
    last = np.zeros(count, np.int64)
    used = ~sequences.stray
    np.maximum.at(end, sequences.direction[used], (sequences.place + sequences.span)[used])
    last[sequences.direction] = sequences.rows
    answered = np.full(count, -FAR, np.int64)
    np.maximum.at(answered, sequences.answer_direction, sequences.answer_place + 1)
    open_ = ledger.reliable & ~ledger.refused & (end > answered) & (end > -FAR)

    def message(which: int, _: Ints) -> str:
        left = end[which] - max(answered[which], sequences.place[sequences.first[which]])
        known = ", and its own log says so" if ledger.gave_up[which] else ""
        which_ones = "last PSN" if left == 1 else f"last {int(left)} PSNs"
        return f"nothing answers the {which_ones}{known}"

    for severity, mine in (
        (Severity.WARNING, np.flatnonzero(open_ & ~ledger.gave_up)),
        (Severity.INFO, np.flatnonzero(open_ & ledger.gave_up)),
    ):
        yield from by_direction(ledger, ("unanswered", severity), mine, last[mine], message)


def completions(ledger: Ledger) -> Iterator[Finding]:
    """`work-not-seen`: an endpoint logged more completed requests than messages were captured."""
    sequences, context = ledger.sequences, ledger.context
    seen = sequences.completed(np.arange(len(ledger.done)), FAR - 1)
    short = np.flatnonzero(ledger.done > seen).tolist()
    for direction in short[:LISTED]:
        connection = context.conversations.connections[direction // 2]
        yield Finding(
            "work-not-seen",
            Severity.WARNING,
            f"from {connection.end('ab'[direction % 2])}: its log has {ledger.done[direction]} "
            f"completed requests, the capture {seen[direction]} messages",
            (),
            connection.number,
        )
    if len(short) > LISTED:
        more = f"the same in {len(short) - LISTED} more directions"
        yield Finding("work-not-seen", Severity.WARNING, more)


def responses(ledger: Ledger) -> Iterator[Finding]:
    """`response-missing`: a READ or an atomic that was not answered in full."""
    sequences = ledger.sequences
    requested, answered = ledger.opcode(sequences.rows), ledger.opcode(sequences.answers)
    for asked, said in ((IS_READ, IS_READ_RESPONSE), (IS_ATOMIC, IS_ATOMIC_RESPONSE)):
        at = np.flatnonzero(asked[requested] & ~sequences.stray)
        at = at[~ledger.refused[sequences.direction[at]]]
        mine = said[answered]
        there = np.unique(BAND * sequences.answer_direction[mine] + sequences.answer_place[mine])
        begin = BAND * sequences.direction[at] + sequences.place[at]
        found = np.searchsorted(there, begin + sequences.span[at]) - np.searchsorted(there, begin)
        short = at[found < sequences.span[at]]
        psn = ledger.context.table["bth_psn"][sequences.rows[short]]

        def message(_: int, group: Ints, psn: Any = psn) -> str:
            return f"request with PSN {int(psn[group[0]]):#08x} was not answered in full"

        yield from by_direction(
            ledger,
            ("response-missing", Severity.WARNING),
            sequences.direction[short],
            sequences.rows[short],
            message,
        )


def repeats(ledger: Ledger) -> Iterator[Finding]:
    """`requests-repeated`: sent again after a loss, a NAK or a timeout."""
    at = np.flatnonzero(ledger.sequences.repeat)

    def message(_: int, group: Ints) -> str:
        return f"{counted(len(group), 'request')} sent again"

    yield from by_direction(
        ledger,
        ("requests-repeated", Severity.INFO),
        ledger.sequences.direction[at],
        ledger.sequences.rows[at],
        message,
    )


CHECKS = (strays, gaps, ahead, behind, message_numbers, unanswered, completions, responses, repeats)
