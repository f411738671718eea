"""rdma_cm: connections made by CM datagrams (REQ, REP) between the queue pairs 1, in clear.

REQ and REP each tell their sender's queue pair and a starting PSN. That PSN is the one its sender
*expects*: the receiver chooses. So the REQ's is the sq_psn of the end that answers, the REP's that
of the end that asked. A REQ without REP (refused, lost, timed out) made no connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from analysis.negotiated import Announced, Convention, End, Negotiated
from dissectors.bth import BTH
from dissectors.cm import CM_REP, CM_REQ
from dissectors.deth import DETH
from dissectors.header import Field
from dissectors.icrc import ICRC_BAD
from dissectors.mad import CLASS_CM, MAD, SIZE
from dissectors.table import cut

SOURCE = "rdma-cm"

REQ, REP = 0x0010, 0x0013
QP1 = 1


def read(table: Any) -> list[Negotiated]:
    """A statement for each REQ in `table` (a PacketTable) that a REP answers."""
    asked: dict[tuple[str, str, int], tuple[int, Any]] = {}
    answered: set[tuple[str, str, int]] = set()
    found = []
    for row, request, message in _messages(table):
        ends = table.source(row), table.destination(row)
        if request:
            key = *ends, message["local_comm_id"]
            if key not in asked or key in answered:  # not one that was sent again
                asked[key] = row, message
                answered.discard(key)
            continue
        key = *ends[::-1], message["remote_comm_id"]
        if key in asked and key not in answered:
            answered.add(key)
            found.append(_negotiated(table, asked[key], (row, message)))
    return found


def _messages(table: Any) -> Iterator[tuple[int, bool, dict[str, int]]]:
    """Every REQ (True) and REP: its table row and the fields that matter."""
    mads = table.has(BTH) & table.has(DETH) & (table["bth_dest_qp"] == QP1)
    mads &= (table["payload_length"] == SIZE) & (table["icrc_status"] != ICRC_BAD)
    mads &= table["captured_length"] >= table["payload_offset"] + SIZE
    rows = np.flatnonzero(mads)
    offset = table["payload_offset"]
    raw = np.frombuffer(
        b"".join(table.frame_bytes(r)[offset[r] : offset[r] + SIZE] for r in rows.tolist()),
        np.uint8,
    ).reshape(-1, SIZE)
    is_cm = cut(raw, MAD.mgmt_class) == CLASS_CM
    kind = cut(raw, MAD.attribute_id)
    body = raw[:, MAD.size :]
    columns = {
        attribute: {field.name: cut(body, field).astype(np.int64) for field in fields}
        for attribute, fields in FIELDS.items()
    }
    for at in np.flatnonzero(is_cm & np.isin(kind, list(FIELDS))).tolist():
        attribute = int(kind[at])
        yield (
            int(rows[at]),
            attribute == REQ,
            {name: int(column[at]) for name, column in columns[attribute].items()},
        )


FIELDS: dict[int, tuple[Field, ...]] = {
    REQ: (CM_REQ.local_comm_id, CM_REQ.local_qpn, CM_REQ.starting_psn, CM_REQ.path_mtu),
    REP: (CM_REP.local_comm_id, CM_REP.remote_comm_id, CM_REP.local_qpn, CM_REP.starting_psn),
}


def _negotiated(
    table: Any, asked: tuple[int, dict[str, int]], answer: tuple[int, dict[str, int]]
) -> Negotiated:
    (req_row, req), (rep_row, rep) = asked, answer
    code = req["path_mtu"]
    mtu = 128 << code if 1 <= code <= 5 else None
    req_frame, rep_frame = int(table["frame"][req_row]), int(table["frame"][rep_row])
    a = End(table.source(req_row), req["local_qpn"])
    b = End(table.source(rep_row), rep["local_qpn"])
    return Negotiated(
        source=SOURCE,
        witness="clear",
        observer=f"CM REQ in frame {req_frame}, REP in frame {rep_frame}",
        a=Announced(a, rep["starting_psn"], rep_frame, (rep["starting_psn"],), mtu),
        b=Announced(b, req["starting_psn"], req_frame, (req["starting_psn"],), mtu),
        convention=Convention.RECEIVER_CHOOSES,
        frame=rep_frame,
        time_ns=int(table["time_ns"][rep_row]),
    )
