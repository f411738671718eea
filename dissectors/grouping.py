"""Rows that agree in some columns, brought together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

FEW = 16
"""Groups that are looked for one by one: comparing a column is much quicker than sorting it."""


def groups(columns: Sequence[Array]) -> Iterator[Array]:
    """Row numbers, ascending, of each set of rows with the same values in all `columns`."""
    rows = np.arange(len(columns[0]))
    for _ in range(FEW):
        if not len(rows):
            return
        same = np.logical_and.reduce([column == column[0] for column in columns])
        yield rows[same]
        others = ~same
        rows, columns = rows[others], [column[others] for column in columns]
    if len(rows):
        order = np.lexsort(columns)
        changes = [column[order][1:] != column[order][:-1] for column in columns]
        yield from np.split(rows[order], np.flatnonzero(np.logical_or.reduce(changes)) + 1)
