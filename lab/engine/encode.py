"""Trains to datagrams: BTH, extended headers, payload, pad and ICRC."""

from __future__ import annotations

from collections.abc import Iterator

from dissectors import icrc, psn
from dissectors.bth import BTH
from lab.engine.burst import MAX_BYTES, Burst, Path
from lab.engine.outer import outer_state
from lab.engine.segment import Train

_PSN = slice(BTH.psn.bit_offset // 8, BTH.size)


def encode(train: Train, source_port: int, most: int) -> list[Burst]:
    """The train's datagrams: of one size (the last may be shorter) up to `most` in one burst."""
    parcels: list[list[bytes]] = []
    for packet in _packets(train):
        if parcels and len(parcels[-1]) < most and _fits(parcels[-1], packet):
            parcels[-1].append(packet)
        else:
            parcels.append([packet])
    return [_seal(train.path, source_port, parcel) for parcel in parcels]


def _fits(parcel: list[bytes], packet: bytes) -> bool:
    size = len(parcel[0])
    return (
        size == len(parcel[-1]) >= len(packet)
        and (len(parcel) + 1) * (size + icrc.SIZE) <= MAX_BYTES
    )


def _seal(path: Path, source_port: int, parcel: list[bytes]) -> Burst:
    sealed = []
    for index, packet in enumerate(parcel):
        state = outer_state(path, source_port, len(packet) + icrc.SIZE, index)
        sealed += [packet, icrc.to_wire(icrc.over_transport(packet, state))]
    return Burst(path, source_port, b"".join(sealed), len(parcel[0]) + icrc.SIZE)


def _packets(train: Train) -> Iterator[bytes]:
    """Each packet from BTH to pad."""
    ahead = len(train.opcodes) - 1
    payload, mtu = train.payload, train.path_mtu
    header = bytearray(BTH(dest_qp=train.dest_qp, p_key=train.p_key).pack())
    number = train.first_psn
    for index, opcode in enumerate(train.opcodes[:-1]):
        header[0] = opcode
        header[_PSN] = number.to_bytes(3, "big")
        extended = train.head if index == 0 else b""
        yield b"".join((header, extended, payload[index * mtu : (index + 1) * mtu]))
        number = psn.add(number, 1)
    rest = payload[ahead * mtu :]
    pad = -len(rest) % 4
    bth = BTH(
        opcode=int(train.opcodes[-1]),
        se=int(train.solicited),
        pad_count=pad,
        p_key=train.p_key,
        becn=int(train.becn),
        dest_qp=train.dest_qp,
        ack_req=int(train.ack_req),
        psn=number,
    )
    extended = train.tail if ahead else train.head
    yield b"".join((bth.pack(), extended, rest, bytes(pad)))
