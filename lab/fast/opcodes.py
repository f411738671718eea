"""The opcode table as arrays for compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np

from dissectors.bth import BTH
from dissectors.immdt import ImmDt
from dissectors.opcode import BY_VALUE, Opcode
from lab.engine.decode import FAMILY
from lab.engine.segment import READ_RESPONSE, SHAPES
from lab.engine.states import QPType
from lab.engine.work import WROpcode

SLOW, SEND, WRITE, READ, RESPONSE, ACK = range(6)

_KINDS = {
    "RC_SEND": SEND,
    "RC_RDMA_WRITE": WRITE,
    "RC_RDMA_READ_REQUEST": READ,
    "RC_RDMA_READ_RESPONSE": RESPONSE,
    "RC_ACKNOWLEDGE": ACK,
}
# Invalidation touches memory regions, so that the engine does it.
_SLOW = {Opcode.RC_SEND_LAST_WITH_INVALIDATE, Opcode.RC_SEND_ONLY_WITH_INVALIDATE}


def _column(value: Any) -> Any:
    return np.array([0 if opcode is None else int(value(opcode)) for opcode in BY_VALUE], np.int64)


KIND = _column(lambda opcode: SLOW if opcode in _SLOW else _KINDS.get(FAMILY[opcode], SLOW))
EXTENDED = _column(lambda opcode: opcode.size - BTH.size)
"""Bytes of extended headers."""
STARTS = _column(lambda opcode: opcode.starts_message)
ENDS = _column(lambda opcode: opcode.ends_message)
IMMEDIATE = _column(lambda opcode: ImmDt in opcode.headers)

REQUESTS = np.array(
    [[int(opcode) for opcode in SHAPES[QPType.RC, WROpcode(number)]] for number in range(5)],
    np.int64,
)
"""[work request opcode 0 to 4, place: first, middle, last, only]."""
RESPONSES = np.array([int(opcode) for opcode in READ_RESPONSE], np.int64)
FIRST, MIDDLE, LAST, ONLY = range(4)
