"""The smallest rdma_cm program worth running: connect, WRITE, READ, disconnect.

    python3 -m lab.programs.minimal_cm server ADDRESS
    python3 -m lab.programs.minimal_cm client ADDRESS SERVER_ADDRESS

The kernel's connection manager chooses the PSNs and makes the queue pairs' transitions. The server
tells where its buffer is in the private data of its REP: u64 address, u32 r_key, u32 length, in
network order.
"""

from __future__ import annotations

import struct
import sys
from importlib import import_module
from typing import Any

PORT = "7471"
BUFFER = struct.Struct("!QII")
TEXT = b"written by the client, read back by it, and seen by the server"
LENGTH = 4096


def main(words: list[str]) -> int:
    """Be the server or the client; exit status 0 if the bytes were the expected ones."""
    role, address, *rest = words
    return server(address) if role == "server" else client(address, *rest)


def server(address: str) -> int:
    """Offer a buffer to one client and look into it when that has disconnected."""
    cm, enums = _load("cmid"), _load("cm_enums", "librdmacm_enums")
    channel = cm.CMEventChannel()
    listener = cm.CMID(creator=channel)
    here = cm.AddrInfo(
        src=address, src_service=PORT, port_space=enums.RDMA_PS_TCP, flags=enums.RAI_PASSIVE
    )
    listener.bind_addr(here)
    listener.listen(1)
    request = _event(cm, channel, enums.RDMA_CM_EVENT_CONNECT_REQUEST)
    peer = cm.CMID(creator=request, listen_id=listener)
    peer.create_qp(_queue_pair())
    buffer = _buffer(peer)
    parameters = cm.ConnParam(data_len=BUFFER.size)
    parameters.set_private_data(BUFFER.pack(buffer.buf, buffer.rkey, LENGTH))
    peer.accept(parameters)
    request.ack_cm_event()
    _event(cm, channel, enums.RDMA_CM_EVENT_ESTABLISHED).ack_cm_event()
    _event(cm, channel, enums.RDMA_CM_EVENT_DISCONNECTED).ack_cm_event()
    found = buffer.read(len(TEXT), 0)
    sys.stdout.write(f"found in the buffer: {bytes(found)!r}\n")
    return 0 if bytes(found) == TEXT else 1


def client(address: str, server_address: str) -> int:
    """WRITE into the server's buffer, READ it back, compare."""
    cm, enums = _load("cmid"), _load("cm_enums", "librdmacm_enums")
    channel = cm.CMEventChannel()
    peer = cm.CMID(creator=channel)
    there = cm.AddrInfo(
        src=address, dst=server_address, dst_service=PORT, port_space=enums.RDMA_PS_TCP
    )
    peer.resolve_addr(there)
    _event(cm, channel, enums.RDMA_CM_EVENT_ADDR_RESOLVED).ack_cm_event()
    peer.resolve_route()
    _event(cm, channel, enums.RDMA_CM_EVENT_ROUTE_RESOLVED).ack_cm_event()
    peer.create_qp(_queue_pair())
    buffer = _buffer(peer)
    peer.connect(cm.ConnParam(resources=1, depth=1))
    established = _event(cm, channel, enums.RDMA_CM_EVENT_ESTABLISHED)
    remote, r_key, length = BUFFER.unpack_from(established.private_data)
    established.ack_cm_event()
    sys.stdout.write(f"told of a buffer: {remote:#x}, r_key {r_key:#x}, {length} bytes\n")
    signaled = _load("enums", "libibverbs_enums").IBV_SEND_SIGNALED
    buffer.write(TEXT, len(TEXT), 0)
    peer.post_write(buffer, len(TEXT), remote, r_key, signaled)
    _completed(peer, "WRITE")
    buffer.write(bytes(len(TEXT)), len(TEXT), 0)
    peer.post_read(buffer, len(TEXT), remote, r_key, signaled)
    _completed(peer, "READ")
    found = bytes(buffer.read(len(TEXT), 0))
    sys.stdout.write(f"read back: {found!r}\n")
    peer.disconnect()
    return 0 if found == TEXT else 1


def _load(*names: str) -> Any:
    """The first module of pyverbs that there is: 44 and 59 name some differently."""
    for name in names:
        try:
            return import_module(f"pyverbs.{name}")
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError("expected pyverbs (Debian: python3-pyverbs), found none")


def _queue_pair() -> Any:
    qp = _load("qp")
    enums = _load("enums", "libibverbs_enums")
    return qp.QPInitAttr(qp_type=enums.IBV_QPT_RC, cap=qp.QPCap(max_send_wr=4, max_recv_wr=1))


def _buffer(peer: Any) -> Any:
    enums = _load("enums", "libibverbs_enums")
    access = (
        enums.IBV_ACCESS_LOCAL_WRITE | enums.IBV_ACCESS_REMOTE_WRITE | enums.IBV_ACCESS_REMOTE_READ
    )
    return _load("mr").MR(peer.pd, LENGTH, access)


def _event(cm: Any, channel: Any, expected: int) -> Any:
    event = cm.CMEvent(channel)
    if event.event_type != expected:
        found = event.event_str()
        event.ack_cm_event()
        raise RuntimeError(f"expected the event {expected} of rdma_cm, found {found}")
    return event


def _completed(peer: Any, name: str) -> None:
    completion = peer.get_send_comp()
    if completion is None or completion.status:
        raise RuntimeError(f"{name}: expected a completion with status 0, found {completion}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
