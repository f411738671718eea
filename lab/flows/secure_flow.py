"""The main job: every kind of request in both directions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from lab.exchange.messages import PATH_MTUS
from lab.exchange.session import Role
from lab.flows.atomics import cmp_swp, fetch_add, prepare_words
from lab.flows.end import End
from lab.flows.flow import documented
from lab.flows.read import read
from lab.flows.send import send
from lab.flows.write import write
from lab.flows.write_imm import write_imm

IMMEDIATE: dict[Role, int] = {"client": 0xC11E_0001, "server": 0x5E17_0002}
MESSAGE = 61  # bytes of the SEND: three bytes of pad


def prepare(end: End) -> None:
    """One receive for the peer's SEND, one that its WRITE_WITH_IMM uses up."""
    end.post_receive(MESSAGE)
    end.post_receive(0)
    prepare_words(end)


def run(end: End) -> None:
    """The main job: every kind of request, in both directions, after an exchange inside TLS.

    Teaches: the PSNs, keys and addresses that two queue pairs need are negotiated where nobody can
    read them; everything after that is in clear on UDP port 4791.

    On the wire: TLS on TCP 4433 first. Then from the client, and after that from the server: SEND,
    RDMA WRITE of one packet and of four, RDMA READ of five, WRITE_WITH_IMM of two, FETCH_ADD,
    CMP_SWP twice. Acknowledgements come the other way.

    Look at: the first request from each end carries the `sq_psn` that end announced; every further
    request counts on from there, and a READ REQUEST counts as many PSNs as its answer has packets.
    """
    requesters: tuple[Role, Role] = ("client", "server")
    mtu = end.path_mtu
    for requester in requesters:
        immediate = IMMEDIATE[requester]
        steps: dict[str, Callable[[], None]] = {
            "SEND": partial(send, end, requester, MESSAGE),
            "WRITE one packet": partial(write, end, requester, mtu),
            "WRITE many packets": partial(write, end, requester, 3 * mtu + 1),
            "READ many packets": partial(read, end, requester, 4 * mtu + 6),
            "WRITE_WITH_IMM": partial(write_imm, end, requester, mtu + 3, immediate),
            "FETCH_ADD": partial(fetch_add, end, requester),
            "CMP_SWP": partial(cmp_swp, end, requester),
        }
        for name, step in steps.items():
            step()
            # Nobody goes on before the data has been looked at: the next step overwrites it.
            end.barrier(f"{requester}: {name} done")


FLOW = documented("secure-flow", run, prepare=prepare, room=lambda _: 5 * PATH_MTUS[-1])
