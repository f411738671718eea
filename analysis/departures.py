"""Where an end's reaction to a fault is not as the standard has it (IBTA vol. 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from analysis.recovery import EARLY, Reaction, span


@dataclass(frozen=True, slots=True)
class Departure:
    """Where `end` did other than the standard has it."""

    end: str
    text: str


def departures(reaction: Reaction, timeout_ns: int | None) -> list[Departure]:
    """All of them; `timeout_ns` is the requester's timer, None where it is not known."""
    return [found for rule in RULES for found in rule(reaction, timeout_ns)]


def _other(end: str) -> str:
    return "b" if end == "a" else "a"


def _one_nak_a_gap(reaction: Reaction, _timeout_ns: int | None) -> Iterator[Departure]:
    for one, other in pairwise(reaction.naks):
        if one == other:
            text = f"sends a second NAK {one}: one, then silence until it has come (9.7.5.2.8)"
            yield Departure(_other(reaction.fault.of), text)


def _from_the_nak_on(reaction: Reaction, _timeout_ns: int | None) -> Iterator[Departure]:
    obeying = [one for one in reaction.resends if one.why == "NAK"]
    for place, resend in zip(reaction.naks, obeying, strict=False):
        if resend.first != place:
            text = f"goes on from {resend.first} after NAK {place} (9.7.5.1.1)"
            yield Departure(reaction.fault.of, text)


def _timer_in_time(reaction: Reaction, timeout_ns: int | None) -> Iterator[Departure]:
    for one in reaction.resends:
        if timeout_ns and one.why == "timeout" and one.waited_ns < EARLY * timeout_ns:
            text = (
                f"sends {span(one.first, one.last)} again after {one.waited_ns / 1e6:.0f} ms, "
                f"before its timer's {timeout_ns / 1e6:.0f} ms are over (9.7.6.1.3)"
            )
            yield Departure(reaction.fault.of, text)


def _gap_heeded(reaction: Reaction, _timeout_ns: int | None) -> Iterator[Departure]:
    fault = reaction.fault
    lost = fault.kind in {"lost", "damaged"} and fault.sender != fault.of
    in_the_middle = fault.opcode.endswith(("RESPONSE FIRST", "RESPONSE MIDDLE"))
    if lost and in_the_middle and any(one.why == "timeout" for one in reaction.resends):
        text = "lets its timer run out, though responses behind the lost one are an implied NAK"
        yield Departure(fault.of, f"{text} (9.7.5.1.3)")


def _answer_begins_anew(reaction: Reaction, _timeout_ns: int | None) -> Iterator[Departure]:
    asked = {one.first for one in reaction.resends}
    for place, opcode in reaction.answered:
        if place in asked and opcode.endswith(("RESPONSE MIDDLE", "RESPONSE LAST")):
            text = f"answers the READ asked again from {place} with {opcode}, not FIRST or ONLY"
            yield Departure(_other(reaction.fault.of), text)


RULES = (_gap_heeded, _answer_begins_anew, _one_nak_a_gap, _from_the_nak_on, _timer_in_time)
