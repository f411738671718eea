"""Two connected queue pairs without sockets or clocks: `drop`, `transfer`,
`roundtrip_until_done`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from lab.engine.burst import Burst, Path
from lab.engine.dcqcn import Dcqcn
from lab.engine.device import Device
from lab.engine.events import Decision
from lab.engine.memory import Access, Region
from lab.engine.qp import Attributes, Capacity
from lab.engine.states import TRANSITIONS, QPState, QPType
from lab.engine.work import Completion, ReceiveWork, SendWork, Sge, WROpcode
from lab.wire.loopback import loopback
from lab.wire.wire import Wire

DOMAIN = 1
FAST = bool(os.environ.get("FAST"))
"""Run pairs on compiled code where nothing says otherwise: FAST=1 for a run of the
same tests on it.
"""
ALL = Access.LOCAL_WRITE | Access.REMOTE_WRITE | Access.REMOTE_READ | Access.REMOTE_ATOMIC


@dataclass
class Side:
    """One end: `memory` is registered at `base` with `key`."""

    address: bytes
    sq_psn: int
    base: int
    key: int
    memory: bytearray
    access: Access
    kind: QPType = QPType.RC
    fast: bool = False
    dcqcn: Dcqcn | None = None
    flow_control: bool = False
    log: list[Decision] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.fast:
            from lab.fast.device import FastDevice

            self.device: Device = FastDevice(
                self.address,
                burst=1,
                log=self.log.append,
                dcqcn=self.dcqcn,
                flow_control=self.flow_control,
            )
        else:
            self.device = Device(
                log=self.log.append, dcqcn=self.dcqcn, flow_control=self.flow_control
            )
        self.cq = self.device.completion_queue(10_000)
        region = Region(self.key, self.base, memoryview(self.memory), self.access, DOMAIN)
        self.device.memory.register(region)
        self.qp = self.device.queue_pair(
            17,
            self.kind,
            DOMAIN,
            self.cq,
            self.cq,
            self.device.receive_queue(1000, 8),
            Capacity(1000, 1000, 8, 8, 256),
        )

    def sge(self, offset: int, length: int) -> Sge:
        return Sge(self.base + offset, length, self.key)

    def post(
        self,
        opcode: WROpcode,
        to: Side,
        length: int,
        offset: int = 0,
        remote: int = 0,
        **options: object,
    ) -> None:
        """Post a request of `length` bytes from `offset`, to `remote` in `to`'s memory."""
        work = SendWork(
            len(self.log),
            opcode,
            (self.sge(offset, length),),
            remote_address=to.base + remote,
            r_key=to.key,
        )
        self.qp.post_send(SendWork(**{name: getattr(work, name) for name in _FIELDS} | options))

    def receive(self, length: int, offset: int = 0, wr_id: int = 0) -> None:
        self.qp.post_receive(ReceiveWork(wr_id, (self.sge(offset, length),)))

    def completions(self) -> list[Completion]:
        """All that wait."""
        found = []
        while (completion := self.cq.pop()) is not None:
            found.append(completion)
        return found

    def events(self, name: str) -> list[Decision]:
        return [decision for decision in self.log if decision.event == name]


_FIELDS = SendWork._fields


@dataclass
class Pair:
    """Two sides, the wires between them, and the time (ns)."""

    a: Side
    b: Side
    wires: tuple[Wire, Wire]
    now: int = 0

    def peer(self, side: Side) -> Side:
        return self.b if side is self.a else self.a


def connect(side: Side, peer: Side, path_mtu: int, **options: object) -> None:
    """Take `side` to RTS towards `peer`."""
    values = Attributes(
        access=ALL,
        path=Path(side.address, peer.address),
        path_mtu=path_mtu,
        dest_qp=peer.qp.number,
        rq_psn=peer.sq_psn,
        sq_psn=side.sq_psn,
        max_rd_atomic=16,
        max_dest_rd_atomic=16,
        min_rnr_timer=12,
        timeout=14,
        retry_cnt=7,
        rnr_retry=7,
    )
    for name, value in options.items():
        setattr(values, name, value)
    steps = (QPState.RESET, QPState.INIT, QPState.RTR, QPState.RTS)
    for start, end in pairwise(steps):
        side.qp.modify(values, TRANSITIONS[start, end][side.kind].required, end, 0)


def make_pair(
    *,
    path_mtu: int = 1024,
    sq_psns: tuple[int, int] = (0xC0FFEE, 0x5EC001),
    size: int = 1 << 20,
    access: Access = ALL,
    kind: QPType = QPType.RC,
    addresses: tuple[bytes, bytes] = (bytes([10, 77, 0, 2]), bytes([10, 77, 0, 1])),
    fast: bool = FAST,
    dcqcn: Dcqcn | None = None,
    flow_control: bool = False,
    **options: object,
) -> Pair:
    """Two sides in RTS; `options` are attributes of both queue pairs."""
    both = access, kind, fast, dcqcn, flow_control
    a = Side(addresses[0], sq_psns[0], 0x10000, 0x1111, bytearray(size), *both)
    b = Side(addresses[1], sq_psns[1], 0x20000, 0x2222, bytearray(size), *both)
    connect(a, b, path_mtu, **options)
    connect(b, a, path_mtu, **options)
    return Pair(a, b, loopback())


def sending(pair: Pair, side: Side) -> Iterator[Burst]:
    """What `side` sends now."""
    return side.device.transmit(pair.now)


def drop(pair: Pair, side: Side) -> list[Burst]:
    """What `side` sends now is lost; this is what it was."""
    return list(sending(pair, side))


def transfer(pair: Pair, side: Side) -> list[Burst]:
    """What `side` sends now arrives at once; this is what it was."""
    bursts = list(sending(pair, side))
    for burst in bursts:
        pair.peer(side).device.receive(burst, pair.now)
    return bursts


def step(pair: Pair) -> bool:
    """Everything due now over the wires, then on to the next time; False where nothing waits."""
    moved = True
    while moved:
        moved = False
        for side, wire in zip((pair.a, pair.b), pair.wires, strict=True):
            for burst in wire.receive(pair.now):
                side.device.receive(burst, pair.now)
                moved = True
            side.device.handle_timer(pair.now)
            for burst in sending(pair, side):
                wire.send(burst, pair.now)
                moved = True
    timers = [
        timer
        for thing in (pair.a.device, pair.b.device, *pair.wires)
        if (timer := thing.next_timer()) is not None
    ]
    if not timers:
        return False
    pair.now = max(pair.now, min(timers))
    return True


def roundtrip_until_done(pair: Pair, steps: int = 100_000) -> None:
    """Let time pass until neither side nor wire waits for anything."""
    for _ in range(steps):
        if not step(pair):
            return
    raise AssertionError(f"still busy after {steps} steps, at {pair.now} ns")
