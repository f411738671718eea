"""Whatever is thrown at a queue pair: no exception, no byte outside a region, nothing lost."""

from __future__ import annotations

import os
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dissectors import icrc
from dissectors.bth import BTH
from dissectors.opcode import Opcode
from lab.engine.burst import Burst, Path
from lab.engine.memory import Region
from lab.engine.outer import outer_state
from lab.engine.states import QPState
from lab.engine.work import WCStatus, WROpcode
from tests.pair import ALL, DOMAIN, Pair, make_pair, step

ROUNDS = 40


def well_formed(path: Path, random: Random, qpns: list[int], psns: list[int]) -> Burst:
    """Any opcode, any headers, a good ICRC."""
    opcode = random.choice(list(Opcode))
    bth = BTH(
        opcode=int(opcode),
        se=random.getrandbits(1),
        pad_count=random.choice([0, 0, 0, random.getrandbits(2)]),
        dest_qp=random.choice(qpns),
        ack_req=random.getrandbits(1),
        psn=(random.choice(psns) + random.randint(-3, 3)) & 0xFFFFFF,
    )
    headers = b"".join(
        random.choice([bytes(k.size), random.randbytes(k.size)]) for k in opcode.headers
    )
    body = bth.pack() + headers + random.randbytes(random.choice([0, 4, 256, 1024, 1028]))
    state = outer_state(path, 4791, len(body) + icrc.SIZE, 0)
    data = body + icrc.to_wire(icrc.over_transport(body, state))
    return Burst(path, 4791, data, len(data))


def spoiled(genuine: Burst, random: Random) -> Burst:
    """A packet that was sent, cut, stretched or with bytes changed; its ICRC no longer holds."""
    data = bytearray(genuine.data)
    for _ in range(random.randint(1, 4)):
        data[random.randrange(len(data))] ^= random.randint(1, 255)
    kind = random.randrange(3)
    if kind == 1:
        del data[random.randrange(len(data)) :]
    elif kind == 2:
        data += random.randbytes(random.randint(1, 100))
    return genuine._replace(data=data, segment=max(1, len(data)))


class Listening:
    """A wire that remembers what was last sent through it."""

    def __init__(self, wire: object) -> None:
        self._wire = wire
        self.last: Burst | None = None

    def send(self, burst: Burst, now: int) -> None:
        self.last = burst
        self._wire.send(burst, now)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._wire, name)


def noise(pair: Pair, random: Random, heard: Burst | None) -> int:
    """Something for each side that is not from its peer; how many packets."""
    stranger = Path(bytes([10, 77, 0, 66]), pair.b.address)
    for side in (pair.a, pair.b):
        side.device.receive(well_formed(stranger, random, [17], [100, 200]), pair.now)
        junk = random.randbytes(random.choice([0, 1, 11, 12, 15, 16, 40, 1500]))
        side.device.receive(Burst(stranger, 4791, junk, max(1, len(junk))), pair.now)
        if heard is not None:
            side.device.receive(spoiled(heard, random), pair.now)
    return 4 if heard is None else 6


HOSTILE = int(os.environ.get("HOSTILE", "30000"))
"""How many hostile packets to send: HOSTILE=1000000 for a long run."""


@pytest.mark.parametrize("block", range(10))
def test_transfer_goes_on_under_fire(block: int) -> None:
    random = Random(block)
    sent = 0
    while sent < HOSTILE // 10:
        sent += transfer_under_fire(random)


def transfer_under_fire(random: Random) -> int:
    """A conversation that nothing may be lost of; how many hostile packets it took."""
    pair = make_pair(path_mtu=256, sq_psns=(100, 200))
    wires = (Listening(pair.wires[0]), Listening(pair.wires[1]))
    pair.wires = wires  # type: ignore[assignment]
    hostile = 0
    data = random.randbytes(ROUNDS * 700)
    pair.a.memory[: len(data)] = data
    for number in range(ROUNDS):
        pair.a.post(WROpcode.RDMA_WRITE, pair.b, 700, 700 * number, 700 * number)
        pair.b.post(WROpcode.RDMA_READ, pair.a, 700, 100_000 + 700 * number, 700 * number)
        hostile += noise(pair, random, wires[0].last)
        for _ in range(3):
            step(pair)
            hostile += noise(pair, random, wires[1].last)
    while step(pair):
        hostile += noise(pair, random, wires[0].last)
    for side in (pair.a, pair.b):
        assert [c.status for c in side.completions()] == [WCStatus.SUCCESS] * ROUNDS
    assert pair.b.memory[: len(data)] == data
    assert pair.b.memory[100_000 : 100_000 + len(data)] == data
    counters = pair.b.device.counters
    assert counters["rcvd_icrc_err"] + counters["rcvd_malformed_err"] > ROUNDS
    return hostile


@given(st.integers(0, 1 << 32))
@settings(max_examples=200, deadline=None)
def test_peer_that_says_anything(seed: int) -> None:
    """From the peer's own address with a good ICRC: the state may be ERR, the memory is kept."""
    random = Random(seed)
    pair = make_pair(path_mtu=256, size=4096, sq_psns=(100, 200))
    guarded = bytearray(random.randbytes(3 * 4096))
    before = bytes(guarded)
    pair.b.device.memory.deregister(pair.b.key)
    inside = memoryview(guarded)[4096:8192]
    pair.b.device.memory.register(Region(0, 0, inside, ALL, DOMAIN))
    pair.b.receive(100)
    pair.b.post(WROpcode.RDMA_READ, pair.a, 600, sges=())
    path = pair.a.qp.attributes.path
    assert path is not None
    for _ in range(30):
        pair.b.device.receive(well_formed(path, random, [17], [100, 200]), 0)
        list(pair.b.device.transmit(0))
    assert (guarded[:4096], guarded[8192:]) == (before[:4096], before[8192:])
    assert pair.b.qp.state in {QPState.RTS, QPState.ERR}
    assert len(pair.b.completions()) <= 2
