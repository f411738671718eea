"""The memory that the interpreter and the compiled code share: records of 64-bit numbers.

Fields that hold an address say so; heads and tails of rings count up for ever, a row's place is the
count masked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.fast.raw import record_at


def _record(*names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.int64) for name in names])


PORT = _record(
    "fd",  # -1: what is sent goes to `sink` instead
    "family",  # bytes of an IP address
    "now",  # ns, read at the start of each drive
    "crc_tables",
    # Tables: queue pairs by slot, (number, slot) by hash, regions by hash.
    "qps", "qps_used", "index", "index_mask", "regions", "region_mask",
    # What arrived: the last recvmsg's bytes, their sender and size; and what the engine shall see.
    "inbox", "inbox_size", "message_in", "sender", "sender_port", "traffic_class", "segment",
    "first_number",  # IPv4 identification of the first datagram in the inbox
    "next_number",  # and of the one that may follow the last good one
    "slow", "slow_size", "slow_used",
    # The datagrams being put together for one send, all for the queue pair in `batch_slot`.
    "outbox", "message_out", "batch_slot", "batch_count", "batch_bytes", "batch_segment",
    "batch_closed", "batch_most",
    "sink", "sink_size", "sink_used",
    # Slots with something to send; slots handed back to the engine.
    "busy", "busy_mask", "busy_head", "busy_tail", "recalled", "recalled_count",
    # Bytes that may be unacknowledged over all queue pairs, so that no receive buffer overflows.
    "in_flight", "in_flight_limit",
    "completions", "fired", "sent_packets", "received_packets", "send_errors",
    "rdma_sends", "rdma_recvs",
)  # fmt: skip

QP = _record(
    "number", "slot", "active", "stuck", "busy", "dest_qp", "p_key", "path_mtu", "access", "domain",
    "window", "timeout", "deadline", "signal_all",
    # Send queue: rows of SEND; those before head are retired, those from cursor on not begun.
    "sq", "sq_mask", "sq_head", "sq_cursor", "sq_tail",
    "sent", "next_psn", "high", "unacked", "progressed", "unasked",
    "reads", "max_reads", "received",
    # The message being received: family is its KIND, 0 for none. In a gap what is ahead is dropped.
    "expected", "gap", "msn", "family", "key", "va", "length", "done", "wr_id", "ack_due",
    # READs to answer: rows of REPLY.
    "replies", "reply_mask", "reply_head", "reply_tail", "max_replies",
    # Addresses of RINGs.
    "rq", "send_cq", "receive_cq",
    # Addresses of what surrounds a datagram: socket address, control message, IP and UDP headers
    # with what the ICRC masks set to ones.
    "name", "name_length", "peer", "control", "control_length", "outer_out", "outer_in",
    "outer_length",
)  # fmt: skip

# rows is an address; armed, solicited_only and fired serve a completion channel.
RING = _record(
    "rows", "mask", "head", "tail", "capacity", "limit", "armed", "solicited_only", "fired"
)

SEND = _record(
    "wr_id", "opcode", "flags", "address", "length", "key", "remote", "r_key", "immediate",
    "first_psn", "span",
)  # fmt: skip

RECEIVE = _record("wr_id", "address", "length", "key", "pieces")

DONE = _record(
    "wr_id", "status", "opcode", "qpn", "length", "immediate", "flags", "source", "solicited"
)

# `base` is the address that peers and work requests name, `data` where the bytes are.
REGION = _record("key", "base", "data", "length", "access", "domain")

REPLY = _record("first_psn", "va", "key", "length", "sent", "msn")

# Before each entry of `slow` and of `sink`; the bytes follow, filled up to a multiple of 8.
PARCEL = _record(
    "length", "segment", "slot", "port", "traffic_class", "address_low", "address_high"
)

# C's struct msghdr and iovec on 64-bit Linux, with the padding that aligned fields leave.
MESSAGE = np.dtype(
    [
        ("name", np.int64),
        ("name_length", np.int64),
        ("vector", np.int64),
        ("vector_count", np.int64),
        ("control", np.int64),
        ("control_length", np.int64),
        ("flags", np.int64),
        ("base", np.int64),
        ("length", np.int64),
    ]
)

port_at, qp_at, ring_at = record_at(PORT), record_at(QP), record_at(RING)
send_at, receive_at, done_at = record_at(SEND), record_at(RECEIVE), record_at(DONE)
region_at, reply_at, parcel_at = record_at(REGION), record_at(REPLY), record_at(PARCEL)
message_at = record_at(MESSAGE)


def power_of_two(least: int) -> int:
    """The smallest one that is not less than `least`."""
    return 1 << max(0, least - 1).bit_length()
