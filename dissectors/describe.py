"""A packet in words: one line, or a tree of its fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dissectors import icrc, opcode
from dissectors.aeth import AETH, decode
from dissectors.arp import ARP
from dissectors.atomicacketh import AtomicAckETH
from dissectors.atomiceth import AtomicETH
from dissectors.bth import BTH
from dissectors.carriers import FOLLOWS
from dissectors.cm import (
    CM_DREP,
    CM_DREQ,
    CM_MRA,
    CM_REJ,
    CM_REP,
    CM_REQ,
    CM_RTU,
    CM_SIDR_REP,
    CM_SIDR_REQ,
)
from dissectors.deth import DETH
from dissectors.feth import FETH
from dissectors.header import Header
from dissectors.hierarchy import path
from dissectors.ieth import IETH
from dissectors.immdt import ImmDt
from dissectors.ip import ECN_CE, IPv4, IPv6
from dissectors.pause import PFC, Pause
from dissectors.rdeth import RDETH
from dissectors.reth import RETH
from dissectors.sa import PathRecord
from dissectors.tcp import TCP
from dissectors.udp import UDP
from dissectors.xrceth import XRCETH

if TYPE_CHECKING:
    from dissectors.packet import Packet, Place


def _bth(h: BTH) -> str:
    flags = {"solicited": h.se, "AckReq": h.ack_req, "FECN": h.fecn, "BECN": h.becn}
    said = "".join(f" {name}" for name, value in flags.items() if value)
    return f"QP {h.dest_qp:#x}, PSN {h.psn}{said}"


def _marked(h: IPv4 | IPv6) -> str:
    return "CE" if h.ecn == ECN_CE else ""


SUMMARIES: dict[type[Header], Callable[[Any], str]] = {
    IPv4: _marked,
    IPv6: _marked,
    BTH: _bth,
    RDETH: lambda h: f"EE context {h.ee_context:#x}",
    DETH: lambda h: f"from QP {h.src_qp:#x}, Q_Key {h.q_key:#x}",
    XRCETH: lambda h: f"SRQ {h.xrc_srq:#x}",
    RETH: lambda h: f"VA {h.va:#x}, R_Key {h.r_key:#x}, DMA length {h.dma_len}",
    AETH: lambda h: f"{decode(h.syndrome).text}, MSN {h.msn}",
    AtomicETH: lambda h: f"VA {h.va:#x}, R_Key {h.r_key:#x}",
    AtomicAckETH: lambda h: f"was {h.original}",
    ImmDt: lambda h: f"immediate {h.data:#x}",
    IETH: lambda h: f"invalidates R_Key {h.r_key:#x}",
    FETH: lambda h: f"{FETH.selectivity.text(h.selectivity)}, {FETH.placement.text(h.placement)}",
    CM_REQ: lambda h: f"CM REQ, QP {h.local_qpn:#x}, starting PSN {h.starting_psn}",
    CM_MRA: lambda h: f"CM MRA of {CM_MRA.message.text(h.message)}",
    CM_REJ: lambda h: f"CM REJ, {CM_REJ.reason.text(h.reason)}",
    CM_REP: lambda h: f"CM REP, QP {h.local_qpn:#x}, starting PSN {h.starting_psn}",
    CM_RTU: lambda h: "CM RTU",
    CM_DREQ: lambda h: f"CM DREQ, QP {h.remote_qpn:#x}",
    CM_DREP: lambda h: "CM DREP",
    CM_SIDR_REQ: lambda h: f"CM SIDR REQ, service {h.service_id:#x}",
    CM_SIDR_REP: lambda h: f"CM SIDR REP, QP {h.qpn:#x}, Q_Key {h.q_key:#x}",
    PathRecord: lambda h: (
        f"path record {PathRecord.sgid.text(h.sgid)} > {PathRecord.dgid.text(h.dgid)}"
    ),
    ARP: lambda h: (
        f"who has {ARP.target_ip.text(h.target_ip)}? asks {ARP.sender_ip.text(h.sender_ip)}"
        if h.operation == 1
        else f"{ARP.sender_ip.text(h.sender_ip)} is at {ARP.sender_mac.text(h.sender_mac)}"
    ),
    Pause: lambda h: f"{h.quanta} quanta",
    PFC: lambda h: (
        "quanta by priority " + " ".join(f"{n}:{h[1 + n]}" for n in range(8) if h.enabled >> n & 1)
    ),
}
"""What one line says of a header; nothing for those that it leaves out."""

SHOWN = 16
"""Bytes of a payload, or of a long field, that a tree shows."""

PORTS: dict[type[Header], Callable[[Any], str]] = {
    TCP: lambda h: f"port {h.src_port} > {h.dst_port}",
    UDP: lambda h: f"port {h.src_port} > {h.dst_port}",
}
"""Said where no BTH follows."""


def summary(packet: Packet) -> str:
    """One line: ends, what it is, and what its headers say."""
    source, destination = packet.ends
    bth = packet.get(BTH)
    what = " / ".join(path(packet)) if bth is None else opcode.name(bth.opcode)
    texts = SUMMARIES | (PORTS if bth is None else {})
    headers = (*packet.headers, *(header for _, header in packet.management))
    said = [texts[type(header)](header) for header in headers if type(header) in texts]
    if packet.cut_header is not None:
        said.append(f"{type(packet.cut_header[1]).__name__} cut off")
    if bth is not None and AtomicETH in packet:
        said.append(_operands(bth.opcode, packet[AtomicETH]))
    parts = [f"{source} > {destination}" if source else "", what, *said]
    if bth is None or packet.payload:
        parts.append(f"length {len(packet.payload)}")
    damage = f" [{packet.damage}]" if packet.damage else ""
    return ", ".join(part for part in parts if part) + damage


def _operands(value: int, atomic: AtomicETH) -> str:
    """What an atomic operation works with; adding compares with nothing."""
    if "Compare" in opcode.name(value):
        return f"swap in {atomic.swap_add} for {atomic.compare}"
    return f"add {atomic.swap_add}"


def tree(packet: Packet) -> str:
    """Headers and fields, one a line: byte offset, bits, name, value in words, meaning."""
    lines: list[str] = []
    current: Header | None = None
    cut_header = packet.cut_header
    for place in packet.layout():
        header = place.header
        if header is not current:
            current = header
            title = " ".join((type(header).__doc__ or "").split()).rstrip(".")
            cut = ", cut off" if cut_header is not None and header == cut_header[1] else ""
            lines.append(f"{place.bit_offset // 8:5}  {type(header).__name__}: {title}{cut}")
        lines.append(_line(place))
    at = sum(len(header.pack()) for header in packet.headers)
    for name, data in (("payload", packet.payload), ("pad", packet.pad or b"")):
        # A management datagram has been shown above, field by field.
        if data and not (data is packet.payload and packet.management):
            lines.append(f"{at:5}  {name}: {_beginning(data)}")
        at += len(data)
    if packet.icrc is not None:
        status = {
            icrc.ICRC_OK: "correct",
            icrc.ICRC_BAD: f"WRONG, expected 0x{packet.computed_icrc() or 0:08x}",
        }.get(packet.icrc_status, "not checkable")
        lines.append(f"{at:5}  ICRC 0x{packet.icrc:08x} {status}")
        at += icrc.SIZE
    if packet.trailer:
        lines.append(f"{at:5}  trailer: {_beginning(packet.trailer)}")
    if packet.damage:
        lines.append(f"       damage: {packet.damage}")
    return "\n".join(lines)


def _beginning(data: bytes) -> str:
    """How long it is, and its first bytes in hexadecimal and as ASCII."""
    start = data[:SHOWN]
    letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in start)
    more = " ..." if len(data) > SHOWN else ""
    return f"{len(data)} byte{'s' * (len(data) != 1)}  {start.hex(' ')}  {letters}{more}"


def _line(place: Place) -> str:
    """A line of the tree: `43    .1.. ....  m = 1  migration request: path migrated`."""
    header, field, bit_offset, bits, value = place
    byte, bit = divmod(bit_offset, 8)
    where = f"{bits} bits"
    if bit + bits <= 8 and bits < 8:
        dots = f"{'.' * bit}{value:0{bits}b}{'.' * (8 - bit - bits)}"
        where = f"{dots[:4]} {dots[4:]}"
    following, kinds = FOLLOWS.get(type(header), ("", {}))
    said = field.text(value)
    if field is BTH.opcode:
        said = f"0x{value:02x} ({opcode.name(value)})"
    elif field.name == following and value in kinds:
        said = f"{said} ({kinds[value].__name__})"
    elif value in field.names:
        said = f"{value} ({said})"
    if isinstance(value, bytes) and len(value) > 2 * SHOWN:
        said = f"{value[:SHOWN].hex()}..." if any(value) else "zeros"
    meaning = "" if field.name.startswith("reserved") else field.doc
    return f"{byte:5}    {where:>9}  {f'{field.name} = {said}':<38}  {meaning}".rstrip()
