"""Hostile datagrams at live connections, from another process on the same machine.

    python -m tests.fuzz.transport --count 1000000 --seed 1 [--fast] [--rate 20000]

Two ends write, read and send to each other over UDP port 4791 while a third process sends them what
it likes, as fast as it can (or `--rate` a second): random bytes; packets of every opcode with a
good ICRC from an address that is not the peer's; and from the peer's own address packets cut,
stretched or flipped, of another partition, to queue pairs that there are not, and requests done
before. All transfers must arrive whole and complete once, in order; nothing else may complete; what
nobody writes to must keep its bytes. Prints the counters; ends with a traceback otherwise.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

from dissectors import icrc
from dissectors.bth import BTH
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from dissectors.udp import ROCE_PORT
from lab.engine.burst import Path
from lab.engine.outer import outer_state
from lab.verbs import libibverbs_enums as e
from tests.lab.verbs.ends import End, ends, own_address

SQ_PSNS = {41: 0x200000, 42: 0x600000}
"""By the last byte of an end's address: what it sends first."""
STRANGER = 43
SIZE, CHUNK = 1 << 18, 1 << 15
POOL = 4000
"""Different datagrams of each kind."""
SEND_BUFFER = 1 << 20
TIMEOUT = 17
"""0.54 s: what waits in a receive buffer behind a flood is not lost."""

Make = Callable[[Random, Path], bytes]


def sealed(path: Path, port: int, body: bytes) -> bytes:
    """`body` with the ICRC of a datagram on `path`."""
    state = outer_state(path, port, len(body) + icrc.SIZE, 0)
    return body + icrc.to_wire(icrc.over_transport(body, state))


def any_opcode(random: Random, **fields: int) -> bytes:
    """BTH and all headers of some opcode, and payload."""
    opcode = random.choice(list(Opcode))
    given = {"opcode": int(opcode), "dest_qp": 17, "psn": random.getrandbits(24)} | fields
    headers = b"".join(
        random.choice([bytes(kind.size), random.randbytes(kind.size)]) for kind in opcode.headers
    )
    payload = random.randbytes(random.choice([0, 4, 256, 1024]))
    return BTH(ack_req=random.getrandbits(1), **given).pack() + headers + payload


def noise(random: Random, path: Path, port: int) -> bytes:
    return random.randbytes(random.choice([0, 1, 11, 12, 16, 28, 64, 1500]))


def strange(random: Random, path: Path, port: int) -> bytes:
    """Sound, but not from the peer."""
    return sealed(path, port, any_opcode(random))


def spoiled(random: Random, path: Path, port: int) -> bytes:
    """As the peer would say it, and damaged on the way."""
    data = bytearray(sealed(path, port, any_opcode(random)))
    data[random.randrange(len(data))] ^= random.randint(1, 255)
    cut = random.choice([0, 0, random.randrange(len(data))])
    # The fifth byte (FECN, BECN) is not covered by the ICRC: a cut makes sure.
    return bytes(data[: cut or len(data) - 1])


def misplaced(random: Random, path: Path, port: int) -> bytes:
    """Sound and from the peer, for another partition or queue pair."""
    fields = random.choice([{"p_key": 0x8001}, {"dest_qp": random.randint(100, 0xFFFFFF)}])
    return sealed(path, port, any_opcode(random, **fields))


def replayed(random: Random, path: Path, port: int) -> bytes:
    """Sound, from the peer, and long done."""
    number = (SQ_PSNS[path.source[-1]] - random.randint(1, 1 << 20)) & 0xFFFFFF
    opcode, headers = random.choice(
        [
            (Opcode.RC_SEND_ONLY, b""),
            (Opcode.RC_RDMA_WRITE_ONLY, RETH(va=1, r_key=1, dma_len=4).pack()),
            (Opcode.RC_ACKNOWLEDGE, bytes([random.choice([0x1F, 0x60, 0x2C, 0x62]), 0, 0, 1])),
        ]
    )
    payload = b"" if opcode is Opcode.RC_ACKNOWLEDGE else b"evil"
    bth = BTH(opcode=int(opcode), dest_qp=17, psn=number, ack_req=random.getrandbits(1))
    return sealed(path, port, bth.pack() + headers + payload)


STRANGE = (noise, strange)
KINDS = (*STRANGE, spoiled, misplaced, replayed)
"""What is sent, all but `STRANGE` from the peer's address."""


def attack(network: str, count: int, seed: int, rate: int) -> None:
    """Send `count` datagrams to the ends at `network` ("127.0.0")."""
    random = Random(seed)
    pool: list[tuple[socket.socket, str, bytes]] = []
    for target, peer in (tuple(SQ_PSNS), tuple(SQ_PSNS)[::-1]):
        for make in KINDS:
            source = f"{network}.{STRANGER if make in STRANGE else peer}"
            goal = f"{network}.{target}"
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, DO: identification 0
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            sock.bind((source, 0))
            port = sock.getsockname()[1]
            path = Path(socket.inet_aton(source), socket.inet_aton(goal))
            pool += [(sock, goal, make(random, path, port)) for _ in range(POOL)]
    random.shuffle(pool)
    start = time.monotonic()
    for number in range(count):
        sock, target, data = pool[number % len(pool)]
        sock.sendto(data, (target, ROCE_PORT))
        if rate and number % 64 == 0:
            time.sleep(max(0.0, start + number / rate - time.monotonic()))
    seconds = time.monotonic() - start
    sys.stdout.write(f"{count} hostile datagrams in {seconds:.1f} s, {count / seconds:,.0f} /s\n")


def converse(a: End, b: End, seed: int, going: Callable[[], bool]) -> int:
    """Transfers both ways, each checked, until `going` says no; how many rounds."""
    random = Random(seed)
    rounds = 0
    guard = random.randbytes(SIZE)
    for end in (a, b):
        end.mr.write(guard, SIZE, 3 * SIZE)  # nobody writes there
    while rounds < 3 or going():
        data = random.randbytes(CHUNK)
        for own, peer in ((a, b), (b, a)):
            own.mr.write(data, CHUNK, 0)
            peer.recv(CHUNK, SIZE, wr_id=rounds)
            own.send(e.IBV_WR_RDMA_WRITE, CHUNK, to=peer, remote=2 * SIZE, wr_id=1)
            own.send(e.IBV_WR_SEND, CHUNK, wr_id=2)
            own.send(e.IBV_WR_RDMA_READ, CHUNK, SIZE + CHUNK, to=peer, remote=2 * SIZE, wr_id=3)
            found = [(wc.wr_id, wc.status) for wc in own.wait(3)]
            expect(found, [(1, 0), (2, 0), (3, 0)])
            (received,) = peer.wait(1)
            expect((received.wr_id, received.status), (rounds, 0))
            for end, place in ((peer, 2 * SIZE), (peer, SIZE), (own, SIZE + CHUNK)):
                expect(end.mr.read(CHUNK, place), data)
        rounds += 1
    for end in (a, b):
        expect(end.cq.poll(10)[0], 0)
        expect(end.mr.read(SIZE, 3 * SIZE), guard)
        expect(end.qp.query(e.IBV_QP_STATE)[0].qp_state, e.IBV_QPS_RTS)
    return rounds


def expect(found: Any, expected: Any) -> None:
    if found != expected:
        raise AssertionError(f"expected {str(expected)[:200]}, found {str(found)[:200]}")


def besieged(count: int, seed: int, *, fast: bool, rate: int = 0) -> tuple[int, dict[str, int]]:
    """(rounds of transfers, both devices' counters together) under `count` hostile datagrams."""
    network, _, _ = own_address(0).rpartition(".")
    first, second = (f"{network}.{number}" for number in SQ_PSNS)
    psns = (SQ_PSNS[41], SQ_PSNS[42])
    with ends((first, second), fast=fast, sq_psns=psns, timeout=TIMEOUT) as (a, b):
        given = {"--attack": network, "--count": count, "--seed": seed, "--rate": rate}
        words = [str(word) for pair in given.items() for word in pair]
        command = [sys.executable, "-m", "tests.fuzz.transport", *words]
        with subprocess.Popen(command) as attacker:
            rounds = converse(a, b, seed, lambda: attacker.poll() is None)
        if attacker.returncode:
            raise AssertionError(f"the attacker ended with status {attacker.returncode}")
        both = [dict(end.ctx.adapter.device.counters) for end in (a, b)]
    return rounds, {name: both[0][name] + both[1][name] for name in both[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=0, help="datagrams a second; 0: all it can")
    parser.add_argument("--fast", action="store_true", help="connections in compiled code")
    parser.add_argument("--attack", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.attack:
        attack(given.attack, given.count, given.seed, given.rate)
        return
    rounds, counters = besieged(given.count, given.seed, fast=given.fast, rate=given.rate)
    sys.stdout.write(f"{rounds} rounds of transfers, all whole\n")
    for name, value in counters.items():
        if value:
            sys.stdout.write(f"{value:>12,} {name}\n")


if __name__ == "__main__":
    main()
