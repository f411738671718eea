"""What filters and fields are taken from: a table's columns, and management datagrams' fields.

Management datagrams are rare, so they have no columns of their own in a table: the packets to queue
pairs 0 and 1 are parsed one by one when a field of theirs is asked for.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from dissectors.bth import BTH
from dissectors.cm import IP_CM, MESSAGES
from dissectors.deth import DETH
from dissectors.header import Data, Field, Header
from dissectors.mad import MAD
from dissectors.rules import HEADERS
from dissectors.sa import RMPP, SA, PathRecord
from dissectors.table import BASE, FIELDS, NETWORK, PacketTable, dtype
from dissectors.text import ipv4, mac

Array = np.ndarray[Any, np.dtype[Any]]

MANAGEMENT: tuple[type[Header], ...] = (MAD, *MESSAGES.values(), IP_CM, RMPP, SA, PathRecord)
"""Headers of management datagrams."""
MANAGEMENT_FIELDS = {field.column: field for kind in MANAGEMENT for field in kind.fields}
EVERY_FIELD: dict[str, Field] = FIELDS | MANAGEMENT_FIELDS
ADDRESSES = frozenset(
    name
    for name, field in EVERY_FIELD.items()
    if not isinstance(field, Data) and field.text(0) in (ipv4(0), mac(0))
)
"""Columns of numbers that people write as addresses."""
EVERY_HEADER = (*HEADERS, *MANAGEMENT)


class Columns:
    """Columns by name, of `len(table)` rows each, and where they are carried."""

    def __init__(self, table: PacketTable) -> None:
        self.table = table

    @cached_property
    def _management(self) -> dict[type[Header], dict[int, Header]]:
        """Row -> header of each kind, of all packets that carry one."""
        found: dict[type[Header], dict[int, Header]] = {kind: {} for kind in MANAGEMENT}
        to_management = self.table.has(DETH) & (self.table[BTH.dest_qp.column] <= 1)
        for row in np.flatnonzero(to_management).tolist():
            for _, header in self.table.packet(row).management:
                found[type(header)][row] = header
        return found

    def has(self, kind: type[Header]) -> Array:
        """Which rows carry a header of class `kind`."""
        if kind in HEADERS:
            return self.table.has(kind)
        mask = np.zeros(len(self.table), bool)
        mask[list(self._management[kind])] = True
        return mask

    def present(self, name: str) -> Array:
        """Which rows have a value in column `name`."""
        if name in ("src", "dst"):
            return np.asarray(self.table["headers"] & np.uint64(NETWORK) != 0)
        if name in BASE:
            return np.ones(len(self.table), bool)
        return self.has(EVERY_FIELD[name].header)

    def values(self, name: str) -> Array:
        """The column `name`; zeros where there is no value."""
        field = MANAGEMENT_FIELDS.get(name)
        if field is None:
            return self.table[name]
        values = np.zeros(len(self.table), dtype(field))
        for row, header in self._management[field.header].items():
            value = getattr(header, field.name)
            values[row] = np.void(value) if isinstance(field, Data) else value
        return values

    def texts(self, name: str) -> list[str]:
        """A column as text: numbers in decimal, addresses as such, "" where there is none."""
        if name in ADDRESSES:
            spelt = EVERY_FIELD[name].text
            there = self.present(name).tolist()
            values = self.values(name).tolist()
            return [spelt(value) if has else "" for value, has in zip(values, there, strict=True)]
        field = MANAGEMENT_FIELDS.get(name)
        if field is None:
            return self.table.texts(name)
        texts = [""] * len(self.table)
        for row, header in self._management[field.header].items():
            value = getattr(header, field.name)
            texts[row] = field.text(value) if isinstance(field, Data) else str(value)
        return texts
