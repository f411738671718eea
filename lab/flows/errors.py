"""Requests that must fail, each with the status and the NAK that the standard gives it."""

from __future__ import annotations

import time
from typing import Any

from lab.flows.end import End
from lab.flows.flow import Setup, documented

SIZE = 64


def _write(end: End, *, r_key: int | None = None, offset: int | None = None) -> int:
    """Post a WRITE of `SIZE` bytes; by default one that is in order."""
    verbs, layout = end.verbs, end.layout
    end.put(layout.outgoing, b"\xee" * SIZE)
    sge = end.sge(layout.outgoing, SIZE)
    wr = verbs.SendWR(opcode=verbs.IBV_WR_RDMA_WRITE, num_sge=1, sg=[sge])
    wr.set_wr_rdma(
        end.remote.r_key if r_key is None else r_key,
        end.remote.addr + (layout.incoming if offset is None else offset),
    )
    return end.post(wr, SIZE)


def _send(end: End) -> int:
    sge = end.sge(end.layout.outgoing, SIZE)
    return end.post(end.verbs.SendWR(opcode=end.verbs.IBV_WR_SEND, num_sge=1, sg=[sge]), SIZE)


def _refused(end: End, **wrong: Any) -> None:
    """The client's WRITE is refused, the next one flushed; the server's buffer is untouched."""
    if end.role == "client":
        end.complete(_write(end, **wrong), "IBV_WC_REM_ACCESS_ERR")
        end.complete(_write(end), "IBV_WC_WR_FLUSH_ERR")
    end.barrier("refused")
    if end.role == "server":
        end.check("buffer untouched", end.layout.incoming, bytes(SIZE))


def bad_r_key(end: End) -> None:
    """A WRITE with an r_key that opens nothing.

    Teaches: an r_key is a capability of 32 bits; without it an address is worth nothing. Both
    queue pairs are in ERR afterwards: later requests are flushed and never reach the wire.

    On the wire: one WRITE_ONLY, answered by a NAK (AETH syndrome 0x62, remote access error).

    Look at: RETH's r_key beside the one in the `endpoint` message.
    """
    _refused(end, r_key=end.remote.r_key ^ 0x80)


def no_permission(end: End) -> None:
    """A WRITE to a buffer that may only be read.

    Teaches: rights belong to the memory region, not to the r_key's holder.

    On the wire: one WRITE_ONLY, answered by a NAK (0x62, remote access error).

    Look at: the r_key is right; only the responder knows what it allows.
    """
    _refused(end)


def out_of_bounds(end: End) -> None:
    """A WRITE whose last 32 bytes lie behind the end of the buffer.

    Teaches: bounds are checked before the first byte is stored.

    On the wire: one WRITE_ONLY, answered by a NAK (0x62, remote access error).

    Look at: RETH's address and length against `addr` and `length` in the `endpoint` message.
    """
    _refused(end, offset=end.layout.length - SIZE // 2)


def receive_too_short(end: End) -> None:
    """A SEND longer than the receive that was posted for it.

    Teaches: the receiver's buffer bounds a SEND, and the sender is told only that it failed.

    On the wire: one SEND_ONLY, answered by a NAK (0x61 invalid request, or 0x63 remote operational
    error as the kernel's rxe gives).

    Look at: two completions with errors, one at each end.
    """
    if end.role == "client":
        end.complete(_send(end), "IBV_WC_REM_INV_REQ_ERR", "IBV_WC_REM_OP_ERR")
    else:
        end.receive("IBV_WC_LOC_LEN_ERR", "IBV_WC_LOC_QP_OP_ERR")
    end.barrier("failed")


def rnr(end: End) -> None:
    """A SEND to a peer that posts no receive, given up after two retries.

    Teaches: "receiver not ready" is flow control: the sender waits as long as the NAK says and
    sends again, `rnr_retry` times.

    On the wire: SEND_ONLY and RNR NAK (syndrome 0x20 and the timer code), three times the same PSN.

    Look at: the time between a NAK and the next attempt against the timer code's.
    """
    if end.role == "client":
        end.complete(_send(end), "IBV_WC_RNR_RETRY_EXC_ERR")
    end.barrier("given up")


def rnr_late(end: End) -> None:
    """A SEND to a peer that posts its receive too late, yet not too late for the retries.

    Teaches: an RNR NAK alone is no failure; the SEND succeeds once there is a receive.

    On the wire: SEND_ONLY and RNR NAK some times, then the same SEND_ONLY and its acknowledgement.

    Look at: every attempt carries the same PSN.
    """
    data = end.pattern("late", SIZE)
    if end.role == "client":
        end.put(end.layout.outgoing, data)
        end.complete(_send(end))
    else:
        time.sleep(0.02)  # the lateness itself: some tens of RNR timers of 0.64 ms
        end.post_receive(SIZE)
        end.receive()
        end.check("SEND, late", end.layout.incoming, data)


def psn_ahead(end: End) -> None:
    """The client begins five PSNs after the one it announced.

    Teaches: a receiver that expects another PSN believes packets were lost and asks for them, once.

    On the wire: a SEND_ONLY, a NAK (0x60, PSN sequence error) naming the PSN expected, and the same
    SEND_ONLY again until the retries are used up.

    Look at: the first request's PSN is not the `sq_psn` announced: the verdict must be "mismatch".
    """
    if end.role == "client":
        end.complete(_send(end), "IBV_WC_RETRY_EXC_ERR")
    end.barrier("given up")


def psn_behind(end: End) -> None:
    """The client begins five PSNs before the one it announced.

    Teaches: a packet older than expected is taken for a duplicate: acknowledged, not carried out.
    A sender that took that acknowledgement for its own would believe the message delivered. This
    is what stale packets of an earlier connection meet, and why PSNs begin at random.

    On the wire: the same SEND_ONLY until the retries are used up, each answered by an
    acknowledgement for a PSN that was never sent.

    Look at: the first request's PSN is not the `sq_psn` announced, and no receive completes.
    """
    if end.role == "client":
        # What covers more than was ever sent may be taken (as IBTA lets it) or left alone.
        end.complete(_send(end), "IBV_WC_SUCCESS", "IBV_WC_RETRY_EXC_ERR")
    end.barrier("sent")
    if end.role == "server":
        end.check("buffer untouched", end.layout.incoming, bytes(SIZE))


def retry_exhausted(end: End) -> None:
    """A WRITE to a queue pair that is no longer there.

    Teaches: RoCE has no connection to break: a sender finds out by hearing nothing.

    On the wire: the same WRITE_ONLY three times, the local ACK timeout apart, and no answer.

    Look at: the time between attempts: 4.096 us * 2^timeout at least.
    """
    if end.role == "server":
        end.qp.close()
    end.barrier("gone")
    if end.role == "client":
        end.complete(_write(end), "IBV_WC_RETRY_EXC_ERR")
    end.barrier("given up")


FEW = {"retry_cnt": 2, "timeout": 12}  # 16.8 ms


def _one_receive(length: int) -> Any:
    def prepare(end: End) -> None:
        if end.role == "server":
            end.post_receive(length)

    return prepare


FLOWS = (
    documented("error-bad-r-key", bad_r_key),
    documented(
        "error-no-permission", no_permission, setup=Setup(access=("LOCAL_WRITE", "REMOTE_READ"))
    ),
    documented("error-out-of-bounds", out_of_bounds),
    documented("error-receive-too-short", receive_too_short, prepare=_one_receive(SIZE // 2)),
    documented("error-rnr", rnr, setup=Setup(attributes={"rnr_retry": 2})),
    documented("error-rnr-late", rnr_late),
    documented(
        "error-psn-ahead",
        psn_ahead,
        prepare=_one_receive(SIZE),
        setup=Setup(ahead=5, attributes=FEW),
    ),
    documented(
        "error-psn-behind",
        psn_behind,
        prepare=_one_receive(SIZE),
        setup=Setup(ahead=-5, attributes=FEW),
    ),
    documented("error-retry-exhausted", retry_exhausted, setup=Setup(attributes=FEW)),
)
