"""How the ends dealt with what a link did to their packets.

A connection has two *directions* of requests; a response belongs to the direction of the request it
answers. All places are PSNs from the first request of their direction on, so that two runs with
other PSNs, and a fault plan's offsets, compare as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from analysis.context import Context
from analysis.conversations import SIDES
from analysis.link import fates
from analysis.sequences import FAR, IS_READ_RESPONSE
from dissectors.aeth import AETH, NAK_PSN_SEQUENCE_ERROR
from dissectors.aeth import decode as decode_syndrome
from dissectors.opcode import BY_VALUE

TICK_NS = 4096
"""The timeout of code n is so many nanoseconds times 2^n (IBTA vol. 1, 9.7.6.1.3)."""
EARLY = 0.9
"""The part of it after which a timeout is in time: whoever looks from the link sees it move."""
AT_ONCE = 0.5
"""The part of it within which a repetition is no timeout: timers strike early, but not so early."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` is one of `analysis.link.FATES`, `nth` the passing of that packet which it befell.

    `sender` is the end, `a` or `b`, whose packet it was; `of` the one whose request it was or
    answered. Of what nothing provoked `kind` is UNPROVOKED, and `place` where it began.
    """

    kind: str
    connection: int
    sender: str
    of: str
    place: int
    nth: int
    opcode: str


UNPROVOKED = "unprovoked"


@dataclass(frozen=True, slots=True)
class Resend:
    """Requests sent again in a row, places `first` to `last`, the first in `frame`.

    `why` is "NAK", "RNR NAK", "gap" (at once after a response with a later PSN) or "timeout".
    `waited_ns`: since the last packet of that direction before. `whole` says whether it went on to
    the end of what had been sent; how much that was depends on how soon the news came.
    """

    why: str
    first: int
    last: int
    frame: int
    waited_ns: int
    whole: bool


@dataclass(slots=True)
class Reaction:
    """What followed a fault.

    `naks` are the places of NAKs of a PSN sequence error, `not_ready` of RNR NAKs, in order;
    `answered` the places and opcodes of READ and atomic responses given once more.
    """

    fault: Fault
    naks: list[int] = field(default_factory=list)
    not_ready: list[int] = field(default_factory=list)
    resends: list[Resend] = field(default_factory=list)
    answered: list[tuple[int, str]] = field(default_factory=list)

    @property
    def essence(self) -> tuple[object, ...]:
        """What two transports must have in common to have recovered in the same way."""
        again = tuple((one.why, one.first, one.whole or one.last) for one in self.resends)
        answered = tuple(place for place, _ in self.answered)
        return tuple(self.naks), tuple(self.not_ready), again, answered

    def __str__(self) -> str:
        parts = [f"NAK {place}" for place in self.naks]
        parts += [f"RNR NAK {place}" for place in self.not_ready]
        for one in self.resends:
            why = "" if one.why.endswith("NAK") else f"{one.why}, "
            parts.append(f"{why}{span(one.first, one.last)} again")
        if self.answered:
            parts.append(f"answered again {_ranges(place for place, _ in self.answered)}")
        return "; ".join(parts) or "nothing"


def span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _ranges(places: Iterable[int]) -> str:
    """Places in the order given, those in a row as one range."""
    found: list[list[int]] = []
    for place in places:
        if found and place == found[-1][1] + 1:
            found[-1][1] = place
        else:
            found.append([place, place])
    return ", ".join(span(first, last) for first, last in found)


@dataclass(frozen=True, slots=True)
class _Step:
    """One packet of a direction as it left: a request or an answer to one."""

    row: int
    time_ns: int
    place: int
    span: int
    opcode: int
    top: int = 0
    syndrome: int | None = None
    answer: bool = False
    again: bool = False


def recoveries(context: Context) -> list[Reaction]:
    """Every fault of the link and what followed it, in the order in which they happened."""
    spoilt = _by_left(context)
    found: list[tuple[int, Reaction]] = []
    for number in range(2 * len(context.conversations.connections)):
        found += _Reading(context, number, spoilt).read()
    return [reaction for _, reaction in sorted(found, key=lambda pair: pair[0])]


def _by_left(context: Context) -> dict[int, list[str]]:
    """Row (of the table of what left) -> what befell it."""
    frames = context.whole["frame"]
    spoilt: dict[int, list[str]] = {}
    for fate in fates(context.whole):
        if fate.left is not None:
            spoilt.setdefault(int(frames[fate.left]), []).append(fate.kind)
    rows = {int(frame): row for row, frame in enumerate(context.table["frame"].tolist())}
    return {rows[frame]: kinds for frame, kinds in spoilt.items() if frame in rows}


def _steps(context: Context, number: int) -> list[_Step]:
    """The packets of direction `number` in the order in which they left."""
    sequences, table = context.sequences, context.table
    time_ns, opcodes = table["time_ns"], table["bth_opcode"]
    has_aeth, syndromes = table.has(AETH), table["aeth_syndrome"]
    steps = []
    at = sequences.requests(number)
    repeat = sequences.repeat
    for index in range(at.start, at.stop):
        row = int(sequences.rows[index])
        place, span = int(sequences.place[index]), int(sequences.span[index])
        time, top, again = int(time_ns[row]), int(sequences.top[index]), bool(repeat[index])
        steps.append(_Step(row, time, place, span, int(opcodes[row]), top, again=again))
    given: set[int] = set()
    for index in range(*map(int, sequences.answer_start[number : number + 2])):
        row = int(sequences.answers[index])
        place, opcode = int(sequences.answer_place[index]), int(opcodes[row])
        syndrome = int(syndromes[row]) if has_aeth[row] else None
        again = _carries_data(opcode) and place in given
        if _carries_data(opcode):
            given.add(place)
        time = int(time_ns[row])
        steps.append(_Step(row, time, place, 1, opcode, 0, syndrome, answer=True, again=again))
    return sorted(steps, key=lambda step: step.row)


def _name(opcode: int) -> str:
    """Without its transport: "RDMA WRITE MIDDLE"."""
    known = BY_VALUE[opcode]
    return known.name.partition("_")[2].replace("_", " ") if known else f"{opcode:#04x}"


def _carries_data(opcode: int) -> bool:
    known = BY_VALUE[opcode]
    return known is not None and (bool(IS_READ_RESPONSE[opcode]) or "ATOMIC_ACK" in known.name)


class _Reading:
    """Follows one direction packet by packet and says what was a reaction to what."""

    def __init__(self, context: Context, number: int, spoilt: dict[int, list[str]]) -> None:
        self._context, self._number, self._spoilt = context, number, spoilt
        self._timeout_ns = requester_timeout(context, number)
        self._begun: list[tuple[int, Reaction]] = []
        self._passings: dict[tuple[bool, int], int] = {}
        self._signal = ""
        self._furthest = -FAR  # of the responses that carry data
        self._resend: Reaction | None = None  # whose last resend may go on

    def read(self) -> list[tuple[int, Reaction]]:
        """The reactions, each with its fault's row."""
        before = None
        for step in _steps(self._context, self._number):
            key = step.answer, step.place
            self._passings[key] = self._passings.get(key, 0) + 1
            if step.answer:
                self._answer(step)
            elif step.again:
                self._again(step, step.time_ns - (before or step).time_ns)
            else:
                self._resend, self._signal = None, ""
            for kind in self._spoilt.get(step.row, ()):
                self._begin(step, kind)
            before = step
        return self._begun

    def _begin(self, step: _Step, kind: str) -> Reaction:
        of = self._number % 2
        name = _name(step.opcode)
        nth = self._passings[step.answer, step.place]
        sender = SIDES[of ^ step.answer]
        fault = Fault(kind, self._number // 2, sender, SIDES[of], step.place, nth, name)
        self._begun.append((step.row, Reaction(fault)))
        return self._begun[-1][1]

    def _owner(self, step: _Step) -> Reaction:
        """The latest fault of the packets that `step` has to do with, else the latest."""
        last = step.place + step.span - 1
        for _, reaction in reversed(self._begun):
            if step.place <= reaction.fault.place <= last:
                return reaction
        return self._begun[-1][1] if self._begun else self._begin(step, UNPROVOKED)

    def _answer(self, step: _Step) -> None:
        if _carries_data(step.opcode):
            self._furthest = max(self._furthest, step.place)
        if step.syndrome == NAK_PSN_SEQUENCE_ERROR:
            self._owner(step).naks.append(step.place)
            self._signal = "NAK"
        elif step.syndrome is not None and decode_syndrome(step.syndrome).kind == "rnr":
            self._owner(step).not_ready.append(step.place)
            self._signal = "RNR NAK"
        elif step.again:
            self._owner(step).answered.append((step.place, _name(step.opcode)))

    def _again(self, step: _Step, waited_ns: int) -> None:
        last = step.place + step.span - 1
        resends = self._resend.resends if self._resend else []
        if resends and not self._signal and step.place == resends[-1].last + 1:
            resends[-1] = replace(resends[-1], last=last, whole=last == step.top - 1)
            return
        at_once = self._timeout_ns is None or waited_ns < AT_ONCE * self._timeout_ns
        gap = self._furthest > step.place and at_once
        why = self._signal or ("gap" if gap else "timeout")
        self._signal = ""
        self._resend = self._owner(step)
        frame = self._context.frame(step.row)
        self._resend.resends.append(
            Resend(why, step.place, last, frame, waited_ns, last == step.top - 1)
        )


def requester_timeout(context: Context, number: int) -> int | None:
    """The timer, ns, that the requester of direction `number` (2 * connection + side) says it set.

    None where no log tells.
    """
    connection = context.conversations.connections[number // 2]
    local = connection.end(SIDES[number % 2])
    for said in connection.negotiated:
        truth = context.truths.get(said.observer)
        if truth is None or said.local != local:
            continue
        for event in truth.named("qp_state"):
            attributes = event.get("attributes")
            if event.get("connection") != said.number or not isinstance(attributes, dict):
                continue
            code = attributes.get("timeout")
            if type(code) is int and 0 < code < 32:
                return TICK_NS << code
    return None
