"""Datagrams put together for one send: neighbours of one size leave at once (UDP_SEGMENT)."""

from __future__ import annotations

from typing import Any

from numba import njit

from dissectors.crc import crc
from dissectors.icrc import _ROUTE_OF_ONES
from dissectors.icrc import SIZE as ICRC_SIZE
from dissectors.ip import IPv4, IPv6
from dissectors.memory import byte, set_byte, set_half, set_word
from dissectors.udp import ROCE_PORT, UDP
from lab.engine.burst import MAX_BYTES
from lab.fast.fields import setter
from lab.fast.layout import message_at, parcel_at, qp_at
from lab.fast.raw import memcpy, sendmsg, sendto

# The register before its last inversion.
_AFTER_ROUTE = _ROUTE_OF_ONES ^ 0xFFFFFFFF
put_total_length, put_id = setter(IPv4.total_length), setter(IPv4.id)
put_payload_length = setter(IPv6.payload_length)
put_src_port, put_length = setter(UDP.src_port), setter(UDP.length)
_IPV4, _IPV6, _UDP = IPv4.size, IPv6.size, UDP.size
_SOL_UDP, _UDP_SEGMENT = 17, 103
_SEGMENT_CONTROL = 24
"""Bytes of the control message: header 16, number 2, filled up to 8."""
PARCEL_BYTES = 56


@njit
def icrc(port: Any, outer: int, source_port: int, number: int, packet: int, length: int) -> Any:
    """ICRC of the transport packet of `length` bytes (without ICRC) at `packet`.

    `outer` is its IP and UDP header with the masked fields set to ones; lengths, source port and,
    for IPv4, the identification `number` are filled in here (dissectors.ip, dissectors.udp).
    """
    four = port.family == 4
    size = (_IPV4 if four else _IPV6) + _UDP
    whole = _UDP + length + ICRC_SIZE
    if four:
        put_total_length(outer, _IPV4 + whole)
        put_id(outer, number)
    else:
        put_payload_length(outer, whole)
    put_src_port(outer + size - _UDP, source_port)
    put_length(outer + size - _UDP, whole)
    kept = byte(packet + 4)
    set_byte(packet + 4, 0xFF)
    state = crc(port.crc_tables, outer, outer + size, _AFTER_ROUTE)
    state = crc(port.crc_tables, packet, packet + length, state)
    set_byte(packet + 4, kept)
    return state ^ 0xFFFFFFFF


@njit
def room(port: Any, qp: Any, size: int) -> Any:
    """Address of the next `size` bytes of datagram for `qp`, after the datagrams
    that go with it.
    """
    if port.batch_count and (
        port.batch_slot != qp.slot
        or port.batch_closed
        or size > port.batch_segment
        or port.batch_count >= port.batch_most
        or port.batch_bytes + size > MAX_BYTES
    ):
        flush(port)
    if port.batch_count == 0:
        port.batch_slot = qp.slot
        port.batch_segment = size
        port.batch_closed = 0
        port.batch_bytes = 0
    return port.outbox + port.batch_bytes


@njit
def seal(port: Any, qp: Any, size: int) -> None:
    """The datagram of `size` bytes at `room`'s address is written but for its ICRC."""
    address = port.outbox + port.batch_bytes
    length = size - ICRC_SIZE
    value = icrc(port, qp.outer_out, ROCE_PORT, port.batch_count, address, length)
    set_half(address + length, value)
    port.batch_count += 1
    port.batch_bytes += size
    port.sent_packets += 1
    if size < port.batch_segment:
        port.batch_closed = 1


@njit
def flush(port: Any) -> None:
    """Send what was put together."""
    count = port.batch_count
    if count == 0:
        return
    port.batch_count = 0
    qp = qp_at(port.qps, port.batch_slot)
    if port.fd < 0:
        _sink(port)
        return
    if count == 1 and qp.control_length == 0:
        # Half the arguments to read: a quarter of a microsecond less.
        bare = sendto(port.fd, port.outbox, port.batch_bytes, 0, qp.name, qp.name_length)
        if bare < 0:
            port.send_errors += 1
        return
    message = message_at(port.message_out, 0)
    message.name = qp.name
    message.name_length = qp.name_length
    message.control = qp.control
    message.control_length = qp.control_length
    if count > 1:
        control = qp.control + qp.control_length
        set_word(control, 18)  # CMSG_LEN(sizeof(uint16_t))
        set_word(control + 8, _SOL_UDP | _UDP_SEGMENT << 32)
        set_word(control + 16, port.batch_segment)
        message.control_length += _SEGMENT_CONTROL
    message.flags = 0
    message.base = port.outbox
    message.length = port.batch_bytes
    if sendmsg(port.fd, port.message_out, 0) < 0:
        port.send_errors += 1


@njit
def _sink(port: Any) -> None:
    """For simulation: keep what a socket would have sent."""
    size = PARCEL_BYTES + ((port.batch_bytes + 7) & ~7)
    if port.sink_used + size > port.sink_size:
        port.send_errors += 1
        return
    parcel = parcel_at(port.sink + port.sink_used, 0)
    parcel.length = port.batch_bytes
    parcel.segment = port.batch_segment
    parcel.slot = port.batch_slot
    memcpy(port.sink + port.sink_used + PARCEL_BYTES, port.outbox, port.batch_bytes)
    port.sink_used += size
