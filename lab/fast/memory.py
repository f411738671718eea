"""Registered memory and queue-pair numbers, mirrored in tables that compiled code reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from lab.engine.memory import Memory, Region
from lab.fast.tables import DELETED, EMPTY, spread

_SMALLEST = 256


class Table:
    """Open addressing with linear steps: (key, values...) rows of a record whose first field is the
    key.

    `changed` is called with the address and mask whenever the table has moved.
    """

    def __init__(self, record: np.dtype[Any], changed: Any) -> None:
        self._record = record
        self._changed = changed
        self._used = 0
        self._resize(_SMALLEST)

    def _resize(self, count: int) -> None:
        self._rows = np.zeros(count, self._record)
        self._used = 0
        self._changed(self._rows.ctypes.data, count - 1)

    def _place(self, key: int) -> tuple[int, bool]:
        """(row, whether the key is in it): else the row is free."""
        keys, mask = self._rows[self._key_name], len(self._rows) - 1
        place = int(spread.py_func(key)) & mask
        while keys[place] not in (EMPTY, key):
            place = (place + 1) & mask
        return place, bool(keys[place] == key)

    @property
    def _key_name(self) -> str:
        assert self._record.names is not None
        return self._record.names[0]

    def put(self, key: int, *values: int) -> None:
        """Add the row, or replace it."""
        place, there = self._place(key)
        self._rows[place] = (key, *values)
        if not there:
            self._used += 1
            if 2 * self._used > len(self._rows):
                self._grow()

    def _grow(self) -> None:
        old = [row for row in self._rows if row[0] not in (EMPTY, DELETED)]
        self._resize(max(_SMALLEST, 4 * (1 << len(old).bit_length())))
        for row in old:
            place, _ = self._place(int(row[0]))
            self._rows[place] = row
            self._used += 1

    def remove(self, key: int) -> None:
        """Forget the row, if there is one."""
        place, there = self._place(key)
        if there:
            self._rows[place] = 0
            self._rows[self._key_name][place] = DELETED


class MirroredMemory(Memory):
    """Memory that compiled code can reach as well."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table

    def _mirror(self, region: Region) -> None:
        data = np.frombuffer(region.view, np.uint8)
        place = data.ctypes.data
        row = region.address, place, len(region.view), int(region.access), region.domain
        self._table.put(region.key, *row)

    def register(self, region: Region) -> None:
        super().register(region)
        # Windows are the engine's: whatever names one is taken from compiled code.
        if len(region.view) and region.window is None:
            self._mirror(region)

    def deregister(self, key: int) -> None:
        super().deregister(key)
        self._table.remove(key)

    def invalidate(self, key: int, domain: int) -> None:
        super().invalidate(key, domain)
        region = self._regions.get(key)
        if region is not None and len(region.view):
            self._mirror(region)
