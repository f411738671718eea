"""Datagrams put together for one send: neighbours of one size leave at once (UDP_SEGMENT)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from dissectors.crc import TABLES, crc
from dissectors.icrc import _ROUTE_OF_ONES
from dissectors.icrc import SIZE as ICRC_SIZE
from lab.engine.burst import MAX_BYTES
from lab.fast.layout import message_at, parcel_at, qp_at
from lab.fast.raw import bytes_at, memcpy, sendmsg, store, words_at

# The register before its last inversion.
_AFTER_ROUTE = np.uint32(_ROUTE_OF_ONES ^ 0xFFFFFFFF)
_SOL_UDP, _UDP_SEGMENT = 17, 103
_SEGMENT_CONTROL = 24
"""Bytes of the control message: header 16, number 2, filled up to 8."""
PARCEL_BYTES = 56


@njit
def icrc(outer: int, family: int, source_port: int, number: int, address: int, length: int) -> Any:
    """ICRC of the transport packet of `length` bytes (without ICRC) at `address`.

    `outer` is its IP and UDP header with the masked fields set to ones; lengths, source port and,
    for IPv4, the identification `number` are filled in here (dissectors.ip, dissectors.udp).
    """
    size = 28 if family == 4 else 48
    header = bytes_at(outer, size)
    if family == 4:
        store(header, 2, 2, 28 + length + ICRC_SIZE)
        store(header, 4, 2, number)
    else:
        store(header, 4, 2, 8 + length + ICRC_SIZE)
    store(header, size - 8, 2, source_port)
    store(header, size - 4, 2, 8 + length + ICRC_SIZE)
    packet = bytes_at(address, length)
    kept = packet[4]
    packet[4] = 0xFF
    state = crc(TABLES, header, 0, size, _AFTER_ROUTE)
    state = crc(TABLES, packet, 0, length, state)
    packet[4] = kept
    return np.int64(state ^ np.uint32(0xFFFFFFFF))


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
    value = icrc(qp.outer_out, port.family, 4791, port.batch_count, address, length)
    end = bytes_at(address + length, ICRC_SIZE)
    for k in range(ICRC_SIZE):
        end[k] = (value >> (8 * k)) & 0xFF
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
    message = message_at(port.message_out, 0)
    message.name = qp.name
    message.name_length = qp.name_length
    message.control = qp.control
    message.control_length = qp.control_length
    if count > 1:
        words = words_at(qp.control + qp.control_length, 3)
        words[0] = 18  # CMSG_LEN(sizeof(uint16_t))
        words[1] = _SOL_UDP | _UDP_SEGMENT << 32
        words[2] = port.batch_segment
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
