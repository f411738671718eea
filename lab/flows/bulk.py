"""The same bytes by RDMA and by TCP."""

from __future__ import annotations

import socket
import time

from lab.flows.connect import address_of
from lab.flows.end import End, FlowError
from lab.flows.flow import documented
from lab.flows.send import hear, say
from lab.flows.write import post_write

WINDOW = 16  # messages under way at once, each with a slot of the buffer to itself


def prepare(end: End) -> None:
    """The client will be told the port for TCP."""
    if end.role == "client":
        end.post_receive(2)


def run(end: End) -> None:
    """WRITE `size` bytes in messages of `chunk`, then send as many over TCP, and compare.

    Teaches: RDMA leaves copying and acknowledging to the adapter, TCP to the kernel. In software
    both are done by the same processor, so do not expect the factor that hardware gives.

    On the wire: WRITE FIRST, MIDDLE..., LAST with one acknowledgement a message or less; then a TCP
    connection without TLS to a port the server named in a SEND.

    Look at: the `measured` events of both ends; retransmissions on either side.
    """
    size, chunk = end.arguments["size"], end.arguments["chunk"]
    data = end.pattern("bulk", WINDOW * chunk)
    lengths = [min(chunk, size - start) for start in range(0, size, chunk)]
    if end.role == "client":
        _write(end, data, lengths)
    end.barrier("written")
    if end.role == "server":
        last = {number % WINDOW: length for number, length in enumerate(lengths)}
        for slot, length in sorted(last.items()):
            begin = slot * chunk
            expected = data[begin : begin + length]
            end.check(f"RDMA WRITE, slot {slot}", end.layout.incoming + begin, expected)
        _serve_tcp(end, size)
    else:
        _send_tcp(end, data[:chunk], lengths)
    end.barrier("sent")


def _write(end: End, data: bytes, lengths: list[int]) -> None:
    end.put(end.layout.outgoing, data)
    chunk = end.arguments["chunk"]
    started = time.perf_counter_ns()
    posted: list[int] = []
    for number, length in enumerate(lengths):
        if number >= WINDOW:
            end.complete(posted[number - WINDOW])
        offset = number % WINDOW * chunk
        posted.append(post_write(end, offset, length))
    for wr_id in posted[-WINDOW:]:
        end.complete(wr_id)
    end.measured("RDMA WRITE", sum(lengths), started)


def _serve_tcp(end: End, size: int) -> None:
    address = address_of(end.local.gid)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        listener.settimeout(end.limit)
        say(end, listener.getsockname()[1].to_bytes(2))
        connection, _ = listener.accept()
    with connection:
        connection.settimeout(end.limit)
        started, received = time.perf_counter_ns(), 0
        buffer = bytearray(1 << 18)
        while count := connection.recv_into(buffer):
            received += count
        end.measured("TCP", received, started)
    if received != size:
        raise FlowError(f"expected {size} bytes over TCP, found {received}")


def _send_tcp(end: End, data: bytes, lengths: list[int]) -> None:
    port = int.from_bytes(hear(end))
    address = address_of(end.remote.gid)
    with socket.create_connection((address, port), end.limit) as connection:
        started = time.perf_counter_ns()
        for length in lengths:
            connection.sendall(memoryview(data)[:length])
        end.measured("TCP", sum(lengths), started)


FLOW = documented(
    "bulk",
    run,
    prepare=prepare,
    room=lambda arguments: WINDOW * arguments["chunk"],
    arguments={"size": 1 << 30, "chunk": 1 << 18},
)
