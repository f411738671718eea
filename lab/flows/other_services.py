"""Queue pairs that promise less than RC, or share what RC keeps to itself."""

from __future__ import annotations

from lab.exchange.session import Role
from lab.flows.end import End
from lab.flows.flow import Setup, documented
from lab.flows.send import send
from lab.flows.write_imm import write_imm

SIZE, MANY = 200, 8
BOTH: tuple[Role, Role] = ("client", "server")


def prepare_uc(end: End) -> None:
    """For a SEND and a WRITE_WITH_IMM."""
    end.post_receive(SIZE)
    end.post_receive(0)


def uc(end: End) -> None:
    """Unreliable connection: SEND and WRITE_WITH_IMM in both directions, and no acknowledgement.

    Teaches: a completion at the sender means "sent", not "arrived"; a lost packet is a lost
    message, and nobody tells. READ and atomics need answers, so UC has none.

    On the wire: opcodes 0x20 and up; not one ACKNOWLEDGE.

    Look at: PSNs count up all the same: the receiver uses them to notice a gap.
    """
    for requester in BOTH:
        send(end, requester, SIZE)
        end.barrier(f"{requester}: message taken")
        write_imm(end, requester, 2 * end.path_mtu + 1, 7)
        end.barrier(f"{requester} done")


def prepare_many(end: End) -> None:
    """A receive for every message of the peer's."""
    for _ in range(MANY):
        end.post_receive(SIZE)


def ud(end: End) -> None:
    """Unreliable datagrams: each SEND names its receiver itself, by address, QP number and Q_Key.

    Teaches: one queue pair can talk to many; a message is one packet, and the receiver finds 40
    bytes before it that say who sent it.

    On the wire: UD SEND_ONLY with DETH (Q_Key, source QP) after BTH; no acknowledgement.

    Look at: BTH's PSN still begins at `sq_psn`, and no receiver checks it.
    """
    _many(end)


def srq(end: End) -> None:
    """Receives posted to a shared receive queue, from which the queue pair takes them.

    Teaches: a thousand queue pairs need not have a thousand queues of receives.

    On the wire: nothing shows it: ordinary RC SENDs.

    Look at: the credits in an acknowledgement (the low five bits of its syndrome) are 0x1f, "no
    limit": what is in a shared queue can be promised to nobody.
    """
    _many(end)


def _many(end: End) -> None:
    for requester in BOTH:
        for _ in range(MANY):
            send(end, requester, SIZE)
            end.barrier(f"{requester}: message taken")


FLOWS = (
    documented(
        "uc", uc, prepare=prepare_uc, room=lambda _: 2 * 4096 + 1, setup=Setup(qp_type="UC")
    ),
    documented("ud", ud, prepare=prepare_many, setup=Setup(qp_type="UD")),
    documented("srq", srq, prepare=prepare_many, setup=Setup(shared_receive_queue=True)),
)
