"""Atomics put to use: drawing tickets, and a lock that nobody holds twice."""

from __future__ import annotations

from lab.flows.atomics import atomic, word
from lab.flows.end import End
from lab.flows.flow import documented

TICKETS, LOCK = 0, 8  # offsets of the server's words
FREE, HELD = 0, 0xC11E


def run(end: End) -> None:
    """The client draws `tickets` tickets by FETCH_ADD, then takes and gives back a lock by CMP_SWP.

    Teaches: the responder's adapter does read, change and write as one step, and answers with the
    old value: each ticket is drawn once, and a compare that fails changes nothing.

    On the wire: FETCH_ADD and CMP_SWP requests (AtomicETH), ATOMIC_ACKNOWLEDGE with the old value
    (AtomicAckETH). Each uses up one PSN of the client's.

    Look at: the answers of the FETCH_ADDs are 0, 1, 2, ...
    """
    tickets = end.arguments["tickets"]
    if end.role == "client":
        for ticket in range(tickets):
            atomic(end, "IBV_WR_ATOMIC_FETCH_AND_ADD", TICKETS, (1, 0), ticket)
        steps = [(FREE, HELD, FREE), (FREE, HELD, HELD), (HELD, FREE, HELD)]
        for compare, swap, original in steps:  # taken, refused, given back
            atomic(end, "IBV_WR_ATOMIC_CMP_AND_SWP", LOCK, (compare, swap), original)
    end.barrier("counted")
    if end.role == "server":
        end.check("tickets and lock", end.layout.words, word(tickets) + word(FREE))


FLOW = documented("atomics", run, arguments={"tickets": 16})
