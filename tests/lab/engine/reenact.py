"""A captured conversation done again by two engines: same work, same keys, same PSNs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path as FilePath

import captures
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.deth import DETH
from dissectors.immdt import ImmDt
from dissectors.ip import IPv4, IPv6
from dissectors.opcode import BY_VALUE, Opcode
from dissectors.packet import Packet
from dissectors.reth import RETH
from lab.engine.burst import Path
from lab.engine.decode import FAMILY
from lab.engine.memory import Region
from lab.engine.states import QPType
from lab.engine.work import SendFlag, SendWork, WROpcode
from lab.wire.tap import Tap
from tests.pair import ALL, DOMAIN, Pair, Side, connect, loopback, roundtrip_until_done

SAMPLES = FilePath(captures.__file__).parent / "samples"
WORK = {
    ("SEND", False): WROpcode.SEND,
    ("SEND", True): WROpcode.SEND_WITH_IMM,
    ("RDMA_WRITE", False): WROpcode.RDMA_WRITE,
    ("RDMA_WRITE", True): WROpcode.RDMA_WRITE_WITH_IMM,
    ("RDMA_READ_REQUEST", False): WROpcode.RDMA_READ,
    ("FETCH_ADD", False): WROpcode.ATOMIC_FETCH_AND_ADD,
    ("COMPARE_SWAP", False): WROpcode.ATOMIC_CMP_AND_SWP,
}


@dataclass
class Captured:
    """A RoCE packet of a sample: who sent it, and its bytes from BTH to pad."""

    source: bytes
    destination: bytes
    packet: Packet
    data: bytes

    @property
    def bth(self) -> BTH:
        return self.packet[BTH]

    @property
    def opcode(self) -> Opcode:
        opcode = BY_VALUE[self.bth.opcode]
        assert opcode is not None
        return opcode


@dataclass
class Request:
    """A message somebody sent: its packets, and the payload of the answer."""

    source: bytes
    packets: list[Captured] = field(default_factory=list)
    answer: bytes = b""
    original: int | None = None

    @property
    def payload(self) -> bytes:
        return b"".join(bytes(one.packet.payload) for one in self.packets)


def read(sample: str, queue_pairs: frozenset[int] = frozenset()) -> list[Captured]:
    """The RoCE packets of a sample, to `queue_pairs` alone if any are given."""
    found = []
    with captures.open(SAMPLES / f"{sample}.pcap") as capture:
        for one in capture.frames():
            packet = Packet.parse(one.data, one.link_type)
            if BTH in packet and (not queue_pairs or packet[BTH].dest_qp in queue_pairs):
                found.append(_captured(packet))
    return found


def _captured(packet: Packet) -> Captured:
    ip = packet.get(IPv4) or packet[IPv6]
    source, destination = (
        address.to_bytes(4, "big") if isinstance(address, int) else address
        for address in (ip.src, ip.dst)
    )
    headers = packet.headers[packet.headers.index(packet[BTH]) :]
    data = b"".join(header.pack() for header in headers)
    return Captured(source, destination, packet, data + bytes(packet.payload) + bytes(packet.pad))


def requests(packets: list[Captured]) -> list[Request]:
    """The messages, in the order in which they began; what was sent again is the same message."""
    known: set[bytes] = set()
    found: list[Request] = []
    open_by: dict[bytes, Request] = {}
    asked: dict[bytes, list[Request]] = {}
    for one in packets:
        if one.opcode.is_request:
            if one.data in known:
                continue
            known.add(one.data)
            if one.opcode.starts_message:
                open_by[one.source] = Request(one.source)
                found.append(open_by[one.source])
                if RETH in one.packet and not one.opcode.has_payload:
                    asked.setdefault(one.source, []).append(open_by[one.source])
            open_by[one.source].packets.append(one)
        elif AtomicAckETH in one.packet:
            found[-1].original = one.packet[AtomicAckETH].original
        elif one.opcode.has_payload:
            (reader,) = [r for source, rs in asked.items() if source != one.source for r in rs[-1:]]
            reader.answer += bytes(one.packet.payload)
    return found


def reenact(
    sample: str,
    *,
    queue_pairs: frozenset[int] = frozenset(),
    receive: int = 1 << 16,
    memory: bool = True,
    rq_psn_shift: int = 0,
    **options: int,
) -> tuple[list[Captured], Pair, list[Captured]]:
    """(what the sample holds, the pair that did it again, what it sent).

    B has a receive of `receive` bytes for each message (0: none), the memory that is asked of it or
    none, and expects PSNs `rq_psn_shift` later than A sends.
    """
    packets = read(sample, queue_pairs)
    messages = requests(packets)
    a, b = packets[0].source, packets[0].destination
    pair = _pair(packets, rq_psn_shift, options)
    sent: list[Captured] = []
    taps = [
        Tap(wire, lambda frame, _: sent.append(_captured(Packet.parse(frame))))
        for wire in pair.wires
    ]
    pair.wires = (taps[0], taps[1])
    if memory:
        _register(messages, {a: pair.b, b: pair.a})
    for message in messages:
        do(pair, message, receive)
    return packets, pair, sent


def _pair(packets: list[Captured], rq_psn_shift: int, options: dict[str, int]) -> Pair:
    first = packets[0]
    kind = QPType[first.opcode.transport]
    a, b = (
        Side(source, _first_psn(packets, source), 0, 1, bytearray(1 << 16), ALL, kind)
        for source in (first.source, first.destination)
    )
    numbers = {packet.source: packet.bth.dest_qp for packet in packets}
    if DETH in first.packet:
        numbers[b.address] = first.packet[DETH].src_qp
        options["qkey"] = first.packet[DETH].q_key
    for side, peer in ((a, b), (b, a)):
        side.device.remove(side.qp)
        side.qp.number = numbers.get(peer.address, 17)
        side.device.add(side.qp)
    cut = [len(p.packet.payload) for p in packets if not p.opcode.ends_message]
    path_mtu = max(cut, default=1024)
    connect(a, b, path_mtu, **options)
    a.sq_psn += rq_psn_shift
    connect(b, a, path_mtu, **options)
    return Pair(a, b, loopback())


def _first_psn(packets: list[Captured], source: bytes) -> int:
    own = (p.bth.psn for p in packets if p.source == source and p.opcode.is_request)
    return next(own, 0)


def named_memory(message: Request) -> tuple[int, int, int] | None:
    """(r_key, va, length) of the remote memory a message names."""
    packet = message.packets[0].packet
    if RETH in packet:
        return packet[RETH].r_key, packet[RETH].va, packet[RETH].dma_len
    if AtomicETH in packet:
        return packet[AtomicETH].r_key, packet[AtomicETH].va, 8
    return None


def _register(messages: list[Request], targets: dict[bytes, Side]) -> None:
    """The regions that the messages name, holding what the atomics' answers say they held."""
    for source, side in targets.items():
        by_key: dict[int, list[tuple[int, int]]] = {}
        for message in messages:
            if message.source == source and (named := named_memory(message)):
                by_key.setdefault(named[0], []).append(named[1:])
        for key, places in by_key.items():
            start = min(va for va, _ in places)
            memory = bytearray(max(va + length for va, length in places) - start)
            for message in messages:
                named = named_memory(message)
                if named and message.original is not None and "FETCH" in message_family(message):
                    at = named[1] - start
                    memory[at : at + 8] = message.original.to_bytes(8, "little")
                    break
            side.device.memory.register(Region(key, start, memoryview(memory), ALL, DOMAIN))


def message_family(message: Request) -> str:
    return FAMILY[message.packets[0].opcode].partition("_")[2]


def do(pair: Pair, message: Request, receive: int) -> None:
    """Post one message, with a receive of `receive` bytes for it, and let it go through."""
    side = pair.a if pair.a.address == message.source else pair.b
    payload = message.payload
    last = message.packets[-1].packet
    immediate = last[ImmDt].data if ImmDt in last else 0
    named = named_memory(message) or (0, 0, len(payload))
    atomic = message.packets[0].packet.get(AtomicETH)
    length = 8 if atomic else named[2]
    swaps = message_family(message) == "COMPARE_SWAP"
    side.memory[: len(payload)] = payload
    peer = pair.peer(side)
    if message.answer:
        key, va, size = named
        peer.device.memory.slice(key, va, size, DOMAIN, ALL)[:] = message.answer
    if receive:
        peer.receive(receive)
    datagram = message.packets[0].packet.get(DETH)
    work = SendWork(
        1,
        WORK[message_family(message), ImmDt in last],
        (side.sge(0, length),),
        SendFlag.SIGNALED,
        immediate,
        named[1],
        named[0],
        compare_add=(atomic.compare if swaps else atomic.swap_add) if atomic else 0,
        swap=atomic.swap_add if atomic and swaps else 0,
        path=Path(side.address, peer.address) if datagram else None,
        remote_qpn=message.packets[0].bth.dest_qp,
        remote_qkey=datagram.q_key if datagram else 0,
    )
    side.qp.post_send(work)
    roundtrip_until_done(pair)
