"""A device whose queue pairs run in compiled code while nothing goes wrong, and in
the engine when it does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dissectors import icrc
from dissectors.crc import TABLES
from dissectors.ip import IPv4, IPv6
from dissectors.udp import ROCE_PORT, UDP
from lab.engine.burst import MAX_DATAGRAMS, Burst, Path
from lab.engine.dcqcn import Dcqcn
from lab.engine.device import Device
from lab.engine.events import Log
from lab.engine.outer import outer_headers
from lab.engine.qp import QueuePair
from lab.fast import handover
from lab.fast.code import entries
from lab.fast.inlet import CONTROL_BYTES
from lab.fast.layout import MESSAGE, PARCEL, PORT, QP, REGION, REPLY, power_of_two
from lab.fast.memory import MirroredMemory, Table
from lab.fast.outlet import PARCEL_BYTES
from lab.fast.qp import FastQueuePair
from lab.fast.rings import RingCompletionQueue, RingReceiveQueue

SLOTS = 4096
"""Queue pairs that compiled code may have at a time; more stay with the engine."""
INBOX, SLOW, SINK = 1 << 17, 1 << 22, 1 << 23
assert PORT.names is not None
_FIELD = {name: place for place, name in enumerate(PORT.names)}
_RECEIVED, _SLOW_USED = _FIELD["received_packets"], _FIELD["slow_used"]
_COUNTERS = {
    _FIELD["sent_packets"]: "sent_pkts",
    _RECEIVED: "rcvd_pkts",
    _FIELD["send_errors"]: "send_err",
    _FIELD["rdma_sends"]: "rdma_sends",
    _FIELD["rdma_recvs"]: "rdma_recvs",
}
_PARCEL = struct.Struct("=7q")
assert _PARCEL.size == PARCEL_BYTES
_NAME, _CONTROL, _OUTER, _PEER = 32, CONTROL_BYTES, 48, 16
_SCRATCH = _NAME + _CONTROL + 2 * _OUTER + _PEER

Surroundings = Callable[[Path], tuple[bytes, bytes]]
"""(socket address, control messages) of a datagram on a path."""


def no_socket(_path: Path) -> tuple[bytes, bytes]:
    """Where there is no socket, as in simulation."""
    return b"", b""


class FastDevice(Device):
    """As Device; `drive(port_address, slot, tries)` does in one call what a socket `fd` asks for
    (lab.fast.drive.drive).

    `address` is the device's IP address (4 or 16 bytes); `in_flight` limits the bytes that all
    queue pairs together may have unacknowledged.
    """

    queue_pair_type: type[QueuePair] = FastQueuePair

    def __init__(
        self,
        address: bytes,
        *,
        fd: int = -1,
        surroundings: Surroundings = no_socket,
        burst: int = MAX_DATAGRAMS,
        in_flight: int = 1 << 40,
        source_port: int = ROCE_PORT,
        log: Log | None = None,
        dcqcn: Dcqcn | None = None,
        flow_control: bool = False,
    ) -> None:
        self._port = np.zeros(1, PORT)
        self.port_address = self._port.ctypes.data
        self._port_words: Any = self._port.view(np.int64).data
        self._seen = dict.fromkeys(_COUNTERS, 0)
        super().__init__(source_port, log, burst, dcqcn=dcqcn, flow_control=flow_control)
        self._address = address
        self._surroundings = surroundings
        self._qps = np.zeros(SLOTS, QP)
        self._free = list(range(SLOTS - 1, -1, -1))
        self._replies: dict[int, Any] = {}
        self._scratch: dict[int, Any] = {}
        self._rings: list[RingCompletionQueue] = []
        self._fill_port(fd, in_flight)
        self._index = Table(np.dtype([("number", np.int64), ("slot", np.int64)]), self._index_moved)
        self.memory = MirroredMemory(Table(REGION, self._regions_moved))
        self.drive, self._expire, self._simulate = entries()

    def _fill_port(self, fd: int, in_flight: int) -> None:
        port = self._port[0]
        port["fd"], port["family"] = fd, len(self._address)
        port["crc_tables"] = TABLES.ctypes.data
        port["in_flight_limit"], port["batch_most"] = in_flight, self.burst
        port["inbox_size"], port["slow_size"], port["sink_size"] = INBOX, SLOW, SINK
        port["busy_mask"] = 2 * SLOTS - 1
        self._inbox = np.zeros(INBOX, np.uint8)
        self._slow = np.zeros(SLOW, np.uint8)
        self._sink = np.zeros(SINK if fd < 0 else 8, np.uint8)
        self._outbox = np.zeros(1 << 16, np.uint8)
        self._busy = np.zeros(2 * SLOTS, np.int64)
        self._recalled = np.zeros(SLOTS, np.int64)
        for name in ("inbox", "slow", "sink", "outbox", "busy", "recalled", "qps"):
            port[name] = getattr(self, f"_{name}").ctypes.data
        port["sink_size"] = len(self._sink)
        self._messages = np.zeros(4, MESSAGE)
        self._sender = np.zeros(_NAME + CONTROL_BYTES, np.uint8)
        arriving, leaving = self._messages[0], self._messages[1]
        size = MESSAGE.itemsize
        port["message_in"] = self._messages.ctypes.data
        port["message_out"] = self._messages.ctypes.data + size
        for number, message in enumerate((arriving, leaving)):
            base = self._messages.ctypes.data + number * size
            message["vector"] = base + MESSAGE.fields["base"][1]  # type: ignore[index]
            message["vector_count"] = 1
        arriving["name"] = self._sender.ctypes.data
        arriving["control"] = self._sender.ctypes.data + _NAME
        arriving["base"], arriving["length"] = self._inbox.ctypes.data, INBOX
        port["sender"] = self._sender.ctypes.data

    def _index_moved(self, address: int, mask: int) -> None:
        self._port["index"], self._port["index_mask"] = address, mask

    def _regions_moved(self, address: int, mask: int) -> None:
        self._port["regions"], self._port["region_mask"] = address, mask

    @property
    def counters(self) -> dict[str, int]:
        """The engine's and the compiled code's together."""
        words, seen = self._port_words, self._seen
        for place, counter in _COUNTERS.items():
            now = words[place]
            if now != seen[place]:
                self._counters[counter] += now - seen[place]
                seen[place] = now
        return self._counters

    @counters.setter
    def counters(self, value: dict[str, int]) -> None:
        self._counters = value

    def completion_queue(
        self, capacity: int, notify: Callable[[], None] | None = None
    ) -> RingCompletionQueue:
        queue = RingCompletionQueue(capacity, notify)
        if notify is not None:
            self._rings.append(queue)
        return queue

    def receive_queue(self, max_wr: int, max_sge: int, number: int = 0) -> RingReceiveQueue:
        return RingReceiveQueue(max_wr, max_sge, number)

    def remove(self, qp: QueuePair) -> None:
        assert isinstance(qp, FastQueuePair)
        self.recall(qp)
        super().remove(qp)

    def wake(self, qp: QueuePair) -> None:
        assert isinstance(qp, FastQueuePair)
        if qp.slot is None:
            super().wake(qp)

    def ring_for(self, qp: FastQueuePair) -> None:
        """`qp`, which compiled code has, has something to send."""
        assert qp.slot is not None
        self._ring(qp.slot)

    def _ring(self, slot: int) -> None:
        record = self._qps[slot]
        if not record["busy"]:
            record["busy"] = 1
            port = self._port[0]
            self._busy[int(port["busy_tail"]) & int(port["busy_mask"])] = slot
            port["busy_tail"] += 1

    def give(self, qp: FastQueuePair, now: int) -> None:
        """Let compiled code have `qp`, which is ready for that."""
        slot = self._free.pop()
        port = self._port[0]
        port["qps_used"] = max(port["qps_used"], slot + 1)
        record = self._qps[slot]
        self._qps[slot] = np.zeros(1, QP)[0]
        record["slot"] = slot
        handover.give(qp, record, now)
        self._surround(qp, slot, record)
        replies = np.zeros(power_of_two(max(1, qp.attributes.max_dest_rd_atomic)), REPLY)
        self._replies[slot] = replies
        record["replies"], record["reply_mask"] = replies.ctypes.data, len(replies) - 1
        assert isinstance(qp.send_cq, RingCompletionQueue)
        assert isinstance(qp.receive_cq, RingCompletionQueue)
        assert isinstance(qp.receives, RingReceiveQueue)
        record["sq"], record["sq_mask"] = qp.sq_address, qp.sq_mask
        record["rq"] = qp.receives.ring.address
        record["send_cq"] = qp.send_cq.ring.address
        record["receive_cq"] = qp.receive_cq.ring.address
        record["active"] = 1
        self._port["in_flight"] += qp.requester.outstanding * qp.attributes.path_mtu
        qp.requester.queue.clear()
        qp.completer.deadline = None
        qp.slot = slot
        qp.words = self._qps[slot : slot + 1].view(np.int64).data
        self._index.put(qp.number, slot)
        self._ready.pop(qp.number, None)
        self._ring(slot)

    def _surround(self, qp: FastQueuePair, slot: int, record: Any) -> None:
        """Everything around the datagrams of `qp`, as memory that compiled code patches."""
        own = qp.attributes.path
        assert own is not None
        path = qp.marked(own)
        name, control = self._surroundings(path)
        scratch = np.zeros(_SCRATCH, np.uint8)
        self._scratch[slot] = scratch
        base = scratch.ctypes.data
        back = Path(path.destination, path.source)
        peer = np.frombuffer(path.destination.ljust(_PEER, b"\0"), np.uint8)
        scratch[-_PEER:] = peer
        scratch[: len(name)] = np.frombuffer(name, np.uint8)
        scratch[_NAME : _NAME + len(control)] = np.frombuffer(control, np.uint8)
        for place, way in ((_NAME + _CONTROL, path), (_NAME + _CONTROL + _OUTER, back)):
            outer = masked(way, self.source_port)
            scratch[place : place + len(outer)] = np.frombuffer(outer, np.uint8)
            record["outer_length"] = len(outer)
        record["name"], record["name_length"] = base, len(name)
        record["peer"] = base + _SCRATCH - _PEER
        record["control"], record["control_length"] = base + _NAME, len(control)
        record["outer_out"] = base + _NAME + _CONTROL
        record["outer_in"] = base + _NAME + _CONTROL + _OUTER

    def recall(self, qp: FastQueuePair) -> None:
        """The engine has `qp` again; nothing happens where it has it already."""
        if qp.slot is None:
            return
        slot, qp.slot = qp.slot, None
        record = self._qps[slot]
        record["active"] = 0
        handover.take(qp, record, self._replies.pop(slot))
        self._port["in_flight"] -= qp.requester.outstanding * qp.attributes.path_mtu
        self._index.remove(qp.number)
        del self._scratch[slot]
        qp.words = None
        self._free.append(slot)
        super().wake(qp)
        self._schedule(qp)

    def transmit(self, now: int) -> Iterator[Burst]:
        """What the engine's queue pairs send; in simulation, what compiled code sends as well."""
        self._port["now"] = now
        ready = list(self._ready.values())
        self._give_ready(ready, now)
        yield from super().transmit(now)
        for qp in ready:
            qp.stuck = False  # type: ignore[attr-defined]
        self._give_ready(ready, now)
        if self._port["fd"][0] < 0:
            yield from self._simulated()

    def _give_ready(self, qps: list[QueuePair], now: int) -> None:
        for qp in qps:
            assert isinstance(qp, FastQueuePair)
            if qp.slot is None and not qp.stuck and self._free and handover.ready(qp, now):
                self.give(qp, now)

    def _simulated(self) -> Iterator[Burst]:
        port = self._port[0]
        paths = self._paths
        self._simulate(self.port_address, -1, 0)
        self.attend(int(port["now"]))
        used, place = int(port["sink_used"]), 0
        port["sink_used"] = 0
        while place < used:
            parcel = self._sink[place : place + PARCEL_BYTES].view(PARCEL)[0]
            start, length = place + PARCEL_BYTES, int(parcel["length"])
            data = self._sink[start : start + length].tobytes()
            path = paths[int(parcel["slot"])]
            yield Burst(path, self.source_port, data, int(parcel["segment"]))
            place = start + (length + 7 & ~7)
        if self._ready:
            yield from self.transmit(int(port["now"]))

    def receive(self, burst: Burst, now: int) -> None:
        """In simulation: what arrived."""
        port = self._port[0]
        port["now"] = now
        data = np.frombuffer(burst.data, np.uint8)
        self._inbox[: len(data)] = data
        self._sender[:16] = np.frombuffer(burst.path.source.ljust(16, b"\0"), np.uint8)
        port["sender_port"], port["segment"] = burst.source_port, burst.segment
        port["traffic_class"] = burst.path.traffic_class
        port["first_number"] = burst.identification
        self._simulate(self.port_address, len(data), 0)
        self.attend(now)

    def attend(self, now: int) -> None:
        """Do what compiled code left for the engine."""
        port = self._port[0]
        count = int(port["recalled_count"])
        port["recalled_count"] = 0
        for slot in self._recalled[:count].tolist():
            qp = self._queue_pairs.get(int(self._qps[slot]["number"]))
            if isinstance(qp, FastQueuePair) and qp.slot == slot:
                qp.stuck = bool(self._qps[slot]["stuck"])
                self.recall(qp)
        self._receive_slow(now)
        if port["fired"]:
            port["fired"] = 0
            for ring in self._rings:
                ring.announce()

    def _receive_slow(self, now: int) -> None:
        words, slow = self._port_words, self._slow.data
        used, place = words[_SLOW_USED], 0
        while place < used:
            length, number, _, port, traffic_class, _, _ = _PARCEL.unpack_from(slow, place)
            start = place + PARCEL_BYTES
            source = bytes(slow[start - 16 : start - 16 + len(self._address)])
            path = Path(source, self._address, traffic_class)
            data = slow[start : start + length]
            words[_RECEIVED] -= 1
            super().receive(Burst(path, port, data, max(1, length), number), now)
            place = start + (length + 7 & ~7)
        words[_SLOW_USED] = 0

    @property
    def has_ready(self) -> bool:
        """Whether the engine has a queue pair that may have something to send."""
        return bool(self._ready)

    def next_timer(self) -> int | None:
        timers = super().next_timer(), self._expire(self.port_address, 0, 0) or None
        return min((timer for timer in timers if timer is not None), default=None)

    def handle_timer(self, now: int) -> None:
        self._expire(self.port_address, now, 0)
        if self._port["recalled_count"][0]:
            self.attend(now)
        super().handle_timer(now)

    @property
    def _paths(self) -> dict[int, Path]:
        return {
            qp.slot: qp.marked(qp.attributes.path)
            for qp in self._queue_pairs.values()
            if isinstance(qp, FastQueuePair) and qp.slot is not None and qp.attributes.path
        }


def masked(path: Path, source_port: int) -> bytes:
    """IP and UDP header on `path` with all that the ICRC masks set to ones."""
    outer = outer_headers(path, source_port, 0, 0)
    ip = IPv4 if len(path.source) == 4 else IPv6
    ones = icrc.ones(ip) + icrc.ones(UDP)
    return bytes(header | one for header, one in zip(outer, ones, strict=True))
