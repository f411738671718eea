"""The checks a request must pass, in the standard's order (IBTA vol. 1, 9.7.4; kernel: rxe_resp.c).

The PSN is judged before these, by the responder; what its own memory refuses, after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dissectors import aeth
from dissectors.atomiceth import AtomicETH
from dissectors.immdt import ImmDt
from dissectors.opcode import Opcode
from dissectors.reth import RETH
from lab.engine.decode import FAMILY, Run
from lab.engine.events import AsyncKind
from lab.engine.memory import Access, ProtectionError
from lab.engine.work import MAX_MESSAGE, WCStatus

if TYPE_CHECKING:
    from lab.engine.responder import Responder

READ, COMPARE_SWAP, FETCH_ADD = "RC_RDMA_READ_REQUEST", "RC_COMPARE_SWAP", "RC_FETCH_ADD"
ATOMICS = {COMPARE_SWAP, FETCH_ADD}
SENDS = {"RC_SEND", "UC_SEND", "UD_SEND"}
WRITES = {"RC_RDMA_WRITE", "UC_RDMA_WRITE"}
SUPPORTED = SENDS | WRITES | ATOMICS | {READ}

# What both the queue pair and the region must allow.
NEEDS = {
    READ: Access.REMOTE_READ,
    COMPARE_SWAP: Access.REMOTE_ATOMIC,
    FETCH_ADD: Access.REMOTE_ATOMIC,
    **dict.fromkeys(WRITES, Access.REMOTE_WRITE),
}

# What may come next: outside a message, and inside one of each family.
SEQUENCE: dict[str | None, frozenset[Opcode]] = {
    None: frozenset(opcode for opcode in Opcode if opcode.starts_message),
    **{
        family: frozenset(
            opcode for opcode in Opcode if FAMILY[opcode] == family and not opcode.starts_message
        )
        for family in SENDS | WRITES
    },
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a request is not executed.

    A reliable connection answers with a NAK of `syndrome`; unless `recoverable` it then stops,
    raising `event` and ending the receive it had taken with `status`.
    """

    syndrome: int
    reason: str
    status: WCStatus | None = None
    event: AsyncKind | None = None
    recoverable: bool = False


NOT_READY = Verdict(aeth.RNR_NAK, "no receive posted", recoverable=True)


def invalid(reason: str) -> Verdict:
    """The request itself is wrong."""
    return Verdict(aeth.NAK_INVALID_REQUEST, reason, event=AsyncKind.QP_REQ_ERR)


def judge(responder: Responder, run: Run) -> Verdict | None:
    """The first check that `run` does not pass."""
    for check in CHECKS:
        if (verdict := check(responder, run)) is not None:
            return verdict
    return None


def check_sequence(responder: Responder, run: Run) -> Verdict | None:
    """A message begins with FIRST or ONLY and goes on with its own MIDDLE and LAST."""
    family = responder.message.family if responder.message else None
    if run.first in SEQUENCE[family]:
        return None
    return invalid(f"{run.first.text} {f'inside a {family}' if family else 'outside a message'}")


def check_enabled(responder: Responder, run: Run) -> Verdict | None:
    """The transport executes it, and the queue pair allows it."""
    if run.family not in SUPPORTED:
        return invalid(f"{run.first.text} is not supported")
    needed = NEEDS.get(run.family, Access.NONE)
    if needed & ~responder.qp.attributes.access:
        return invalid(f"the queue pair does not allow {needed.name}")
    return None


def check_resources(responder: Responder, run: Run) -> Verdict | None:
    """A receive for a SEND, room for the answer of a READ or atomic."""
    qp = responder.qp
    needs_receive = run.first.starts_message if run.family in SENDS else ImmDt in run.last.headers
    if needs_receive and not qp.receives:
        return NOT_READY
    if run.family in ATOMICS or run.family == READ:
        limit = qp.attributes.max_dest_rd_atomic
        if responder.replies.unanswered >= limit:
            return invalid(f"more than {limit} READs and atomics outstanding")
    return None


def check_length(responder: Responder, run: Run) -> Verdict | None:
    """FIRST and MIDDLE are full, LAST holds something, and a WRITE is as long as its RETH says; no
    message is longer than 2^31 bytes.
    """
    if RETH in run.first.headers and run.header(RETH).dma_len > MAX_MESSAGE:
        return invalid(f"a message of more than {MAX_MESSAGE} bytes")
    if not run.last.has_payload:
        return None if not run.length else invalid(f"{run.first.text} with payload")
    path_mtu = responder.qp.attributes.path_mtu
    *before, last = map(len, run.chunks)
    starts, ends = run.last.starts_message, run.last.ends_message
    if any(length != path_mtu for length in before) or not fits(starts, ends, last, path_mtu):
        return invalid(f"{run.last.text} of {last} bytes at a path MTU of {path_mtu}")
    if run.family in WRITES:
        _, _, length, done = responder.write_place(run)
        done += run.length
        if not completes(ends, done, length):
            return invalid(f"{done} bytes of a WRITE of {length}")
    return None


def fits(starts: Any, ends: Any, length: Any, path_mtu: Any) -> Any:
    """Whether a packet of a message may hold `length` bytes (IBTA vol. 1, 9.7.4.1.6)."""
    if not ends:
        return length == path_mtu
    return length <= path_mtu and (length > 0 or bool(starts))


def completes(ends: Any, done: Any, length: Any) -> Any:
    """Whether `done` bytes so far are right for a WRITE of `length`."""
    return done == length if ends else done <= length


def check_key(responder: Responder, run: Run) -> Verdict | None:
    """r_key, bounds and rights of the memory that RETH or AtomicETH names."""
    if run.family not in NEEDS:
        return None
    if run.family in ATOMICS:
        atomic = run.header(AtomicETH)
        if atomic.va % 8:
            return invalid(f"atomic at 0x{atomic.va:x}, which is not a multiple of 8")
        r_key, va, length = atomic.r_key, atomic.va, 8
    elif run.family == READ:
        reth = run.header(RETH)
        r_key, va, length = reth.r_key, reth.va, reth.dma_len
    else:
        r_key, va, length, _ = responder.write_place(run)
    try:
        responder.remote(r_key, va, length, NEEDS[run.family])
    except ProtectionError as error:
        return Verdict(aeth.NAK_REMOTE_ACCESS_ERROR, str(error), event=AsyncKind.QP_ACCESS_ERR)
    return None


CHECKS: tuple[Callable[[Responder, Run], Verdict | None], ...] = (
    check_sequence,
    check_enabled,
    check_resources,
    check_length,
    check_key,
)
