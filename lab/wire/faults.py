"""A wire that loses, repeats, delays, reorders, damages or marks what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from heapq import heappop, heappush
from itertools import count
from random import Random

from dissectors.bth import BTH
from dissectors.opcode import BY_VALUE
from dissectors.psn import forward
from lab.engine.burst import Burst
from lab.engine.notification import CONGESTION_EXPERIENCED, ecn
from lab.wire.wire import Wire


class Action(Enum):
    DROP = "drop"
    DUPLICATE = "duplicate"
    DELAY = "delay"
    """Sent `delay_ns` later; others pass it."""
    REORDER = "reorder"
    """Sent after the next one, or after `delay_ns` where none comes."""
    CORRUPT = "corrupt"
    """One bit is flipped."""
    CE_MARK = "ce-mark"
    """The IP header says that a router on the way was congested."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What befalls one datagram; `bit` chooses the bit to flip, modulo the datagram's bits."""

    action: Action
    delay_ns: int = 100_000
    bit: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """An effect and its address, in the direction of the wire that sends.

    `offset` counts PSNs from the sender's sq_psn for requests, from its peer's for `response`s;
    `nth` is which passing of that PSN is meant. Of a connection to `dest_qp` only, if that is
    given.
    """

    effect: Effect
    offset: int
    nth: int = 1
    response: bool = False
    dest_qp: int | None = None


Decide = Callable[[Burst], Effect | None]


class Plan:
    """Decides by address. `sq_psns` is destination queue pair -> (own sq_psn, the peer's).

    A connection that is not in it is taken to begin with the first request seen, and has no
    responses.
    """

    def __init__(self, faults: list[Fault], sq_psns: dict[int, tuple[int, int]]) -> None:
        self._faults = {(f.response, f.offset, f.nth, f.dest_qp): f.effect for f in faults}
        self._sq_psns = sq_psns
        self._passed: dict[tuple[int, bool, int], int] = {}

    def __call__(self, datagram: Burst) -> Effect | None:
        if len(datagram.data) < BTH.size:
            return None
        bth = BTH.parse(datagram.data)
        opcode = BY_VALUE[bth.opcode]
        response = opcode is not None and opcode.is_response
        if bth.dest_qp not in self._sq_psns:
            if response:
                return None
            self._sq_psns[bth.dest_qp] = bth.psn, 0
        offset = forward(self._sq_psns[bth.dest_qp][response], bth.psn)
        place = bth.dest_qp, response, offset
        nth = self._passed[place] = self._passed.get(place, 0) + 1
        for dest_qp in (bth.dest_qp, None):
            if effect := self._faults.get((response, offset, nth, dest_qp)):
                return effect
        return None


class Rates:
    """Decides by chance: each action with its own probability, drawn from `random`."""

    def __init__(self, rates: dict[Action, float], random: Random, delay_ns: int) -> None:
        self._rates = rates
        self._random = random
        self._delay_ns = delay_ns

    def __call__(self, datagram: Burst) -> Effect | None:
        for action, rate in self._rates.items():
            if self._random.random() < rate:
                bit = self._random.randrange(8 * len(datagram.data))
                return Effect(action, self._random.randint(1, self._delay_ns), bit)
        return None


class Faults:
    """Applies to what is sent through it the effects that `decide` gives; what arrives passes."""

    def __init__(self, wire: Wire, decide: Decide) -> None:
        self._wire = wire
        self._decide = decide
        self._late: list[tuple[int, int, Burst]] = []
        self._behind: list[int] = []
        self._number = count()

    def send(self, burst: Burst, now: int) -> None:
        for datagram in burst.datagrams():
            effect = self._decide(datagram)
            if effect is None:
                self._pass(datagram, now)
            else:
                EFFECTS[effect.action](self, datagram, effect, now)

    def receive(self, now: int) -> Iterator[Burst]:
        self._release(now)
        yield from self._wire.receive(now)

    def next_timer(self) -> int | None:
        timers = [self._wire.next_timer(), self._late[0][0] if self._late else None]
        return min((timer for timer in timers if timer is not None), default=None)

    def _pass(self, datagram: Burst, now: int) -> None:
        self._release(now)
        self._wire.send(datagram, now)
        overtaken, self._behind = self._behind, []
        for entry in [entry for entry in self._late if entry[1] in overtaken]:
            self._late.remove(entry)
            self._wire.send(entry[2], now)
        self._late.sort()

    def _release(self, now: int) -> None:
        while self._late and self._late[0][0] <= now:
            self._wire.send(heappop(self._late)[2], now)

    def _drop(self, datagram: Burst, effect: Effect, now: int) -> None:
        """Nothing is sent."""

    def _duplicate(self, datagram: Burst, effect: Effect, now: int) -> None:
        self._pass(datagram, now)
        self._pass(datagram, now)

    def _delay(self, datagram: Burst, effect: Effect, now: int) -> None:
        # The sender may use its buffer again before this is sent.
        kept = datagram._replace(data=bytes(datagram.data))
        heappush(self._late, (now + effect.delay_ns, next(self._number), kept))

    def _reorder(self, datagram: Burst, effect: Effect, now: int) -> None:
        self._delay(datagram, effect, now)
        self._behind.append(max(entry[1] for entry in self._late))

    def _corrupt(self, datagram: Burst, effect: Effect, now: int) -> None:
        data = bytearray(datagram.data)
        byte, bit = divmod(effect.bit % (8 * len(data)), 8)
        data[byte] ^= 1 << bit
        self._pass(datagram._replace(data=data), now)

    def _mark(self, datagram: Burst, effect: Effect, now: int) -> None:
        marked = ecn(datagram.path, CONGESTION_EXPERIENCED)
        self._pass(datagram._replace(path=marked), now)


EFFECTS: dict[Action, Callable[[Faults, Burst, Effect, int], None]] = {
    Action.DROP: Faults._drop,
    Action.DUPLICATE: Faults._duplicate,
    Action.DELAY: Faults._delay,
    Action.REORDER: Faults._reorder,
    Action.CORRUPT: Faults._corrupt,
    Action.CE_MARK: Faults._mark,
}
