"""Datagrams from the socket: sorted into those dealt with here and those for the engine."""

from __future__ import annotations

from typing import Any

from numba import njit

from dissectors.aeth import AETH
from dissectors.bth import BTH
from dissectors.icrc import SIZE as ICRC_SIZE
from dissectors.memory import byte, half, word
from lab.fast.completer import take_ack, take_response
from lab.fast.fields import difference, getter
from lab.fast.layout import message_at, parcel_at, qp_at
from lab.fast.opcodes import (
    ACK,
    ENDS,
    EXTENDED,
    IMMEDIATE,
    KIND,
    READ,
    RESPONSE,
    SEND,
    SLOW,
    STARTS,
    WRITE,
)
from lab.fast.outlet import PARCEL_BYTES, icrc
from lab.fast.queues import recall
from lab.fast.raw import load, memcpy, recvmsg
from lab.fast.responder import take_read, take_send, take_write
from lab.fast.tables import NONE, find_slot

_BTH = BTH.size
get_dest_qp, get_p_key, get_psn = getter(BTH.dest_qp), getter(BTH.p_key), getter(BTH.psn)
get_pad_count, get_syndrome = getter(BTH.pad_count), getter(AETH.syndrome)
_DONTWAIT = 0x40
_NAME_BYTES, CONTROL_BYTES = 28, 128
_SOL_UDP, _UDP_GRO = 17, 104
_SOL_IP, _IP_TOS, _SOL_IPV6, _IPV6_TCLASS = 0, 1, 41, 67
_LEAST = _BTH + ICRC_SIZE
_MOST_LOST = 7
"""Segments lost in a row after which the engine finds out which one came."""


@njit
def receive(port: Any) -> Any:
    """Take one burst from the socket into the inbox; its bytes, or less than 0
    where there is none.
    """
    message = message_at(port.message_in, 0)
    message.name_length = _NAME_BYTES
    message.control_length = CONTROL_BYTES
    message.flags = 0
    length = recvmsg(port.fd, port.message_in, _DONTWAIT)
    if length < 0:
        return length
    port.segment = max(1, length)
    port.first_number = 0
    port.traffic_class = 0
    place, end = message.control, message.control + message.control_length
    while place + 16 < end:
        level, kind, value = half(place + 8), half(place + 12), word(place + 16)
        if level == _SOL_UDP and kind == _UDP_GRO:
            port.segment = value & 0xFFFFFFFF
        elif (level == _SOL_IP and kind == _IP_TOS) or (
            level == _SOL_IPV6 and kind == _IPV6_TCLASS
        ):
            port.traffic_class = value & 0xFF
        place += (word(place) + 7) & ~7
    port.sender_port = load(message.name + 2, 2)
    port.sender = message.name + (4 if port.family == 4 else 8)
    return length


@njit
def sort(port: Any, length: int) -> None:
    """Deal with the burst of `length` bytes in the inbox."""
    number = port.first_number
    start = 0
    while start < length or start == 0:
        size = min(port.segment, length - start)
        port.received_packets += 1
        if not _take(port, port.inbox + start, size, number):
            _leave(port, port.inbox + start, size, number)
        number += 1
        start += port.segment


@njit
def _take(port: Any, packet: int, size: int, number: int) -> Any:
    """Deal with a datagram; False where the engine shall."""
    if size < _LEAST or port.traffic_class & 3 == 3:
        return False
    opcode = byte(packet)
    kind = KIND[opcode]
    head = _BTH + EXTENDED[opcode]
    length = size - head - ICRC_SIZE - get_pad_count(packet)
    if kind == SLOW or length < 0 or byte(packet + 1) & 0xF:
        return False
    slot = find_slot(port, get_dest_qp(packet))
    if slot == NONE:
        return False
    qp = qp_at(port.qps, slot)
    if not qp.active:
        return False
    if get_p_key(packet) != qp.p_key or not _from_peer(port, qp):
        return False
    if not _sealed(port, qp, packet, size, number):
        if port.family != 4:
            return False
        # A segment of a burst that came apart on the way goes on counting, over those lost.
        number = port.next_number
        last = number + _MOST_LOST
        while not _sealed(port, qp, packet, size, number):
            number += 1
            if number > last:
                return False
    port.next_number = number + 1
    if _handle(port, qp, kind, packet, opcode, packet + head, length):
        return True
    recall(port, qp)
    return False


@njit
def _sealed(port: Any, qp: Any, packet: int, size: int, number: int) -> Any:
    """Whether the ICRC holds, `number` being the IPv4 identification."""
    length = size - ICRC_SIZE
    computed = icrc(port, qp.outer_in, port.sender_port, number, packet, length)
    return computed == half(packet + length)


@njit
def _from_peer(port: Any, qp: Any) -> Any:
    if port.family == 4:
        return half(qp.peer) == half(port.sender)
    return word(qp.peer) == word(port.sender) and word(qp.peer + 8) == word(port.sender + 8)


@njit
def _handle(
    port: Any, qp: Any, kind: int, packet: int, opcode: int, payload: int, length: int
) -> Any:
    number = get_psn(packet)
    starts, ends, immediate = STARTS[opcode], ENDS[opcode], IMMEDIATE[opcode]
    if kind == ACK:
        return length == 0 and take_ack(port, qp, number, get_syndrome(packet + _BTH))
    if kind == RESPONSE:
        return take_response(port, qp, number, ends, payload, length)
    if number != qp.expected:
        # The engine has said what is missing; until that comes, what is ahead is not answered.
        return qp.gap and difference(number, qp.expected) > 0
    if kind == WRITE:
        return take_write(port, qp, packet, starts, ends, immediate, payload, length)
    if kind == SEND:
        return take_send(port, qp, packet, starts, ends, immediate, payload, length)
    if kind == READ:
        return length == 0 and take_read(port, qp, packet, number)
    return False


@njit
def _leave(port: Any, address: int, size: int, number: int) -> None:
    """Keep a datagram for the engine; without room it is lost, as in a full receive buffer."""
    needed = PARCEL_BYTES + ((size + 7) & ~7)
    if port.slow_used + needed > port.slow_size:
        return
    parcel = parcel_at(port.slow + port.slow_used, 0)
    parcel.length = size
    parcel.segment = number
    parcel.port = port.sender_port
    parcel.traffic_class = port.traffic_class
    parcel.address_low = word(port.sender)
    parcel.address_high = word(port.sender + 8)
    memcpy(port.slow + port.slow_used + PARCEL_BYTES, address, size)
    port.slow_used += needed
