"""rdma_cm: connections made by CM datagrams (REQ, REP) between the queue pairs 1, in clear.

REQ and REP each tell their sender's queue pair and a starting PSN. That PSN is the one its sender
*expects*: the receiver chooses. So the REQ's is the sq_psn of the end that answers, the REP's that
of the end that asked. A REQ without REP (refused, lost, timed out) made no connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from analysis.addresses import address_pairs
from analysis.negotiated import Announced, Convention, End, Negotiated
from dissectors.bth import BTH
from dissectors.cm import CM_REP, CM_REQ
from dissectors.deth import DETH
from dissectors.icrc import ICRC_BAD
from dissectors.mad import CLASS_CM, MAD, SIZE
from dissectors.table import cut

SOURCE = "rdma-cm"

REQ, REP = 0x0010, 0x0013
QP1 = 1
FIELDS = (
    (CM_REQ.local_comm_id, CM_REP.remote_comm_id),
    (CM_REQ.local_qpn, CM_REP.local_qpn),
    (CM_REQ.starting_psn, CM_REP.starting_psn),
    (CM_REQ.path_mtu, None),
)
"""What is read of a REQ and of a REP: the communication ID that names both, and so on."""


class Message(NamedTuple):
    """A REQ or REP: where it stands, who sent it to whom, and the fields that matter.

    `comm_id` is the communication ID that the end which asked has given.
    """

    attribute: int
    frame: int
    time_ns: int
    ends: tuple[str, str]
    comm_id: int
    qpn: int
    psn: int
    path_mtu: int


def read(table: Any) -> list[Negotiated]:
    """A statement for each REQ in `table` (a PacketTable) that a REP answers."""
    asked: dict[tuple[tuple[str, str], int], Message] = {}
    answered: set[tuple[tuple[str, str], int]] = set()
    found = []
    for message in _messages(table):
        if message.attribute == REQ:
            key = message.ends, message.comm_id
            if key not in asked or key in answered:  # not one that was sent again
                asked[key] = message
                answered.discard(key)
            continue
        key = message.ends[::-1], message.comm_id
        if key in asked and key not in answered:
            answered.add(key)
            found.append(_negotiated(asked[key], message))
    return found


def _messages(table: Any) -> Iterator[Message]:
    """Every REQ and REP, in capture order."""
    mads = table.has(BTH) & table.has(DETH) & (table["bth_dest_qp"] == QP1)
    mads &= (table["payload_length"] == SIZE) & (table["icrc_status"] != ICRC_BAD)
    mads &= table["captured_length"] >= table["payload_offset"] + SIZE
    rows = np.flatnonzero(mads)
    head = table.octets(rows, table["payload_offset"][rows], MAD.size)
    kind = np.where(cut(head, MAD.mgmt_class) == CLASS_CM, cut(head, MAD.attribute_id), 0)
    wanted = np.isin(kind, (REQ, REP))
    rows, kind = rows[wanted], kind[wanted]
    size = max(CM_REQ.size, CM_REP.size)
    body = table.octets(rows, table["payload_offset"][rows] + MAD.size, size)
    values = [
        np.where(kind == REQ, cut(body, one), cut(body, other) if other is not None else 0)
        for one, other in FIELDS
    ]
    before = (kind, table["frame"][rows], table["time_ns"][rows])
    columns = [column.tolist() for column in before], [column.tolist() for column in values]
    return map(Message, *columns[0], address_pairs(table, rows), *columns[1])


def _negotiated(req: Message, rep: Message) -> Negotiated:
    mtu = 128 << req.path_mtu if 1 <= req.path_mtu <= 5 else None
    a, b = End(req.ends[0], req.qpn), End(rep.ends[0], rep.qpn)
    return Negotiated(
        source=SOURCE,
        witness="clear",
        observer=f"CM REQ in frame {req.frame}, REP in frame {rep.frame}",
        a=Announced(a, rep.psn, rep.frame, (rep.psn,), mtu),
        b=Announced(b, req.psn, req.frame, (req.psn,), mtu),
        convention=Convention.RECEIVER_CHOOSES,
        frame=rep.frame,
        time_ns=rep.time_ns,
    )
