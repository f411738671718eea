"""What the engine tells of itself: counters, asynchronous events, and a log of its decisions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum

COUNTERS = (
    # The kernel's rxe_hw_counters.c, in its order.
    "sent_pkts",
    "rcvd_pkts",
    "duplicate_request",
    "out_of_seq_request",
    "rcvd_rnr_err",
    "send_rnr_err",
    "rcvd_seq_err",
    "ack_deferred",
    "retry_exceeded_err",
    "retry_rnr_exceeded_err",
    "completer_retry_err",
    "send_err",
    "link_downed",
    "rdma_sends",
    "rdma_recvs",
    # Errors by the names that mlx5 has for them, where it has any.
    "resp_remote_access_errors",
    "resp_invalid_requests",
    "resp_operational_errors",
    "req_remote_access_errors",
    "req_remote_invalid_request",
    # Of the port (struct ibv_port_attr).
    "bad_pkey_cntr",
    "qkey_viol_cntr",
    # Congestion, by the names that mlx5 has for it; rxe has none.
    "np_ecn_marked_roce_packets",
    "np_cnp_sent",
    "rp_cnp_handled",
    "rp_cnp_ignored",
    # What rxe drops without counting.
    "rcvd_icrc_err",
    "rcvd_malformed_err",
    "rcvd_unknown_qp",
    "rcvd_not_for_qp",
)


def new_counters() -> dict[str, int]:
    """Every counter at 0."""
    return dict.fromkeys(COUNTERS, 0)


class AsyncKind(IntEnum):
    """`enum ibv_event_type`, those that this transport raises."""

    CQ_ERR = 0
    QP_FATAL = 1
    QP_REQ_ERR = 2
    QP_ACCESS_ERR = 3
    COMM_EST = 4
    SQ_DRAINED = 5
    DEVICE_FATAL = 8
    SRQ_LIMIT_REACHED = 15
    QP_LAST_WQE_REACHED = 16


@dataclass(frozen=True, slots=True)
class AsyncEvent:
    """Something a consumer did not ask for: `number` is that of the queue pair, CQ or SRQ it
    befell.
    """

    kind: AsyncKind
    number: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A log entry: what a queue pair decided, when (ns), and the figures it decided on."""

    time_ns: int
    event: str
    qpn: int
    data: dict[str, int | str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, int | str]:
        """For a line of `log-<host>.jsonl`."""
        return {"time_ns": self.time_ns, "event": self.event, "qpn": self.qpn, **self.data}


Log = Callable[[Decision], None]
