"""The notification point: packets marked as congested are answered by CNPs (IBTA vol. 1, A17.9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dissectors.deth import DETH
from dissectors.opcode import Opcode
from lab.engine.burst import Path
from lab.engine.decode import Run
from lab.engine.segment import Train

if TYPE_CHECKING:
    from lab.engine.qp import QueuePair

CONGESTION_EXPERIENCED = 3
CAPABLE = 2
"""ECN field of the IP header: CE, and ECT(0), which allows a router to set CE (RFC 3168)."""
CNP_INTERVAL_NS = 50_000
"""Between two CNPs of a queue pair (N in Zhu et al., SIGCOMM 2015, section 3.1)."""
RESERVED = bytes(16)


def ecn(path: Path, value: int) -> Path:
    """`path` with another ECN field."""
    return path._replace(traffic_class=path.traffic_class & ~3 | value)


class Notifier:
    """The CNPs that a queue pair owes. None is counted in a PSN, asked for again or sent again."""

    def __init__(self, qp: QueuePair) -> None:
        self._qp = qp
        self.reset()

    def reset(self) -> None:
        self._silent_until: int | None = None
        self._owed: tuple[Path, int] | None = None

    @property
    def settled(self) -> bool:
        """Whether no CNP is owed."""
        return self._owed is None

    def notice(self, run: Run, now: int) -> None:
        """Where packets that came are marked, owe their sender a CNP, one in a while."""
        if run.path.traffic_class & 3 != CONGESTION_EXPERIENCED:
            return
        qp = self._qp
        qp.device.counters["np_ecn_marked_roce_packets"] += run.packet_count
        if self._silent_until is not None and now < self._silent_until:
            return
        parameters = qp.device.dcqcn
        self._silent_until = now + (parameters.n_ns if parameters else CNP_INTERVAL_NS)
        datagram = DETH in run.first.headers
        to = run.header(DETH).src_qp if datagram else qp.attributes.dest_qp
        self._owed = Path(run.path.destination, run.path.source), to
        qp.log(now, "cnp_sent", sq_psn=run.first_psn, dest_qp=to)

    def trains(self) -> Iterator[Train]:
        """The CNP owed: before all else, since it is about what goes out too fast."""
        if self._owed is None:
            return
        (path, to), self._owed = self._owed, None
        qp = self._qp
        if own := qp.attributes.path:
            path = ecn(own._replace(source=path.source, destination=path.destination), 0)
        qp.device.counters["np_cnp_sent"] += 1
        yield Train(path, to, 0, (Opcode.CNP,), RESERVED, becn=True, p_key=qp.attributes.p_key)
