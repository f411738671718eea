"""Queue-pair states and the transitions between them, as one table (IBTA vol. 1, 10.3.1).

The numbers are those of `enum ibv_qp_state`, `ibv_qp_type` and `ibv_qp_attr_mask`; the table is
that of the kernel's `qp_state_table` (drivers/infiniband/core/verbs.c) without alternate paths' own
rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag


class QPState(IntEnum):
    RESET = 0
    INIT = 1
    RTR = 2
    RTS = 3
    SQD = 4
    SQE = 5
    ERR = 6


class QPType(IntEnum):
    RC = 2
    UC = 3
    UD = 4


class Attr(IntFlag):
    """Which attributes a modify names (`enum ibv_qp_attr_mask`)."""

    NONE = 0
    STATE = 1 << 0
    CUR_STATE = 1 << 1
    EN_SQD_ASYNC_NOTIFY = 1 << 2
    ACCESS_FLAGS = 1 << 3
    PKEY_INDEX = 1 << 4
    PORT = 1 << 5
    QKEY = 1 << 6
    AV = 1 << 7
    PATH_MTU = 1 << 8
    TIMEOUT = 1 << 9
    RETRY_CNT = 1 << 10
    RNR_RETRY = 1 << 11
    RQ_PSN = 1 << 12
    MAX_QP_RD_ATOMIC = 1 << 13
    ALT_PATH = 1 << 14
    MIN_RNR_TIMER = 1 << 15
    SQ_PSN = 1 << 16
    MAX_DEST_RD_ATOMIC = 1 << 17
    PATH_MIG_STATE = 1 << 18
    CAP = 1 << 19
    DEST_QPN = 1 << 20
    RATE_LIMIT = 1 << 25


@dataclass(frozen=True, slots=True)
class Rule:
    """What a transition must name, and what it may name besides."""

    required: Attr = Attr.NONE
    optional: Attr = Attr.NONE


_CONNECTED = Attr.PKEY_INDEX | Attr.PORT | Attr.ACCESS_FLAGS
_DATAGRAM = Attr.PKEY_INDEX | Attr.PORT | Attr.QKEY
_PEER = Attr.AV | Attr.PATH_MTU | Attr.DEST_QPN | Attr.RQ_PSN
_RESPONDER = Attr.MAX_DEST_RD_ATOMIC | Attr.MIN_RNR_TIMER
_RETRY = Attr.TIMEOUT | Attr.RETRY_CNT | Attr.RNR_RETRY
_REQUESTER = _RETRY | Attr.SQ_PSN | Attr.MAX_QP_RD_ATOMIC
_UD_LIVE = Attr.CUR_STATE | Attr.QKEY
_UC_LIVE = Attr.CUR_STATE | Attr.ACCESS_FLAGS | Attr.ALT_PATH | Attr.PATH_MIG_STATE
_RC_LIVE = _UC_LIVE | Attr.MIN_RNR_TIMER
_UC_DRAINED = Attr.AV | Attr.ALT_PATH | Attr.ACCESS_FLAGS | Attr.PKEY_INDEX | Attr.PATH_MIG_STATE
_RC_DRAINED = _UC_DRAINED | Attr.PORT | _RETRY | Attr.MAX_QP_RD_ATOMIC | _RESPONDER

_EVERY = tuple(QPType)
_ARRIVE = Attr.ALT_PATH | Attr.ACCESS_FLAGS | Attr.PKEY_INDEX

# (from, to): a rule for each type of queue pair that may make the step.
TRANSITIONS: dict[tuple[QPState, QPState], dict[QPType, Rule]] = {
    (QPState.RESET, QPState.INIT): {
        QPType.RC: Rule(_CONNECTED),
        QPType.UC: Rule(_CONNECTED),
        QPType.UD: Rule(_DATAGRAM),
    },
    (QPState.INIT, QPState.INIT): {
        QPType.RC: Rule(optional=_CONNECTED),
        QPType.UC: Rule(optional=_CONNECTED),
        QPType.UD: Rule(optional=_DATAGRAM),
    },
    (QPState.INIT, QPState.RTR): {
        QPType.RC: Rule(_PEER | _RESPONDER, _ARRIVE),
        QPType.UC: Rule(_PEER, _ARRIVE),
        QPType.UD: Rule(optional=Attr.PKEY_INDEX | Attr.QKEY),
    },
    (QPState.RTR, QPState.RTS): {
        QPType.RC: Rule(_REQUESTER, _RC_LIVE),
        QPType.UC: Rule(Attr.SQ_PSN, _UC_LIVE),
        QPType.UD: Rule(Attr.SQ_PSN, _UD_LIVE),
    },
    (QPState.RTS, QPState.RTS): {
        QPType.RC: Rule(optional=_RC_LIVE),
        QPType.UC: Rule(optional=_UC_LIVE),
        QPType.UD: Rule(optional=_UD_LIVE),
    },
    (QPState.RTS, QPState.SQD): {kind: Rule(optional=Attr.EN_SQD_ASYNC_NOTIFY) for kind in _EVERY},
    (QPState.SQD, QPState.RTS): {
        QPType.RC: Rule(optional=_RC_LIVE),
        QPType.UC: Rule(optional=_UC_LIVE),
        QPType.UD: Rule(optional=_UD_LIVE),
    },
    (QPState.SQD, QPState.SQD): {
        QPType.RC: Rule(optional=_RC_DRAINED),
        QPType.UC: Rule(optional=_UC_DRAINED),
        QPType.UD: Rule(optional=Attr.PKEY_INDEX | Attr.QKEY),
    },
    (QPState.SQE, QPState.RTS): {
        QPType.UC: Rule(optional=Attr.CUR_STATE | Attr.ACCESS_FLAGS),
        QPType.UD: Rule(optional=_UD_LIVE),
    },
    # Every state may be left for RESET and for ERR.
    **{
        (state, end): {kind: Rule() for kind in _EVERY}
        for state in QPState
        for end in (QPState.RESET, QPState.ERR)
    },
}


def refusal(kind: QPType, start: QPState, end: QPState, named: Attr) -> str | None:
    """Why a queue pair of `kind` may not go from `start` to `end` with the attributes `named`;
    None: it may.
    """
    rule = TRANSITIONS.get((start, end), {}).get(kind)
    if rule is None:
        ends = [to.name for (at, to), kinds in TRANSITIONS.items() if at is start and kind in kinds]
        return (
            f"a {kind.name} queue pair does not go from {start.name} to {end.name}; "
            f"from {start.name} it goes to {', '.join(ends)}"
        )
    if missing := rule.required & ~named:
        return f"{start.name} to {end.name} needs {describe(missing)} as well"
    if surplus := named & ~(rule.required | rule.optional | Attr.STATE):
        return f"{start.name} to {end.name} does not take {describe(surplus)}"
    return None


def describe(attributes: Attr) -> str:
    """The names of `attributes` as verbs spells them."""
    return ", ".join(f"IBV_QP_{attribute.name}" for attribute in attributes)
