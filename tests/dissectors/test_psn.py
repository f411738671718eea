"""24-bit serial arithmetic (RFC 1982 with SERIAL_BITS 24)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissectors import psn

PSNS = st.integers(0, psn.MASK)
STEPS = st.integers(1, psn.HALF - 1)


@given(PSNS, STEPS)
def test_adding_less_than_half_the_circle_goes_forward(start: int, steps: int) -> None:
    end = psn.add(start, steps)
    assert psn.difference(end, start) == psn.forward(start, end) == steps
    assert psn.difference(start, end) == -steps
    assert psn.after(end, start)
    assert psn.before(start, end)
    assert psn.add(end, -steps) == start


def test_the_wrap() -> None:
    assert psn.add(0xFFFFFF, 1) == 0
    assert psn.after(0, 0xFFFFFF)
    assert psn.difference(2, 0xFFFFFE) == 4
    assert not psn.before(5, 5)
    assert not psn.after(5, 5)


def test_opposite_ends_of_the_circle_are_before_each_other() -> None:
    # kernel rxe: psn_compare(a, b) = (s32)((a - b) << 8) is INT_MIN both ways
    assert psn.difference(0, psn.HALF) == psn.difference(psn.HALF, 0) == -psn.HALF


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@given(st.lists(st.tuples(PSNS, PSNS), min_size=1))
def test_arrays_as_scalars(dtype: type, pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype).T
    for function in (psn.add, psn.forward, psn.difference, psn.before, psn.after):
        assert function(a, b).tolist() == [function(x, y) for x, y in pairs]


@pytest.mark.parametrize(
    ("length", "path_mtu", "packets"),
    [(0, 1024, 1), (1, 1024, 1), (1024, 1024, 1), (1025, 1024, 2), (1 << 31, 256, 1 << 23)],
)
def test_span(length: int, path_mtu: int, packets: int) -> None:
    assert psn.span(length, path_mtu) == packets
    assert psn.span(np.array([length]), path_mtu).tolist() == [packets]
