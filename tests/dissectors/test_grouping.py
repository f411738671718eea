"""Rows that agree, brought together."""

from __future__ import annotations

import numpy as np
import pytest

from dissectors.grouping import groups


@pytest.mark.parametrize("few", [2, 40])
def test_groups_are_those_that_agree_in_all_columns(few: int) -> None:
    random = np.random.default_rng(3)
    columns = [random.integers(0, few, 500) for _ in range(3)]
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    found = [group.tolist() for group in groups(columns)]
    assert sorted(row for group in found for row in group) == list(range(500))
    assert len(found) == len(set(rows))
    assert all(len({rows[row] for row in group}) == 1 for group in found)
    assert all(group == sorted(group) for group in found)


def test_no_rows_are_no_groups() -> None:
    assert list(groups([np.zeros(0, int)])) == []
