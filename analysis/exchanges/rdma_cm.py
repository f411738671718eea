"""rdma_cm: connections made by CM datagrams (REQ, REP) between the queue pairs 1, in clear.

REQ and REP each tell their sender's queue pair and a starting PSN. That PSN is the one its sender
*expects*: the receiver chooses. So the REQ's is the sq_psn of the end that answers, the REP's that
of the end that asked. A REQ without REP (refused, lost, timed out) made no connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.addresses import address_pairs
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
    asked: dict[tuple[str, str, int], Message] = {}
    answered: set[tuple[str, str, int]] = set()
    found = []
    for message in _messages(table):
        source, target = message.ends
        if message.attribute == REQ:
            key = source, target, message["local_comm_id"]
            if key not in asked or key in answered:  # not one that was sent again
                asked[key] = message
                answered.discard(key)
            continue
        key = target, source, message["remote_comm_id"]
        if key in asked and key not in answered:
            answered.add(key)
            found.append(_negotiated(asked[key], message))
    return found


@dataclass(frozen=True, slots=True)
class Message:
    """A REQ or REP: where it stands, who sent it to whom, and the fields that matter."""

    attribute: int
    frame: int
    time_ns: int
    ends: tuple[str, str]
    fields: dict[str, int]

    def __getitem__(self, name: str) -> int:
        return self.fields[name]


def _messages(table: Any) -> Iterator[Message]:
    """Every REQ and REP, in capture order."""
    mads = table.has(BTH) & table.has(DETH) & (table["bth_dest_qp"] == QP1)
    mads &= (table["payload_length"] == SIZE) & (table["icrc_status"] != ICRC_BAD)
    mads &= table["captured_length"] >= table["payload_offset"] + SIZE
    rows = np.flatnonzero(mads)
    places = zip(rows.tolist(), table["payload_offset"][rows].tolist(), strict=True)
    raw = np.frombuffer(
        b"".join(table.frame_bytes(row)[at : at + SIZE] for row, at in places), np.uint8
    ).reshape(-1, SIZE)
    kind = np.where(cut(raw, MAD.mgmt_class) == CLASS_CM, cut(raw, MAD.attribute_id), 0)
    wanted = np.flatnonzero(np.isin(kind, list(FIELDS)))
    body, rows = raw[wanted, MAD.size :], rows[wanted]
    columns = {
        attribute: [cut(body, field).tolist() for field in fields]
        for attribute, fields in FIELDS.items()
    }
    names = {attribute: [field.name for field in fields] for attribute, fields in FIELDS.items()}
    frames, times = table["frame"][rows].tolist(), table["time_ns"][rows].tolist()
    for at, ends in enumerate(address_pairs(table, rows)):
        attribute = int(kind[wanted[at]])
        values = [column[at] for column in columns[attribute]]
        fields = dict(zip(names[attribute], values, strict=True))
        yield Message(attribute, frames[at], times[at], ends, fields)


FIELDS: dict[int, tuple[Field, ...]] = {
    REQ: (CM_REQ.local_comm_id, CM_REQ.local_qpn, CM_REQ.starting_psn, CM_REQ.path_mtu),
    REP: (CM_REP.local_comm_id, CM_REP.remote_comm_id, CM_REP.local_qpn, CM_REP.starting_psn),
}


def _negotiated(req: Message, rep: Message) -> Negotiated:
    code = req["path_mtu"]
    mtu = 128 << code if 1 <= code <= 5 else None
    a, b = End(req.ends[0], req["local_qpn"]), End(rep.ends[0], rep["local_qpn"])
    return Negotiated(
        source=SOURCE,
        witness="clear",
        observer=f"CM REQ in frame {req.frame}, REP in frame {rep.frame}",
        a=Announced(a, rep["starting_psn"], rep.frame, (rep["starting_psn"],), mtu),
        b=Announced(b, req["starting_psn"], req.frame, (req["starting_psn"],), mtu),
        convention=Convention.RECEIVER_CHOOSES,
        frame=rep.frame,
        time_ns=rep.time_ns,
    )
