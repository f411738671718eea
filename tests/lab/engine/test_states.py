"""The table of queue-pair transitions."""

from __future__ import annotations

import pytest

from lab.engine.states import TRANSITIONS, Attr, QPState, QPType, refusal

S, K = QPState, QPType

# What pyverbs' to_init, to_rtr and to_rts name (pyverbs/qp.pyx, _get_comp_mask).
PYVERBS = {
    (K.RC, S.RESET, S.INIT): (1 << 4) | (1 << 5) | (1 << 3),
    (K.RC, S.INIT, S.RTR): (1 << 7) | (1 << 8) | (1 << 20) | (1 << 12) | (1 << 17) | (1 << 15),
    (K.RC, S.RTR, S.RTS): (1 << 9) | (1 << 10) | (1 << 11) | (1 << 16) | (1 << 13),
    (K.UC, S.RESET, S.INIT): (1 << 4) | (1 << 5) | (1 << 3),
    (K.UC, S.INIT, S.RTR): (1 << 7) | (1 << 8) | (1 << 20) | (1 << 12),
    (K.UC, S.RTR, S.RTS): 1 << 16,
    (K.UD, S.RESET, S.INIT): (1 << 4) | (1 << 5) | (1 << 6),
    (K.UD, S.INIT, S.RTR): 0,
    (K.UD, S.RTR, S.RTS): 1 << 16,
}


@pytest.mark.parametrize(("step", "mask"), PYVERBS.items())
def test_pyverbs_masks_are_exactly_what_is_required(
    step: tuple[QPType, QPState, QPState], mask: int
) -> None:
    kind, start, end = step
    assert refusal(kind, start, end, Attr(mask)) is None
    for bit in Attr(mask):
        reason = refusal(kind, start, end, Attr(mask) & ~bit)
        assert reason is not None
        assert f"IBV_QP_{bit.name}" in reason


@pytest.mark.parametrize("kind", QPType)
@pytest.mark.parametrize("start", QPState)
def test_every_state_can_be_left_for_reset_and_err(kind: QPType, start: QPState) -> None:
    assert refusal(kind, start, S.RESET, Attr.NONE) is None
    assert refusal(kind, start, S.ERR, Attr.NONE) is None


FORBIDDEN = [
    (S.RESET, S.RTR), (S.RESET, S.RTS), (S.INIT, S.RTS), (S.RTR, S.INIT), (S.RTS, S.INIT),
    (S.RTS, S.RTR), (S.ERR, S.INIT), (S.ERR, S.RTS), (S.RTR, S.SQD), (S.RTS, S.SQE),
]  # fmt: skip


@pytest.mark.parametrize(("start", "end"), FORBIDDEN)
def test_forbidden(start: QPState, end: QPState) -> None:
    for kind in QPType:
        reason = refusal(kind, start, end, Attr.NONE)
        assert reason is not None
        assert f"from {start.name} to {end.name}" in reason


def test_reliable_connection_has_no_way_out_of_sqe_to_rts() -> None:
    assert refusal(K.RC, S.SQE, S.RTS, Attr.NONE) is not None
    assert refusal(K.UD, S.SQE, S.RTS, Attr.NONE) is None


def test_surplus_attributes_are_refused() -> None:
    mask = Attr(PYVERBS[K.RC, S.RESET, S.INIT]) | Attr.SQ_PSN
    assert "IBV_QP_SQ_PSN" in str(refusal(K.RC, S.RESET, S.INIT, mask))


def test_rules_never_require_what_they_make_optional() -> None:
    for kinds in TRANSITIONS.values():
        for rule in kinds.values():
            assert not rule.required & rule.optional
