"""FETCH_ADD and CMP_SWP: the responder changes a 64-bit word and answers with what it held.

On the wire: AtomicETH (address, r_key, swap or add, compare) in the request, AtomicAckETH (the
original value) in the answer. In memory the word has the machine's byte order, on the wire the
network's. Atomics are answered from memory when repeated: a lost answer must not add twice.
"""

from __future__ import annotations

import sys

from lab.exchange.session import Role
from lab.flows.end import End

ADDED = 0x0123_4567_89AB_CDEF  # what the first word holds before FETCH_ADD
ADD = 0x1000_0000_0000_0001
COMPARED = 0xFEDC_BA98_7654_3210  # what the second word holds before CMP_SWP
SWAP = 0x0F1E_2D3C_4B5A_6978


def word(value: int) -> bytes:
    """A 64-bit word as this machine stores it."""
    return value.to_bytes(8, sys.byteorder)


def prepare_words(end: End) -> None:
    """Both words hold their first values before the peer may send."""
    end.put(end.layout.words, word(ADDED) + word(COMPARED))


def fetch_add(end: End, requester: Role) -> None:
    """`requester` adds to the other's first word."""
    if end.role == requester:
        atomic(end, "IBV_WR_ATOMIC_FETCH_AND_ADD", 0, (ADD, 0), ADDED)
    end.barrier(f"{requester} added")
    if end.role != requester:
        end.check(f"word after FETCH_ADD by {requester}", end.layout.words, word(ADDED + ADD))


def cmp_swp(end: End, requester: Role) -> None:
    """`requester` swaps the other's second word; a second compare finds no match."""
    if end.role == requester:
        atomic(end, "IBV_WR_ATOMIC_CMP_AND_SWP", 8, (COMPARED, SWAP), COMPARED)
        atomic(end, "IBV_WR_ATOMIC_CMP_AND_SWP", 8, (COMPARED, ADDED), SWAP)
    end.barrier(f"{requester} swapped")
    if end.role != requester:
        end.check(f"word after CMP_SWP by {requester}", end.layout.words + 8, word(SWAP))


def atomic(end: End, opcode: str, offset: int, operands: tuple[int, int], original: int) -> None:
    """`operands` are (add, 0) or (compare, swap); the answer must be `original`."""
    verbs, landing = end.verbs, end.layout.words + 32
    wr = verbs.SendWR(opcode=getattr(verbs, opcode), num_sge=1, sg=[end.sge(landing, 8)])
    wr.set_wr_atomic(end.remote.r_key, end.remote.addr + end.layout.words + offset, *operands)
    end.complete(end.post(wr, 8))
    end.check(f"{opcode[14:]} by {end.role} returned", landing, word(original))
